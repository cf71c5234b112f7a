"""Random programs that use every kind of layer, for tests and benchmarks."""

from __future__ import annotations

import numpy as np

from lvc.engine import program as p


def weights(
    rng: np.random.Generator, outputs: int, inputs: int, *, levels: int = 1, wide: bool = False, target: int = 60
) -> p.Weights:
    """Outputs have a standard deviation of about `target` where inputs use their range."""
    most = 200 if wide else 127
    w = np.clip(np.rint(rng.normal(0, most / 4, (outputs, inputs))), -most, most)
    spread = np.sqrt(inputs) * most / 4 * (600 if wide else 40)
    shift = np.clip(np.rint(np.log2(spread / target)) + rng.integers(-1, 2, outputs), 0, 24).astype(np.uint8)
    bias = np.rint(rng.normal(0, 1, (levels, outputs)) * 2.0**shift * 8) - (0 if wide else 64 * w.sum(1))
    return p.Weights(w.astype(np.int16 if wide else np.int8), bias.astype(np.int32), shift)


def depthwise(rng: np.random.Generator, channels: int) -> p.Weights:
    w = weights(rng, channels, 9)
    return p.Weights(np.ascontiguousarray(w.weight.T), w.bias, w.shift)


def block(rng: np.random.Generator, tensor: int, out: int, channels: int) -> p.Layer:
    c = channels
    parts = [weights(rng, c, c), depthwise(rng, c), weights(rng, c, c), weights(rng, 2 * c, c), weights(rng, c, c)]
    sources = [p.Source(tensor, 2, 64), p.Source(tensor, 3, 60)]
    return p.Layer(p.BLOCK, out, sources, c, zeros=(16, 64, 50), gate_shift=6, parts=parts)


