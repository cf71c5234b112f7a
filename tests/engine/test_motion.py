"""Motion in C against plain numpy: prediction, candidates, streams, search."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.engine import motion, motion_reference
from lvc.engine.library import ISAS, runs
from lvc.engine.motion_reference import Exposure
from lvc.engine.rans_reference import Reader, Writer
from lvc.errors import CorruptError

Flags = tuple[np.ndarray, np.ndarray]


def planes(rng: np.random.Generator, height: int, width: int) -> motion.Planes:
    return tuple(
        rng.integers(0, 4096, shape).astype(np.int16) for shape in ((height, width), (2, height // 2, width // 2))
    )  # type: ignore[return-value]


def field(
    rng: np.random.Generator, rows: int, cols: int, references: int, calm: float
) -> tuple[np.ndarray, np.ndarray]:
    """A field of short and of very long vectors; of its squares of 16x16 a share of `calm` have one motion."""
    mode = rng.integers(0, 2 * references - 1, (rows, cols)).astype(np.uint8)
    mv = rng.integers(-12, 13, (2, 2, rows, cols))
    mv = np.where(rng.random((rows, cols)) < 0.2, rng.integers(-4095, 4096, mv.shape), mv)
    still = (rng.random((rows // 2, cols // 2)) < calm).repeat(2, 0).repeat(2, 1)
    mode, mv = np.where(still, mode[:1, :1], mode), np.where(still, mv[:, :, :1, :1], mv)
    mv[0][:, mode == 1], mv[1][:, mode == 0] = 0, 0
    return mode, mv.astype(np.int16)


@pytest.fixture(params=[isa for isa in ISAS if isa in ("avx2", "c")])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Motion is compiled twice; every test runs with both."""
    if not runs(request.param):
        pytest.skip(f"this processor cannot run {request.param}")
    monkeypatch.setattr(motion, "_isa", lambda: ISAS.index(request.param))
    return str(request.param)


@pytest.mark.parametrize("references", [1, 2])
@pytest.mark.parametrize("calm", [0.0, 0.6, 0.95, 1.0])
@pytest.mark.usefixtures("threads")
def test_prediction_is_the_reference_s(isa: str, references: int, calm: float) -> None:
    """Whatever the number of threads, also where it is larger than that of rows."""
    rng = np.random.default_rng(references)
    for rows, cols in ((2, 2), (6, 10), (10, 4)):
        refs = [planes(rng, 8 * rows, 8 * cols) if k < references else None for k in range(2)]
        mode, mv = field(rng, rows, cols, references, calm)
        assert refs[0] is not None
        made = motion.compensate(refs[0], refs[1], mode, mv)
        wanted = motion_reference.compensate(refs, mode, mv)
        for ours, theirs in zip(made, wanted, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


def test_prediction_by_numbers() -> None:
    """One block half a sample to the right of a step from 0 to 4095: HEVC's taps, rounded, bounded."""
    luma = np.zeros((16, 16), np.int16)
    luma[:, 8:] = 4095
    chroma = np.full((2, 8, 8), 1000, np.int16)
    mv = np.zeros((2, 2, 2, 2), np.int16)
    mv[0, 0] = 2
    (p, p_uv), (d, _) = motion.compensate((luma, chroma), None, np.zeros((2, 2), np.uint8), mv)
    # at column 7 the four taps 40, -11, 4, -1 meet the step: 32 / 64 of it; at 6 three and so on
    assert p[0, 3:13].tolist() == [0, 0, 192, 0, 2048, 4095, 3903, 4095, 4095, 4095]
    assert (p_uv == 1000).all() and not d.any()


@pytest.mark.parametrize(
    ("mode", "vector"), [(1, 0), (2, 0), (3, 0), (0, 4096), (0, -4096)], ids=["mode 1", "mode 2", "mode 3", "x", "-x"]
)
def test_fields_that_no_frame_has_are_refused(isa: str, mode: int, vector: int) -> None:
    one = planes(np.random.default_rng(0), 16, 16)
    mv = np.zeros((2, 2, 2, 2), np.int16)
    mv[0, 0, 1, 1] = vector
    modes = np.zeros((2, 2), np.uint8)
    modes[1, 1] = mode
    with pytest.raises(ValueError, match="no frame can have"):
        motion.compensate(one, None, modes, mv)


def test_unused_vectors_are_0(isa: str) -> None:
    one, mv = planes(np.random.default_rng(0), 16, 16), np.zeros((2, 2, 2, 2), np.int16)
    mv[1, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="no frame can have"):
        motion.compensate(one, one, np.zeros((2, 2), np.uint8), mv)


def test_arrays_of_other_shapes_are_refused() -> None:
    one, mode, mv = (
        planes(np.random.default_rng(0), 16, 32),
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 2, 2), np.int16),
    )
    with pytest.raises(ValueError, match="luma of reference 0"):
        motion.compensate(one, None, mode, mv)
    with pytest.raises(ValueError, match="mv"):
        motion.compensate(one, None, np.zeros((2, 4), np.uint8), mv)


