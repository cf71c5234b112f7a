"""Conversion of float networks to integers: calibration, and the engine's rounding for fine-tuning.

A calibration holds a unit for every channel of every tensor that the engine rounds (`Act`), of 16-bit tensors (`Wide`)
and of trunks. Units are any real numbers, because weights take them up; a trunk's readers share its units up to a power
of two. Each is the one with the least squared error on a sample of activations. Gradients of a training with
`--quantised` go through the rounding.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .networks import Act, Block, Conv, Entropy, Inter, Intra, Wide

SAMPLES, PER_CALL = 4096, 192
ZEROS_LEAKY, ZEROS = (8, 12, 16, 24), (48, 64, 80)
CLIP = 20
"""Quarters of octaves that may be clamped."""
TRUNK_SHIFT = 6
"""The shift of a trunk's coarsest reader: 16 bits are then 8 times the range of 7."""
LINEAR_LIMIT = 8191

Calibration = dict[str, Any]
"""name of an Act, Wide or trunk → (unit by channel, zero point)."""


@dataclass
class Trunk:
    """A 16-bit sum: its readers."""

    readers: list[str]
    channels: int


def trunks(net: nn.Module) -> dict[str, Trunk]:
    """Trunks in the order of the network, by the name of what they begin with."""

    def of(blocks: str, last: tuple[str, ...]) -> Trunk:
        found = [
            n for n, m in net.named_modules() if isinstance(m, Block) and (n == blocks or n.startswith(blocks + "."))
        ]
        return Trunk(
            [f"{n}.{r}" for n in found for r in ("read_a", "read_f")] + list(last),
            net.get_submodule(found[0]).a.in_channels,  # type: ignore[arg-type,union-attr]
        )

    if isinstance(net, Intra):
        out = {
            "encoder8": of("encoder8", ("read_down",)), "encoder16": of("encoder16", ("read_encoder_out",)),
            "hyper_mix": of("hyper_mix", ("read_features",)), "decoder16": of("decoder16", ("read_up",)),
            "decoder8": of("decoder8", ("read_out",)),
        }  # fmt: skip
    else:
        out = {
            "context_block": of("context_block", ("read_side", "read_mix_c")),
            "encoder": of("encoder", ("read_encoder_out",)),
            "decoder": of("decoder", ("read_out",)),
        }  # fmt: skip
    entropy = net.entropy
    assert isinstance(entropy, Entropy)
    for s in range(4):
        out[f"entropy.{s}"] = Trunk([f"entropy.read_more.{s}", f"entropy.read_out.{s}"], entropy.level.out_features)
    return out


def readers(net: nn.Module) -> dict[str, list[str]]:
    """Names of the convolutions that read an Act: how much each channel's error weighs."""
    out: dict[str, list[str]] = {}
    for n, m in net.named_modules():
        if isinstance(m, Block):
            out |= {
                f"{n}.read_a": [f"{n}.a"],
                f"{n}.after_a": [f"{n}.d"],
                f"{n}.after_d": [f"{n}.b"],
                f"{n}.read_f": [f"{n}.f"],
                f"{n}.gate": [f"{n}.g"],
            }
    for s in range(4):
        out |= {
            f"entropy.read_more.{s}": [f"entropy.more.{s}"],
            f"entropy.read_out.{s}": [f"entropy.out.{s}"],
            f"entropy.after_mix.{s}": [f"entropy.spread.{s}"],
        }
    if isinstance(net, Intra):
        out |= {
            "read_down": ["encoder_down"],
            "read_encoder_out": ["encoder_out"],
            "read_decoder_in": ["decoder_in"],
            "read_up": ["decoder_up"],
            "read_out": ["decoder_out"],
        }
    else:
        out |= {
            "read_side": ["context_side"],
            "read_encoder_out": ["encoder_out"],
            "read_decoder_in": ["decoder_in"],
            "read_out": ["decoder_out"],
        }
    return out


# What is seen


