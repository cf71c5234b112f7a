"""MS-SSIM as a loss: the judge's number, with gradients that do what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lvc.evaluation.metrics import ms_ssim as judged
from lvc.training.loss import distortion_of, ms_ssim, structural
from lvc.training.networks import lapped, squared, to_patches
from tests.helpers.small_models import planes


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


def test_patches_behind_the_lapping_filter_are_judged_in_front_of_it() -> None:
    chroma = torch.zeros(1, 2, 96, 96)
    pairs = [torch.from_numpy(p)[None, None] / 255 - 0.5 for p in _pictures(192, 6.0)]
    at = torch.tensor([11.0])
    plain = distortion_of("ssim", *(to_patches(p, chroma) for p in pairs), at)
    behind = distortion_of("ssim", *(to_patches(*lapped(p, chroma)) for p in pairs), at, lap=True)
    assert float(behind) == pytest.approx(float(plain), rel=2e-3)
    assert float(distortion_of("psnr", *(to_patches(p, chroma) for p in pairs), at)) > 0
