"""What the temporal filter takes out, and what it leaves alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from lvc.codec import temporal_filter
from lvc.codec.groups import group_frames, look_ahead
from lvc.codec.settings import EncodeSettings
from lvc.codec.temporal_filter import STRENGTHS, filtered
from lvc.media.types import Frame

LEVEL = 10.0


def scene(seed: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Smooth luma of 12 bits."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(500, 3500, (size[0] // 16, size[1] // 16))
    fine = coarse.repeat(16, 0).repeat(16, 1)
    for _ in range(12):
        fine = (fine + np.roll(fine, 1, 0) + np.roll(fine, 1, 1) + np.roll(fine, -1, 0) + np.roll(fine, -1, 1)) / 5
    return fine


def noisy(luma: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    half = np.full((2, luma.shape[0] // 2, luma.shape[1] // 2), 2048.0)
    y, uv = (np.rint(p + rng.normal(0, 60, p.shape)).clip(0, 4095).astype(np.int16) for p in (luma, half))
    return y, uv


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a.astype(np.float64) - b) ** 2).mean())


def test_noise_of_a_still_and_of_a_moving_scene_falls() -> None:
    clean = scene(1)
    for step in (0, 2):
        frames = [noisy(np.roll(clean, step * k, 1), k) for k in range(5)]
        around = [(abs(k - 2), partial(frames.__getitem__, k)) for k in (1, 3, 0, 4)]
        y, uv = filtered(frames[2], around, LEVEL, STRENGTHS[0])
        inner = np.s_[16:-16, 16:-16]
        truth = np.roll(clean, 2 * step, 1)
        assert error(y[inner], truth[inner]) < 0.5 * error(frames[2][0][inner], truth[inner])
        assert error(uv, np.full(uv.shape, 2048)) < 0.5 * error(frames[2][1], np.full(uv.shape, 2048))


def test_frames_of_another_scene_change_next_to_nothing() -> None:
    own, other = noisy(scene(1) / 3, 0), noisy(scene(2) / 3 + 2700, 1)
    y, uv = filtered(own, [(1, lambda: other), (2, lambda: other)], LEVEL, STRENGTHS[0])
    assert error(y, own[0]) < 0.01 * error(own[0], scene(1) / 3)
    assert y.dtype == uv.dtype == np.int16 and y.shape == own[0].shape


def test_it_does_not_matter_which_predictions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [noisy(np.roll(scene(1), k, 1), k) for k in range(5)]
    around = [(abs(k - 2), partial(frames.__getitem__, k)) for k in (1, 3, 0, 4)]

    def made(kept: int) -> tuple[bytes, bytes]:
        monkeypatch.setattr(temporal_filter, "KEPT", kept)
        y, uv = filtered(frames[2], around, LEVEL, STRENGTHS[0])
        return y.tobytes(), uv.tobytes()

    assert made(0) == made(3) == made(4)


def test_without_frames_around_nothing_is_done() -> None:
    own = noisy(scene(1), 0)
    assert filtered(own, [], LEVEL, 1.0) is own


def frames_of(scenes: list[int]) -> list[Frame]:
    out = []
    for i, number in enumerate(scenes):
        y, uv = noisy(scene(number), i)
        y, uv = (y >> 4).astype(np.uint8), (uv >> 4).astype(np.uint8)
        out.append(Frame(y, uv[0], uv[1], i, 1))
    return out


@pytest.mark.parametrize("reach", [0, 1, 4])
def test_frames_around_are_of_the_same_scene_and_within_reach(reach: int) -> None:
    scenes = [1] * 7 + [2] * 3
    seen = list(look_ahead(iter(frames_of(scenes)), reach))
    assert [s.frame.pts for s in seen] == list(range(10))
    assert [s.cut for s in seen[1:]] == [i == 7 for i in range(1, 10)]
    for i, s in enumerate(seen):
        near = {(abs(k - i), k) for k in range(10) if k != i and abs(k - i) <= reach and scenes[k] == scenes[i]}
        assert {(d, f.pts) for d, f in s.around} == near


def test_a_group_is_known_by_what_is_around_its_last_frame() -> None:
    settings = EncodeSettings(clip_frames=4)
    groups = list(group_frames(iter(frames_of([1] * 7)), settings, 4, 100, 2))
    assert [[f.pts for f in g.frames] for g in groups] == [[0], [1, 2, 3, 4], [5, 6]]
    assert [sorted(f.pts for _, f in g.around) for g in groups] == [[1, 2], [2, 3, 5, 6], [4, 5]]
