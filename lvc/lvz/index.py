"""Payloads of `INDX` and `TAIL`, and the builder that writer and reader share (`formats/lvz.md`, sections 9 and 10).

The index is a function of the chunks before it, so a reader that has read the whole file compares it byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lvc.errors import CorruptError, LimitError
from lvc.limits import Limits
from lvc.lvz import fields as f
from lvc.lvz.clips import ClipGroup
from lvc.lvz.packets import time_span
from lvc.lvz.records import GopEntry, Index, IndexEntry, MetadataEntry, PacketGroup, PacketsEntry, Tail

_GOP, _METADATA, _FIRST_STREAM = 0, 1, 2
_LEAST_STEP = 14  # bytes: of the smallest chunk that has an entry, an empty mETa
TAIL_PAYLOAD = 72
TAIL_CHUNK = 8 + TAIL_PAYLOAD + 4


@dataclass
class FileState:
    """Totals of the chunks so far. Offsets in bytes, times in ticks of the video's time base."""

    max_entries: int
    entries: list[IndexEntry] = field(default_factory=list)
    frames: int = 0
    clips: int = 0
    start_pts: int = 0
    last_pts: int = 0
    end_pts: int = 0
    gop_ended: bool = False
    stream_ends: dict[int, int] = field(default_factory=dict)

    def add_clips(self, offset: int, group: ClipGroup) -> None:
        """Add a chunk of clips. Raises `CorruptError` if they do not continue the stream."""
        if group.first_frame != self.frames:
            raise CorruptError(f"clip at byte {offset} starts with frame {group.first_frame}, expected {self.frames}")
        if self.frames == 0:
            self.start_pts = group.start_pts
            if not group.key:
                raise CorruptError(f"the first clip, at byte {offset}, is not a key clip")
        elif group.start_pts <= self.last_pts:
            raise CorruptError(f"clip at byte {offset} starts before the previous one ends")
        elif self.gop_ended and not group.key:
            raise CorruptError(f"clip at byte {offset} continues a GOP that has ended")
        if group.key:
            self._add(GopEntry(offset, group.first_frame, group.start_pts))
        self.frames = group.end_frame
        self.clips += len(group.clips)
        self.last_pts, self.end_pts, self.gop_ended = group.last_pts, group.end_pts, group.gop_end

    def add_packets(self, offset: int, group: PacketGroup) -> None:
        start, end = time_span(group.packets, self.stream_ends.get(group.stream, 0))
        self.stream_ends[group.stream] = end
        self._add(PacketsEntry(offset, group.stream, start, end))

    def add_metadata(self, offset: int) -> None:
        self._add(MetadataEntry(offset))

    def _add(self, entry: IndexEntry) -> None:
        if len(self.entries) >= self.max_entries:
            raise LimitError(f"the index has more than {self.max_entries} entries")
        self.entries.append(entry)

    def tail(self, index_offset: int, sha256: bytes) -> Tail:
        return Tail(index_offset, self.frames, self.clips, self.start_pts, self.end_pts, sha256)


def pack_index(entries: list[IndexEntry]) -> bytes:
    out = bytearray()
    offset = frame = pts = 0
    ends: dict[int, int] = {}
    for entry in entries:
        moved = f.uvarint(entry.offset - offset)
        offset = entry.offset
        if isinstance(entry, GopEntry):
            out += f.uvarint(_GOP) + moved + f.uvarint(entry.first_frame - frame) + f.svarint(entry.start_pts - pts)
            frame, pts = entry.first_frame, entry.start_pts
        elif isinstance(entry, MetadataEntry):
            out += f.uvarint(_METADATA) + moved
        else:
            out += f.uvarint(_FIRST_STREAM + entry.stream) + moved
            out += f.svarint(entry.start - ends.get(entry.stream, 0)) + f.uvarint(entry.end - entry.start)
            ends[entry.stream] = entry.end
    return bytes(out)


def unpack_index(payload: bytes, offset: int, limits: Limits) -> Index:
    """Raises `CorruptError` unless offsets strictly increase below `offset` (the index's own); `LimitError`."""
    r = f.Fields(payload, "INDX")
    entries: list[IndexEntry] = []
    at = frame = pts = gops = 0
    ends: dict[int, int] = {}
    while r.left:
        if len(entries) >= limits.max_index_entries:
            raise LimitError(f"the index has more than {limits.max_index_entries} entries")
        kind = r.uvarint(_FIRST_STREAM + (1 << 16))
        moved = r.uvarint()
        at += moved
        if moved < _LEAST_STEP or at >= offset:
            raise r.bad("offsets increase by less than a chunk has, or pass the index itself")
        if kind == _GOP:
            gained = r.uvarint(1 << 48)
            frame, pts = frame + gained, pts + r.svarint()
            if gops and not gained:
                raise r.bad("frames do not increase")
            gops += 1
            entries.append(GopEntry(at, frame, pts))
        elif kind == _METADATA:
            entries.append(MetadataEntry(at))
        else:
            stream = kind - _FIRST_STREAM
            start = ends.get(stream, 0) + r.svarint()
            ends[stream] = start + r.uvarint()
            entries.append(PacketsEntry(at, stream, start, ends[stream]))
    return Index(offset, tuple(entries))


def pack_tail(tail: Tail) -> bytes:
    return b"".join(
        (
            f.u64(tail.index_offset),
            f.u64(tail.frame_count),
            f.u64(tail.clip_count),
            f.i64(tail.start_pts),
            f.i64(tail.end_pts),
            tail.sha256,
        )
    )


def unpack_tail(payload: bytes) -> Tail:
    r = f.Fields(payload, "TAIL")
    tail = Tail(r.u64(), r.u64(), r.u64(), r.i64(), r.i64(), r.take(32))
    r.end()
    return tail