class Samples:
    """Activations of every Act and Wide of a network while floats run through it."""

    def __init__(self, net: nn.Module, seed: int = 0) -> None:
        self.rows: dict[str, list[torch.Tensor]] = {}
        self.largest: dict[str, torch.Tensor] = {}
        self.generator = torch.Generator().manual_seed(seed)
        self.points = {n: m for n, m in net.named_modules() if isinstance(m, Act | Wide)}
        for n, m in self.points.items():
            m.watch = lambda x, n=n: self.see(n, x)

    def see(self, name: str, x: torch.Tensor) -> None:
        flat = x.detach().float().permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        largest = flat.abs().amax(0)
        self.largest[name] = torch.maximum(self.largest.get(name, largest), largest)
        if isinstance(self.points[name], Act):
            pick = torch.randint(len(flat), (min(PER_CALL, len(flat)),), generator=self.generator)
            self.rows.setdefault(name, []).append(flat[pick])

    def of(self, name: str) -> torch.Tensor:
        rows = torch.cat(self.rows[name])
        return rows[torch.randperm(len(rows), generator=self.generator)[:SAMPLES]]

    def close(self) -> None:
        for m in self.points.values():
            m.watch = None


def rounded(x: torch.Tensor, scale: torch.Tensor, act: Act, zero: int) -> torch.Tensor:
    v = torch.floor(x / scale + 0.5)
    if act.leaky:
        v = torch.where(v < 0, torch.floor(v / 8), v)
    return v.clamp(-zero, act.high - zero) * scale


def errors(x: torch.Tensor, scale: torch.Tensor, act: Act, zero: int) -> torch.Tensor:
    """Squared error by channel."""
    y = torch.where(x < 0, x / 8, x) if act.leaky else x
    return (rounded(x, scale, act, zero) - y).square().mean(0)


def best(
    x: torch.Tensor, act: Act, zero: int, weight: torch.Tensor, blend: float, whole: bool = False
) -> tuple[torch.Tensor, float]:
    """Units by channel (`whole`: one for all) of least squared error, and that error, weighted. `blend` between one
    unit for all (0) and each channel's own (1)."""
    y = torch.where(x < 0, x / 8, x) if act.leaky else x
    room = torch.where(y > 0, y / (act.high - zero), -y / max(zero, 1))
    if whole:
        room = room.amax(1, keepdim=True).expand_as(room)
    top = room.amax(0).clamp_min(1e-7)
    tries = torch.stack([top * 2 ** (-k / 4) for k in range(CLIP)])
    found = torch.stack([errors(x, t, act, zero) for t in tries])
    if whole:
        found = (found * weight).sum(1, keepdim=True).expand_as(found)
    scale = tries.gather(0, found.argmin(0)[None])[0]
    if blend < 1 and not whole:
        top = scale.max()
        alike = min(
            (top * 2 ** (-k / 4) for k in range(12)),
            key=lambda t: float((errors(x, t.expand_as(scale), act, zero) * weight).sum()),
        )
        scale = scale.clamp_min(float(top) / 256) ** blend * alike ** (1 - blend)
    return scale, float((errors(x, scale, act, zero) * weight).sum())


def column_weight(net: nn.Module, names: list[str], channels: int) -> torch.Tensor:
    total = torch.full((channels,), 1e-9)
    for n in names:
        w = net.get_submodule(n).weight.detach().float()  # type: ignore[operator]
        s = w.square().flatten(2).sum(2)
        total = total + (s.sum(1) if s.shape[1] == 1 else s.sum(0)[:channels])
    return total


