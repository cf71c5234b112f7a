"""Packing `field` decoded a second time, from `formats/lvz.md` sections 5.6 and 8.4 alone.

It imports nothing of `lvc` and takes its time. The names of parts are those of the section.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tests.helpers.ans_reference import Stream, cumulative

Place = tuple[int, int]


class Fields:
    """Section 2: numbers of a payload."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def u8(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def ints(self, count: int) -> list[int]:
        base, width = self.uvarint(), self.u8()
        base = -((base + 1) // 2) if base % 2 else base // 2
        size = (count * width + 7) // 8
        bits = int.from_bytes(self.data[self.at : self.at + size], "little")
        self.at += size
        return [base + (bits >> (i * width)) % (1 << width) for i in range(count)]


def parameters(data: bytes, channels: int) -> dict[str, Any]:
    p = Fields(data)
    temporal, group = p.u8() & 1, p.uvarint()
    sets: list[tuple[list[list[int]], list[list[int]]]] = []
    for _ in range(14 if temporal else 7):
        source = p.u8()
        if source:
            sets.append(sets[source - 1])
        else:
            sets.append(([p.ints(channels) for _ in range(5)], [p.ints(channels) for _ in range(4)]))
    norm = p.ints(channels)
    cross = [p.ints(c // group * group) for c in range(channels)]
    assert p.at == len(data)
    return {"temporal": temporal, "group": group, "sets": sets, "norm": norm, "cross": cross}


def threshold(j: int) -> int:
    return (9, 11, 13, 15)[j % 4] << (j // 4)


def rounded(x: int, s: int) -> int:
    return (x + (1 << (s - 1))) >> s


def weights(k: int, e: int) -> list[int]:
    def below(i: int) -> float:
        z = ((i - 63.5) - e * 0.125) / (float(threshold(k)) * (1.0 / 96.0))
        d = min(abs(z), 12.0)
        r = d * 1.625 + ((d * d) * d) * 0.046875
        power = 1.0 + r * (1.0 / 4096.0)
        for _ in range(12):
            power = power * power
        return 1.0 / (1.0 + power) if z < 0 else power / (1.0 + power)

    return [int((below(i + 1) - below(i)) * 2.0**24) for i in range(127)] + [1]


def passes(rows: int, columns: int) -> list[tuple[list[Place], list[Place]]]:
    """(places, offsets of neighbours)."""
    every = [(r, c) for r in range(rows) for c in range(columns)]
    found: list[tuple[list[Place], list[Place]]] = [([p for p in every if p[0] % 8 == 0 and p[1] % 8 == 0], [])]
    for h in (4, 2, 1):
        on = [p for p in every if p[0] % h == 0 and p[1] % h == 0]
        odd = {p: (p[0] // h % 2, p[1] // h % 2) for p in on}
        found.append(([p for p in on if odd[p] == (1, 1)], [(-h, -h), (h, h), (-h, h), (h, -h)]))
        found.append(([p for p in on if sum(odd[p]) == 1], [(-h, 0), (h, 0), (0, -h), (0, h)]))
    return found


class FieldReader:
    """One clip."""

    def __init__(self, coding: bytes, shape: tuple[int, int, int, int]) -> None:
        self.frames, self.channels, self.rows, self.columns = shape
        self.p = parameters(coding, self.channels)
        self.values = np.zeros(shape, int)
        self.misses = np.zeros(shape, int)

    def clip(self, payload: bytes) -> np.ndarray:
        self.stream = Stream(payload)
        together = [[t] for t in range(self.frames)] if self.p["temporal"] else [list(range(self.frames))]
        for frames in together:
            later = bool(self.p["temporal"]) and frames[0] > 0
            for number, (places, offsets) in enumerate(passes(self.rows, self.columns)):
                own: dict[tuple[int, int, Place], int] = {}
                across: dict[tuple[int, Place], int] = {}
                for start in range(0, self.channels, self.p["group"]):
                    group = range(start, min(start + self.p["group"], self.channels))
                    self.run(number + 7 * later, later, frames, places, offsets, group, own, across)
        self.stream.finish()
        return self.values

    def neighbours(self, array: np.ndarray, t: int, c: int, place: Place, offsets: list[Place]) -> list[int]:
        found = []
        for dr, dc in offsets:
            r = place[0] + dr if 0 <= place[0] + dr < self.rows else place[0] - dr
            q = place[1] + dc if 0 <= place[1] + dc < self.columns else place[1] - dc
            inside = 0 <= r < self.rows and 0 <= q < self.columns
            found.append(int(array[t, c, r, q]) if inside else 0)
        return found or [0, 0, 0, 0]

    def run(
        self,
        number: int,
        later: bool,
        frames: list[int],
        places: list[Place],
        offsets: list[Place],
        group: range,
        own: dict[tuple[int, int, Place], int],
        across: dict[tuple[int, Place], int],
    ) -> None:
        mean, size = self.p["sets"][number]
        items = [(c, t, place) for c in group for t in frames for place in places]
        told = []
        for c, t, place in items:
            a, b, d, e = self.neighbours(self.values, t, c, place, offsets)
            last = int(self.values[t - 1, c, place[0], place[1]]) if later else 0
            around = sum(self.neighbours(self.values, t - 1, c, place, offsets)) if later else 0
            x = mean[0][c] * 8 * (a + b) + mean[1][c] * 8 * (d + e) + mean[2][c] * 8 * last + mean[3][c] * 8 * around
            own[c, t, place] = rounded(x + mean[4][c] * 256, 8)
            mu = own[c, t, place]
            if group.start:
                mu += rounded(
                    sum(
                        self.p["cross"][c][e] * (8 * int(self.values[t, e, place[0], place[1]]) - own[e, t, place])
                        for e in range(group.start)
                    ),
                    8,
                )
            mu = max(-(1 << 19), min(1 << 19, mu))
            m = sum(abs(v) for v in self.neighbours(self.misses, t, c, place, offsets))
            q = abs(int(self.misses[t - 1, c, place[0], place[1]])) if later else 0
            x = rounded(size[0][c] * 256 + size[1][c] * m + size[3][c] * q, 8)
            x += rounded(size[2][c] * across.get((t, place), 0), 16)
            scale = sum(threshold(j) <= x for j in range(91))
            low = max(0, (scale - 24) >> 2)
            u = mu - 4 * ((1 << low) - 1)
            centre = (u + (4 << low)) >> (3 + low)
            eighth = (u >> low) - 8 * centre
            table = 8 * min(scale - 4 * low, 27) + eighth + 4
            told.append((table, centre, low, mu))
        values = [0] * len(items)
        escaped = []
        for i in sorted(range(len(items)), key=lambda i: told[i][0]):
            table, centre, low, _ = told[i]
            symbol = self.stream.take(cumulative(weights(table // 8, table % 8 - 4)))
            if symbol == 127:
                escaped.append(i)
            values[i] = (centre + symbol - 63) << low
        for low in range(1, 17):
            for i in range(len(items)):
                if told[i][2] == low and i not in escaped:
                    values[i] += self.stream.uniform(low)
        for i in sorted(escaped):
            values[i] = self.stream.uniform(16) - 32768
        for (c, t, place), value, (_, _, _, mu) in zip(items, values, told, strict=True):
            value = max(-32768, min(32767, value))
            self.values[t, c, place[0], place[1]] = value
            self.misses[t, c, place[0], place[1]] = 8 * value - mu
        for c, t, place in items:
            more = self.p["norm"][c] * abs(int(self.misses[t, c, place[0], place[1]]))
            across[t, place] = across.get((t, place), 0) + more
        for key, total in across.items():
            across[key] = min(total, 1 << 32)


def base(k: int, element: str, exponent: int) -> int:
    """Section 5.6, by search: the smallest bit pattern of a number ≥ k·2^exponent."""
    bits = 15 if element != "float32" else 31
    low, high = 0, {"bfloat16": 0x7F80, "float16": 0x7C00, "float32": 0x7F800000}[element]
    assert high < 1 << bits
    while low < high:
        middle = (low + high) // 2
        if number(middle, element) >= k * 2.0**exponent:
            high = middle
        else:
            low = middle + 1
    return low


def number(pattern: int, element: str) -> float:
    if element == "float16":
        return float(struct.unpack("<e", struct.pack("<H", pattern))[0])
    wide = pattern << 16 if element == "bfloat16" else pattern
    return float(struct.unpack("<f", struct.pack("<I", wide))[0])
