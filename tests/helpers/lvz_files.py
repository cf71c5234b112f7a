"""`.lvz` files of opaque payloads, large enough that reading all of them would be noticed."""

from __future__ import annotations

import functools
import io

from lvc.lvz import Clip, CopiedStream, Header, LvzReader, LvzWriter, Packet, PlaneSpec, VideoDescriptor

GOP_SECONDS = 2
SECONDS = 60


@functools.cache
def lvz(size: int = 20_000, seconds: int = SECONDS, sound: bool = True) -> bytes:
    """25 frames a second, a clip of `size` bytes a second, GOPs of two clips, sound of 8 kB a second."""
    out = io.BytesIO()
    video = VideoDescriptor(64, 48, (PlaneSpec("latent", "int16", 8, 16),), 5, time_base=(1, 25), frame_rate=(25, 1))
    audio = CopiedStream("audio", "opus", (1, 1000), "", 48000, 2)
    with LvzWriter(out, Header("test", bytes(32)), video, [audio] if sound else []) as writer:
        for second in range(seconds):
            pts = list(range(25 * second, 25 * second + 25))
            payload = bytes((second * 31 + i * i) % 251 for i in range(size))
            writer.write_clip(Clip(pts[0], second % GOP_SECONDS == 0, pts, [1] * 25, second, payload))
            for part in range(4 if sound else 0):
                time = 1000 * second + 250 * part
                writer.write_packets(0, [Packet(time, time, 250, 1, bytes([second]) * 2000)])
    return out.getvalue()


def gop_bytes(data: bytes, start: float, end: float) -> int:
    """What the GOPs that show something in a range take in the file, sound among them included."""
    index = LvzReader(io.BytesIO(data)).index
    if index is None:
        raise ValueError("no index")
    offsets = [gop.offset for gop in index.gops] + [index.offset]
    first, last = int(start // GOP_SECONDS), int(-(-end // GOP_SECONDS))
    return offsets[last] - offsets[first]


def index_bytes(data: bytes) -> int:
    return len(data) - data.rindex(b"INDX")
