# ruff: noqa: E501
"""Codec 2's float networks as integer programs: the same in C and numpy, and near what training's rounding computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lvc.engine import nets, planes, reference
from lvc.engine import program as p
from lvc.engine.rans_reference import Writer
from lvc.training import export, quantise
from lvc.training import networks as floats

SIZE = 12, 16
LEVEL = 56
"""log2 λ = 12."""


def lively(net: nn.Module) -> None:
    """Layers that start at 0 are given weights."""
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, floats.Block):
                nn.init.normal_(m.b.weight, std=0.05)
                nn.init.normal_(m.g.weight, std=0.05)
        net.hyper_encoder[-1].weight.mul_(100)  # type: ignore[union-attr, index, operator]
        net.entropy.base.fill_(24.0)  # type: ignore[union-attr, operator]


def hyper(net: nn.Module, h: torch.Tensor) -> np.ndarray:
    """Hyper-latents in floats [h,w,Z]. Borders as in the engine, where the edge goes on; in training zeros lie there."""
    for layer in net.hyper_encoder:  # type: ignore[union-attr]
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            h = F.pad(h, (1, 1, 1, 1), mode="replicate")
            h = F.conv2d(h, layer.weight, layer.bias, 2)
        else:
            h = layer(h)
    return h[0].permute(1, 2, 0).numpy()


def picture(seed: int) -> torch.Tensor:
    """Smooth patches with an edge."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SIZE[0] * 8, 0 : SIZE[1] * 8] / 40.0
    luma = 0.25 * np.sin(x + rng.normal()) * np.cos(y * rng.normal()) + 0.2 * (x > y) - 0.1
    chroma = np.stack([luma[::2, ::2], -luma[1::2, 1::2]]) * 0.5
    a, b = (torch.from_numpy(v).float()[None] for v in (luma[None], chroma))
    return floats.to_patches(*floats.lapped(a, b))


def named(net: nn.Module, module: nn.Module) -> str:
    return next(name for name, m in net.named_modules() if m is module)


def engine_order(x: torch.Tensor) -> np.ndarray:
    """[1,M,h,w] → [h,w,M] by quarters."""
    return x[0].permute(1, 2, 0).numpy()[:, :, export.quarters(x.shape[1])]