class Builder:
    """A program layer by layer; names tensors by their number."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.program = p.Program([], [], [], [])

    def tensor(self, kind: str, scale: int, channels: int) -> int:
        self.program.tensors.append(p.Tensor(f"t{len(self.program.tensors)}", kind, scale, channels))
        return len(self.program.tensors) - 1

    def input(self, kind: str, scale: int, channels: int) -> int:
        self.program.inputs.append(self.tensor(kind, scale, channels))
        return self.program.inputs[-1]

    def conv(self, sources: list[int], channels: int, kind: str = p.S16, mode: str = p.POINT, **more: object) -> int:
        tensors = self.program.tensors
        levels, wide = int(more.pop("levels", 1)), bool(more.get("wide", False))  # type: ignore[call-overload]
        step = int(more.get("step", -1))  # type: ignore[call-overload]
        scale = tensors[sources[0]].scale + {p.POINT: 0, p.DOWN2: 1, p.UP2: -1, p.DOWN3: 1}[mode]
        inputs = p.TAPS[mode] * sum(tensors[s].channels for s in sources)
        part = weights(self.rng, channels * (4 if mode == p.UP2 else 1), inputs, levels=levels, wide=wide)
        out = self.tensor(kind, scale, channels // 4 if step >= 0 else channels)
        read = [
            p.Source(s, *((0, 0) if tensors[s].kind == p.U7 else (int(self.rng.integers(0, 4)), 0 if wide else 64)))
            for s in sources
        ]
        layer = p.Layer(p.CONV, out, read, channels, mode, parts=[part], **more)  # type: ignore[arg-type]
        self.program.layers.append(layer)
        return out

    def depthwise(self, source: int, kind: str = p.U7, **more: object) -> int:
        t = self.program.tensors[source]
        out = self.tensor(kind, t.scale, t.channels)
        layer = p.Layer(
            p.DEPTHWISE, out, [p.Source(source, 0, 33)], t.channels, parts=[depthwise(self.rng, t.channels)], **more
        )  # type: ignore[arg-type]  # fmt: skip
        self.program.layers.append(layer)
        return out

    def block(self, source: int) -> int:
        t = self.program.tensors[source]
        out = self.tensor(p.S16, t.scale, t.channels)
        self.program.layers.append(block(self.rng, source, out, t.channels))
        return out

    def gain(self, source: int, levels: int) -> int:
        t = self.program.tensors[source]
        out = self.tensor(p.S16, t.scale, t.channels)
        gain = self.rng.integers(-3000, 3000, (levels, t.channels)).astype(np.int16)
        shift = self.rng.integers(0, 13, levels).astype(np.uint8)
        self.program.layers.append(p.Layer(p.GAIN, out, [p.Source(source)], t.channels, gain=gain, gain_shift=shift))
        return out

    def hyper(self, scale: int, channels: int) -> int:
        out = self.tensor(p.S16, scale, channels)
        tables = self.rng.integers(1, p.TABLES, (1, channels)).astype(np.uint8)
        self.program.layers.append(p.Layer(p.HYPER, out, [], channels, tables=tables))
        return out


def tables() -> p.Tables:
    """Discrete Laplace distributions, wider and wider."""
    reach, rows = np.zeros(64, np.uint16), []
    for i in range(1, 64):
        scale = 0.1 * 1.12**i
        reach[i] = min(max(int(4 * scale), 1), 200)
        w = np.exp(-np.abs(np.arange(-int(reach[i]), int(reach[i]) + 1)) / scale)
        w = np.append(w, 0.01 * w.sum())
        f = np.maximum(np.floor(w / w.sum() * 60000), 1).astype(np.int64)
        f[f.argmax()] += 65536 - f.sum()
        rows.append(f)
    return p.Tables(reach, np.concatenate(rows).astype(np.uint32))


def codec(seed: int = 0, c8: int = 48, c16: int = 64, m: int = 32, levels: int = 3) -> p.Model:
    """Like a frame's decoder, with every kind of layer in it. Inputs: prediction s16 [h,w,c8], flags u7 [h/2,w/2,1]."""
    b = Builder(np.random.default_rng(seed))
    prediction, flags = b.input(p.S16, 3, c8), b.input(p.U7, 4, 1)
    side = b.conv([prediction], c16, p.U7, p.DOWN2, zero=20, leaky=True)
    z = b.hyper(6, 20)
    up = b.conv([z], 40, p.U7, p.UP2, leaky=True)
    features = b.conv([up], 36, p.S16, p.UP2)
    features = b.block(b.conv([features, side, flags], c16))
    values = b.tensor(p.S16, 4, m)
    for step in range(4):
        known = [values] if step else []
        h = b.conv([features, flags, *known], c16, p.U7, levels=levels, leaky=True, zero=16)
        h = b.depthwise(h, p.S16)
        h = b.conv([h], c16, p.S16, leaky=True, add=h)
        mean = b.conv([h], m, p.S16, step=step)
        index = b.conv([h], m, p.U7, step=step, high=63, zero=15, levels=levels)
        code = p.Layer(p.CODE, values, [p.Source(mean), p.Source(index)], m, step=step)
        b.program.layers.append(code)
    n = b.gain(values, levels)
    t = b.block(b.conv([n, features], c16))
    down = b.conv([b.depthwise(b.conv([t], c16, p.U7))], 24, p.U7, p.DOWN3)
    t = b.conv([t, b.conv([down], 32, p.U7, p.UP2)], c16, add=t)
    t = b.block(b.conv([t], c8, p.S16, p.UP2))
    linear = b.conv([n], c8, p.S16, p.UP2, wide=True, limit=4095)
    b.program.outputs = [b.conv([t, b.conv([prediction], c8, p.U7)], c8, add=linear), values]
    model = p.Model(levels, {"frame": b.program}, tables())
    p.check(model)
    return model


def frame(model: p.Model, size: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs, latents and hyper-latents for `codec`."""
    rng = np.random.default_rng(seed)
    program = model.programs["frame"]
    by = {t: program.tensors[t] for t in [*program.inputs, program.outputs[1]]}
    shapes = {
        t: (size[0] >> (d.scale - 3), size[1] >> (d.scale - 3), d.channels) for t, d in by.items()
    }  # fmt: skip
    prediction, flags = program.inputs
    z = next(program.tensors[x.out] for x in program.layers if x.op == p.HYPER)
    return {
        "prediction": np.clip(rng.normal(0, 500, shapes[prediction]), -32768, 32767).astype(np.int16),
        "flags": rng.integers(0, 128, shapes[flags]).astype(np.uint8),
        "y": np.clip(rng.laplace(0, 60, shapes[program.outputs[1]]), -32768, 32767).astype(np.int16),
        "z": np.rint(rng.laplace(0, 3, (-(-size[0] // 8), -(-size[1] // 8), z.channels))).astype(np.int16),
    }
