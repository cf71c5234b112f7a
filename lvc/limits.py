"""Resource limits, handed down to whoever allocates. A value over a limit raises `LimitError`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Caps on what a file may declare. Sizes in bytes, sides and areas in luma samples."""

    max_side: int = 16384
    max_pixels: int = 64 * 1024 * 1024
    max_chunk: int = 256 * 1024 * 1024
    max_clip_frames: int = 64
    max_clip_symbols: int = 1 << 29
    max_streams: int = 64
    max_attachments: int = 1000
    max_index_entries: int = 1 << 22
    max_metadata: int = 16 * 1024 * 1024
    max_packet: int = 64 * 1024 * 1024


DEFAULT = Limits()
