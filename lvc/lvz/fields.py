"""The fields of chunk payloads: fixed-size integers, varints, text, blobs, packed lists of integers.

Everything is little-endian. A `uvarint` is an unsigned LEB128 number of 1..10 bytes, below 2^64, in its shortest form;
an `svarint` is the same of `2n` for `n >= 0` and `-2n - 1` for `n < 0`. See `formats/lvz.md`, section 2.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from lvc.errors import CorruptError, LimitError, UsageError
from lvc.limits import DEFAULT

U64 = 1 << 64
I63 = 1 << 63


class Fields:
    """Reads the fields of a payload in order. Raises `CorruptError` when it ends too early."""

    def __init__(self, data: bytes, what: str, max_tags: int = DEFAULT.max_tags) -> None:
        """`max_tags`: the most tags that all calls of `tags` may return together."""
        self.data = data
        self.what = what
        self.position = 0
        self._tags_left = max_tags

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def bad(self, reason: str) -> CorruptError:
        return CorruptError(f"{self.what}: {reason}")

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise self.bad(f"ends {size - self.left} bytes too early")
        part = self.data[self.position : self.position + size]
        self.position += size
        return part

    def end(self) -> None:
        if self.left:
            raise self.bad(f"{self.left} bytes too many")

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def f32(self, count: int) -> tuple[float, ...]:
        return struct.unpack(f"<{count}f", self.take(4 * count))

    def f64(self) -> float:
        value: float = struct.unpack("<d", self.take(8))[0]
        return value

    def uvarint(self, below: int = U64) -> int:
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self.bad("a varint is longer than 10 bytes")
        if byte == 0 and shift:
            raise self.bad("a varint is not in its shortest form")
        if value >= below:
            raise self.bad(f"{value} is out of range, must be below {below}")
        return value

    def svarint(self) -> int:
        value = self.uvarint()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def text(self) -> str:
        try:
            return self.take(self.uvarint()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.bad("text is not UTF-8") from error

    def blob(self) -> bytes:
        return self.take(self.uvarint())

    def tags(self) -> dict[str, str]:
        tags: dict[str, str] = {}
        count = self.uvarint(1 + self.left)
        self._tags_left -= count
        if self._tags_left < 0:
            raise LimitError(f"{self.what}: too many tags")
        for _ in range(count):
            key = self.text()
            if key in tags:
                raise self.bad(f"the tag {key!r} comes twice")
            tags[key] = self.text()
        return tags

    def ints(self, count: int) -> list[int]:
        """Read `count` integers, stored as base, width and bits. The caller has bounded `count`. Values fit int64."""
        base, width = self.svarint(), self.u8()
        if width > 64:
            raise self.bad(f"packed integers are {width} bits wide")
        if width == 0:
            return [base] * count
        bits = self.take(-(-count * width // 8))
        mask = (1 << width) - 1
        values: list[int] = []
        for start in range(0, len(bits), width):  # 8 values fill `width` bytes
            block = int.from_bytes(bits[start : start + width], "little")
            for _ in range(min(8, count - len(values))):
                values.append(base + (block & mask))
                block >>= width
            if block:
                raise self.bad("padding bits of packed integers are not zero")
        if max(values, default=0) >= I63:
            raise self.bad("a packed integer is out of range")
        return values


def u8(value: int) -> bytes:
    if not 0 <= value <= 255:
        raise UsageError(f"{value} does not fit a byte")
    return bytes((value,))


def u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def i64(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)


def uvarint(value: int) -> bytes:
    if not 0 <= value < U64:
        raise UsageError(f"{value} does not fit an unsigned 64-bit number")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def svarint(value: int) -> bytes:
    if not -I63 <= value < I63:
        raise UsageError(f"{value} does not fit a signed 64-bit number")
    return uvarint(2 * value if value >= 0 else -2 * value - 1)


def text(value: str) -> bytes:
    """UTF-8 with its length in bytes; lone surrogates (undecodable tags) become `?`."""
    data = value.encode("utf-8", "replace")
    return uvarint(len(data)) + data


def blob(data: bytes) -> bytes:
    return uvarint(len(data)) + data


def pack_tags(tags: Mapping[str, str]) -> bytes:
    parts = [uvarint(len(tags))]
    for key, value in tags.items():
        parts += [text(key), text(value)]
    return b"".join(parts)


def ints(values: Sequence[int]) -> bytes:
    """Pack integers (int64) with the smallest base and width. An empty list is two zero bytes."""
    base = min(values, default=0)
    width = (max(values, default=0) - base).bit_length()
    out = bytearray(svarint(base))
    out.append(width)
    if width:
        svarint(max(values))
        for start in range(0, len(values), 8):
            group = values[start : start + 8]
            block = 0
            for position, value in enumerate(group):
                block |= (value - base) << (position * width)
            out += block.to_bytes(-(-len(group) * width // 8), "little")
    return bytes(out)
