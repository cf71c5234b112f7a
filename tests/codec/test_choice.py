"""What the encoder chooses agrees with what training chose, and refinement is worth its rounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import model, planes

from lvc.codec import choice
from lvc.codec.choice import block_error, block_gain, code_symbols, plan_symbols, quantise, without_harm
from lvc.codec.frames import FrameDecoder, FrameEncoder
from lvc.codec.settings import EFFORTS, Effort
from lvc.codec.sparse import Coded
from lvc.entropy.clip import FrameLatents
from lvc.models.config import code_to_level
from lvc.models.network import checkerboard


@pytest.mark.parametrize("weights", ["sane", "wild"])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 4)])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9, 1.0])
def test_indices_at_coded_blocks_are_those_of_the_whole_frame(
    weights: str, kind: int, size: tuple[int, int], share: float
) -> None:
    net, (h, w) = model(weights).codec.of(kind), size
    m, draw = net.latent, torch.Generator().manual_seed(0)
    z = torch.randint(-31, 32, (net.hyper, -(-h // 4), -(-w // 4)), generator=draw).float()
    past, known = (torch.randint(-20, 21, (m, h, w), generator=draw).float() for _ in range(2))
    skip, past_skip = ((torch.rand(h, w, generator=draw) < s).float() for s in (share, 0.5))
    coded = Coded(net, z, past, skip, past_skip, 4321)
    inputs = net.scale_inputs(z[None], past[None], skip[None, None], past_skip[None, None], torch.tensor([4321.0]))
    known = known * (skip == 0)
    at = (skip == 0).reshape(-1)
    assert torch.equal(coded.indices1().t(), net.indices1(inputs)[0].reshape(m, -1)[:, at])
    assert torch.equal(coded.indices2(known).t(), net.indices2(inputs, known[None])[0].reshape(m, -1)[:, at])


@torch.no_grad()
def test_the_encoders_symbols_are_those_of_training() -> None:
    used = model("sane")
    net, quality = used.codec.inter, 5000
    level = torch.tensor([code_to_level(quality)])
    encoder = FrameEncoder(used, 64, 80)
    x, w = (encoder._patches(encoder._joint(planes(64, 80, shift=s))) for s in (3.0, 0.0))
    w[..., :4] = x[..., :4]  # nothing is missed on the left
    context = net.context(w, level)
    y = net.analysis(x, w, context, level)
    plan = plan_symbols(net, x, w, y, context, level)
    assert 0 < float(plan.skip.mean()) < 1
    first = checkerboard(4, 5, net.latent, x.device)
    past, past_skip = torch.zeros_like(y), torch.zeros_like(plan.skip)
    q, mu, index = quantise(net, y, plan, past, past_skip, torch.tensor([float(quality)]), first)
    coded = Coded(net, plan.z[0], past[0], plan.skip[0, 0], past_skip[0, 0], quality)
    symbols = code_symbols(net, y, plan, coded, first)
    assert torch.equal(symbols.q, q) and torch.equal(symbols.mu, mu) and q.any()
    assert torch.equal(symbols.index.t(), index[0].reshape(net.latent, -1)[:, coded.at])


@torch.no_grad()
def test_blocks_that_symbols_make_worse_lose_them() -> None:
    used = model("sane")
    net, level = used.codec.inter, torch.tensor([12.0])
    encoder = FrameEncoder(used, 64, 80)
    x, w = (encoder._patches(encoder._joint(planes(64, 80, shift=s))) for s in (3.0, 0.0))
    context = net.context(w, level)
    plan = plan_symbols(net, x, w, net.analysis(x, w, context, level), context, level)
    assert without_harm(net, block_gain(x, w, x - w, level), plan, context) is None  # a perfect residual
    coded = (plan.skip == 0).reshape(-1).nonzero()[:, 0]
    row, column = int(coded[0]) // 5, int(coded[0]) % 5
    r = x - w
    r[..., 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 0.5
    better = without_harm(net, block_gain(x, w, r, level), plan, context)
    assert better is not None and int((better.skip != plan.skip).sum()) == 1 and better.skip[0, 0, row, column] == 1


@pytest.mark.parametrize("effort", [0, 4])
def test_the_encoder_looks_for_harm(monkeypatch: pytest.MonkeyPatch, effort: int) -> None:
    def coded() -> FrameLatents:
        encoder = FrameEncoder(model("sane"), 64, 80, EFFORTS[effort])
        encoder.encode(planes(64, 80), 5000, None)
        return encoder.encode(planes(64, 80, shift=3.0), 5000, np.zeros((2, 8, 10), np.int16))

    assert not coded().planes["skip"].all()
    monkeypatch.setattr(choice, "HARM_BITS", -1e9)  # whatever symbols do is harm
    assert coded().planes["skip"].all() and not coded().planes["latent"].any()


def cost(rounds: int, weights: str, quality: int) -> float:
    """λ·error + bits of a key frame, in bits, after `rounds` of refinement; the decoder must show what was coded."""
    used = model(weights)
    picture = planes(96, 112)
    encoder, decoder = FrameEncoder(used, 96, 112, Effort(rounds, rounds)), FrameDecoder(used, 96, 112)
    latents = encoder.encode(picture, quality, None)
    shown = decoder.decode(latents)
    assert encoder.recon is not None and np.array_equal(shown[0], encoder.recon[0])
    x, back = (encoder._patches(encoder._joint(p)) for p in (picture, shown))
    error = block_error(x - back).sum()
    assert latents.tables is not None
    q = np.abs(latents.planes["latent"].reshape(used.config.latent, -1))
    bits = used.tables.bits[latents.tables, np.minimum(q, used.tables.bits.shape[1] - 1)].sum()
    return float(2 ** code_to_level(quality) * error + bits)


@pytest.mark.parametrize(("weights", "factor"), [("sane", 0.99), ("wild", 1.0)])
def test_refinement_lowers_the_cost_that_it_is_for(weights: str, factor: float) -> None:
    """With random networks no step may pay, but none is taken that does not."""
    for quality in (2000, 6000):
        assert cost(6, weights, quality) <= factor * cost(0, weights, quality), quality


def test_refinement_of_predicted_frames_leaves_skipped_blocks_alone() -> None:
    used = model("sane")
    still = np.zeros((2, 8, 10), np.int16)
    encoder, decoder = FrameEncoder(used, 64, 80, Effort(2, 3)), FrameDecoder(used, 64, 80)
    for number, shift in enumerate((0.0, 0.0, 2.0)):
        latents = encoder.encode(planes(64, 80, shift=shift), 5000, still if number else None)
        shown = decoder.decode(latents)
        assert encoder.recon is not None and np.array_equal(shown[0], encoder.recon[0])
        if number:
            assert not latents.planes["latent"][:, latents.planes["skip"][0] == 1].any()


def test_a_quick_judgement_is_decoded_alike_and_chooses_about_the_same_blocks() -> None:
    used = model("sane")
    moved = np.tile(np.array([-2, -4], np.int16)[:, None, None], (1, 8, 10))
    skips = []
    for quick in (False, True):
        encoder, decoder = FrameEncoder(used, 64, 80, Effort(quick=quick)), FrameDecoder(used, 64, 80)
        for number in range(4):
            latents = encoder.encode(planes(64, 80, shift=1.3 * number), 6000, moved if number else None)
            shown = decoder.decode(latents)
            assert encoder.recon is not None and np.array_equal(shown[0], encoder.recon[0])
            if number == 1:
                skips.append(latents.planes["skip"][0])
    assert (skips[0] == skips[1]).mean() > 0.8
