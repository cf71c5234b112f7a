"""Small `.lvz` files for tests; payloads are opaque bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lvc.lvz import (
    Chapter,
    Clip,
    CopiedStream,
    Header,
    LvzWriter,
    Metadata,
    Packet,
    VideoDescriptor,
    codec_planes,
)

PLANES = codec_planes(8, 4, 6, 3)
HEADER = Header("test-model", bytes(range(32)), "lvc tests")
VIDEO = VideoDescriptor(
    64, 48, PLANES, 5, time_base=(1, 30000), frame_rate=(30000, 1001), source_pix_fmt="yuv420p", gop_seconds=0.5
)
CHECKED = replace(VIDEO, checks=True)
AUDIO = CopiedStream("audio", "aac", (1, 48000), "deu", 48000, 2, 1, {"title": "Ton"}, b"\x11\x90")
METADATA = Metadata({"title": "Zwölf", "comment": ""}, (Chapter(0, 500, (1, 1000), {"title": "a"}),))


def clip(first: int, key: bool, count: int = 4, size: int = 20, pts: Sequence[int] | None = None) -> Clip:
    times = list(pts) if pts is not None else [1001 * (first + i) for i in range(count)]
    payload = bytes((first * 7 + i * 31) % 256 for i in range(size))
    return Clip(first, key, times, [1001] * len(times), None, payload)


def checked(item: Clip) -> Clip:
    """With a checksum for every frame, as a codec gives them."""
    return replace(item, checks=tuple((1 + t) * 2654435761 % (1 << 32) for t in item.pts))


def packet(number: int, size: int = 30) -> Packet:
    return Packet(1024 * number, 1024 * number, 1024, 1, bytes((number + i) % 256 for i in range(size + number % 5)))


def small_file(
    gops: int = 3, clips: int = 2, *, size: int = 20, audio: bool = True, metadata: bool = True, **writer: Any
) -> bytes:
    """`gops` GOPs of `clips` clips of 4 frames with checksums, and audio packets of the same time between them."""
    out = io.BytesIO()
    with LvzWriter(out, HEADER, CHECKED, [AUDIO] if audio else [], METADATA if metadata else None, **writer) as w:
        sent = 0
        for number in range(gops * clips):
            w.write_clip(checked(clip(4 * number, number % clips == 0, size=size)))
            end = (4 * number + 4) * 1001 * 48000 // 30000
            while audio and sent * 1024 < end:
                w.write_packets(0, [packet(sent)])
                sent += 1
    return out.getvalue()


class CountingFile(io.BytesIO):
    """Counts the bytes that were read."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


class Pipe(io.RawIOBase):
    """Neither seekable nor tellable; gives and takes a few bytes at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        part = bytes(self.data[: min(size, 777)])
        del self.data[: len(part)]
        return part

    def write(self, data: Any, /) -> int:
        part = bytes(data[:100])
        self.data += part
        return len(part)
