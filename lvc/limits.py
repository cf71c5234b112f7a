"""Resource limits, passed to the code that allocates. A value over a limit raises `LimitError`."""

from __future__ import annotations

from dataclasses import dataclass

from lvc.errors import LimitError


@dataclass(frozen=True)
class Limits:
    """Caps on what a file may declare. Sizes are in bytes, sides and areas in luma samples.

    Frames: `max_clip_frames` per clip, `max_rans_frames` per clip of packing `rans`, `max_group_frames` per `CLIP`
    chunk. `max_model`: size of `MODL` and of the model file in it. `max_empty_packets`: how far the packets of a `PKTS`
    may outnumber its bytes. `max_tags`: tags per chunk (`LTNT`: `max_sample_tags`). A clip of n bytes may hold
    `free_values + expansion · n` values in packing `field`, and `free_content + expansion · n` bytes in packing `zstd`.
    """

    max_side: int = 16384
    max_pixels: int = 64 * 1024 * 1024
    max_chunk: int = 256 * 1024 * 1024
    max_clip_frames: int = 64
    max_rans_frames: int = 32
    max_group_frames: int = 1 << 16
    max_clip_symbols: int = 1 << 29
    max_streams: int = 64
    max_attachments: int = 1000
    max_index_entries: int = 1 << 22
    max_metadata: int = 16 * 1024 * 1024
    max_packet: int = 64 * 1024 * 1024
    max_model: int = 16 * 1024 * 1024
    max_empty_packets: int = 64
    max_tags: int = 1 << 16
    max_chapters: int = 1 << 16
    max_samples: int = 1 << 18
    max_sample_tags: int = 1 << 20
    free_values: int = 1 << 24
    free_content: int = 1 << 26
    expansion: int = 1 << 10

    def check_values(self, values: int, size: int) -> None:
        """Raise `LimitError` if `size` bytes of packing `field` hold far more values than any real data would."""
        self._check_expansion(f"{values} values", values, size, self.free_values)

    def check_content(self, content: int, size: int) -> None:
        """The same for packing `zstd` and the bytes of its content."""
        self._check_expansion(f"{content} bytes", content, size, self.free_content)

    def _check_expansion(self, what: str, amount: int, size: int, free: int) -> None:
        most = free + self.expansion * size
        if amount > most:
            raise LimitError(f"a clip of {size} bytes unpacks to {what}, limit {most}")


DEFAULT = Limits()
