"""Video files in and out through PyAV: frames as planes with exact times, and all other streams and metadata.

The reader and the writers load lazily: what only handles frames, or writes them raw, does not load FFmpeg.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lvc.media.types import Attachment, Chapter, CopiedPacket, CopiedStreamInfo, Frame, VideoFormat, VideoSide

if TYPE_CHECKING:
    from lvc.media.reader import MediaReader
    from lvc.media.writer import MediaWriter
    from lvc.media.y4m import Y4mWriter

_LAZY = {"MediaReader": "reader", "MediaWriter": "writer", "Y4mWriter": "y4m"}

__all__ = [
    "Attachment",
    "Chapter",
    "CopiedPacket",
    "CopiedStreamInfo",
    "Frame",
    "MediaReader",
    "MediaWriter",
    "VideoFormat",
    "VideoSide",
    "Y4mWriter",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'lvc.media' has no attribute {name!r}")
    return getattr(import_module(f"lvc.media.{_LAZY[name]}"), name)
