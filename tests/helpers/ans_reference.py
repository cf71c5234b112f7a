"""The ANS stream of packing `field` a second time, from `formats/lvz.md` alone; it imports nothing of `lvc`."""

from __future__ import annotations

import struct

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
