"""Cameras and streams: what never ends, and does not wait.

    source.LiveSource (connects, stamps, drops) ─▶ files.encode's clips ─▶ record (segments) ─▶ lvz.write

The same coding as of a file; what differs is where frames get their times, that files are written in place and can be
read meanwhile, and that nothing that has been written depends on what comes later.
"""

from __future__ import annotations

_SCHEMES = ("rtsp:", "rtsps:", "rtp:", "udp:", "tcp:", "srt:", "rist:", "rtmp:", "mms:")


def is_live(source: str) -> bool:
    """Whether `source` is a camera or a stream by its name."""
    return source.startswith((*_SCHEMES, "/dev/video"))