def calibrate(net: nn.Module, samples: Samples, blend: float = 1.0) -> Calibration:
    out: Calibration = {}
    read = readers(net)
    acts = {n: m for n, m in net.named_modules() if isinstance(m, Act) and n in samples.rows}

    def weight(n: str) -> torch.Tensor:
        return (
            column_weight(net, read.get(n, []), samples.of(n).shape[1])
            if n in read
            else torch.ones(samples.of(n).shape[1])
        )

    grouped = {r: t for t, trunk in trunks(net).items() for r in trunk.readers}
    for n, act in acts.items():
        if n in grouped or n.endswith(("after_u", "after_v", "known", "gate", "read_hyper")):
            continue
        x, w = samples.of(n), weight(n)
        tries = [(*best(x, act, z, w, blend), z) for z in (ZEROS_LEAKY if act.leaky else ZEROS)]
        scale, _, zero = min(tries, key=lambda t: t[1])
        if n == "hyper_decoder.2":  # hyper-latents seldom seen must not ask for weights beyond 8 bits
            first = net.hyper_decoder[0].weight.detach().abs().flatten(1).amax(1)  # type: ignore[index, union-attr]
            scale = torch.maximum(scale, first.reshape(-1, 4).amax(1) / 100)
        out[n] = scale, zero
    for n, m in net.named_modules():
        if isinstance(m, Block) and f"{n}.gate" in samples.rows:
            out |= gate(net, n, samples, weight(f"{n}.gate"), blend)
    for t, trunk in trunks(net).items():
        if trunk.readers[0] in samples.rows:
            out |= trunk_units(t, trunk, net, samples, weight, blend)
    for n in acts:  # of the values' sixteenths, powers of two
        if n.endswith(("known", "read_hyper")):
            unit = 1 / 16 / (4 if n.endswith("read_hyper") else 1)
            x = samples.of(n)
            scales = [torch.full((x.shape[1],), unit * 2**k) for k in range(7)]
            out[n] = min(scales, key=lambda s: float(errors(x, s, acts[n], 64).sum())), 64
    for n, largest in samples.largest.items():
        if isinstance(samples.points[n], Wide):
            bound, room = (LINEAR_LIMIT, 1.5) if "linear" in n else (4096, 1.0)
            out[n] = (largest.clamp_min(float(largest.max()) / 256) * room / bound), 0
    fit(net, out)
    return out | offsets(net, out, samples)


def gate(net: nn.Module, name: str, samples: Samples, weight: torch.Tensor, blend: float) -> Calibration:
    """u and v have 8 bits; their product is shifted to 7."""
    block = net.get_submodule(name)
    assert isinstance(block, Block)
    u, _ = best(samples.of(f"{name}.after_u"), block.after_u, 128, torch.ones_like(weight), blend)
    v, _ = best(samples.of(f"{name}.after_v"), block.after_v, 128, torch.ones_like(weight), blend)
    v = v.clamp_max(8 / 127)
    x = samples.of(f"{name}.gate")
    tries = [
        (float((errors(x, u * v * 2.0**k, block.gate, z) * weight).sum()), k, z) for k in range(2, 12) for z in ZEROS
    ]
    _, k, z = min(tries)
    if blend:  # what the product's unit should be is moved to v's, halfway
        wanted, _ = best(x, block.gate, z, weight, blend)
        ratio = (wanted / (u * v * 2.0**k)).clamp(0.5, 2.0)
        v = (v * ratio).clamp_max(8 / 127)
    return {f"{name}.after_u": (u, 128), f"{name}.after_v": (v, 128), f"{name}.gate": (u * v * 2.0**k, z)}


def trunk_units(name: str, trunk: Trunk, net: nn.Module, samples: Samples, weight: Any, blend: float) -> Calibration:
    acts = {r: net.get_submodule(r) for r in trunk.readers if r in samples.rows}
    rows = {r: samples.of(r) for r in acts}
    logs = []
    for r, act in acts.items():
        s, _ = best(rows[r], act, 64, weight(r), blend)  # type: ignore[arg-type]
        logs.append(s.log() - s.log().mean())
    shape = torch.stack(logs).mean(0).exp()
    choice: tuple[float, float, dict[str, tuple[int, int]]] | None = None
    middle = {}
    for r in acts:
        peak = float((rows[r] / shape).abs().max()) / 64
        middle[r] = peak
    for part in (0.0, 0.25, 0.5, 0.75):
        total, picks = 0.0, {}
        for r, act in acts.items():
            top = math.ceil(math.log2(middle[r]))
            tries = []
            for k in range(top - 5, top + 1):
                for z in ZEROS:
                    e = float((errors(rows[r], shape * 2.0 ** (k + part), act, z) * weight(r)).sum())  # type: ignore[arg-type]
                    tries.append((e, k, z))
            e, k, z = min(tries)
            power = float((rows[r].square().mean(0) * weight(r)).sum())
            total, picks[r] = total + e / power, (k, z)
        if choice is None or total < choice[0]:
            choice = total, part, picks
    assert choice is not None
    _, part, picks = choice
    coarse = max(k for k, _ in picks.values())
    out: Calibration = {name: (shape * 2.0 ** (coarse + part - TRUNK_SHIFT), 0)}
    for r, (k, z) in picks.items():
        k = max(k, coarse - TRUNK_SHIFT)
        out[r] = shape * 2.0 ** (k + part), z
    return out


