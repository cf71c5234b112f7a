"""Packing `rans` decoded a second time, from `formats/lvz.md` section 8.3 alone: standard library and numpy.

It imports nothing of `lvc` and takes its time. The names of parts are those of the section.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ONE = 1 << 24


def cumulative(weights: list[int]) -> list[int]:
    """Section "Tables": n weights → n + 1 bounds, the last one 2^24."""
    scale = float(ONE - len(weights)) / float(sum(weights))
    bounds, total = [], 0
    for number, weight in enumerate(weights):
        bounds.append(int(float(total) * scale) + number)
        total += weight
    return [*bounds, ONE]


class Stream:
    """Section "Stream"."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise ValueError("not whole words")
        self.words = list(struct.unpack(f"<{len(data) // 4}I", data))
        if self.words and self.words[-1] == 0:
            raise ValueError("last word is 0")
        self.state = 0
        while self.words and self.state < 1 << 32:
            self.state = self.state << 32 | self.words.pop()

    def take(self, bounds: list[int]) -> int:
        quantile = self.state % ONE
        low, high = 0, len(bounds) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if bounds[middle] <= quantile else (low, middle)
        self.state = (self.state >> 24) * (bounds[low + 1] - bounds[low]) + quantile - bounds[low]
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return low

    def uniform(self, bits: int) -> int:
        return self.take([i << (24 - bits) for i in range((1 << bits) + 1)]) if bits <= 8 else self._wide(bits)

    def _wide(self, bits: int) -> int:
        shift = 24 - bits
        value = self.state % ONE >> shift
        self.state = (self.state >> 24 << shift) + self.state % (1 << shift)
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return value

    def finish(self) -> None:
        if self.state or self.words:
            raise ValueError("something is left")


