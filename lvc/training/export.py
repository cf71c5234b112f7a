"""Trained networks and their calibrations as a model's file, for the engine.

    python -m lvc.training.export INTRA.pt INTRA.cal INTER.pt INTER.cal OUT.safetensors

Programs `key` (outputs: patches in eighths of a sample, before the inverse lapping; values) and `predicted` (inputs:
patches of the prediction less 2040, of the difference, s16 at 1/8; 127 where a block has symbols, u7 at 1/16. Outputs:
residual in eighths of a sample; values). A run's level is place · 128 + q, with log2 λ = 5 + q / 8; key frames have
place 0. Channels of latents are ordered by their quarter (channel modulo 4).
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..engine import program as p
from ..engine import quantise as q
from ..output import publish
from .networks import KINDS, LARGEST, PATCH, SIGMA_MIN, SIGMA_RATE, Block, Gains, Inter, Intra, KindGains, lapping
from .quantise import ENCODER, LINEAR_LIMIT, Calibration, load, units

LEVELS = 128
EIGHTH = 1 / 4080 / 8
"""Eighths of a 12-bit sample."""
SIXTEENTH = 1 / 16
CONTEXT_LIMIT = 2047
"""12-bit samples around 2040; differences clamped to ±4 quarter steps have the same range."""

FINE, FINE_LIMIT = 32, 8191
"""Parts of a 7-bit unit that 16-bit layers of the encoder compute with, and how far they read: twice as far as
7 bits, and more."""

Array = np.ndarray[Any, Any]
Read = tuple[p.Source, list[tuple[float, int]], Array]
"""A source; unit and zero point of its channels; what rounding took from them on average."""


def levels_of(places: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(level, place) of every row of a table."""
    level = 5 + torch.arange(LEVELS) / 8
    return level.repeat(places), torch.arange(places).repeat_interleave(LEVELS)


def array(x: Any) -> Array:
    return np.asarray(torch.as_tensor(x).detach().double().numpy())


def gaussian_tables() -> p.Tables:
    """Symbols of Gaussians by the ratio of `SIGMA_RATE`; what lies beyond the reach is the escape's."""
    from math import erfc

    reach, rows = np.zeros(64, np.uint16), []
    for i in range(1, 64):
        sigma = SIGMA_MIN * math.exp(SIGMA_RATE * i)
        r = int(min(max(math.ceil(4.2 * sigma), 1), 1500))
        reach[i] = r
        tail = np.array([0.5 * erfc((k - 0.5) / sigma / math.sqrt(2)) for k in range(r + 2)])  # P(x > k - 1/2)
        one = tail[1 : r + 1] - tail[2 : r + 2]
        middle = 1 - 2 * tail[1]
        rows.append(frequencies(np.concatenate([one[::-1], [middle], one, [max(2 * tail[r + 1], 1e-5)]])))
    return p.Tables(reach, np.concatenate(rows).astype(np.uint32))


def frequencies(weights: Array) -> Array:
    """Whole numbers in proportion to `weights`, 1 or more, that add up to 65536."""
    share = weights / weights.sum() * (65536 - len(weights))
    f: Array = 1 + share.astype(np.int64)
    f[np.argsort(share.astype(np.int64) - share, kind="stable")[: 65536 - f.sum()]] += 1
    return f


