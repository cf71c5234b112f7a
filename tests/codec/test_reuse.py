"""Key frames are the better the longer later frames keep what they show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvc.codec.encoder import encode
from lvc.codec.groups import group_frames
from lvc.codec.reuse import LEAST, MOST, key_raise
from lvc.codec.settings import EncodeSettings
from tests.helpers.small_models import frame, model, video

HEIGHT, WIDTH = 96, 128


def luma(shift: float = 0, seed: int = 0) -> np.ndarray:
    return frame(0, HEIGHT, WIDTH, shift=shift, seed=seed).y.astype(np.int16) << 4


def test_what_stays_is_worth_more_than_what_changes() -> None:
    still = [(n, luma()) for n in (4, 8, 16)]
    half = [(n, np.hstack([luma()[:, : WIDTH // 2], (changed(n).astype(np.int16) << 4)])) for n in (4, 8, 16)]
    gone = [(n, luma(seed=n)) for n in (4, 8, 16)]
    raises = [key_raise(luma(), later, 250) for later in (still, half, gone)]
    assert raises[0] > raises[1] + 0.5 > raises[2] + 1 and raises == sorted(raises, reverse=True)
    assert LEAST <= raises[2] and raises[0] <= MOST


def test_what_moves_along_stays() -> None:
    coarse = np.random.default_rng(0).integers(500, 3500, (HEIGHT // 16, WIDTH // 16)).astype(np.int16)
    coarse = coarse.repeat(16, 0).repeat(16, 1)
    moved = [(n, np.roll(coarse, n, 1)) for n in (4, 8, 16)]
    others = [(n, luma(seed=n)) for n in (4, 8, 16)]
    assert key_raise(coarse, moved, 250) > key_raise(coarse, others, 250) + 0.5


def test_the_more_frames_the_better() -> None:
    still = [(n, luma()) for n in (4, 8, 16)]
    raises = [key_raise(luma(), still, frames) for frames in (17, 60, 250)]
    assert raises == sorted(raises) and raises[0] < raises[1] < raises[2]
    assert key_raise(luma(), [], 1) == LEAST


def test_a_key_frame_knows_what_follows() -> None:
    scenes = [0] * 7 + [9] + [3] * 2
    frames = [frame(n, HEIGHT, WIDTH, seed=s) for n, s in enumerate(scenes)]
    settings = EncodeSettings(clip_frames=4)
    groups = list(group_frames(iter(frames), settings, 4, 100, 2))
    assert [(g.key, len(g.frames), g.ends) for g in groups] == [
        (True, 1, False), (False, 4, False), (False, 2, True), (True, 1, False), (True, 1, False), (False, 1, True),
    ]  # fmt: skip
    keys = [g for g in groups if g.key]
    assert [k.elapsed for k in keys] == [0, 7, 8] and [k.after for k in keys] == [groups[1], None, groups[5]]
    live = list(group_frames(iter(frames), replace(settings, low_delay=True), 4, 100, 0))
    assert all(g.after is None for g in live)


def changed(seed: int) -> np.ndarray:
    return frame(0, HEIGHT, WIDTH, seed=seed).y[:, WIDTH // 2 :]


def test_a_scene_that_stands_still_begins_with_a_better_picture() -> None:
    """Unless nothing may wait for what follows."""
    still = [frame(n, HEIGHT, WIDTH) for n in range(60)]
    half = [still[0], *(replace(f, y=np.hstack([f.y[:, : WIDTH // 2], changed(f.pts)])) for f in still[1:])]

    def key(frames: list, **settings: bool) -> int:
        clips = encode(iter(frames), video(HEIGHT, WIDTH), model(), EncodeSettings(effort=1, **settings))
        return len(next(iter(clips)).payload)

    assert key(still) > 1.15 * key(half)
    assert key(still, low_delay=True) == key(half, low_delay=True)