def fit(net: nn.Module, cal: Calibration) -> None:
    """Makes units coarser where a weight would not fit into 8 bits: a trunk's as a whole, others' by channel."""
    found = trunks(net)
    writers: dict[str, list[str]] = {}
    for t, trunk in found.items():
        if t in cal:
            blocks = sorted({r.rsplit(".", 1)[0] for r in trunk.readers if r.endswith(("read_a", "read_f"))})
            writers[t] = [f"{b}.{k}" for b in blocks for k in "bg"]
            if t.startswith("entropy"):
                writers[t] = [t.replace("entropy", f"entropy.{k}") for k in ("spread", "more")]
            if t == "hyper_mix":
                writers[t].append("hyper_decoder.3")
    ends = {f"{n}.a": f"{n}.after_a" for n, m in net.named_modules() if isinstance(m, Block)}
    ends |= {f"{n}.d": f"{n}.after_d" for n, m in net.named_modules() if isinstance(m, Block)}
    ends |= {f"entropy.mix.{k}": f"entropy.after_mix.{k}" for k in range(4)}
    ends["hyper_decoder.0"] = "hyper_decoder.2"
    if isinstance(net, Inter):
        ends |= {
            "hyper_decoder.3": "after_hyper",
            "context_side": "after_side",
            "decoder_in": "after_decoder_in",
            "decoder_mix": "wide_mix",
        }
    else:
        ends |= {"decoder_in": "wide_decoder_in", "decoder_up": "wide_up"}

    def excess(conv: str) -> torch.Tensor:
        rows, columns = units(net, cal)[conv]
        w = net.get_submodule(conv).weight.detach().float().flatten(2).abs().amax(2)  # type: ignore[operator]
        return ((w * columns).amax(1) / rows / 127).clamp_min(1.0)

    for conv, act in ends.items():
        if act in cal:
            more = excess(conv)
            scale, zero = cal[act]
            cal[act] = scale * more.reshape(len(scale), -1).amax(1), zero
    for t, convs in writers.items():
        steps = max(math.ceil(math.log2(float(excess(c).max()))) for c in convs)
        if steps:
            unit, _ = cal[t]
            cal[t] = unit * 2.0**steps, 0
            for r in found[t].readers:  # none reads finer than the trunk
                scale, zero = cal[r]
                ratio = float((scale / cal[t][0]).mean())
                cal[r] = (scale / min(ratio, 1.0) if ratio < 0.99 else scale), zero


def offsets(net: nn.Module, cal: Calibration, samples: Samples) -> Calibration:
    """The mean bias of rounding of each Act, by channel."""
    out: Calibration = {}
    for n, (scale, zero) in cal.items():
        act = dict(net.named_modules()).get(n)
        if isinstance(act, Act) and not n.endswith(("after_u", "after_v", "known", "read_hyper")):
            x = samples.of(n)
            y = torch.where(x < 0, x / 8, x) if act.leaky else x
            out[n + ":offset"] = (y - rounded(x, scale, act, zero)).mean(0), 0
    return out


# Application


