"""What a training run is made of: footage and its motion, the optimiser, the PCA start, the loss."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clips import Clip
from small_models import SMALL, codec, planes

from lvc.codec.compensate import compensate
from lvc.errors import MediaError, UsageError
from lvc.models.config import LEVEL_MAX, LEVEL_MIN, code_to_level
from lvc.models.network import Codec, to_patches
from lvc.output import subject
from lvc.training.data import CachedClip, _search, find_footage, open_cache, stream
from lvc.training.forward import Past, forward
from lvc.training.loop import _code
from lvc.training.optimizer import Muon
from lvc.training.sampler import to_references, to_samples
from lvc.training.start import blocks, pca_start


@pytest.fixture(scope="module")
def moving() -> CachedClip:
    """As the cache makes them: fields searched forwards twice and once backwards."""
    shown = [planes(96, 112, shift=2.0 * n, seed=3) for n in range(7)]
    y, uv = np.stack([s[0] for s in shown]), np.stack([s[1] for s in shown])
    fields = [_search(y, uv, 22.0), _search(y, uv, 32.0), _search(y[::-1], uv[::-1], 27.0)]
    return CachedClip("moving", y, uv, np.stack(fields))


def test_footage_is_found_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("deep/b.MP4", "a.png", "notes.txt", "c.y4m"):
        (tmp_path / name).touch()
    assert [p.name for p in find_footage((tmp_path,))] == ["a.png", "c.y4m", "b.MP4"]
    assert find_footage((tmp_path / "a.png",)) == [tmp_path / "a.png"]
    for nothing, error in ((tmp_path / "none", MediaError), (tmp_path / "notes.txt", UsageError)):
        with pytest.raises(error) as caught:
            find_footage((tmp_path / "a.png", nothing))  # though the others hold some
        assert subject(caught.value) == str(nothing)


def test_files_that_cannot_be_used_are_reported_and_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "broken.mp4").write_bytes(b"nonsense" * 100)
    (data / "empty.png").touch()
    Clip(size=(48, 48)).write(data / "small.mp4")
    Clip(size=(64, 64), frames=2).write(data / "short.mp4")
    Clip(size=(70, 66), frames=3).write(data / "good.mp4")
    told: list[str] = []
    clips = open_cache((data,), tmp_path / "cache", 432, 120, 0, told.append)
    assert [c.name for c in clips] == ["good.mp4"]
    named = sorted(t.removeprefix("left out ").split(":")[0] for t in told)
    assert named == ["broken.mp4", "empty.png", "short.mp4", "small.mp4"]
    (c,) = clips
    assert c.y.shape == (3, 64, 64) and c.uv.shape == (3, 2, 32, 32) and c.motion.shape == (3, 3, 2, 8, 8)
    # the second time nothing is decoded again
    status = (data / "good.mp4").stat()
    (data / "good.mp4").write_bytes(b"\0" * status.st_size)
    os.utime(data / "good.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
    again = open_cache((data / "good.mp4",), tmp_path / "cache", 432, 120, 0, told.append)
    assert np.array_equal(again[0].y, c.y) and np.array_equal(again[0].motion, c.motion)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for width in (64, 128):
        Clip(size=(width, 64), frames=3).write(path)
        (clip,) = open_cache((path,), tmp_path / "cache", 432, 120, 0, print)
        assert clip.y.shape == (3, 64, width)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))  # its size is the same
    open_cache((path,), tmp_path / "cache", 432, 120, 0, print)
    assert len(list((tmp_path / "cache").glob("*.bin"))) == 3


def test_large_footage_is_scaled_down(tmp_path: Path) -> None:
    Clip(size=(160, 200), frames=3).write(tmp_path / "a.mp4")
    (clip,) = open_cache((tmp_path / "a.mp4",), tmp_path / "cache", 100, 2 + 1, 0, print)
    assert clip.y.shape == (3, 96, 80)


def test_streams_keep_motion_and_pictures_together(moving: CachedClip) -> None:
    """Cropped, mirrored or backwards, the field still predicts each frame from the one before it in the stream."""
    kinds, missed, still = set(), 0.0, 0.0
    for seed in range(24):
        rng = random.Random(seed)
        peek = random.Random(seed)
        kinds.add((peek.random() < 0.5, peek.random() < 0.5))
        before: tuple[np.ndarray, np.ndarray] | None = None
        for y, uv, motion in stream(moving, 64, 5, rng):
            assert y.shape == (64, 64) and uv.shape == (2, 32, 32) and motion.shape == (2, 8, 8)
            if before is not None:
                one = np.ascontiguousarray(motion)[None]
                guess, _ = compensate(before[0][None], before[1][None], one)
                inner = np.s_[8:-8, 8:-8]
                one_missed = np.abs(guess[0].astype(int) - y)[inner].mean()
                one_still = np.abs(before[0].astype(int) - y)[inner].mean()
                assert one_missed < 0.75 * one_still
                missed, still = missed + one_missed, still + one_still
            before = np.ascontiguousarray(y), np.ascontiguousarray(uv)
    assert len(kinds) == 4 and missed < 0.6 * still


def test_samples_and_references_are_inverse() -> None:
    y, uv = (plane.astype(np.int16) * 16 for plane in planes(32, 48))
    y += np.arange(y.size, dtype=np.int16).reshape(y.shape) % 7 * (y < 4000)
    back = to_references(to_samples(y[None], uv[None]))
    assert np.array_equal(back[0][0], y) and np.array_equal(back[1][0], uv)


def test_references_of_pictures_are_their_samples() -> None:
    y, uv = planes(32, 48)
    back = to_references(to_samples(y[None], uv[None]))
    assert np.array_equal(back[0][0], y.astype(np.int16) * 16) and np.array_equal(back[1][0], uv.astype(np.int16) * 16)


def test_codes_are_those_of_the_encoder() -> None:
    levels = torch.tensor([LEVEL_MIN, 7.77, 12.5, LEVEL_MAX])
    codes = _code(levels)
    assert torch.equal(codes, codes.round()) and float(codes.min()) == 0 and float(codes.max()) == 10000
    assert all(abs(code_to_level(int(c)) - float(v)) < 1e-3 for c, v in zip(codes, levels, strict=True))


def test_muon_steps_are_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.zeros(8, 24, 1, 1)), torch.nn.Parameter(torch.zeros(8, 24, 1, 1))]
    tall, unused = torch.nn.Parameter(torch.zeros(24, 8, 1, 1)), torch.nn.Parameter(torch.ones(3, 3, 1, 1))
    optimizer = Muon([*weights, tall, unused], lr=0.1)
    for p in (*weights, tall):
        p.grad = torch.randn_like(p) * 1000
    optimizer.step()
    for p, scale in ((weights[0], 1.0), (weights[1], 1.0), (tall, 3.0**0.5)):
        values = torch.linalg.svdvals(p.detach().reshape(p.shape[:2]))
        assert 0.05 * scale < float(values.min()) and float(values.max()) < 0.13 * scale
        assert p.grad is not None and float((p.detach() * p.grad).sum()) < 0  # downhill
    assert torch.equal(unused.detach(), torch.ones(3, 3, 1, 1))


def test_blocks_are_in_the_order_of_a_strided_convolution() -> None:
    patches = torch.randn(2, 96, 4, 6)
    weight = torch.randn(5, 96, 2, 2)
    expected = F.conv2d(patches, weight, stride=2).permute(0, 2, 3, 1).reshape(-1, 5)
    assert torch.allclose(blocks(patches) @ weight.reshape(5, -1).T, expected, atol=1e-4)


def test_pca_start_is_the_best_linear_codec() -> None:
    torch.manual_seed(0)
    mix = torch.randn(24, 384)
    rows = torch.randn(600, 24) @ mix * 0.02 + 0.1
    net = Codec(SMALL).requires_grad_(False).intra
    assert pca_start(net, rows) > 0.9999
    patches = rows[:6].reshape(1, 2, 3, 96, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, 96, 4, 6)
    assert torch.allclose(blocks(patches), rows[:6])
    back = F.pixel_shuffle(net.decoder_linear(net.encoder_linear(patches)), 2)
    assert torch.allclose(back, patches, atol=1e-4)


@pytest.mark.parametrize("predicted", [False, True])
def test_the_loss_is_finite_and_reaches_every_weight_that_matters(predicted: bool) -> None:
    torch.manual_seed(0)
    net = codec().of(1 if predicted else 0)
    x = torch.cat([_patches(0.0, s) for s in (1, 2)])
    w = torch.cat([_patches(0.8, s) for s in (1, 2)]) if predicted else None
    level = torch.tensor([9.0, 14.0])
    result = forward(net, x, w, level, _code(level), Past.zeros(2, net.latent, 4, 4))
    for value in (result.loss, result.mse, result.bpp, result.coded):
        assert value.shape == (2,) and bool(torch.isfinite(value).all())
    assert result.recon.shape == x.shape and result.past.symbols.shape == (2, net.latent, 4, 4)
    assert float(result.mse[0]) > float(result.mse[1]) and float(result.bpp[0]) < float(result.bpp[1])
    result.loss.mean().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None]
    assert not missing
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


def _patches(shift: float, seed: int) -> torch.Tensor:
    y, uv = planes(64, 64, shift, seed)
    return to_patches(torch.from_numpy(y)[None, None] / 255 - 0.5, torch.from_numpy(uv)[None] / 255 - 0.5)
