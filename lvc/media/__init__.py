"""Video files in and out through PyAV: frames as planes with exact times, and all other streams and metadata."""

from __future__ import annotations

from lvc.media.reader import MediaReader
from lvc.media.types import Attachment, Chapter, CopiedPacket, CopiedStreamInfo, Frame, VideoFormat, VideoSide
from lvc.media.writer import MediaWriter
from lvc.media.y4m import Y4mWriter

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
