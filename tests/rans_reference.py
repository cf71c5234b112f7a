"""Packing `rans` decoded a second time, from `formats/lvz.md` section 8.3 alone: standard library and numpy.

It imports nothing of `lvc` and takes its time; the learned constants are a part of the format. The names of parts are
those of the section.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
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

    def __init__(self, start: list[int], gain: int = 16) -> None:
        self.row, self.gain = list(start), gain

    def learn(self, symbols: list[int]) -> None:
        for s in symbols:
            self.row[s] += self.gain
        while sum(self.row) > 65536:
            self.row = [(c + 1) // 2 for c in self.row]


LEARNED = json.loads((Path(__file__).resolve().parents[1] / "lvc" / "entropy" / "rans.json").read_text("ascii"))


def rows(starts: list[list[int]]) -> list[Counts]:
    return [Counts(start) for start in starts]


def run(stream: Stream, own: list[Counts], contexts: list[int]) -> list[int]:
    """One adaptive run: `contexts` gives the row of each symbol."""
    bounds = {c: cumulative(own[c].row) for c in set(contexts)}
    out = [stream.take(bounds[c]) for c in contexts]
    learn(own, contexts, out)
    return out


def learn(own: list[Counts], contexts: list[int], symbols: list[int]) -> None:
    for context in set(contexts):
        own[context].learn([s for s, c in zip(symbols, contexts, strict=True) if c == context])


def scored(stream: Stream, own: list[Counts], scores: list[int], groups: list[int]) -> list[int]:
    """Section "Scored flags"."""
    contexts = [max(0, min(23, 12 + s // 32)) + 24 * g for s, g in zip(scores, groups, strict=True)]
    out = []
    for context in contexts:
        zeros, ones = own[context].row
        likely = (ones * 65536 + (zeros + ones) // 2) // (zeros + ones)
        likely = max(32, min(65504, likely))
        out.append(stream.take(cumulative([65536 - likely, likely])))
    learn(own, contexts, out)
    return out


def weighted(weights: list[int], features: list[Any]) -> int:
    return sum(w * int(f) for w, f in zip(weights, features, strict=True))


STRAIGHT = ((-1, 0), (1, 0), (0, -1), (0, 1))
DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
FAR = ((-2, 0), (2, 0), (0, -2), (0, 2))


def around(a: np.ndarray, r: int, c: int, offsets: tuple[tuple[int, int], ...]) -> int:
    """Sum over neighbours, 0 outside."""
    height, width = a.shape
    places = [(r + dr, c + dc) for dr, dc in offsets]
    return sum(int(a[y, x]) for y, x in places if 0 <= y < height and 0 <= x < width)


def three(a: np.ndarray, r: int, c: int) -> list[int]:
    return [int(a[r, c]), around(a, r, c, STRAIGHT), around(a, r, c, DIAGONAL)]


Place = tuple[int, int]


def passes(height: int, width: int, top: int) -> list[tuple[list[Place], list[Place]]]:
    """Section "Passes": places and offsets of their neighbours."""
    everywhere = [(r, c) for r in range(height) for c in range(width)]
    out: list[tuple[list[Place], list[Place]]] = [
        ([(r, c) for r, c in everywhere if r % top == 0 and c % top == 0], [])
    ]
    h = top // 2
    while h:
        grid = [(r, c) for r, c in everywhere if r % h == 0 and c % h == 0]
        odd = [(r // h % 2, c // h % 2) for r, c in grid]
        crosses = [(-h, -h), (-h, h), (h, -h), (h, h)]
        sides = [(-h, 0), (h, 0), (0, -h), (0, h)]
        out.append(([p for p, o in zip(grid, odd, strict=True) if o == (1, 1)], crosses))
        out.append(([p for p, o in zip(grid, odd, strict=True) if sum(o) == 1], sides))
        h //= 2
    return out


class Flags:
    """Section "Flags", for one GOP."""

    def __init__(self, height: int, width: int) -> None:
        none = np.zeros((height, width), np.int64)
        self.age = 0
        self.past_skip = self.past_copy = self.older_skip = self.older_copy = self.busy = self.changed = none
        self.rows = {name: rows(LEARNED[name]["rows"]) for name in ("skip", "copy")}

    def frame(self, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        skip = self._one(stream, "skip", np.ones_like(self.past_skip), None)
        copy = self._one(stream, "copy", skip, skip)
        self.older_skip, self.older_copy = self.past_skip, self.past_copy
        self.past_skip, self.past_copy = skip, copy
        self.age = min(self.age + 1, 3)
        return skip, copy

    def after(self, latent: np.ndarray, changed: np.ndarray) -> None:
        self.busy = np.array([[min(int(n), 31).bit_length() for n in row] for row in (latent != 0).sum(0)])
        self.changed = changed

    def _one(self, stream: Stream, name: str, among: np.ndarray, skip: np.ndarray | None) -> np.ndarray:
        weights, out = LEARNED[name], np.zeros_like(self.past_skip)
        sign = np.zeros_like(out)
        for number, (places, _) in enumerate(passes(*out.shape, 4)):
            places = [p for p in places if among[p]]
            scores = []
            for r, c in places:
                features = [
                    *three(self.past_skip, r, c), *three(self.past_copy, r, c), self.older_skip[r, c],
                    self.older_copy[r, c], *three(self.busy, r, c)[:2], *three(self.changed, r, c)[:2], self.age,
                ]  # fmt: skip
                if skip is not None:
                    features += three(skip, r, c)[1:]
                known = [around(sign, r, c, (o,)) for o in (*STRAIGHT, *DIAGONAL, *FAR)]
                score = weighted(weights["frame"], features) + weighted(weights["around"], known)
                scores.append(score + weights["pass"][number])
            past, older = (self.past_skip, self.older_skip) if skip is None else (self.past_copy, self.older_copy)
            groups = [2 * int(past[p]) + int(older[p]) for p in places]
            for p, value in zip(places, scored(stream, self.rows[name], scores, groups), strict=True):
                out[p], sign[p] = value, 2 * value - 1
        return out


Vector = tuple[int, int]


def spread(vectors: list[Vector]) -> int:
    s = max(max(v[k] for v in vectors) - min(v[k] for v in vectors) for k in (0, 1))
    return (s > 0) + (s > 2) + (s > 12)


def plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1]


class Motion:
    """Section "Motion", for one GOP."""

    def __init__(self, height: int, width: int) -> None:
        none = np.zeros((height, width), np.int64)
        self.past = np.zeros((2, 2 * height, 2 * width), np.int64)
        self.changed, self.split, self.age = none, none, 0
        self.same, self.split_rows = rows(LEARNED["same"]["rows"]), rows(LEARNED["split"]["rows"])
        self.rows = {k: rows(LEARNED[k]) for k in ("moving", "top", "candidate", "quarter", "dx", "dy")}

    def frame(self, stream: Stream, skip: np.ndarray, copy: np.ndarray) -> np.ndarray:
        if run(stream, self.rows["moving"], [int(self.past.any())])[0]:
            self.past = self._field(stream, skip.astype(np.int64), copy.astype(np.int64))
        else:
            self.past = np.zeros_like(self.past)
            self.changed = self.split = np.zeros_like(self.changed)
        self.age = min(self.age + 1, 3)
        return self.past

    def _field(self, stream: Stream, skip: np.ndarray, copy: np.ndarray) -> np.ndarray:
        height, width = skip.shape
        base: dict[Place, Vector] = {}
        changed, new = np.zeros_like(skip), np.zeros_like(skip)
        weights = LEARNED["same"]

        def before(p: Place) -> Vector:
            return int(self.past[0, 2 * p[0], 2 * p[1]]), int(self.past[1, 2 * p[0], 2 * p[1]])

        def beside(r: int, c: int, dr: int, dc: int) -> Place:
            """The neighbour, or the one that stands in for it; block (0, 0) is of the first pass."""
            r2 = r + dr if 0 <= r + dr < height else r - dr
            c2 = c + dc if 0 <= c + dc < width else c - dc
            return r2 if 0 <= r2 < height else 0, c2 if 0 <= c2 < width else 0

        for number, (places, offsets) in enumerate(passes(height, width, 8)):
            if number == 0:
                found = run(stream, self.rows["top"], [2 - int(skip[p]) - int(copy[p]) for p in places])
                base.update((p, before(p)) for p in places)
                for p, value in zip(places, found, strict=True):
                    changed[p] = new[p] = value
                moved = [p for p in places if changed[p]]
                for p, d in zip(moved, self._differences(stream, [[before(p)] for p in moved], 0), strict=True):
                    base[p] = plus(base[p], d)
                continue
            near = {p: [beside(*p, *o) for o in offsets] for p in places}
            five: dict[Place, list[Vector]] = {}
            guess: dict[Place, Vector] = {}
            scores, groups = [], []
            for p in places:
                five[p] = [*[base.get(q, (0, 0)) for q in near[p]], before(p)]
                x, y = (sorted(v[k] for v in five[p])[2] for k in (0, 1))
                guess[p] = (x, y)
                steady, agree = before(p) == guess[p], five[p][:4].count(guess[p])
                turned = sum(int(changed[q]) for q in near[p])
                followed = sum(before(q) == v for q, v in zip(near[p], five[p][:4], strict=True))
                still = weighted(weights["frame"], [
                    skip[p], copy[p], around(skip, *p, STRAIGHT + DIAGONAL), self.changed[p],
                    around(self.changed, *p, STRAIGHT + DIAGONAL), self.age,
                ])  # fmt: skip
                now = weighted(weights["pass"], [
                    agree, agree == 4, steady, steady and agree == 4, turned, turned == 0, followed,
                    skip[p] and agree == 4,
                ])  # fmt: skip
                scores.append(still + now + weights["bias"][number - 1])
                groups.append(int(steady))
            for p, value in zip(places, scored(stream, self.same, scores, groups), strict=True):
                changed[p] = value
                base[p] = guess[p]
            moved = [p for p in places if changed[p]]
            slots = [[guess[p], *five[p]] for p in moved]
            contexts = [
                8 * spread(s[1:5]) + 4 * (before(p) == guess[p]) + min(s[1:5].count(guess[p]), 3)
                for p, s in zip(moved, slots, strict=True)
            ]
            vectors, apart = self._candidates(stream, slots, "candidate", contexts, 0)
            for p, v, a in zip(moved, vectors, apart, strict=True):
                base[p], new[p] = v, a
        field = self._quarters(stream, base, skip, copy, changed, new)
        self.changed = changed
        return np.clip(field, -32768, 32767)

    def _quarters(
        self, stream: Stream, base: dict[Place, Vector], skip: np.ndarray, copy: np.ndarray, changed: np.ndarray,
        new: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        height, width = skip.shape
        eight = STRAIGHT + DIAGONAL

        def at(r: int, c: int) -> Vector:
            return base[max(0, min(height - 1, r)), max(0, min(width - 1, c))]

        def past(r: int, c: int) -> Vector:
            return int(self.past[0, r, c]), int(self.past[1, r, c])

        everywhere = [(r, c) for r in range(height) for c in range(width)]
        scores = []
        for r, c in everywhere:
            v = base[r, c]
            scores.append(weighted(LEARNED["split"]["frame"], [
                all(at(r + dr, c + dc) == v for dr, dc in STRAIGHT), skip[r, c], copy[r, c], around(skip, r, c, eight),
                self.split[r, c], around(self.split, r, c, eight), changed[r, c], new[r, c], around(new, r, c, eight),
                self.changed[r, c], v == (0, 0), v == past(2 * r, 2 * c), self.age, 1,
            ]))  # fmt: skip
        flags = scored(stream, self.split_rows, scores, [int(new[p]) for p in everywhere])
        self.split = np.array(flags).reshape(height, width)
        quads = {p: [v, v, v, v] for p, v in base.items()}
        split = [p for p in everywhere if self.split[p]]
        rights = [
            [base[r, c], at(r - 1, c), at(r, c + 1), at(r - 1, c + 1), past(2 * r, 2 * c + 1), at(r + 1, c)]
            for r, c in split
        ]
        lefts = [
            [base[r, c], at(r, c - 1), at(r + 1, c), at(r + 1, c - 1), past(2 * r + 1, 2 * c), at(r, c + 1)]
            for r, c in split
        ]
        contexts = [spread(s) for s in rights] + [4 + spread(s) for s in lefts]
        vectors, _ = self._candidates(stream, rights + lefts, "quarter", contexts, 1)
        for number, p in enumerate(split):
            quads[p][1], quads[p][2] = vectors[number], vectors[number + len(split)]
        lasts = [
            [quads[r, c][2], quads[r, c][1], base[r, c], at(r, c + 1), at(r + 1, c), at(r + 1, c + 1)] for r, c in split
        ]
        vectors, _ = self._candidates(stream, lasts, "quarter", [8 + spread(s) for s in lasts], 1)
        for p, v in zip(split, vectors, strict=True):
            quads[p][3] = v
        out = np.zeros((2, 2 * height, 2 * width), np.int64)
        for (r, c), q in quads.items():
            for corner in range(4):
                out[:, 2 * r + corner // 2, 2 * c + corner % 2] = q[corner]
        return out

    def _candidates(
        self, stream: Stream, slots: list[list[Vector]], name: str, contexts: list[int], quarter: int
    ) -> tuple[list[Vector], list[int]]:
        own, symbols = self.rows[name], []
        bounds = []
        for s, context in zip(slots, contexts, strict=True):
            weights = list(own[context].row)
            for k in range(5, 0, -1):
                first = s.index(s[k])
                if first < k:
                    for half in (0, 6):
                        weights[half + first] += weights[half + k]
                        weights[half + k] = 0
            if not quarter:
                weights[0] = 0
            bounds.append(cumulative(weights))
        symbols = [stream.take(b) for b in bounds]
        learn(own, contexts, symbols)
        vectors = [s[k % 6] for s, k in zip(slots, symbols, strict=True)]
        far = [i for i, k in enumerate(symbols) if k >= 6]
        for i, d in zip(far, self._differences(stream, [slots[i] for i in far], quarter), strict=True):
            vectors[i] = plus(vectors[i], d)
        return vectors, [int(k >= 6) for k in symbols]

    def _differences(self, stream: Stream, slots: list[list[Vector]], quarter: int) -> list[Vector]:
        def wide(s: list[Vector], k: int) -> int:
            return min((max(v[k] for v in s) - min(v[k] for v in s)).bit_length(), 7)

        xs = component(stream, self.rows["dx"], [2 * wide(s, 0) + quarter for s in slots])
        contexts = [8 * wide(s, 1) + min(abs(x).bit_length(), 7) for s, x in zip(slots, xs, strict=True)]
        return list(zip(xs, component(stream, self.rows["dy"], contexts), strict=True))


def component(stream: Stream, own: list[Counts], contexts: list[int]) -> list[int]:
    symbols = run(stream, own, contexts)
    out = [(s + 1) // 2 if s % 2 else -(s // 2) for s in symbols]
    for i, s in enumerate(symbols):
        if s >= 5:
            k = s - 5
            bits = stream.uniform(k + 1)
            size = (bits >> 1) + (1 << k) + 2
            out[i] = -size if bits & 1 else size
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
        self.hyper_tables = [cumulative([int(w) for w in row]) for row in tensors["tables.hyper"][0]]
        self.hyper_weights = [[int(w) for w in row] for row in tensors["tables.hyper"][1]]
        self.nets = [[IntegerNet(tensors, f"{kind}.scale{number}") for number in (1, 2)] for kind in ("intra", "inter")]
        self.rows, self.cols = shape
        self.z = len(self.hyper_tables)
        self.m = len(tensors["intra.scale1.last.weight"])
        self.reset()

    def reset(self) -> None:
        self.flags, self.motion = Flags(self.rows, self.cols), Motion(self.rows, self.cols)
        self.past_latent = np.zeros((self.m, self.rows, self.cols), np.int64)
        self.past_skip = np.zeros((self.rows, self.cols), np.uint8)
        starts = [[max(1, w * 3200 // sum(row)) for w in row] for row in self.hyper_weights for _ in range(3)]
        self.hyper_rows = [Counts(row, 64) for row in starts]
        self.past_hyper = np.zeros((self.z, -(-self.rows // 4), -(-self.cols // 4)), np.int64)

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
        skip = np.zeros((self.rows, self.cols), np.uint8)
        if kind == 0:
            self.reset()
        else:
            skip, copy = self.flags.frame(stream)
            field = self.motion.frame(stream, skip, copy)
            out.update(skip=skip[None], copy=copy[None], motion=field)
        hyper = self.hyper(stream, kind, skip)
        latent = self.latent(stream, kind, quality, hyper, skip)
        out.update(hyper=hyper, latent=latent)
        if kind == 1:
            self.flags.after(latent, self.motion.changed)
            self.past_latent, self.past_skip, self.past_hyper = latent, skip, hyper
        return out

    def hyper(self, stream: Stream, kind: int, skip: np.ndarray) -> np.ndarray:
        rows, cols = -(-self.rows // 4), -(-self.cols // 4)
        out = np.zeros((self.z, rows, cols), np.int64)
        places = [
            (channel, r, c)
            for channel, r, c in np.ndindex(out.shape)
            if (skip[4 * r : 4 * r + 4, 4 * c : 4 * c + 4] == 0).any()
        ]
        if kind == 0:
            found = [stream.take(self.hyper_tables[p[0]]) for p in places]
        else:
            found = run(stream, self.hyper_rows, [3 * p[0] + min(abs(int(self.past_hyper[p])), 2) for p in places])
        for p, value in zip(places, found, strict=True):
            out[p] = value - 31
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