def encode(parts: list[tuple[int, list[int]]]) -> bytes:
    """The stream from which `take` reads these (symbol, bounds) in order."""
    state, words = 0, []
    for symbol, bounds in reversed(parts):
        p = bounds[symbol + 1] - bounds[symbol]
        if state >> 40 >= p:
            words.append(state % (1 << 32))
            state >>= 32
        state = (state // p) * ONE + bounds[symbol] + state % p
    while state:
        words.append(state % (1 << 32))
        state >>= 32
    return struct.pack(f"<{len(words)}I", *words)


class Counts:
    """Section "Adaptive tables": one row of counts."""

    def __init__(self, start: list[int]) -> None:
        self.row = list(start)

    def learn(self, symbols: list[int]) -> None:
        for s in symbols:
            self.row[s] += 16
        while sum(self.row) > 65536:
            self.row = [(c + 1) // 2 for c in self.row]


def run(stream: Stream, rows: list[Counts], contexts: list[int]) -> list[int]:
    """One adaptive run: `contexts` gives the row of each symbol."""
    out = [0] * len(contexts)
    for context in sorted(set(contexts)):
        bounds, seen = cumulative(rows[context].row), []
        for i, c in enumerate(contexts):
            if c == context:
                out[i] = stream.take(bounds)
                seen.append(out[i])
        rows[context].learn(seen)
    return out


START = [32, 16, 16, 16, 16, 12, 12, 12, 10, 8, 6, 4, 2, 1, 1, 1, 1, 1]


@dataclass
class GopState:
    skip_rows: list[Counts] = field(default_factory=lambda: [Counts([8, 8]) for _ in range(60)])
    copy_rows: list[Counts] = field(default_factory=lambda: [Counts([8, 248]) for _ in range(60)])
    moving: list[Counts] = field(default_factory=lambda: [Counts([8, 8]) for _ in range(2)])
    changed: list[Counts] = field(default_factory=lambda: [Counts([8, 8]) for _ in range(13)])
    split: list[Counts] = field(default_factory=lambda: [Counts([24, 8]) for _ in range(4)])
    x: list[Counts] = field(default_factory=lambda: [Counts(START) for _ in range(5)])
    y: list[Counts] = field(default_factory=lambda: [Counts(START) for _ in range(10)])


def flags(stream: Stream, rows: list[Counts], before: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Section "Flags"."""
    height, width = before.shape
    out = np.zeros((height, width), np.uint8)

    def around(a: np.ndarray, r: int, c: int, outside: int) -> int:
        total = 0
        for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            inside = 0 <= r + dr < height and 0 <= c + dc < width
            total += int(a[r + dr, c + dc]) if inside else outside
        return total

    for colour in (0, 1):
        places = [(r, c) for r in range(height) for c in range(width) if (r + c) % 2 == colour and among[r, c]]
        contexts = []
        for r, c in places:
            context = 5 * int(before[r, c]) + around(before, r, c, 0)
            contexts.append(context + (10 + 10 * around(out, r, c, 1) if colour else 0))
        for (r, c), value in zip(places, run(stream, rows, contexts), strict=True):
            out[r, c] = value
    return out


Vector = tuple[int, int]


def spread(vectors: list[Vector]) -> int:
    s = max(max(v[k] for v in vectors) - min(v[k] for v in vectors) for k in (0, 1))
    return (s > 0) + (s > 2) + (s > 12)


def component(stream: Stream, rows: list[Counts], contexts: list[int]) -> list[int]:
    symbols = run(stream, rows, contexts)
    out = [(s + 1) // 2 if s % 2 else -(s // 2) for s in symbols]
    for k in range(13):
        for i, s in enumerate(symbols):
            if s == 5 + k:
                bits = stream.uniform(k + 1)
                size = (bits >> 1) + (1 << k) + 2
                out[i] = -size if bits & 1 else size
    return out


def differences(stream: Stream, g: GopState, contexts: list[int]) -> list[Vector]:
    changed = run(stream, g.changed, contexts)
    at = [i for i, c in enumerate(changed) if c]
    group = [min(contexts[i] // 2, 4) for i in at]
    xs = component(stream, g.x, group)
    ys = component(stream, g.y, [2 * k + (x == 0) for k, x in zip(group, xs, strict=True)])
    out: list[Vector] = [(0, 0)] * len(contexts)
    for i, x, y in zip(at, xs, ys, strict=True):
        out[i] = (x, y)
    return out


def plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1]


def motion(stream: Stream, g: GopState, last: np.ndarray) -> np.ndarray:
    """Section "Motion"; `last` [2,H8,W8]."""
    out = np.zeros_like(last)
    if not run(stream, g.moving, [int(last.any())])[0]:
        return out
    rows, cols = last.shape[1] // 2, last.shape[2] // 2
    base: dict[tuple[int, int], Vector] = {}

    def before(r: int, c: int) -> Vector:
        return int(last[0, 2 * r, 2 * c]), int(last[1, 2 * r, 2 * c])

    def neighbour(r: int, c: int, dr: int, dc: int) -> Vector:
        r2 = r + dr if 0 <= r + dr < rows else r - dr
        c2 = c + dc if 0 <= c + dc < cols else c - dc
        return base[r2, c2] if 0 <= r2 < rows and 0 <= c2 < cols else (0, 0)

    passes: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]] = []
    everywhere = [(r, c) for r in range(rows) for c in range(cols)]
    passes.append(([(r, c) for r, c in everywhere if r % 8 == 0 and c % 8 == 0], []))
    for h in (4, 2, 1):
        grid = [(r, c) for r, c in everywhere if r % h == 0 and c % h == 0]
        odd = [(r // h % 2, c // h % 2) for r, c in grid]
        crosses = [(-h, -h), (-h, h), (h, -h), (h, h)]
        straight = [(-h, 0), (h, 0), (0, -h), (0, h)]
        passes.append(([p for p, o in zip(grid, odd, strict=True) if o == (1, 1)], crosses))
        passes.append(([p for p, o in zip(grid, odd, strict=True) if sum(o) == 1], straight))
    for places, offsets in passes:
        guesses, contexts = [], []
        for r, c in places:
            near = [neighbour(r, c, *o) for o in offsets]
            five = [*near, before(r, c)]
            guess = tuple(sorted(v[k] for v in five)[len(five) // 2] for k in (0, 1))
            guesses.append((guess[0], guess[1]))
            contexts.append(2 * spread(near) + (five[-1] == guess) if near else 8)
        for place, guess, d in zip(places, guesses, differences(stream, g, contexts), strict=True):
            base[place] = plus(guess, d)

    contexts = []
    for r, c in everywhere:
        ring = [base.get((r + dr, c + dc), (0, 0)) for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        contexts.append(spread([*ring, base[r, c]]))
    split = [p for p, s in zip(everywhere, run(stream, g.split, contexts), strict=True) if s]
    quads = {p: [v, v, v, v] for p, v in base.items()}
    for corner in (1, 2, 3):
        moved = differences(stream, g, [9 + corner] * len(split))
        for p, d in zip(split, moved, strict=True):
            q = quads[p]
            q[corner] = plus(q[0] if corner < 3 else q[1] if q[2] == q[0] else q[2], d)
    for (r, c), q in quads.items():
        for corner in range(4):
            for k in (0, 1):
                out[k, 2 * r + corner // 2, 2 * c + corner % 2] = max(-32768, min(32767, q[corner][k]))
    return out


def rounded(tensor: np.ndarray, factor: int, limit: int) -> np.ndarray:
    value = np.floor(tensor.astype(np.float32) * np.float32(factor) + np.float32(0.5))
    return np.clip(value, -limit, limit).astype(np.int64)


class IntegerNet:
    """Section "Integer network", in int64."""

    def __init__(self, weights: dict[str, np.ndarray], name: str) -> None:
        self.layers = [
            (rounded(weights[f"{name}.{k}.weight"], 64, 127), rounded(weights[f"{name}.{k}.bias"], 1024, 1 << 20))
            for k in ("first", "second", "last")
        ]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """int64 [C,H,W] → indices [M,H,W]."""
        (w1, b1), (w2, b2), (w3, b3) = self.layers
        height, width = inputs.shape[1:]
        h = np.clip((np.einsum("oc,chw->ohw", w1, inputs) + b1[:, None, None] + 32) >> 6, 0, 127)
        padded = np.pad(h, ((0, 0), (1, 1), (1, 1)))
        taps = np.stack([padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)], 1)
        taps = taps.reshape(-1, height, width)
        mixed = np.einsum("oc,chw->ohw", w2, taps) + b2[:, None, None] + 64 * h
        h = np.clip((mixed + 32) >> 6, 0, 127)
        return np.clip((np.einsum("oc,chw->ohw", w3, h) + b3[:, None, None] + 32) >> 6, 0, 63)


class RansReader:
    """One GOP: `clip` for its clips in order. `tensors`: the model's file; `shape`: blocks of 16, [rows, columns]."""

    def __init__(self, tensors: dict[str, np.ndarray], shape: tuple[int, int]) -> None:
        self.reach = [int(r) for r in tensors["tables.reach"]]
        self.latent_tables = [
            cumulative([int(w) for w in row[: 2 * reach + 2]]) if i else []
            for i, (row, reach) in enumerate(zip(tensors["tables.latent"], self.reach, strict=True))
        ]
        self.hyper_tables = [[cumulative([int(w) for w in row]) for row in kind] for kind in tensors["tables.hyper"]]
        self.nets = [
            [IntegerNet(tensors, f"{kind}.scale{number}") for number in (1, 2)] for kind in ("intra", "inter")
        ]
        self.rows, self.cols = shape
        self.z = len(self.hyper_tables[0])
        self.m = len(tensors["intra.scale1.last.weight"])
        self.reset()

    def reset(self) -> None:
        flat = np.zeros((self.rows, self.cols), np.uint8)
        self.state = GopState()
        self.past_latent = np.zeros((self.m, self.rows, self.cols), np.int64)
        self.past_skip, self.past_copy = flat, flat
        self.past_motion = np.zeros((2, 2 * self.rows, 2 * self.cols), np.int64)

    def clip(self, payload: bytes, count: int) -> list[dict[str, Any]]:
        at, quality, heads = 0, -1, []
        for _ in range(count):
            head = payload[at]
            at += 1
            if head > 3:
                raise ValueError("reserved bits")
            if head & 2:
                (quality,) = struct.unpack_from("<H", payload, at)
                at += 2
            if not 0 <= quality <= 10000:
                raise ValueError("quality")
            heads.append((head & 1, quality))
        stream = Stream(payload[at:])
        frames = [self.frame(stream, kind, quality) for kind, quality in heads]
        stream.finish()
        return frames

    def frame(self, stream: Stream, kind: int, quality: int) -> dict[str, Any]:
        out: dict[str, Any] = {"kind": kind, "quality": quality}
        everywhere = np.ones((self.rows, self.cols), np.uint8)
        skip = np.zeros((self.rows, self.cols), np.uint8)
        if kind == 0:
            self.reset()
        else:
            skip = flags(stream, self.state.skip_rows, self.past_skip, everywhere)
            copy = flags(stream, self.state.copy_rows, self.past_copy, skip)
            field = motion(stream, self.state, self.past_motion)
            out.update(skip=skip[None], copy=copy[None], motion=field)
        hyper = self.hyper(stream, kind, skip)
        latent = self.latent(stream, kind, quality, hyper, skip)
        out.update(hyper=hyper, latent=latent)
        if kind == 1:
            self.past_latent, self.past_skip, self.past_copy, self.past_motion = latent, skip, copy, field
        return out

    def hyper(self, stream: Stream, kind: int, skip: np.ndarray) -> np.ndarray:
        rows, cols = -(-self.rows // 4), -(-self.cols // 4)
        out = np.zeros((self.z, rows, cols), np.int64)
        for channel in range(self.z):
            for r in range(rows):
                for c in range(cols):
                    if (skip[4 * r : 4 * r + 4, 4 * c : 4 * c + 4] == 0).any():
                        out[channel, r, c] = stream.take(self.hyper_tables[kind][channel]) - 31
        return out

    def latent(self, stream: Stream, kind: int, quality: int, hyper: np.ndarray, skip: np.ndarray) -> np.ndarray:
        whole = np.zeros((self.m, self.rows, self.cols), np.int64)
        if skip.all():
            return whole
        coded = len(self.nets[kind][0].layers[2][0])  # channels; the others are 0
        out = whole[:coded]
        wide = hyper.repeat(4, 1).repeat(4, 2)[:, : self.rows, : self.cols]
        inputs = np.concatenate(
            [
                np.clip(4 * wide, -127, 127),
                8 * np.minimum(np.abs(self.past_latent[:coded]), 15),
                64 * skip[None].astype(np.int64),
                64 * self.past_skip[None].astype(np.int64),
                np.full((1, self.rows, self.cols), quality // 79),
            ]
        )
        c, y, x = np.indices(out.shape)
        first = ((y + x) % 2 == 0) == (c < coded // 2)
        for number in (0, 1):
            if number:
                inputs = np.concatenate([inputs, 8 * np.minimum(np.abs(out), 15)])
            index = self.nets[kind][number](inputs)
            where = (first if number == 0 else ~first) & (skip[None] == 0)
            escaped = []
            for i in range(1, 64):
                for place in np.argwhere(where & (index == i)):
                    symbol = stream.take(self.latent_tables[i])
                    if symbol == 2 * self.reach[i] + 1:
                        escaped.append(tuple(place))
                    else:
                        out[tuple(place)] = symbol - self.reach[i]
            for place in escaped:
                out[place] = stream.uniform(16) - 32768
        return whole
