"""File-level jobs: a video becomes a `.lvz` and a `.lvz` becomes a video, in constant memory.

    media.read ─▶ codec.encode ─▶ lvz.write          encode_file; repeated until a size or a VMAF is met
    media.write ◀─ codec.decode ◀─ lvz.read          decode_file, decode_frames

`encode_video` and `decode_video` do the same with the options as one object, as the command line has them.

Both directions are generators from end to end. Reading and writing run on threads with bounded queues, so that PyAV and
the networks work at the same time. Times are seconds from the first frame; the end of a range is exclusive. A path may
be `-`: standard input or output. The jobs import torch only after checking everything that can be checked without it.
"""

from __future__ import annotations

from lvc.files.decode import decode_frames, decode_video
from lvc.files.whole import decode_file, encode_file, encode_video

__all__ = ["decode_file", "decode_frames", "decode_video", "encode_file", "encode_video"]
