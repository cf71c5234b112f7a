"""MS-SSIM as a loss: the judge's number, with gradients that do what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import codec, planes

from lvc.codec.perceptual import block_weights
from lvc.evaluation.metrics import ms_ssim as judged
from lvc.models.network import to_patches
from lvc.training.forward import Past, forward
from lvc.training.loop import _code
from lvc.training.loss import ms_ssim, squared, structural


def _pictures(side: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    y, _ = planes(side, side, 1.5, 3)
    rng = np.random.default_rng(1)
    return y, (y + rng.normal(0, noise, y.shape)).clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 4.0, 40.0])
def test_it_is_the_judges_number(noise: float) -> None:
    a, b = _pictures(192, noise)
    x, y = (torch.from_numpy(p)[None, None].float() / 255 for p in (a, b))
    assert float(ms_ssim(x, y)) == pytest.approx(judged(a, b), abs=2e-4)


def test_small_pictures_have_fewer_scales() -> None:
    a, b = (torch.from_numpy(p)[None, None].float() / 255 for p in _pictures(64, 10.0))
    assert 0 < float(ms_ssim(a, b)) < float(ms_ssim(a, a)) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="no window"):
        ms_ssim(a[..., :8], b[..., :8])


def _patches(side: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    chroma = torch.zeros(1, 2, side // 2, side // 2)
    one, other = (torch.from_numpy(p)[None, None] / 255 - 0.5 for p in _pictures(side, noise))
    return to_patches(one, chroma), to_patches(other, chroma)


def test_structure_costs_about_what_squared_error_costs_and_chroma_counts() -> None:
    x, y = _patches(192, 3.0)
    for level in (7.0, 11.0, 15.0):
        at = torch.tensor([level])
        ratio = float(structural(x, y, at) / squared(x, y, at))
        assert 0.1 < ratio < 10
    other = x.clone()
    other[:, 64:] += 0.1
    assert float(structural(x, other, at)) == pytest.approx(0.35 * float(squared(x, other, at)), rel=1e-3)


def test_following_its_gradient_raises_ms_ssim() -> None:
    x, y = _patches(192, 10.0)
    at = torch.tensor([11.0])
    y.requires_grad_()
    before = structural(x, y, at)
    (gradient,) = torch.autograd.grad(before, y)
    after = structural(x, y.detach() - 0.01 * gradient / gradient.abs().max(), at)
    assert bool(torch.isfinite(gradient).all()) and float(after) < float(before.detach())


def test_even_nothing_in_common_has_a_finite_gradient() -> None:
    x, _ = _patches(192, 0.0)
    y = (-x).requires_grad_()
    (gradient,) = torch.autograd.grad(structural(x, y, torch.tensor([15.0])), y)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("predicted", [False, True])
def test_a_step_for_ssim_is_finite(predicted: bool) -> None:
    torch.manual_seed(0)
    net = codec().of(1 if predicted else 0)

    def drawn(shift: float) -> torch.Tensor:
        y, uv = planes(64, 64, shift, 1)
        return to_patches(torch.from_numpy(y)[None, None] / 255 - 0.5, torch.from_numpy(uv)[None] / 255 - 0.5)

    level = torch.tensor([12.0])
    result = forward(
        net,
        drawn(0.0),
        drawn(0.8) if predicted else None,
        level,
        _code(level),
        Past.zeros(1, net.latent, 4, 4),
        "ssim",
    )
    result.loss.mean().backward()
    assert bool(torch.isfinite(result.loss).all())
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


def test_flat_blocks_weigh_more_than_textured_ones() -> None:
    y = np.full((32, 48), 120, np.uint8)
    y[:, 16:32] += np.random.default_rng(0).integers(0, 100, (32, 16), np.uint8)
    x = to_patches(torch.from_numpy(y)[None, None] / 255 - 0.5, torch.zeros(1, 2, 16, 24))
    weight = block_weights(x)
    assert weight.shape == (1, 1, 2, 3)
    assert float(weight[..., 1].max()) < 1 < float(weight[..., 0].min())
    assert float(weight.log().mean()) == pytest.approx(0, abs=1e-5)
    assert torch.equal(block_weights(torch.zeros_like(x)), torch.ones(1, 1, 2, 3))
