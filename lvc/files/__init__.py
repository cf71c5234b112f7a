"""File-level jobs: a video becomes a `.lvz` and a `.lvz` becomes a video, in constant memory.

    media.read ─▶ codec.encode ─▶ lvz.write          encode_file; again until a size or a VMAF is met
    media.write ◀─ codec.decode ◀─ lvz.read          decode_file, decode_frames

`encode_video` and `decode_video` are the same for who has the options as one object, as the command line does.

Both directions are generators end to end. Reading and writing run on threads of their own with bounded queues, so
that PyAV's work overlaps the network's. Times are seconds from the first frame; the end of a range is exclusive.
A path may be `-`: standard input or output. torch is imported by the jobs themselves, after what can be refused
without it was refused.
"""

from __future__ import annotations

from lvc.files.decode import decode_frames, decode_video
from lvc.files.whole import decode_file, encode_file, encode_video

__all__ = ["decode_file", "decode_frames", "decode_video", "encode_file", "encode_video"]
