"""rANS (Duda 2013, https://arxiv.org/abs/1311.2540) in Python: a readable reference for `rans.h`. The same calls give
the same stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

ONE, LOW = 1 << 16, 1 << 16
BIT_MIN = 32
GOLOMB_MAX = 20


SETTLED = 32


class Context:
    """The adaptive probability that a flag is 1, in 1/65536: the mean of a quick and a slow moving average. `count`:
    how many flags it has seen, up to `SETTLED`."""

    def __init__(self, quick: int = 1 << 15, slow: int = 1 << 15, count: int = 0) -> None:
        self.quick, self.slow, self.count = quick, slow, count

    def one(self) -> int:
        return min(max((self.quick + self.slow) >> 1, BIT_MIN), ONE - BIT_MIN)

    def learn(self, bit: int) -> None:
        quick = 3 if self.count < 2 else 4 if self.count < SETTLED else 5
        slow = 3 if self.count < 2 else 4 if self.count < 8 else 5 if self.count < SETTLED else 6
        self.count = min(self.count + 1, SETTLED)
        if bit:
            self.quick += (65535 - self.quick) >> quick
            self.slow += (65535 - self.slow) >> slow
        else:
            self.quick -= self.quick >> quick
            self.slow -= self.slow >> slow


def starts(header: str, count: int) -> list[Context]:
    """Return the contexts with which streams start, by the table in a header of the C sources."""
    text = Path(__file__).with_name(header).read_text(encoding="ascii")
    found = [int(n) for n in re.findall(r"\d+(?=,)", text)]
    if len(found) != count:
        raise ValueError(f"{header} has the wrong number of contexts")
    return [Context(p, p) for p in found]


class Coder:
    """Base of `Writer` and `Reader`. Every method writes `value` and returns it, or reads a value and returns that."""

    def piece(self, starts: Sequence[int], value: int) -> int:
        """Code one value, an index into the cumulative frequencies `starts` (0 … 65536)."""
        raise NotImplementedError

    def bit(self, context: Context, bit: int = 0) -> int:
        one = context.one()
        bit = 1 - self.piece((0, one, ONE), 1 - bit)
        context.learn(bit)
        return bit

    def raw(self, bits: int, value: int = 0) -> int:
        return self.piece(range(0, ONE + 1, ONE >> bits), value) if bits else 0

    def symbol(self, frequencies: Sequence[int], value: int = 0) -> int:
        starts = [0]
        for f in frequencies:
            starts.append(starts[-1] + f)
        return self.piece(starts, value)

    def golomb(self, k: int, value: int = 0) -> int:
        base, bits = 0, k
        while bits < GOLOMB_MAX and self.raw(1, value >= base + (1 << bits)):
            base += 1 << bits
            bits += 1
        low = min(bits, 16)
        rest = max(value - base, 0)
        high = self.raw(bits - low, rest >> low)
        return base + (high << low) + self.raw(low, rest & ((1 << low) - 1))


class Writer(Coder):
    def __init__(self) -> None:
        self.pieces: list[tuple[int, int]] = []

    def piece(self, starts: Sequence[int], value: int) -> int:
        self.pieces.append((starts[value], starts[value + 1] - starts[value]))
        return value

    def finish(self) -> bytes:
        state, words = LOW, []
        for start, freq in reversed(self.pieces):
            if state >= freq << 16:
                words.append(state & 0xFFFF)
                state >>= 16
            state = (state // freq << 16) + state % freq + start
        words += [state >> 16, state & 0xFFFF]
        return b"".join(w.to_bytes(2, "little") for w in reversed(words))


class Reader(Coder):
    def __init__(self, data: bytes) -> None:
        self.state, self.data, self.at = int.from_bytes(data[:4], "little"), data, 4
        self.over = len(data) < 4 or len(data) % 2 != 0 or self.state < LOW

    def piece(self, starts: Sequence[int], value: int) -> int:
        slot = self.state & 0xFFFF
        low, high = 0, len(starts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if starts[middle] <= slot else (low, middle)
        start, freq = starts[low], starts[low + 1] - starts[low]
        self.state = freq * (self.state >> 16) + slot - start
        if self.state < LOW:
            word = self.data[self.at : self.at + 2]
            self.over |= len(word) < 2
            self.state = self.state << 16 | (int.from_bytes(word, "little") if len(word) == 2 else 0)
            self.at += 2
        return low

    def whole(self) -> bool:
        """Return whether exactly the whole stream was read."""
        return not self.over and self.at == len(self.data) and self.state == LOW
