"""Checksums of decoded frames: CRC-32s, folded so that they cost next to nothing (`formats/lvz.md`, section 6)."""

from __future__ import annotations

from collections.abc import Sequence

from lvc.errors import CorruptError

CHECK_BITS = (4, 8, 16, 32)
_SHARE = 400  # checks take at most a 400th of a chunk's payloads, 0.25 %


def fold(crc: int, bits: int) -> int:
    """A CRC-32 as a number of 4, 8, 16 or 32 bits: its halves xor each other, again and again. What was folded to more
    bits before gives the same."""
    for half in (16, 8, 4):
        if half >= bits:
            crc = (crc ^ crc >> half) & ((1 << half) - 1)
    return crc


def bits_for(frames: int, payload_bytes: int, most: int = 32) -> int:
    """How many bits each of `frames` checks gets beside payloads of so many bytes."""
    fitting = [bits for bits in CHECK_BITS if bits <= most and -(-frames * bits // 8) * _SHARE <= payload_bytes]
    return max(fitting, default=CHECK_BITS[0])


def pack_checks(checks: Sequence[int], bits: int) -> bytes:
    out = bytearray()
    for start in range(0, len(checks), 8):
        group = checks[start : start + 8]
        total = sum(fold(check, bits) << (bits * i) for i, check in enumerate(group))
        out += total.to_bytes(-(-len(group) * bits // 8), "little")
    return bytes(out)


def unpack_checks(data: bytes, count: int, bits: int) -> list[int]:
    """`data` has the bytes of `count` checks. Raises `CorruptError` where bits beyond them are set."""
    if bits == 4:
        values = [half for byte in data for half in (byte & 15, byte >> 4)]
    else:
        size = bits // 8
        values = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
    if any(values[count:]):
        raise CorruptError("CLIP: bits behind the checks of frames are not zero")
    return values[:count]
