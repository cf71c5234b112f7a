"""The float networks: shapes, ranges, and that a start without training already is a transform codec."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_models import SMALL, codec, planes

from lvc.models.config import LEVEL_MAX, LEVEL_MIN, ModelConfig, code_to_level, level_to_code
from lvc.models.fused import available
from lvc.models.load import ready
from lvc.models.network import (
    SIGMA_MIN,
    SIGMA_RATE,
    Codec,
    Context,
    Gains,
    checkerboard,
    from_patches,
    gaussian_bits,
    step_size,
    to_patches,
)


def test_patches_are_a_permutation_of_samples() -> None:
    y, uv = planes(32, 48)
    a, b = torch.from_numpy(y)[None, None], torch.from_numpy(uv)[None]
    patches = to_patches(a, b)
    assert patches.shape == (1, 96, 4, 6)
    back = from_patches(patches)
    assert torch.equal(back[0], a) and torch.equal(back[1], b)
    assert torch.equal(patches[0, :64, 1, 2].reshape(8, 8), torch.from_numpy(y[8:16, 16:24]))


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (18, 22)], ids=str)
@pytest.mark.parametrize("intra", [True, False], ids=["intra", "inter"])
def test_shapes(size: tuple[int, int], intra: bool) -> None:
    net = codec().requires_grad_(False).of(0 if intra else 1)
    h8, w8 = size
    h16, w16 = h8 // 2, w8 // 2
    x, w = torch.randn(2, 96, h8, w8) / 8, None if intra else torch.randn(2, 96, h8, w8) / 8
    level = torch.tensor([7.0, 12.0])
    context = net.context(w, level)
    y = net.analysis(x, w, context, level)
    assert y.shape == (2, net.latent, h16, w16) and y.dtype == torch.float32
    z = torch.round(net.hyper_analysis(y, context))
    assert z.shape == (2, SMALL.hyper, math.ceil(h16 / 4), math.ceil(w16 / 4)) and float(z.abs().max()) <= 31
    p, mu = net.means1(z, context, (h16, w16))
    assert mu.shape == y.shape and net.means2(p, y).shape == y.shape
    inputs = net.scale_inputs(z, y.round(), torch.zeros_like(y[:, :1]), torch.zeros_like(y[:, :1]), level * 100)
    first = net.indices1(inputs)
    for index in (first, net.indices2(inputs, y.round())):
        assert index.shape == y.shape and torch.equal(index, index.round())
        assert 0 <= float(index.min()) and float(index.max()) <= 63
    assert net.synthesis(y, context, level).shape == x.shape


def test_the_start_reconstructs_better_the_higher_the_level() -> None:
    net = codec().requires_grad_(False).intra
    x = to_patches(*(torch.from_numpy(p).reshape(1, -1, *p.shape[-2:]) / 255 - 0.5 for p in planes(64, 64, seed=1)))
    errors = []
    for level in (7.0, 10.0, 13.0):
        at = torch.tensor([level])
        y = net.analysis(x, None, Context(None, None), at)
        errors.append(float(((net.synthesis(y.round(), Context(None, None), at) - x) ** 2).mean()))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 5e-4


def test_each_sample_of_a_batch_has_its_own_level() -> None:
    net = codec().requires_grad_(False).intra
    x = torch.randn(1, 96, 4, 4).expand(2, -1, -1, -1) / 8
    both = torch.tensor([8.0, 12.0])
    y = net.analysis(x, None, Context(None, None), both)
    for n in range(2):
        one = net.analysis(x[n : n + 1], None, Context(None, None), both[n : n + 1])
        assert torch.allclose(y[n : n + 1], one, atol=1e-4)


def test_gains_interpolate_between_anchors_and_stay_positive() -> None:
    gains = Gains(3).requires_grad_(False)
    gains.table.copy_(torch.randn_like(gains.table))
    assert torch.allclose(gains(torch.tensor([LEVEL_MIN + 3.0]))[0, :, 0, 0], gains.table[3].exp())
    middle = gains(torch.tensor([LEVEL_MIN + 3.5]))[0, :, 0, 0]
    assert torch.allclose(middle, ((gains.table[3] + gains.table[4]) / 2).exp())
    for level, row in ((LEVEL_MIN - 5, 0), (LEVEL_MAX, -1), (LEVEL_MAX + 5, -1)):
        assert torch.allclose(gains(torch.tensor([level]))[0, :, 0, 0], gains.table[row].exp())


def test_quality_codes_cover_the_levels() -> None:
    assert [level_to_code(v) for v in (LEVEL_MIN - 1, LEVEL_MIN, LEVEL_MAX, LEVEL_MAX + 1)] == [0, 0, 10000, 10000]
    assert all(level_to_code(code_to_level(c)) == c for c in range(0, 10001, 37))
    assert torch.allclose(step_size(torch.tensor([11.0])) ** 2 * 2**11, torch.tensor([11.5]))


def test_gaussian_bits_are_those_of_the_table_of_that_index() -> None:
    for index in (1, 20, 45):
        sigma = SIGMA_MIN * math.exp(SIGMA_RATE * index)
        q = torch.arange(-400.0, 401.0)
        p = 2.0 ** -gaussian_bits(q, torch.full_like(q, float(index)))
        assert abs(float(p.sum()) - 1) < 1e-3
        if sigma > 1:
            assert abs(float((p * q**2).sum()) - sigma**2 - 1 / 12) < 0.02 * sigma**2


def test_checkerboard_is_that_of_the_entropy_coder() -> None:
    from lvc.entropy.rans import first_pass

    for shape in ((2, 3, 5), (7, 4, 4), (128, 9, 11)):
        made = checkerboard(*shape[1:], shape[0], torch.device("cpu"))[0].numpy()
        assert np.array_equal(made, first_pass(shape))


def test_ready_makes_bf16_of_the_networks_but_not_of_integers_and_gains() -> None:
    net = codec()
    ready(net, torch.device("cpu"), torch.bfloat16)
    for name, parameter in net.named_parameters():
        kept = any(part in name for part in ("scale1", "scale2", "gain", "hyper_scale"))
        assert parameter.dtype == (torch.float32 if kept else torch.bfloat16), name
        assert not parameter.requires_grad
    assert net.intra.scale1.first._frozen is not None


def test_config_survives_its_text() -> None:
    config = ModelConfig(name="x", latent=40)
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("kind", [0, 1], ids=["intra", "inter"])
@pytest.mark.parametrize("size", [(2, 2), (6, 10), (18, 22)], ids=str)
def test_fused_networks_compute_the_same(kind: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 up to rounding; in bfloat16 as near to that as the layers one by one."""
    torch.manual_seed(0)
    h, w = size
    plain = codec().requires_grad_(False).eval()
    for block in plain.modules():  # random where training starts with zeros
        if isinstance(block, (torch.nn.Conv2d, Gains)):
            for p in block.parameters():
                p += torch.randn_like(p) * 0.3 * p[0].numel() ** -0.5
    x, guess = torch.randn(1, 96, h, w) / 8, torch.randn(1, 96, h, w) / 8 if kind else None
    n = torch.randn(1, plain.of(kind).latent, h // 2, w // 2) * 3

    def outputs(net: Codec, level: torch.Tensor) -> list[torch.Tensor]:
        one = net.of(kind)
        context = one.context(guess, level)
        found = [one.analysis(x, guess, context, level), one.synthesis(n, context, level)]
        found.append(one.linear_synthesis(n, level))
        again, back = one.synthesis_and_back(n, context, level)
        assert torch.allclose(again, found[1], rtol=1e-5, atol=1e-5 * float(again.abs().max()))
        found.append(back(torch.linspace(-1, 1, again.numel()).reshape(again.shape)))
        return found + ([context.c.float(), context.side.float()] if kind else [])  # type: ignore[union-attr]

    def made(dtype: torch.dtype, fused: bool) -> Codec:
        net = Codec(SMALL)
        net.load_state_dict(plain.state_dict())
        ready(net, torch.device("cpu"), dtype)
        for one in (net.intra, net.inter):
            assert one._fused is not None or not available()
            if not fused:
                one._fused = None
        return net

    monkeypatch.setattr("lvc.models.fused.KEPT", 0 if size == (6, 10) else 10**6)
    nets = [made(d, f) for d, f in ((torch.float32, True), (torch.bfloat16, False), (torch.bfloat16, True))]
    bfloat16 = torch.zeros(6 if kind else 4, 2)  # mean squared errors of all levels: one by one, fused
    with torch.no_grad():
        for number in (8.0, 8.5, 9.0, 12.25, 14.0, 8.0):  # more levels than are kept
            level = torch.tensor([number])
            made_by = zip(outputs(plain, level), *(outputs(net, level) for net in nets), strict=True)
            for output, (exact, *found) in enumerate(made_by):
                assert torch.allclose(found[0], exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))
                bfloat16[output] += torch.stack([((one - exact) ** 2).mean() for one in found[1:]])
    assert (bfloat16[:, 1] <= 2.5 * bfloat16[:, 0]).all()


def test_fused_networks_leave_gradients_alone() -> None:
    net = codec()
    ready(net, torch.device("cpu"), torch.float32)
    n = torch.randn(1, SMALL.latent, 2, 2, requires_grad=True)
    net.intra.synthesis(n, Context(None, None), torch.tensor([9.0])).sum().backward()
    assert n.grad is not None and bool(n.grad.any())
