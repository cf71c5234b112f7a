"""Recording of cameras and live streams.

    source.LiveSource (connects, stamps, drops) ─▶ files.encode's clips ─▶ record (segments) ─▶ lvz.write

Coding is the same as for files, but frames are stamped on arrival, and files are written in place: they can be read
meanwhile, and nothing already written depends on later frames.
"""

from __future__ import annotations

_SCHEMES = ("rtsp:", "rtsps:", "rtp:", "udp:", "tcp:", "srt:", "rist:", "rtmp:", "mms:")


def is_live(source: str) -> bool:
    """Return whether the name `source` denotes a camera or a live stream."""
    return source.startswith((*_SCHEMES, "/dev/video"))
