"""The closed loop: encoder and decoder hold the same picture, bit for bit, for as long as the video lasts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import model, planes

from lvc.codec.compensate import FRACTION
from lvc.codec.frames import FrameDecoder, FrameEncoder, Planes
from lvc.codec.scales import Scales
from lvc.entropy.clip import FrameLatents, Geometry, check_frames
from lvc.entropy.rans import GopCoder
from lvc.models import Model

BOTH = [("sane", torch.float32), ("wild", torch.float32), ("sane", torch.bfloat16)]


def equal(a: Planes, b: Planes) -> bool:
    return all(x.dtype == np.uint8 and np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def moving(height: int, width: int, count: int) -> list[tuple[Planes, np.ndarray | None]]:
    """A picture that moves by a sample a frame, with fields that are right in most blocks and nonsense in some."""
    rng = np.random.default_rng(0)
    out: list[tuple[Planes, np.ndarray | None]] = []
    for n in range(count):
        motion = np.tile(np.array([-2, -4], np.int16)[:, None, None], (1, height // 8, width // 8))
        wrong = rng.random(motion.shape[1:]) < 0.1
        motion[:, wrong] = rng.integers(-300, 301, (2, int(wrong.sum())))
        out.append((planes(height, width, shift=float(n)), motion if n else None))
    return out


def run(used: Model, items: list[tuple[Planes, np.ndarray | None]], quality: int) -> tuple[list[FrameLatents], int]:
    """Encode and decode in step, checking on the way; returns latents and the number of copied blocks."""
    h, w = items[0][0][0].shape
    encoder, decoder = FrameEncoder(used, h, w), FrameDecoder(used, h, w)
    geometry = Geometry(w, h, 16, used.planes)
    out, copies = [], 0
    for picture, motion in items:
        predicted = None if motion is None else encoder.predict(motion)
        latents = encoder.encode(picture, quality, motion)
        check_frames([latents], geometry)
        assert latents.kind == (motion is not None) and latents.quality == quality
        shown = decoder.decode(latents)
        assert encoder.recon is not None and equal(shown, encoder.recon)
        if predicted is not None:
            skip, copy = latents.planes["skip"][0], latents.planes["copy"][0]
            assert not (copy & ~skip & 1).any()
            y, uv = ((p + (1 << FRACTION - 1)) >> FRACTION for p in predicted)
            for row, col in np.argwhere(copy):
                luma = np.s_[16 * row : 16 * row + 16, 16 * col : 16 * col + 16]
                chroma = np.s_[:, 8 * row : 8 * row + 8, 8 * col : 8 * col + 8]
                assert np.array_equal(shown[0][luma], y[luma])
                assert np.array_equal(shown[1][chroma], uv[chroma])
            copies += int(copy.sum())
        out.append(latents)
    return out, copies


@pytest.mark.parametrize(("kind", "dtype"), BOTH, ids=str)
@pytest.mark.parametrize("quality", [500, 6000, 9500])
def test_encoder_and_decoder_agree_bit_for_bit(kind: str, dtype: torch.dtype, quality: int) -> None:
    used = model(kind, dtype)
    latents, _ = run(used, moving(64, 80, 5), quality)
    geometry = Geometry(80, 64, 16, used.planes)
    payload = GopCoder(geometry, Scales(used), used.tables).pack(latents)  # all of it has codes
    back = GopCoder(geometry, Scales(used), used.tables).unpack(payload, 5)
    assert all(np.array_equal(a.planes[k], b.planes[k]) for a, b in zip(latents, back, strict=True) for k in a.planes)


@pytest.mark.parametrize("size", [(16, 16), (16, 112), (96, 16), (48, 80)], ids=str)
def test_every_size_in_blocks(size: tuple[int, int]) -> None:
    run(model("wild"), moving(*size, 4), 5000)


def test_blocks_are_copied_where_prediction_is_right() -> None:
    _, copies = run(model(), moving(64, 80, 6), 3000)
    assert copies > 20


def test_still_scene_settles_and_then_costs_next_to_nothing() -> None:
    used, picture = model(), planes(96, 128)
    still = np.zeros((2, 12, 16), np.int16)
    encoder, decoder = FrameEncoder(used, 96, 128), FrameDecoder(used, 96, 128)
    geometry = Geometry(128, 96, 16, used.planes)
    coder = GopCoder(geometry, Scales(used), used.tables)
    sizes, shown = [], []
    for n in range(20):
        latents = encoder.encode(picture, 6000, still if n else None)
        shown.append(decoder.decode(latents))
        sizes.append(len(coder.pack([latents])))
    # a frame in a clip of its own has 3 bytes of head and at least a word; the model is untrained
    assert max(sizes[8:]) <= 24 and sizes[0] > 10 * max(sizes[8:])
    assert all(equal(shown[8], s) for s in shown[8:])
    error = [float(((s[0].astype(float) - picture[0]) ** 2).mean()) for s in shown]
    assert max(error[1:]) <= error[0] + 0.5


@pytest.mark.parametrize("kind", ["sane", "wild"])
def test_sixty_frames_stay_a_picture(kind: str) -> None:
    used = model(kind)
    encoder = FrameEncoder(used, 48, 64)
    rng, errors = np.random.default_rng(0), []
    for n in range(60):
        picture = planes(48, 64, shift=n / 3)
        motion = rng.integers(-6, 7, (2, 6, 8)).astype(np.int16) if n else None
        latents = encoder.encode(picture, 7000 if n % 4 == 0 else 5000, motion)
        assert np.abs(latents.planes["latent"].astype(int)).max() < 2000
        assert np.abs(latents.planes["hyper"]).max() <= 31
        assert encoder.recon is not None
        errors.append(float(((encoder.recon[0].astype(float) - picture[0]) ** 2).mean()))
    assert np.mean(errors[40:]) < 4 * np.mean(errors[1:20]) + 20


def test_absurd_latents_give_some_picture() -> None:
    """The loop is fed by files: nothing in range may do more than look wrong."""
    rng = np.random.default_rng(0)
    for kind, dtype in BOTH:
        used = model(kind, dtype)
        decoder = FrameDecoder(used, 32, 48)
        geometry = Geometry(48, 32, 16, used.planes)
        for n in range(8):
            frame = FrameLatents(min(n, 1), int(rng.integers(0, 10001)))
            for spec in geometry.planes:
                if spec.present(frame.kind):
                    info = (0, 1) if spec.dtype == "uint8" else (-32768, 32767)
                    shape = geometry.plane_shape(spec)
                    frame.planes[spec.name] = rng.integers(*info, shape, endpoint=True).astype(spec.dtype)
            y, uv = decoder.decode(frame)
            assert y.shape == (32, 48) and uv.shape == (2, 16, 24) and y.dtype == uv.dtype == np.uint8


def test_a_predicted_frame_needs_one_before_it() -> None:
    used = model()
    latents, _ = run(used, moving(16, 16, 2), 5000)
    with pytest.raises(ValueError):
        FrameDecoder(used, 16, 16).decode(latents[1])


def test_a_key_frame_forgets_what_was() -> None:
    used = model()
    items = moving(48, 48, 4)
    used_before = FrameEncoder(used, 48, 48)
    for picture, motion in items:
        used_before.encode(picture, 5000, motion)
    fresh = FrameEncoder(used, 48, 48)
    for picture, motion in items:
        a, b = used_before.encode(picture, 5000, motion), fresh.encode(picture, 5000, motion)
        assert all(np.array_equal(a.planes[k], b.planes[k]) for k in b.planes)
    assert used_before.recon is not None and fresh.recon is not None and equal(used_before.recon, fresh.recon)


def test_higher_quality_is_closer_and_larger() -> None:
    results = []
    for quality in (1000, 5000, 9000):
        used, items = model(), moving(64, 64, 4)
        encoder, error, size = FrameEncoder(used, 64, 64), 0.0, 0
        coder = GopCoder(Geometry(64, 64, 16, used.planes), Scales(used), used.tables)
        for picture, motion in items:
            size += len(coder.pack([encoder.encode(picture, quality, motion)]))
            assert encoder.recon is not None
            error += float(((encoder.recon[0].astype(float) - picture[0]) ** 2).mean())
        results.append((size, error))
    assert results[0][0] < results[1][0] < results[2][0]
    assert results[0][1] > results[1][1] > results[2][1]