class Exporter:
    """One network's programs; a tensor's units are kept by its number."""

    def __init__(self, net: Intra | Inter, cal: Calibration, places: int) -> None:
        self.net = net
        self.level, self.place = levels_of(places)
        self.scale = {n: array(s) for n, (s, _) in cal.items()}
        self.zero = {n: int(z) for n, (_, z) in cal.items()}
        self.units = {n: (array(r), array(c)) for n, (r, c) in units(net, cal).items()}
        self.program = p.Program([], [], [], [])

    def tensor(self, name: str, kind: str, scale: int, channels: int) -> int:
        self.program.tensors.append(p.Tensor(name, kind, scale, channels))
        return len(self.program.tensors) - 1

    def input(self, name: str, kind: str, scale: int, channels: int) -> int:
        self.program.inputs.append(self.tensor(name, kind, scale, channels))
        return self.program.inputs[-1]

    def offset(self, act: str) -> Array:
        return self.scale.get(act + ":offset", np.zeros(len(self.scale[act])))

    def source(self, tensor: int, act: str, unit: Array | float) -> Read:
        """A 16-bit tensor of `unit` as `act` reads it."""
        ratio = self.scale[act] / unit
        shift = int(np.rint(np.log2(ratio.mean())))
        assert np.allclose(ratio, 2.0**shift, rtol=1e-4), (act, ratio.min(), ratio.max())
        return (
            p.Source(tensor, shift, self.zero[act]),
            [(float(s), self.zero[act]) for s in self.scale[act]],
            self.offset(act),
        )

    def ordered(self, tensor: int, act: str, unit: Array | float) -> Read:
        """As `source`, of channels in the order of latents."""
        source, columns, offset = self.source(tensor, act, unit)
        return source, [columns[c] for c in self.channels], offset[self.channels]

    def whole(self, tensor: int, unit: Array) -> Read:
        """A 16-bit tensor of `unit` as a 16-bit layer reads it."""
        return p.Source(tensor), [(float(u), 0) for u in unit], np.zeros(len(unit))

    def as_is(self, tensor: int, act: str) -> Read:
        """A 7-bit tensor that `act` made."""
        return p.Source(tensor), [(float(s), self.zero[act]) for s in self.scale[act]], self.offset(act)

    def conv(
        self,
        name: str,
        out: int,
        read: list[Read],
        weight: Array,
        bias: Array,
        rows: Array,
        mode: str = p.POINT,
        **more: Any,
    ) -> int:
        """`weight` [outputs,inputs] and `rows` in the engine's order."""
        columns = [c for _, columns, _ in read for c in columns]
        bias = bias + weight @ np.concatenate([offset for *_, offset in read])
        part = q.matrix(
            weight / rows[:, None], bias / rows, columns, 1.0, wide=more["limit"] if more.get("wide") else 0
        )
        outputs = len(weight) // (4 if mode == p.UP2 else 1)
        self.program.layers.append(p.Layer(p.CONV, out, [s for s, *_ in read], outputs, mode, parts=[part], **more))
        return out

    def coarse_enough(self, act: str, weight: Array, read: list[Read]) -> Array:
        """Units of `act`, made coarser where a weight would not fit into 8 bits."""
        columns = np.array([unit for _, columns, _ in read for unit, _ in columns])
        peak = np.abs(weight * columns).max(1) / 127
        self.scale[act] = np.maximum(self.scale[act], peak)
        return self.scale[act]

    def weights(self, name: str) -> tuple[Array, Array]:
        conv = self.net.get_submodule(name)
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        weight = array(conv.weight)
        if name in self.units and not name.startswith(ENCODER):  # training with rounding has cut them off there, too
            rows, columns = self.units[name]
            most = 127 * rows[:, None] / columns[None] * (1 - 1e-9)
            weight = np.clip(weight, -most[..., None, None], most[..., None, None])
        return weight[:, :, 0, 0] if weight.shape[2] == 1 else weight, array(conv.bias)

    def shuffled(self, name: str, rows: Array | None = None) -> tuple[Array, Array, Array]:
        """Weights, biases and units before a pixel shuffle: outputs (0,0), (0,1), (1,0), (1,1) one after the other."""
        weight, bias = self.weights(name)
        rows = self.units[name][0] if rows is None else rows
        order = np.arange(len(weight)).reshape(-1, 4).T.ravel()
        return weight[order], bias[order], rows[order]

    def block(self, name: str, tensor: int, trunk: str) -> int:
        block = self.net.get_submodule(name)
        assert isinstance(block, Block)
        t = self.program.tensors[tensor]
        unit = self.scale[trunk]
        (first, *read_a), (second, *read_f) = (self.source(tensor, f"{name}.{r}", unit) for r in ("read_a", "read_f"))

        def made(part: str, read: list[Any]) -> p.Weights:
            weight, bias = self.weights(f"{name}.{part}")
            rows = self.units[f"{name}.{part}"][0]
            return q.matrix(weight / rows[:, None], (bias + weight @ read[1]) / rows, read[0], 1.0)

        def inside(act: str) -> list[Any]:
            return list(self.as_is(0, f"{name}.{act}")[1:])

        wd, bd = self.weights(f"{name}.d")
        bd = bd + wd.sum((1, 2, 3)) * self.offset(f"{name}.after_a")
        ratio = self.scale[f"{name}.after_a"] / self.scale[f"{name}.after_d"]
        d = q.depthwise(
            wd[:, 0] * ratio[:, None, None],
            bd / self.scale[f"{name}.after_d"],
            (1.0, self.zero[f"{name}.after_a"]),
            1.0,
        )
        product = self.scale[f"{name}.after_u"] * self.scale[f"{name}.after_v"]
        gate_shift = int(np.rint(np.log2((self.scale[f"{name}.gate"] / product).mean())))
        out = self.tensor(name, p.S16, t.scale, t.channels)
        self.program.layers.append(p.Layer(
            p.BLOCK, out, [first, second], t.channels, gate_shift=gate_shift,
            zeros=tuple(self.zero[f"{name}.{a}"] for a in ("after_a", "after_d", "gate")),  # type: ignore[arg-type]
            parts=[made("a", read_a), d, made("b", inside("after_d")), made("f", read_f), made("g", inside("gate"))],
        ))  # fmt: skip
        return out

    def blocks(self, name: str, tensor: int) -> int:
        sequence = self.net.get_submodule(name)
        for k in range(len(sequence)):  # type: ignore[arg-type]
            tensor = self.block(f"{name}.{k}", tensor, name)
        return tensor

    def gain(self, name: str, tensor: int, before: Array | float, after: Array | float, by: torch.Tensor) -> int:
        """`by` [rows of levels, channels]: factors, from units `before` to `after`."""
        t = self.program.tensors[tensor]
        g = np.broadcast_to(array(by) * before / after, (len(by), t.channels))
        shift = np.clip(np.floor(np.log2(32767 / np.abs(g).max(1))), 0, 24)
        out = self.tensor(name, p.S16, t.scale, t.channels)
        table = np.clip(np.rint(g * 2.0 ** shift[:, None]), -32767, 32767).astype(np.int16)
        self.program.layers.append(
            p.Layer(p.GAIN, out, [p.Source(tensor)], t.channels, gain=table, gain_shift=shift.astype(np.uint8))
        )
        return out

    def gains(self, module: Gains) -> torch.Tensor:
        with torch.no_grad():
            if isinstance(module, KindGains):
                return module(self.level, self.place)[:, :, 0, 0]  # type: ignore[no-any-return]
            return module(self.level)[:, :, 0, 0]  # type: ignore[no-any-return]

    def delta(self) -> torch.Tensor:
        return torch.sqrt(11.5 / torch.exp2(self.level))[:, None]

    def hyper(self, tables: torch.Tensor) -> int:
        out = self.tensor("z", p.S16, 6, tables.shape[1])
        index = ((tables - math.log(SIGMA_MIN)) / SIGMA_RATE).round().clamp(1, 63).to(torch.uint8).numpy()
        self.program.layers.append(p.Layer(p.HYPER, out, [], tables.shape[1], tables=index))
        return out

    def hyper_decoder(self, z: int, out: int) -> int:
        channels = self.program.tensors[z].channels
        w, b, rows = self.shuffled("hyper_decoder.0")
        up = self.tensor("hyper_decoder", p.U7, 5, len(w) // 4)
        # hyper-latents at 1/64 → features at 1/32 → at 1/16
        self.conv(
            "hyper_decoder.0",
            up,
            [(p.Source(z, 0, 64), [(1.0, 64)] * channels, np.zeros(channels))],
            w,
            b,
            rows,
            p.UP2,
            leaky=True,
            zero=self.zero["hyper_decoder.2"],
        )
        w, b, rows = self.shuffled("hyper_decoder.3")
        zero = self.zero["after_hyper"] if self.program.tensors[out].kind == p.U7 else 0
        return self.conv("hyper_decoder.3", out, [self.as_is(up, "hyper_decoder.2")], w, b, rows, p.UP2, zero=zero)

    def latents(self, features: list[Read], offset: torch.Tensor) -> int:
        """`offset` [rows of levels, M] of the indices."""
        net, m = self.net.entropy, self.net.m
        order = np.arange(m).reshape(-1, 4).T.ravel()
        hidden = net.level.out_features
        values = self.tensor("values", p.S16, 4, m)
        self.channels = order
        with torch.no_grad():
            moved = array(net.level((self.level - 11)[:, None] / 4))
            start = array(net.base + net.slope * (self.level - 11)[:, None] + offset)
        for s in range(4):
            read = list(features)
            weight, bias = self.weights(f"entropy.mix.{s}")
            if s:
                before = weight.shape[1] - m
                weight = np.concatenate([weight[:, :before], weight[:, before + order]], 1)
                read.append(self.source(values, "entropy.known", SIXTEENTH))
            mix = self.tensor(f"mix{s}", p.U7, 4, hidden)
            after = f"entropy.after_mix.{s}"
            self.conv(
                "mix", mix, read, weight, bias + moved[:LEVELS], self.scale[after], leaky=True, zero=self.zero[after]
            )
            wd, bd = self.weights(f"entropy.spread.{s}")
            bd = bd + wd.sum((1, 2, 3)) * self.offset(after)
            trunk = self.scale[f"entropy.{s}"]
            part = q.depthwise(
                wd[:, 0] * (self.scale[after] / trunk)[:, None, None], bd / trunk, (1.0, self.zero[after]), 1.0
            )
            h = self.tensor(f"spread{s}", p.S16, 4, hidden)
            self.program.layers.append(
                p.Layer(p.DEPTHWISE, h, [p.Source(mix, 0, self.zero[after])], hidden, parts=[part])
            )
            more = self.tensor(f"more{s}", p.S16, 4, hidden)
            self.conv(
                "more",
                more,
                [self.source(h, f"entropy.read_more.{s}", trunk)],
                *self.weights(f"entropy.more.{s}"),
                trunk,
                leaky=True,
                add=h,
            )
            w, b = self.weights(f"entropy.out.{s}")
            last = [self.source(more, f"entropy.read_out.{s}", trunk)]
            mean, index = self.tensor(f"mean{s}", p.S16, 4, m // 4), self.tensor(f"index{s}", p.U7, 4, m // 4)
            self.conv("mean", mean, last, w[:m][order], b[:m][order], np.full(m, SIXTEENTH), step=s)
            self.conv(
                "index", index, last, w[m:][order] * 8, (b[m:] * 8 + start)[:, order], np.ones(m), step=s, high=63
            )
            self.program.layers.append(p.Layer(p.CODE, values, [p.Source(mean), p.Source(index)], m, step=s))
        return values

    def pixels(self, values: int, features: int, gain: torch.Tensor, out_gain: torch.Tensor) -> int:
        """The linear path, and what the last trunk adds to it. `gain` [rows of levels, M]: value → coefficient."""
        unit = self.scale["wide_linear"][self.channels]
        n = self.gain("linear", values, SIXTEENTH, unit, gain[:, self.channels])
        w, b = self.weights("decoder_out")
        trunk = "decoder8" if isinstance(self.net, Intra) else "decoder"
        neural = self.tensor("decoder_out", p.S16, 3, PATCH)
        units = self.scale[trunk] * 2  # half of what 16 bits hold, so that nothing is clamped
        last = (p.Source(features, 1), [(float(u), 0) for u in units], np.zeros(len(units)))
        self.conv("decoder_out", neural, [last], w, b, self.scale["wide_out"], wide=True, limit=16384)
        neural = self.gain("decoder_out_gain", neural, self.scale["wide_out"], EIGHTH, out_gain)
        w, b, _ = self.shuffled("decoder_linear", np.ones(4 * PATCH))
        out = self.tensor("patches", p.S16, 3, PATCH)
        read = [(p.Source(n), [(float(u), 0) for u in unit], np.zeros(len(unit)))]
        return self.conv(
            "decoder_linear",
            out,
            read,
            w[:, self.channels],
            b,
            np.full(len(w), EIGHTH),
            p.UP2,
            wide=True,
            limit=LINEAR_LIMIT,
            add=neural,
        )


def key(net: Intra, cal: Calibration) -> p.Program:
    e = Exporter(net, cal, 1)
    z = e.hyper(net.hyper_scale.detach()[None])
    t = e.hyper_decoder(z, e.tensor("hyper", p.S16, 4, net.hyper_mix.a.in_channels))
    t = e.block("hyper_mix", t, "hyper_mix")
    values = e.latents([e.source(t, "read_features", e.scale["hyper_mix"])], torch.zeros(1))
    gain_n = e.gains(net.gain_n)
    unit = e.scale["read_decoder_in"] / 16
    n = e.gain("gain_n", values, SIXTEENTH, unit[e.channels], gain_n[:, e.channels])
    w, b = e.weights("decoder_in")
    t = e.conv(
        "decoder_in",
        e.tensor("decoder_in", p.S16, 4, len(w)),
        [e.ordered(n, "read_decoder_in", unit)],
        w[:, e.channels],
        b,
        e.scale["wide_decoder_in"],
    )
    t = e.gain("gain_d", t, e.scale["wide_decoder_in"], e.scale["decoder16"], e.gains(net.gain_d))
    t = e.blocks("decoder16", t)
    w, b, rows = e.shuffled("decoder_up")
    t = e.conv(
        "decoder_up",
        e.tensor("decoder_up", p.S16, 3, len(w) // 4),
        [e.source(t, "read_up", e.scale["decoder16"])],
        w,
        b,
        rows,
        p.UP2,
    )
    t = e.gain("gain_d8", t, e.scale["wide_up"], e.scale["decoder8"], e.gains(net.gain_d8))
    t = e.blocks("decoder8", t)
    e.program.outputs = [e.pixels(values, t, gain_n * e.delta(), e.delta() * e.gains(net.gain_o)), values]
    return e.program


def context(e: Exporter, net: Inter, w: int, d: int) -> int:
    """What the prediction and the difference say: features at 1/8."""
    d_unit = 4 / CONTEXT_LIMIT
    d = e.gain("difference_gain", d, 1 / 4080, d_unit, 1 / (4 * e.delta()))
    (wa, ba), (wd, bd) = e.weights("context_in"), e.weights("context_d")
    t = e.tensor("context_in", p.S16, 3, len(wa))
    read = [(p.Source(x), [(u, 0)] * PATCH, np.zeros(PATCH)) for x, u in ((w, 1 / 4080), (d, d_unit))]
    e.conv(
        "context_in",
        t,
        read,
        np.concatenate([wa, wd], 1),
        ba + bd,
        e.scale["wide_context"],
        wide=True,
        limit=CONTEXT_LIMIT,
    )
    t = e.gain("context_gain", t, e.scale["wide_context"], e.scale["context_block"], e.gains(net.context_gain))
    return e.block("context_block", t, "context_block")


def entropy_side(e: Exporter, c: int) -> int:
    """Of the context, what the entropy model sees, at 1/16."""
    ws, bs = e.weights("context_side")
    source, columns, offset = e.source(c, "read_side", e.scale["context_block"])
    side = e.tensor("side", p.U7, 4, len(ws))
    e.conv(
        "context_side",
        side,
        [(source, columns * 4, np.tile(offset, 4))],
        ws.transpose(0, 2, 3, 1).reshape(len(ws), -1),
        bs,
        e.scale["after_side"],
        p.DOWN2,
        zero=e.zero["after_side"],
    )
    return side


def predicted(net: Inter, cal: Calibration) -> p.Program:
    e = Exporter(net, cal, KINDS)
    w, d = e.input("prediction", p.S16, 3, PATCH), e.input("difference", p.S16, 3, PATCH)
    flags = e.input("coded", p.U7, 4, 1)
    c = context(e, net, w, d)
    side = entropy_side(e, c)
    with torch.no_grad():
        z = e.hyper(net.hyper_scale[e.place])
        offset = net.entropy_kind[e.place]
    hyper = e.hyper_decoder(z, e.tensor("hyper", p.U7, 4, e.program.tensors[side].channels))
    features = [
        e.as_is(hyper, "after_hyper"),
        e.as_is(side, "after_side"),
        (p.Source(flags), [(1 / 127, 0)], np.zeros(1)),
    ]
    values = e.latents(features, offset)
    inverse = e.gains(net.inverse_gain)
    unit = e.scale["read_decoder_in"] / 16
    n = e.gain("inverse_gain", values, SIXTEENTH, unit[e.channels], inverse[:, e.channels])
    wi, bi, rows = e.shuffled("decoder_in")
    f = e.tensor("decoder_in", p.U7, 3, len(wi) // 4)
    e.conv(
        "decoder_in",
        f,
        [e.ordered(n, "read_decoder_in", unit)],
        wi[:, e.channels],
        bi,
        rows,
        p.UP2,
        zero=e.zero["after_decoder_in"],
    )
    wm, bm = e.weights("decoder_mix")
    t = e.tensor("decoder_mix", p.S16, 3, len(wm))
    e.conv(
        "decoder_mix",
        t,
        [e.as_is(f, "after_decoder_in"), e.source(c, "read_mix_c", e.scale["context_block"])],
        wm,
        bm,
        e.scale["wide_mix"],
    )
    t = e.gain("decoder_gain", t, e.scale["wide_mix"], e.scale["decoder"], e.gains(net.decoder_gain))
    t = e.blocks("decoder", t)
    e.program.outputs = [e.pixels(values, t, inverse * e.delta(), e.delta() * e.gains(net.output_gain)), values]
    return e.program


def hyper_analysis(e: Exporter, read: list[Read], limit: int) -> int:
    """Hyper-latents. The first that is read are the latents, in their order. In 16 bits: with 7, a third of the
    hyper-latents are others, which cost key frames of `val` 1 to 18 % of their bits."""
    net = e.net.hyper_encoder
    convs = [k for k, layer in enumerate(net) if isinstance(layer, nn.Conv2d)]
    out, scale = -1, 4
    for k in convs:
        w, b = e.weights(f"hyper_encoder.{k}")
        w = w[:, :, None, None] if w.ndim == 2 else w
        if k == 0:
            w = np.concatenate([w[:, e.channels], w[:, len(e.channels) :]], 1)
        taps = w.shape[2] * w.shape[3]
        ends = np.cumsum([0, *(len(columns) for _, columns, _ in read)])
        joined = np.concatenate(
            [w[:, a:z].transpose(0, 2, 3, 1).reshape(len(w), -1) for a, z in itertools.pairwise(ends)], 1
        )
        read = [(source, units * taps, np.tile(offset, taps)) for source, units, offset in read]
        mode, scale = (p.DOWN3, scale + 1) if taps == 9 else (p.POINT, scale)
        act = "z" if k == convs[-1] else f"hyper_encoder.{k + 1}"
        rows = np.ones(len(w)) if k == convs[-1] else e.scale[act] / FINE
        out = e.tensor(act, p.S16, scale, len(w))
        e.conv(act, out, read, joined, b, rows, mode, leaky=k != convs[-1], wide=True, limit=limit)
        read, limit = [e.whole(out, rows)], FINE_LIMIT
    return out


def analysis(
    e: Exporter, x: int, unit: Array | float, features: int, trunk: str, gain: Array, latent: Array, mode: str
) -> int:
    """The linear path of the patches `x` and what the networks' `features` add to it → latents in sixteenths, in the
    order of latents."""
    m = e.net.m
    e.channels = quarters(m)
    w, b = e.weights("encoder_out")
    w = w.transpose(0, 2, 3, 1).reshape(m, -1) if w.ndim == 4 else w
    source, columns, offset = e.source(features, "read_encoder_out", e.scale[trunk])
    taps = w.shape[1] // len(columns)
    added = e.tensor("encoder_out", p.S16, 4, m)
    read = [(source, columns * taps, np.tile(offset, taps))]
    e.conv("encoder_out", added, read, w[e.channels], b[e.channels], np.full(m, SIXTEENTH), mode)
    added = e.gain("latent_gain", added, SIXTEENTH, SIXTEENTH, torch.from_numpy(latent[:, e.channels]))
    w, b = e.weights("encoder_linear")
    w = w.transpose(0, 2, 3, 1).reshape(m, -1)
    linear, rows = e.tensor("encoder_linear", p.S16, 4, m), e.scale["wide_encoder_linear"][e.channels]
    read = [(p.Source(x), [(float(unit), 0)] * (4 * PATCH), np.zeros(4 * PATCH))]
    e.conv("encoder_linear", linear, read, w[e.channels], b[e.channels], rows, p.DOWN2, wide=True, limit=32767)
    y = e.gain("y", linear, rows, SIXTEENTH, torch.from_numpy(gain[:, e.channels]))
    e.program.layers[-1].add = added
    return y


def key_analysis(net: Intra, cal: Calibration) -> p.Program:
    """Patches of planes after the lapping filter, in eighths of a sample less 2040 → latents in sixteenths, and
    hyper-latents."""
    e = Exporter(net, cal, 1)
    x = e.input("patches", p.S16, 3, PATCH)
    w, b = e.weights("encoder_in")
    t = e.tensor("encoder_in", p.S16, 3, len(w))
    read = [(p.Source(x), [(EIGHTH, 0)] * PATCH, np.zeros(PATCH))]
    t = e.conv("encoder_in", t, read, 2 * w, b, e.scale["encoder8"], wide=True, limit=32767)
    t = e.blocks("encoder8", t)
    w, b = e.weights("encoder_down")
    source, columns, offset = e.source(t, "read_down", e.scale["encoder8"])
    t = e.tensor("encoder_down", p.S16, 4, len(w))
    read = [(source, columns * 4, np.tile(offset, 4))]
    w = w.transpose(0, 2, 3, 1).reshape(len(w), -1)
    t = e.conv("encoder_down", t, read, w, b, e.coarse_enough("wide_down", w, read), p.DOWN2)
    t = e.gain("gain_e", t, e.scale["wide_down"], e.scale["encoder16"], e.gains(net.gain_e))
    t = e.blocks("encoder16", t)
    latent = array(e.gains(net.latent_gain))
    y = analysis(e, x, EIGHTH, t, "encoder16", latent / array(e.delta()), latent, p.POINT)
    e.program.outputs = [y, hyper_analysis(e, [e.whole(y, np.full(net.m, SIXTEENTH / 4))], int(LARGEST * 2 * 16))]
    return e.program


def predicted_analysis(net: Inter, cal: Calibration) -> p.Program:
    """Patches of the prediction less 2040, of the difference, of what is missed, in samples → latents in sixteenths,
    and hyper-latents."""
    e = Exporter(net, cal, KINDS)
    w, d = e.input("prediction", p.S16, 3, PATCH), e.input("difference", p.S16, 3, PATCH)
    x = e.input("residual", p.S16, 3, PATCH)
    c = context(e, net, w, d)
    unit = 4 / CONTEXT_LIMIT
    steps = e.gain("residual_gain", x, 1 / 4080, unit, 1 / (4 * e.delta()))
    wi, bi = e.weights("encoder_in")
    t, trunk = e.tensor("encoder_in", p.S16, 3, len(wi)), e.scale["context_block"] * 4
    read: list[Read] = [(p.Source(steps), [(unit, 0)] * PATCH, np.zeros(PATCH))]
    read.append((p.Source(c, 2), [(float(u), 0) for u in trunk], np.zeros(len(trunk))))
    e.conv("encoder_in", t, read, wi, bi, e.scale["wide_encoder"], wide=True, limit=CONTEXT_LIMIT)
    t = e.gain("encoder_gain", t, e.scale["wide_encoder"], e.scale["encoder"], e.gains(net.encoder_gain))
    t = e.blocks("encoder", t)
    latent = array(e.gains(net.latent_gain))
    y = analysis(e, x, 1 / 4080, t, "encoder", latent / array(e.delta()), latent, p.DOWN2)
    fine = SIXTEENTH * LARGEST * 16 / FINE_LIMIT  # so that latents end where the network has cut them off
    h = e.gain("fine", y, SIXTEENTH, fine, torch.ones(1, net.m))
    ws, bs = e.weights("context_side")
    ws = ws.transpose(0, 2, 3, 1).reshape(len(ws), -1)
    side, units = e.tensor("side", p.S16, 4, len(ws)), e.scale["after_side"] / FINE
    read = [e.whole(c, np.tile(e.scale["context_block"], 4))]
    e.conv("side", side, read, ws, bs, units, p.DOWN2, wide=True, limit=FINE_LIMIT)
    read = [e.whole(h, np.full(net.m, fine / 4)), e.whole(side, units)]
    e.program.outputs = [y, hyper_analysis(e, read, FINE_LIMIT)]
    return e.program


def laps() -> tuple[Array, Array]:
    """Matrices of the inverse lapping filter, luma and chroma, as planes.lap takes them."""
    luma, chroma = (np.rint(lapping(half).double().numpy() * 16384).astype(np.int16) for half in (8, 4))
    return luma, chroma


def quarters(m: int) -> Array:
    """Engine's channel → the network's."""
    return np.arange(m).reshape(-1, 4).T.ravel()


def model(intra: tuple[Intra, Calibration] | None, inter: tuple[Inter, Calibration] | None) -> p.Model:
    programs: dict[str, p.Program] = {}
    if intra is not None:
        programs |= {"key": key(*intra), "key_analysis": key_analysis(*intra)}
    if inter is not None:
        programs |= {"predicted": predicted(*inter), "predicted_analysis": predicted_analysis(*inter)}
    made = p.Model(KINDS * LEVELS, programs, gaussian_tables(), laps())
    p.check(made)
    return made


def export(states: Sequence[Path], calibrations: Sequence[Path], out: Path, about: dict[str, Any]) -> None:
    """`states` and `calibrations` of key frames and of predicted ones → the file of a model. `about` is what it says of
    itself, its `name` at least."""
    intra, inter = Intra(), Inter()
    for net, state in zip((intra, inter), states, strict=True):
        load(net, state)
    cal = [torch.load(path, weights_only=True) for path in calibrations]
    made = model((intra, cal[0]), (inter, cal[1]))
    with publish(str(out), force=True) as path:
        p.save(made, path, {"lvc.model": json.dumps(about)})


if __name__ == "__main__":
    names = [Path(name) for name in sys.argv[1:6]]
    export((names[0], names[2]), (names[1], names[3]), names[4], {"name": names[4].stem})