def analysed(model: p.Model, name: str, inputs: list[np.ndarray], place: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Latents in steps and hyper-latents, the same in C and numpy."""
    level = LEVEL + place * export.LEVELS
    out = nets.Network(model, name).run(inputs, SIZE, level)
    slow = reference.Run(model, name, inputs, SIZE, level).run()
    assert all(np.array_equal(a, b) for a, b in zip(out, slow, strict=True))
    return out[0] / 16, out[1]


def both(model: p.Model, name: str, inputs: list[np.ndarray], **given: np.ndarray) -> tuple[list[np.ndarray], bytes]:
    """Written by C, read again by C, and written by the reference: one result."""
    network, writer = nets.Network(model, name), nets.Coder()
    out = network.run(inputs, SIZE, LEVEL, coder=writer, **given)
    data = writer.finish()
    coded = {k: v for k, v in given.items() if k == "coded"}
    again = network.run(inputs, SIZE, LEVEL, coder=nets.Coder(data), **coded)
    assert all(np.array_equal(a, b) for a, b in zip(out, again, strict=True))
    assert model.tables is not None
    slow = Writer()
    run = reference.Run(model, name, inputs, SIZE, LEVEL, reference.TableSymbols(slow, model.tables), **given)  # type: ignore[arg-type]
    assert all(np.array_equal(a, b) for a, b in zip(out, run.run(), strict=True))
    return out, data


def test_key_frames() -> None:
    torch.manual_seed(0)
    net = floats.Intra(32, 48, 32, 8, 24, (1, 1), (1, 1)).eval()
    floats.pca_start(net, torch.cat([floats.blocks(picture(k)) for k in range(3)]), 12.0)
    lively(net)
    with torch.no_grad():
        net.hyper_encoder[-1].weight.mul_(20)  # pca_start made it small
    level = torch.tensor([12.0])
    samples = quantise.Samples(net)
    with torch.no_grad():
        for k in range(3):
            net(picture(k), level, noisy=False)
        samples.close()
        cal = quantise.calibrate(net, samples)
        quantise.apply(net, cal)
        y = torch.floor(net.analysis(picture(1), level) * 16 + 0.5) / 16
        z = torch.floor(net.hyper_analysis(y) + 0.5)
        q, mu, index = net.entropy(y, net.features(z, (6, 8)), level)
        patches = net.synthesis(q + mu, level)
        raw = hyper(net, y.clamp(-32, 32) / 4)
    model = export.model((net, cal), None)
    eighths = np.rint(picture(1)[0].permute(1, 2, 0).numpy() * 4080 * 8).astype(np.int16)
    latents, hypers = analysed(model, "key_analysis", [eighths])
    assert np.sqrt(np.mean((latents - engine_order(y)) ** 2)) < 0.05
    assert np.sqrt(np.mean((hypers - raw) ** 2)) < 0.4 and raw.std() > 1  # 0.29 of it is the rounding
    given = {"y": (engine_order(y) * 16).astype(np.int16), "z": z[0].permute(1, 2, 0).numpy().astype(np.int16)}
    (got, values), data = both(model, "key", [], **given)
    assert np.mean(np.abs(values - 16 * engine_order(q + mu)) <= 2) > 0.97
    wanted = patches[0].permute(1, 2, 0).numpy() * 4080 * 8
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 0.06 * wanted.std()
    z_index = ((net.hyper_scale.detach() - np.log(floats.SIGMA_MIN)) / floats.SIGMA_RATE)[None, :, None, None]
    bits = float(floats.gaussian_bits(q, index).sum() + floats.gaussian_bits(z, z_index.round()).sum())
    assert abs(len(data) * 8 - bits) < 0.02 * bits + 64
    laps = export.laps()
    assert all(
        np.array_equal(a, b)
        for a, b in zip(planes.key_planes(got, laps), planes.key_planes_reference(got, laps), strict=True)
    )
    back = floats.lapped(
        *floats.from_patches(torch.from_numpy(got.astype(np.float32)).permute(2, 0, 1)[None] / 8 + 2040), back=True
    )
    assert np.abs(planes.key_planes(got, laps)[0] - back[0][0, 0].clamp(0, 4095).numpy()).max() < 1.5


@pytest.mark.parametrize("place", [0, 2])
def test_predicted_frames(place: int) -> None:
    torch.manual_seed(1)
    net = floats.Inter(32, 32, 8, 16, 1, 1, 24).eval()
    lively(net)
    with torch.no_grad():
        for gains in (net.decoder_gain, net.inverse_gain, net.context_gain):
            gains.kinds.normal_(0, 0.2)
        net.context_d.weight.normal_(0, 0.05)
    kind, level = torch.tensor([place]), torch.tensor([12.0])
    samples = quantise.Samples(net)

    def frame(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, d = picture(seed), 0.01 * torch.randn(1, 96, *SIZE)
        w = torch.round((x + 0.06 * torch.randn_like(x)) * 4080) / 4080
        return x, w, torch.round(d * 4080) / 4080

    with torch.no_grad():
        for k in range(3):
            net.symbols(*frame(k), level, kind)
        samples.close()
        cal = quantise.calibrate(net, samples)
        for conv in (net.hyper_decoder[0], net.decoder_mix):  # as weights grow in a training with these units
            conv.weight[3, 2] = 1.5 * 127 * float(quantise.units(net, cal)[named(net, conv)][0][3])
        quantise.apply(net, cal)
        x, w, d = frame(1)
        c, side = net.context(w, d, level, kind)
        y = torch.floor(net.analysis(x - w, c, level, kind) * 16 + 0.5) / 16
        keep = torch.ones(1, 1, 6, 8)
        keep[..., 2, 1:5] = 0
        z = torch.floor(net.hyper_analysis(y, side) + 0.5)
        h = net.after_hyper(net.hyper_decoder(z)[:, :, :6, :8])
        offset = net.entropy_kind[kind][:, :, None, None]
        q, mu, _ = net.entropy(y, torch.cat([h, side, keep], 1), level, keep, offset)
        n = (q + mu) * keep
        residual = net.synthesis(n, c, level, kind)
        raw = hyper(net, torch.cat([y.clamp(-16, 16) / 4, side], 1))
    model = export.model(None, (net, cal))
    patches = [np.rint(v[0].permute(1, 2, 0).numpy() * 4080).astype(np.int16) for v in (w, d, x - w)]
    latents, hypers = analysed(model, "predicted_analysis", patches, place)
    assert np.sqrt(np.mean((latents - engine_order(y)) ** 2)) < 0.05
    assert np.sqrt(np.mean((hypers - raw) ** 2)) < 0.4 and raw.std() > 1  # 0.29 of it is the rounding
    coded = keep[0, 0].numpy().astype(np.uint8)
    inputs: list[np.ndarray] = [np.rint(v[0].permute(1, 2, 0).numpy() * 4080).astype(np.int16) for v in (w, d)] + [
        coded[..., None] * 127
    ]
    given = {
        "y": (engine_order(y) * 16).astype(np.int16),
        "z": z[0].permute(1, 2, 0).numpy().astype(np.int16),
        "coded": coded,
    }
    global LEVEL
    before, LEVEL = LEVEL, LEVEL + place * export.LEVELS
    try:
        (got, values), _ = both(model, "predicted", inputs, **given)
    finally:
        LEVEL = before
    assert np.mean(np.abs(values - 16 * engine_order(n)) <= 2) > 0.97
    wanted = residual[0].permute(1, 2, 0).numpy() * 4080 * 8
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 0.06 * wanted.std()
