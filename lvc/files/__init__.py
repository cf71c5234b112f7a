"""File-level jobs: a video becomes a `.lvz` and a `.lvz` becomes a video, in constant memory.

    media.read ─▶ codec.encode ─▶ lvz.write          encode_file
    the same, again until the size fits               encode_to_size
    the same, again until the judge is content        encode_to_vmaf
    media.write ◀─ codec.decode ◀─ lvz.read          decode_file, decode_frames

Both directions are generators end to end. Reading and writing run on threads of their own with bounded queues, so
that PyAV's work overlaps the network's. Times are seconds from the first frame; the end of a range is exclusive.
A path may be `-`: standard input or output. torch is imported by the jobs themselves, after what can be refused
without it was refused.
"""

from __future__ import annotations

from lvc.files.decode import decode_file, decode_frames
from lvc.files.encode import encode_file
from lvc.files.sized import encode_to_size
from lvc.files.vmaf import encode_to_vmaf

__all__ = ["decode_file", "decode_frames", "encode_file", "encode_to_size", "encode_to_vmaf"]