def units(net: nn.Module, cal: Calibration) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Convolution → units of its outputs and of its inputs, where the engine computes it with 8 bits."""

    def s(n: str) -> torch.Tensor:
        return torch.as_tensor(cal[n][0])

    out: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def block(n: str, trunk: str) -> None:
        out[f"{n}.a"] = s(f"{n}.after_a"), s(f"{n}.read_a")
        out[f"{n}.d"] = s(f"{n}.after_d") / s(f"{n}.after_a"), torch.ones(1)
        out[f"{n}.b"] = s(trunk), s(f"{n}.after_d")
        out[f"{n}.f"] = torch.cat([s(f"{n}.after_u"), s(f"{n}.after_v")]), s(f"{n}.read_f")
        out[f"{n}.g"] = s(trunk), s(f"{n}.gate")

    for t, trunk in trunks(net).items():
        if t in cal:
            for n in sorted({r.rsplit(".", 1)[0] for r in trunk.readers if r.endswith(("read_a", "read_f"))}):
                block(n, t)
    m = int(net.m)  # type: ignore[arg-type]
    inter = isinstance(net, Inter)
    known = s("entropy.known")
    features = torch.cat([s("after_hyper"), s("after_side"), torch.tensor([1 / 127])]) if inter else s("read_features")
    for k in range(4):
        trunk = s(f"entropy.{k}")  # type: ignore[assignment]
        out[f"entropy.mix.{k}"] = s(f"entropy.after_mix.{k}"), torch.cat([features, known]) if k else features
        out[f"entropy.spread.{k}"] = trunk / s(f"entropy.after_mix.{k}"), torch.ones(1)  # type: ignore[arg-type]
        out[f"entropy.more.{k}"] = trunk, s(f"entropy.read_more.{k}")  # type: ignore[assignment]
        ends = torch.cat([torch.full((m,), 1 / 16), torch.full((m,), 1 / 8)])
        out[f"entropy.out.{k}"] = ends, s(f"entropy.read_out.{k}")

    def four(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(4)

    hyper = net.hyper_decoder
    assert isinstance(hyper, nn.Sequential)
    out["hyper_decoder.0"] = four(s("hyper_decoder.2")), torch.ones(hyper[0].in_channels)  # type: ignore[call-overload]
    if inter:
        out["hyper_decoder.3"] = four(s("after_hyper")), s("hyper_decoder.2")
        out["context_side"] = s("after_side"), s("read_side")
        out["decoder_in"] = four(s("after_decoder_in")), s("read_decoder_in")
        out["decoder_mix"] = s("wide_mix"), torch.cat([s("after_decoder_in"), s("read_mix_c")])
    else:
        out["hyper_decoder.3"] = four(s("hyper_mix")), s("hyper_decoder.2")
        out["decoder_in"] = s("wide_decoder_in"), s("read_decoder_in")
        out["decoder_up"] = four(s("wide_up")), s("read_up")
    return out


ENCODER = ("encoder", "read_down", "read_encoder_out", "read_hyper", "hyper_encoder", "wide_")


def apply(net: nn.Module, cal: Calibration, weights: bool = True, activations: bool = True) -> None:
    """Enable rounding on the decoder's side."""
    for n, (scale, zero) in cal.items():
        module = dict(net.named_modules()).get(n)
        if activations and isinstance(module, Act) and not n.startswith(ENCODER) and n != "read_out":
            module.scale, module.zero = torch.as_tensor(scale).float(), int(zero)
            module.offset = torch.as_tensor(cal[n + ":offset"][0]).float() if n + ":offset" in cal else None
    if weights:
        for n, (rows, columns) in units(net, cal).items():
            conv = net.get_submodule(n)
            if isinstance(conv, Conv) and not n.startswith(ENCODER):
                conv.rows, conv.columns = rows.float(), columns.float()
    entropy = net.entropy
    assert isinstance(entropy, Entropy)
    entropy.whole = True


def load(net: nn.Module, path: Path) -> None:
    """A checkpoint's mean of weights, or its weights."""
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["ema"] or state["model"])


def calibrate_intra(stills: Path, model: Path, blend: float = 1.0, batches: int = 8, crop: int = 256) -> Calibration:
    from .intra import patches
    from .stills import Stills

    net, rng = Intra(), np.random.default_rng(1)
    load(net, model)
    net = net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    samples, source = Samples(net), Stills(stills)
    with torch.no_grad():
        for k in range(batches):
            level = torch.tensor([6.0, 8.0, 10.0, 12.0, 14.0, 17.0]) + (k % 4) / 2
            net(patches(*source.crops(rng, 6, crop)), level, noisy=False)
        samples.close()
        return calibrate(net, samples, blend)


def calibrate_inter(
    clips: Path, intra_path: Path, model: Path, blend: float = 1.0, groups: int = 4, crop: int = 256
) -> Calibration:
    from .footage import Clips
    from .inter import Loop, planes12

    intra, net = Intra(), Inter()
    load(intra, intra_path)
    load(net, model)
    intra, net = (n.to(memory_format=torch.channels_last).eval() for n in (intra, net))  # type: ignore[call-overload]
    torch.manual_seed(1)
    loop = Loop(Clips(clips), intra, argparse.Namespace(batch=4, crop=crop, searchers=0, device="cpu"), 1)
    samples = Samples(net)
    with torch.no_grad():
        for _ in range(groups):
            group = loop.fresh()
            for _ in range(12):
                x, w, d = loop.ready(group)
                got = net(x, w, d, group.level, torch.full((4,), min(group.now[3], 5)))
                if not group.order:
                    break
                loop.keep(group, planes12(got["recon"].float()))
        samples.close()
        return calibrate(net, samples, blend)
