"""Checksums of decoded frames: CRC-32s, folded to few bits where payloads are small (`formats/lvz.md`, section 6)."""

from __future__ import annotations

from collections.abc import Sequence

from lvc.errors import CorruptError

CHECK_BITS = (4, 8, 16, 32)
_SHARE = 400  # checks take at most 1/400 of a chunk's payloads, 0.25 %


def fold(crc: int, bits: int) -> int:
    """Fold a CRC-32 to 4, 8, 16 or 32 bits by repeated xor of its halves. Folding in steps gives the same result."""
    for half in (16, 8, 4):
        if half >= bits:
            crc = (crc ^ crc >> half) & ((1 << half) - 1)
    return crc


def bits_for(frames: int, payload_bytes: int, most: int = 32) -> int:
    """Bits of each of `frames` checks, given the size of the payloads."""
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
    """Read `count` checks from exactly as many bytes as they need. Raises `CorruptError` if padding bits are set."""
    if bits == 4:
        values = [half for byte in data for half in (byte & 15, byte >> 4)]
    else:
        size = bits // 8
        values = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
    if any(values[count:]):
        raise CorruptError("CLIP: bits behind the checks of frames are not zero")
    return values[:count]
