"""File-level jobs: a video becomes a `.lvz` and a `.lvz` becomes a video, in constant memory.

    media.read ─▶ codec.encode ─▶ lvz.write          encode_file; repeated until a size or a VMAF is met
    media.write ◀─ codec.decode ◀─ lvz.read          decode_file, decode_frames

`encode_video` and `decode_video` do the same with the options as one object, as the command line has them.

Both directions are generators from end to end. Reading and writing run on threads with bounded queues, so that PyAV and
the networks work at the same time. Times are seconds from the first frame; the end of a range is exclusive. A path may
be `-`: standard input or output. The jobs import torch only after checking everything that can be checked without it,
and the names here load lazily: decoding does not wait for what encoding needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvc.files.decode import decode_frames, decode_video
    from lvc.files.whole import decode_file, encode_file, encode_video

_PUBLIC = {
    "decode_file": "whole",
    "decode_frames": "decode",
    "decode_video": "decode",
    "encode_file": "whole",
    "encode_video": "whole",
}

__all__ = ["decode_file", "decode_frames", "decode_video", "encode_file", "encode_video"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lvc.files' has no attribute {name!r}")
    return getattr(import_module(f"lvc.files.{_PUBLIC[name]}"), name)
