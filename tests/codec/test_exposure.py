"""Frames that are brighter or darker than what they are predicted from, and scenes that come back."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.codec import EncodedClip, EncodeSettings, decode, encode
from lvc.codec.exposure import LEAST, block_means, fit_exposure
from lvc.codec.frames import FrameEncoder, Given
from lvc.codec.gop import GopDecoder
from lvc.codec.latent_frames import LatentFrame, decode_changed, latents
from lvc.codec.payload import ClipHead
from lvc.codec.pyramid import LONG_REACH, LONG_TERM, OLDER
from lvc.engine.motion_reference import Exposure
from lvc.errors import CorruptError
from lvc.media.types import Frame
from lvc.models.load import load_model
from tests.helpers.small_models import crc, descriptor, frame, model, pictures, same, video, written

SIZE = 96, 128


def scene(seed: int = 0) -> Frame:
    return frame(0, *SIZE, seed=seed)


def at(n: int, gain: float, offset: float) -> Frame:
    """A still scene as a camera shows it at another exposure."""
    f = scene()
    f.y[:] = np.clip(f.y * gain + offset, 0, 255).round().astype(np.uint8)
    for plane in (f.u, f.v):
        plane[:] = np.clip((plane - 128.0) * gain + 128, 0, 255).round().astype(np.uint8)
    return Frame(f.y, f.u, f.v, n, 1)


def shipped_clips(frames: list[Frame], **settings: object) -> list[EncodedClip]:
    options = {"threads": 1, "clip_frames": 8, "quality": 50} | settings
    return list(encode(iter(frames), video(*SIZE), load_model(None), EncodeSettings(**options)))  # type: ignore[arg-type]


def shown(clips: list[EncodedClip]) -> list[Frame]:
    used = load_model(None)
    return list(decode(iter(written(clips)), descriptor(*SIZE, used), used))


@pytest.mark.parametrize(("gain", "offset"), [(64, 40), (48, 0), (80, -100), (64, -8)])
def test_an_exposure_is_found_although_a_third_moves(gain: int, offset: int) -> None:
    rng = np.random.default_rng(gain)
    before = rng.uniform(400, 3000, 900).astype(np.float32)
    now = gain / 64 * before + 4 * offset + rng.normal(0, 3, 900).astype(np.float32)
    now[:300] = rng.uniform(400, 3000, 300)
    found = fit_exposure(now, [(before, Exposure())], Exposure())
    assert abs(found.gain - gain) <= 1 and abs(found.offset - offset) <= 12
    again = fit_exposure(now, [(now, found)], Exposure())
    assert abs(again.gain - found.gain) <= 1, "a reference that has the exposure already"


def test_what_has_not_changed_has_what_is_expected() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(400, 3000, 900).astype(np.float32)
    expected = Exposure(60, 20)
    same_again = before * 60 / 64 + 80 + rng.normal(0, LEAST, 900).astype(np.float32)
    assert fit_exposure(same_again, [(before, Exposure())], expected) == expected
    moved = rng.permutation(before) + 40 * rng.normal(0, 1, 900).astype(np.float32)
    assert fit_exposure(moved, [(before, Exposure())], Exposure()) == Exposure(), "it would save nothing"


def test_block_means_are_those_of_every_second_row() -> None:
    luma = np.arange(16 * 32, dtype=np.int16).reshape(16, 32)
    wanted = luma.reshape(2, 8, 4, 8)[:, ::2].mean((1, 3))
    np.testing.assert_allclose(block_means(luma), wanted.ravel())


def test_a_camera_that_turns_darker_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = (1, 1, 1, 0.9, 0.85, 0.8, 0.75, 0.7, 0.7)
    frames = [at(n, gain, 8 * (1 - gain)) for n, gain in enumerate(gains)]
    clips = shipped_clips(frames)
    back = shown(clips)
    assert [crc(f) for f in back] == [c for clip in clips for c in clip.checks or ()]
    assert max(np.abs(a.y.astype(int) - b.y).mean() for a, b in zip(back, frames, strict=True)) < 3
    used = load_model(None)
    said = list(latents(iter(written(clips)), descriptor(*SIZE, used), used))
    assert said[0].exposure == Exposure() and said[1].exposure in (Exposure(), Exposure(64, -1))  # of what is coded
    assert [f.exposure.gain for f in said][-3:] == pytest.approx([48, 45, 45], abs=2)

    def same_again(f: LatentFrame) -> Given:
        return Given(f.planes, None, f.detail, f.exposure)

    assert same(list(decode_changed(iter(written(clips)), descriptor(*SIZE, used), used, same_again)), back)

    def as_expected(self: FrameEncoder, source: object, refs: object, place: int) -> Exposure:
        return Exposure()

    monkeypatch.setattr(FrameEncoder, "exposure", as_expected)
    without = shipped_clips(frames)
    assert len(clips[1].payload) < 0.5 * len(without[1].payload)


def test_packing_zstd_has_no_exposures() -> None:
    frames = [at(n, 1 - n / 20, 0) for n in range(5)]
    clips = list(encode(iter(frames), video(*SIZE), model(), EncodeSettings(packing="zstd", clip_frames=4)))
    back = pictures(clips, *SIZE, "zstd")
    assert [crc(f) for f in back] == [c for clip in clips for c in clip.checks or ()]


def test_a_scene_that_comes_back_is_predicted_from_the_key_frame() -> None:
    """Something covers a part of the picture for two clips, then is gone."""
    frames = [scene() for _ in range(25)]
    other = scene(seed=5)
    for f in frames[3:20]:
        f.y[:, 80:], f.u[:, 40:], f.v[:, 40:] = other.y[:, 80:], other.u[:, 40:], other.v[:, 40:]
    frames = [Frame(f.y, f.u, f.v, n, 1) for n, f in enumerate(frames)]
    clips = shipped_clips(frames, gop=1e6)
    structures = [c.payload[0] for c in clips if not c.key]
    assert len(structures) == 3 and structures[1] == OLDER and structures[2] == LONG_TERM
    assert len(clips[3].payload) < 0.5 * len(clips[1].payload), "as if it had always been there"
    assert [crc(f) for f in shown(clips)] == [c for clip in clips for c in clip.checks or ()]


def test_an_anchor_too_far_from_its_key_frame_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = GopDecoder.__new__(GopDecoder)
    GopDecoder.__init__(decoder, None)  # type: ignore[arg-type]

    class Anchor:
        time = LONG_REACH - 1

    decoder._last = [Anchor(), Anchor()]  # type: ignore[list-item]
    with pytest.raises(CorruptError, match="too far"):
        decoder.anchors_given(ClipHead(LONG_TERM, (40, 40)), [Given({}), Given({})], lambda *_: None)