# ---- streams ----

PYRAMID = [(4, 0, None), (2, 0, 4), (1, 0, 2), (3, 2, 4), (8, 4, 0), (6, 4, 8)]
"""Time of a frame and of its references; the fifth has two that are both shown before it."""


def plausible(rng: np.random.Generator, rows: int, cols: int, references: int) -> tuple[np.ndarray, np.ndarray]:
    """A field of large and small leaves."""
    mode, mv = field(rng, rows, cols, references, 0.5)
    large = (rng.random((rows // 8 + 1, cols // 8 + 1)) < 0.5).repeat(8, 0).repeat(8, 1)[:rows, :cols]
    mode, mv = np.where(large, mode[-1, -1], mode), np.where(large, mv[:, :, -1:, -1:], mv)
    return mode, mv


def coded(rows: int, cols: int, seed: int) -> tuple[dict[int, motion.Field], dict[int, Flags], bytes]:
    rng = np.random.default_rng(seed)
    stream, fields, flags = motion.Stream(), {}, {}
    for level, (time, first, second) in enumerate(PYRAMID):
        given = plausible(rng, rows, cols, 1 if second is None else 2)
        refs = first, 0 if second is None else second
        stream.field((rows, cols), time, (first, second), (fields.get(refs[0]), fields.get(refs[1])), level, given)
        fields[time] = motion.Field(*given, time, (first, second))
        skip = (rng.random((rows // 2, cols // 2)) < 0.7).astype(np.uint8)
        flags[time] = skip, skip & rng.integers(0, 2, skip.shape).astype(np.uint8)
        stream.flags(level, flags[time], (flags.get(refs[0]), flags.get(refs[1]) if second is not None else None))
    return fields, flags, stream.finish()


@pytest.mark.parametrize(("rows", "cols"), [(2, 2), (6, 10), (16, 18)])
def test_streams_come_back(rows: int, cols: int) -> None:
    fields, flags, data = coded(rows, cols, rows)
    stream, found, seen = motion.Stream(data), {}, {}
    for level, (time, first, second) in enumerate(PYRAMID):
        refs = first, 0 if second is None else second
        mode, mv = stream.field((rows, cols), time, (first, second), (found.get(refs[0]), found.get(refs[1])), level)
        found[time] = motion.Field(mode, mv, time, (first, second))
        np.testing.assert_array_equal(mode, fields[time].mode)
        np.testing.assert_array_equal(mv, fields[time].mv)
        seen[time] = stream.flags(level, None, (seen.get(refs[0]), seen.get(refs[1]) if second is not None else None))
        for ours, theirs in zip(seen[time], flags[time], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert stream.finish() == b""


def of_reference(
    coder: Writer | Reader,
    shape: tuple[int, int],
    fields: dict[int, motion.Field] | None,
    flags: dict[int, Flags] | None,
) -> tuple[dict[int, motion_reference.Field], dict[int, Flags]]:
    """What the numpy reference writes, or reads."""
    by = motion_reference.FieldCoder(coder, motion_reference.start())
    made: dict[int, motion_reference.Field] = {}
    seen: dict[int, Flags] = {}
    for level, (time, first, second) in enumerate(PYRAMID):
        mode, mv = np.zeros(shape, np.uint8), np.zeros((2, 2, *shape), np.int16)
        skip, copy = (np.zeros((shape[0] // 2, shape[1] // 2), np.uint8) for _ in range(2))
        if fields is not None and flags is not None:
            mode, mv = fields[time].mode.copy(), fields[time].mv.copy()
            skip, copy = (a.copy() for a in flags[time])
        own = motion_reference.Field(mode, mv, time, (first, second))
        other = None if second is None else second
        leaves = by.field(own, (made.get(first), None if other is None else made.get(other)), level)
        by.flags(leaves, level, skip, copy, (seen.get(first), None if other is None else seen.get(other)))
        made[time], seen[time] = own, (skip, copy)
    return made, seen


def test_streams_are_the_reference_s() -> None:
    fields, flags, data = coded(10, 12, 5)
    writer = Writer()
    of_reference(writer, (10, 12), fields, flags)
    assert writer.finish() == data
    reader = Reader(data)
    found, seen = of_reference(reader, (10, 12), None, None)
    assert reader.whole()
    for time in fields:
        np.testing.assert_array_equal(found[time].mode, fields[time].mode)
        np.testing.assert_array_equal(found[time].mv, fields[time].mv)
        np.testing.assert_array_equal(seen[time], flags[time])


def test_damaged_streams_are_told() -> None:
    _, _, data = coded(8, 8, 1)
    rng = np.random.default_rng(2)
    for _ in range(50):
        broken = bytearray(data)
        broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
        stream = motion.Stream(bytes(broken))
        with pytest.raises(CorruptError):
            for level, (time, first, second) in enumerate(PYRAMID):
                mode, mv = stream.field((8, 8), time, (first, second), (None, None), level)
                assert np.abs(mv).max() <= 4095 and mode.max() <= 2
                stream.flags(level)
            stream.finish()


def test_fields_that_no_frame_has_are_not_written() -> None:
    mode, mv = np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2, 2), np.int16)
    for wrong_mode, wrong in ((0, (1, 0)), (2, (0, 0)), (0, (0, 4096))):
        modes, vectors = mode + np.uint8(wrong_mode), mv.copy()
        vectors[wrong[0], 0, 0, 0] = wrong[1] or int(wrong[0] == 1)
        with pytest.raises(ValueError, match="no frame can have"):
            motion.Stream().field((2, 2), 1, (0, None), (None, None), 0, (modes, vectors))


EXPOSURES = [(64, 0), (64, 1), (63, -1), (32, 1023), (128, -1023), (70, 12), (70, 12), (64, 0)]


def test_exposures_come_back_and_are_the_reference_s() -> None:
    stream, writer = motion.Stream(), Writer()
    of_reference = motion_reference.FieldCoder(writer, motion_reference.start())
    expected = Exposure()
    for given in EXPOSURES:
        assert stream.exposure(expected, Exposure(*given)) == of_reference.exposure(expected, Exposure(*given)) == given
        expected = Exposure(*given)
    data = stream.finish()
    assert data == writer.finish()
    stream, reader, expected = motion.Stream(data), Reader(data), Exposure()
    of_reference = motion_reference.FieldCoder(reader, motion_reference.start())
    for given in EXPOSURES:
        assert stream.exposure(expected) == of_reference.exposure(expected, expected) == given
        expected = Exposure(*given)
    stream.coder.finish()
    assert reader.whole()


@pytest.mark.parametrize("given", [(31, 0), (129, 0), (64, 1024), (64, -1024)])
def test_exposures_out_of_range_are_told(given: tuple[int, int]) -> None:
    stream = motion.Stream()
    with pytest.raises(CorruptError):
        stream.exposure(Exposure(), Exposure(*given))
    stream = motion.Stream(stream.finish())
    with pytest.raises(CorruptError):
        stream.exposure(Exposure())


def test_references_at_another_exposure_are_the_reference_s() -> None:
    rng = np.random.default_rng(3)
    reference = planes(rng, 32, 48)
    for of, to in zip(EXPOSURES, EXPOSURES[1:], strict=False):
        made = motion.exposed(reference, Exposure(*of), Exposure(*to))
        wanted = motion_reference.expose(reference, Exposure(*of), Exposure(*to))
        for a, b in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    assert motion.exposed(reference, Exposure(70, 12), Exposure(70, 12)) is reference
    assert [
        int(motion.exposed(reference, Exposure(), Exposure(64, 4))[0][0, k] - reference[0][0, k]) for k in range(2)
    ] == [min(16, 4095 - int(reference[0][0, k])) for k in range(2)], "a level of 8 bits is 16 of 12"


def test_a_still_frame_costs_next_to_nothing() -> None:
    shape = 60, 108
    mode, mv, skip = np.full(shape, 2, np.uint8), np.zeros((2, 2, *shape), np.int16), np.ones((30, 54), np.uint8)
    sizes = []
    for frames in (8, 24):
        stream, others = motion.Stream(), None
        for _ in range(frames):
            stream.field(shape, 1, (0, 2), (None, None), 3, (mode, mv))
            stream.flags(3, (skip, skip), (others, others))
            others = skip, skip
        sizes.append(len(stream.finish()))
    assert 8 * (sizes[1] - sizes[0]) / 16 < 12  # bits a frame


def test_scaled_vectors_round_halves_away_from_0() -> None:
    assert [motion_reference.scaled(v, 1, 2) for v in (-3, -2, -1, 0, 1, 2, 3)] == [-2, -1, -1, 0, 1, 1, 2]
    assert motion_reference.scaled(3, 1, -2) == -2 and motion_reference.scaled(4000, 3, 1) == 4095


# ---- search ----


def moving(height: int, width: int, seed: int) -> np.ndarray:
    """A smooth texture larger than a frame, 12 bits."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 8 + 48, width // 8 + 48))
    fine = np.kron(coarse, np.ones((8, 8)))
    for axis in (0, 1):
        for _ in range(2):
            fine = sum(np.roll(fine, k, axis) for k in range(-3, 4)) / 7
    fine = (fine - fine.min()) / (fine.max() - fine.min())
    return np.asarray(fine * 4000, np.int16)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (5, -3), (30, 12), (-40, 24)])
def test_search_finds_a_pan(isa: str, dx: int, dy: int) -> None:
    picture = moving(128, 256, 3)

    def frame(t: int) -> np.ndarray:
        return picture[140 + t * dy // 4 :, 140 + t * dx // 4 :][:128, :256].copy()

    refs = motion.Picture(frame(0)), motion.Picture(frame(8))
    mode, mv, _ = motion.search(motion.Picture(frame(4), reference=False), refs, 4, (0, 8), motion.weight_of(12))
    middle = np.s_[4:-4, 8:-8]
    found = np.where(mode[middle] == 1, -mv[1][:, 4:-4, 8:-8], mv[0][:, 4:-4, 8:-8])
    # vectors are of quarters, frame 4 lies dx and dy samples beyond frame 0
    assert np.mean(np.abs(found[0] - 4 * dx) <= 2) > 0.95
    assert np.mean(np.abs(found[1] - 4 * dy) <= 2) > 0.95


def test_search_takes_the_mean_of_noise_and_one_side_of_what_was_hidden() -> None:
    rng = np.random.default_rng(1)
    clean = moving(64, 128, 4)[:64, :128]
    first, second = (np.clip(clean + rng.normal(0, 100, clean.shape), 0, 4095).astype(np.int16) for _ in range(2))
    second[:, :64] = 4000  # something stands before the left half
    refs = motion.Picture(first), motion.Picture(second)
    mode, _, _ = motion.search(motion.Picture(clean.copy(), reference=False), refs, 1, (0, 2), motion.weight_of(12))
    assert (mode[:, :7] == 0).all() and (mode[:, 9:] == 2).mean() > 0.9


def test_search_is_the_same_on_every_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    if not runs("avx2"):
        pytest.skip("this processor has no AVX2")
    rng = np.random.default_rng(9)
    frames = [
        np.clip(moving(144, 176, 5)[8 * t :, 5 * t :][:144, :176] + rng.normal(0, 60, (144, 176)), 0, 4095)
        for t in range(3)
    ]
    chroma = rng.integers(0, 4096, (3, 2, 72, 88)).astype(np.int16)
    found = []
    for isa in ("avx2", "c"):
        monkeypatch.setattr(motion, "_isa", lambda isa=isa: ISAS.index(isa))
        refs = [motion.Picture(f.astype(np.int16), c) for f, c in zip(frames[::2], chroma[::2], strict=True)]
        now = motion.Picture(frames[1].astype(np.int16), chroma[1], reference=False)
        found.append(motion.search(now, (refs[0], refs[1]), 1, (0, 2), motion.weight_of(11)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (128, 192)])
def test_luma_does_not_choose_blocks_of_another_colour(isa: str, size: tuple[int, int]) -> None:
    height, width = size
    luma = np.full((height, width), 2000, np.int16)
    grey, red = (np.full((2, height // 2, width // 2), v, np.int16) for v in (2040, 3600))
    near, far = motion.Picture(luma + np.int16(48), red), motion.Picture(luma, grey)
    mode, _, _ = motion.search(motion.Picture(luma, red), (far, near), 1, (0, 2), motion.weight_of(12))
    assert (mode == 1).all()


@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("offset", [(0, 0), (16, 16), (-16, 16)])
def test_search_follows_colour(isa: str, offset: tuple[int, int], as_reference: bool) -> None:
    """A red square on a pattern that repeats every 16 samples: only chroma says where it went."""
    wave = 600 * np.sin(np.arange(192) * np.pi / 8)
    luma = np.asarray(2000 + wave[:128, None] + wave[None], np.int16)
    before, now = (np.full((2, 64, 96), 2040, np.int16) for _ in range(2))
    before[1, 16:32, 32:48] = 3600
    y, x = 16 + offset[1] // 2, 32 + offset[0] // 2
    now[1, y : y + 16, x : x + 16] = 3600
    refs = motion.Picture(luma, before), None
    picture = motion.Picture(luma, now, reference=as_reference)
    mode, mv, _ = motion.search(picture, refs, 1, (0, None), motion.weight_of(12))
    (_, made), _ = motion.compensate((luma, before), None, mode, mv)
    assert np.abs(made - now).mean() < 0.15 * 1560 * 256 / now.size + 1


def test_searched_fields_can_be_predicted_from_and_written() -> None:
    rng = np.random.default_rng(7)
    frames = [planes(rng, 48, 80) for _ in range(3)]  # noise: whatever is found is odd
    pictures = [motion.Picture(f[0]) for f in frames]
    for second in (None, 2):
        refs = pictures[0], None if second is None else pictures[second]
        mode, mv, _ = motion.search(pictures[1], refs, 1, (0, second), motion.weight_of(14))
        motion.compensate(frames[0], None if second is None else frames[second], mode, mv)
        stream = motion.Stream()
        stream.field(mode.shape, 1, (0, second), (None, None), 0, (mode, mv))
        again, vectors = motion.Stream(stream.finish()).field(mode.shape, 1, (0, second), (None, None), 0)
        np.testing.assert_array_equal(again, mode)
        np.testing.assert_array_equal(vectors, mv)


def test_searches_that_cannot_be_are_refused() -> None:
    one, small = (motion.Picture(np.zeros((n, n), np.int16)) for n in (32, 16))
    with pytest.raises(ValueError, match="of the frame's size"):
        motion.search(one, (small, None), 1, (0, None), 1.0)
    with pytest.raises(ValueError, match="prepared as references"):
        motion.search(one, (motion.Picture(np.zeros((32, 32), np.int16), reference=False), None), 1, (0, None), 1.0)
    with pytest.raises(ValueError, match="its time"):
        motion.search(one, (one, one), 1, (0, None), 1.0)
    with pytest.raises(ValueError, match="its own reference"):
        motion.search(one, (one, None), 1, (1, None), 1.0)
    with pytest.raises(ValueError, match="multiples of 16"):
        motion.Picture(np.zeros((24, 32), np.int16))


def test_a_picture_is_the_same_whatever_memory_held_before(isa: str) -> None:
    rng = np.random.default_rng(3)
    luma, chroma = (rng.integers(0, 4096, shape).astype(np.int16) for shape in ((48, 80), (2, 24, 40)))
    made = set()
    for _ in range(200):
        made.add(motion.Picture(luma, chroma).memory.tobytes())
        np.full(20000, len(made) * 77, np.uint8)  # memory that the next one may be given
    assert len(made) == 1
