"""The detail of frames: C against Python, there and back, and what the encoder chooses."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.engine import detail, detail_reference
from lvc.engine.coder import Coder
from lvc.engine.rans_reference import Reader, Writer
from lvc.errors import CorruptError

ROWS, COLUMNS = 3, 4


def planes(seed: int, noise: float = 0) -> detail.Planes:
    """Noise, and noise on that."""
    rng = np.random.default_rng(7)
    shapes = (16 * ROWS, 16 * COLUMNS), (2, 8 * ROWS, 8 * COLUMNS)
    made = [rng.integers(0, 4096, shape) for shape in shapes]
    rng = np.random.default_rng(seed)
    y, uv = (np.clip(p + rng.normal(0, noise, p.shape), 0, 4095).astype(np.int16) for p in made)
    return y, uv


def chosen(quality: int) -> tuple[detail.Planes, detail.Planes, np.ndarray]:
    source, coded = planes(1), planes(2, 60)
    levels = detail.find(source, coded, quality, 2.0 ** (5 + quality / 8) / 4080**2, 0.3)
    assert levels is not None
    return source, coded, levels


@pytest.mark.parametrize("quality", [64, 81, 96, 110, 127])
def test_the_same_bytes_and_samples_in_c_and_python(quality: int) -> None:
    _, coded, levels = chosen(quality)
    coder, writer = Coder(), Writer()
    made = detail.code(coded, quality, coder, levels)
    data = coder.finish()
    other = coded[0].copy(), coded[1].copy()
    detail_reference.code(writer, quality, levels.copy(), *other)
    assert writer.finish() == data
    assert all((a == b).all() for a, b in zip(made, other, strict=True))
    read = np.empty_like(levels)
    again = detail.code(coded, quality, Coder(data), read)
    assert (read == levels).all() and all((a == b).all() for a, b in zip(made, again, strict=True))
    other, reader = (coded[0].copy(), coded[1].copy()), Reader(data)
    detail_reference.code(reader, quality, None, *other)
    assert reader.whole() and all((a == b).all() for a, b in zip(made, other, strict=True))
    other = coded[0].copy(), coded[1].copy()
    assert detail.code(other, quality, None, levels, overwrite=True)[0] is other[0]
    assert all((a == b).all() for a, b in zip(made, other, strict=True))
    added = detail.code(coded, quality, None, levels)
    assert all((a == b).all() for a, b in zip(made, added, strict=True))


def test_errors_fall_with_quality() -> None:
    errors = []
    for quality in (64, 80, 96, 112, 127):
        source, coded, levels = chosen(quality)
        made = detail.code(coded, quality, None, levels)
        errors.append(float(np.mean((made[0].astype(float) - source[0]) ** 2)))
    assert errors == sorted(errors, reverse=True)
    step = detail_reference.STEPS[15] >> 7
    assert errors[-1] < step**2 / 4, "a cut off coefficient misses less than a step"


def test_large_levels_survive_and_are_bounded() -> None:
    rng = np.random.default_rng(3)
    coded = planes(1)
    levels = (rng.integers(-40, 41, (ROWS, COLUMNS, 6, 64)) * rng.integers(0, 2, (ROWS, COLUMNS, 6, 64))).astype(
        np.int16
    )
    levels[0, 0, 0] = 0
    levels[0, 0, 1, :3] = 32767, -32767, 9
    coder, writer = Coder(), Writer()
    made = detail.code(coded, 96, coder, levels)
    data = coder.finish()
    detail_reference.code(writer, 96, levels.copy(), coded[0].copy(), coded[1].copy())
    assert writer.finish() == data
    read = np.empty_like(levels)
    reader = Coder(data)
    detail.code(coded, 96, reader, read)
    assert reader.finish() == b"" and (read == levels).all()
    assert all(p.min() >= 0 and p.max() <= 4095 for p in made)


def test_nothing_is_chosen_where_nothing_is_missed() -> None:
    source = planes(1)
    assert detail.find(source, source, 127, 1.0, 0.3) is None
    coder = Coder()
    made = detail.code(source, 127, coder, detail.none(source))
    assert all((a == b).all() for a, b in zip(made, source, strict=True))
    data = coder.finish()
    assert len(data) == 4, "one bit says that there is none"
    coder = Coder()
    detail.code(source, 127, coder)
    assert coder.finish() == data


def test_a_damaged_stream_ends_with_an_error() -> None:
    _, coded, levels = chosen(96)
    coder = Coder()
    detail.code(coded, 96, coder, levels)
    data = coder.finish()
    for damaged in (data[:-2], data[:40] + bytes(40) + data[80:], b"\xff" * len(data), data[:4]):
        reader = Coder(damaged)
        detail.code(coded, 96, reader)
        with pytest.raises(CorruptError):
            reader.finish()


def test_work_ends_with_the_bytes_of_a_stream() -> None:
    """A few bytes that go on for ever would otherwise cost as much as a picture is large."""
    _, coded, levels = chosen(96)
    coder = Coder()
    detail.code(coded, 96, coder, levels)
    short = coder.finish()[:16]
    blocks = tuple(np.zeros_like(p) for p in coded)
    made = detail.code((blocks[0], blocks[1]), 96, Coder(short))
    reader = Reader(short)
    detail_reference.code(reader, 96, None, *blocks)
    assert reader.over and all((a == b).all() for a, b in zip(made, blocks, strict=True))
    changed = [bool(blocks[0][16 * y : 16 * y + 16, 16 * x : 16 * x + 16].any()) for y, x in np.ndindex(ROWS, COLUMNS)]
    assert changed[0] and not any(changed[2:]), "the second block of 16x16 begins where the bytes have ended"


def test_what_does_not_fit_is_refused() -> None:
    coded = planes(1)
    with pytest.raises(ValueError, match="levels"):
        detail.code(coded, 64, Coder(), np.zeros((1, 1, 6, 64), np.int16))
    with pytest.raises(ValueError, match="quality"):
        detail.code(coded, 128, Coder(), detail.none(coded))
    with pytest.raises(ValueError, match="blocks"):
        detail.none((coded[0][:-1], coded[1]))
