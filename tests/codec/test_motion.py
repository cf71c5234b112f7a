"""Searching motion and choosing it by rate and distortion."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from small_models import planes

import lvc.media.motion as motion
from lvc.codec.compensate import compensate
from lvc.codec.motion_choice import MotionChoice
from lvc.entropy.coder import Coding, Encoder
from lvc.entropy.fields import MotionCoder
from lvc.errors import UnsupportedError
from lvc.media.motion import MotionSearch, vectors_to_field

VECTOR = np.dtype(
    [("w", "u1"), ("h", "u1"), ("dst_x", "<i2"), ("dst_y", "<i2"), ("motion_x", "<i4"), ("motion_y", "<i4")]
)


def noise(height: int, width: int, left: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    """A window of one fixed, smooth random picture."""
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 256, (40, 60)).repeat(8, 0).repeat(8, 1).astype(float)
    for axis in (0, 1):
        grid = sum(np.roll(grid, k, axis) for k in range(-5, 6)) / 11
    y = grid[top : top + height, left : left + width].astype(np.uint8)
    return y, np.full((2, height // 2, width // 2), 128, np.uint8)


def search(frames: list[tuple[np.ndarray, np.ndarray]], crf: float = 26.0) -> list[np.ndarray]:
    h, w = frames[0][0].shape
    searcher = MotionSearch(w, h, crf)
    return [f for pair in frames for f in searcher.push(*pair)] + list(searcher.flush())


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -2), (-5, 4)])
def test_a_global_shift_is_found(dx: int, dy: int) -> None:
    frames = [noise(144, 176, 100 + dx * n, 80 + dy * n) for n in range(5)]
    fields = search(frames)
    assert len(fields) == 5 and not fields[0].any()
    choice = MotionChoice(144, 176)
    for n in range(1, 5):
        field, missed = choice.choose(frames[n - 1][0], frames[n][0], fields[n], 4.0)
        inner = field[:, 3:-3, 3:-3]
        assert (inner == np.array([4 * dx, 4 * dy])[:, None, None]).mean() > 0.95
        assert missed < 1.0
        y, _ = compensate(frames[n - 1][0][None], frames[n - 1][1][None], field[None])
        assert np.abs(y[0].astype(int) - frames[n][0])[24:-24, 24:-24].mean() < 0.2


@pytest.mark.parametrize("size", [(16, 16), (16, 160), (160, 16), (32, 48)], ids=str)
def test_small_pictures_give_one_field_a_frame(size: tuple[int, int]) -> None:
    frames = [planes(*size, shift=n) for n in range(4)]
    fields = search(frames)
    assert [f.shape for f in fields] == [(2, size[0] // 8, size[1] // 8)] * 4
    choice = MotionChoice(*size)
    for n in range(1, 4):
        field, missed = choice.choose(frames[n - 1][0], frames[n][0], fields[n], 8.0)
        assert field.dtype == np.int16 and field.shape == fields[n].shape and np.isfinite(missed)


def test_one_frame_and_none() -> None:
    searcher = MotionSearch(32, 32, 26.0)
    assert list(searcher.flush()) == []
    assert [f.any() for f in search([planes(32, 32)])] == [False]


def test_fields_come_without_delay() -> None:
    """Memory and latency: no frame waits for later ones."""
    searcher = MotionSearch(64, 64, 26.0)
    for n in range(6):
        assert len(list(searcher.push(*planes(64, 64, shift=n)))) == 1


def test_choosing_trades_bits_for_error() -> None:
    rng = np.random.default_rng(1)
    frames = []
    for n in range(6):
        y, uv = noise(144, 176, 100 + 2 * n, 80)
        frames.append((np.clip(y + rng.normal(0, 5, y.shape), 0, 255).astype(np.uint8), uv))
    fields = search(frames, 20.0)
    # what a searcher might give that listens to noise
    fields = [(f + rng.integers(-2, 3, f.shape)).astype(np.int16) for f in fields]
    results = []
    for price in (0.0, 8.0, 200.0):
        choice, encoder, coder = MotionChoice(144, 176), Encoder(), MotionCoder(9, 11)
        none, error = np.zeros((9, 11), np.uint8), 0.0
        for n in range(1, 6):
            field, missed = choice.choose(frames[n - 1][0], frames[n][0], fields[n], price)
            coder.code(Coding(encoder), field, none, none)
            error += missed / 5
        results.append((len(encoder.finish()), error))
    (free, free_error), (usual, usual_error), (dear, dear_error) = results
    assert dear < usual < 0.75 * free
    assert free_error <= usual_error <= dear_error
    assert usual_error < 1.15 * free_error


def test_restart_forgets_the_field_before() -> None:
    a, b = noise(48, 64, 100, 80), noise(48, 64, 104, 80)
    field = np.full((2, 6, 8), 3, np.int16)
    fresh, used = MotionChoice(48, 64), MotionChoice(48, 64)
    used.choose(a[0], b[0], np.full((2, 6, 8), -40, np.int16), 0.0)
    used.restart()
    for x, y in zip(fresh.choose(a[0], b[0], field, 6.0), used.choose(a[0], b[0], field, 6.0), strict=True):
        assert np.array_equal(x, y)


def records(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(list(rows), VECTOR)


def test_vectors_become_fields() -> None:
    assert not vectors_to_field(None, 2, 4).any()
    assert not vectors_to_field(records(), 2, 4).any()
    field = vectors_to_field(
        records((16, 16, 8, 8, 5, -7), (16, 8, 24, 4, 1, 2), (8, 8, 20, 12, 99999, -99999), (8, 8, 28, 12, 3, 3)), 2, 4
    )
    assert field[0].tolist() == [[5, 5, 1, 1], [5, 5, 2048, 3]]
    assert field[1].tolist() == [[-7, -7, 2, 2], [-7, -7, -2048, 3]]


def test_blocks_without_vectors_take_their_left_neighbours() -> None:
    field = vectors_to_field(records((8, 8, 12, 4, 9, 9), (8, 8, 4, 12, 4, 4)), 2, 3)
    assert field[0].tolist() == [[0, 9, 9], [4, 4, 4]]


def test_vectors_outside_the_picture_are_ignored() -> None:
    field = vectors_to_field(records((16, 16, 8, 8, 1, 1), (16, 16, 200, 8, 7, 7), (16, 16, -20, 8, 7, 7)), 2, 2)
    assert (field == 1).all()


def test_a_build_without_x264_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, mode: str) -> Any:
        raise ValueError(f"no codec {name}")

    without = SimpleNamespace(FFmpegError=av.FFmpegError, CodecContext=SimpleNamespace(create=refuse))
    monkeypatch.setattr(motion, "av", without)
    with pytest.raises(UnsupportedError, match="libx264"):
        MotionSearch(32, 32, 26.0)
