"""Reads `.lvz` files: in whole, by time range, or what remains of a damaged one."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO, cast

from lvc.errors import CorruptError, LimitError, UnsupportedError, UsageError
from lvc.limits import DEFAULT, Limits
from lvc.lvz import chunks as c
from lvc.lvz.clips import ClipGroup, unpack_clips
from lvc.lvz.descriptors import unpack_metadata
from lvc.lvz.features import FeatureTrack, find_features
from lvc.lvz.index import TAIL_CHUNK, unpack_index, unpack_tail
from lvc.lvz.packets import unpack_packets
from lvc.lvz.records import (
    Attachment,
    Clip,
    CopiedStream,
    Damage,
    GopEntry,
    Header,
    Index,
    IndexEntry,
    Metadata,
    MetadataEntry,
    ModelChunk,
    Origin,
    PacketGroup,
    PacketsEntry,
    Side,
    Summary,
    Tail,
    VideoDescriptor,
)
from lvc.lvz.salvage import Salvager, spool
from lvc.lvz.tensors import TensorSet
from lvc.lvz.walk import Walker

Record = Clip | PacketGroup
Seconds = float | Fraction


class LvzReader:
    """Opening a file reads its descriptors only; `index` and `tail` read the end of a seekable file.

    By default any damage raises `CorruptError` or `TruncatedError` when it is reached. With `salvage`, `damage` and
    `lost_frames` ([first, stop) each) grow while records are consumed, and a damaged GOP yields only the clips before
    the damage. A pipe can be read once. `fileobj` is not closed.
    """

    def __init__(self, fileobj: BinaryIO, limits: Limits = DEFAULT, salvage: bool = False) -> None:
        self.limits = limits
        self.salvage = salvage
        self.damage: list[Damage] = []
        self.lost_frames: list[tuple[int, int]] = []
        if salvage and not fileobj.seekable():
            spooled = spool(fileobj)
            weakref.finalize(self, spooled.close)
            fileobj = cast(BinaryIO, spooled)
        self._source = c.Source(fileobj, limits)
        self._consumed = False
        self._end_read = False
        self._index: Index | None = None
        self._tail: Tail | None = None
        self._late_metadata: Metadata | None = None
        self._walker: Walker | None = None
        self._gops: list[tuple[GopEntry, int]] | None = None
        self.first_pts = None
        if salvage:
            self._source.announce([(0, self._source.size or 0)])
            salvager = Salvager(self._source)
            salvager.read_descriptors()
            self.header, self.video = cast(Header, salvager.header), cast(VideoDescriptor, salvager.video)
            self.copied, self._metadata = tuple(salvager.copied), salvager.metadata
            self.origin = salvager.origin
            self.side, self.attachments = salvager.side or Side(), tuple(salvager.attachments)
            self.tensors, self.model_chunk = salvager.tensors, salvager.model_chunk
        else:
            self._walker = Walker(self._source)
            self._walker.read_descriptors()
            self.header, self.video = self._walker.header, self._walker.video
            self.copied, self._metadata = tuple(self._walker.copied), self._walker.metadata
            self.origin = self._walker.origin
            self.side, self.attachments = self._walker.side or Side(), tuple(self._walker.attachments)
            self.tensors, self.model_chunk = self._walker.tensors, self._walker.model_chunk

    header: Header
    video: VideoDescriptor
    copied: tuple[CopiedStream, ...]
    origin: Origin | None
    side: Side
    attachments: tuple[Attachment, ...]
    tensors: TensorSet | None
    model_chunk: ModelChunk | None
    first_pts: int | None
    """Time of the first frame, once `records_from` has met it without an index."""

    @property
    def index(self) -> Index | None:
        """The last valid index; `None` if the file has none, or before a pipe has been read to its end."""
        self._read_end()
        return self._index

    @property
    def tail(self) -> Tail | None:
        """The last valid `TAIL`; `None` if the file has none, or before a pipe has been read to its end."""
        self._read_end()
        return self._tail

    @property
    def metadata(self) -> Metadata:
        """The last `mETa`, found by the index."""
        self._read_end()
        return self._late_metadata or self._metadata

    @property
    def features(self) -> tuple[FeatureTrack, ...]:
        """Feature vectors of picture and sound, if the file has them and is seekable. No clip is read for them."""
        index, source = self.index, self._source
        if index is None:
            return ()
        back = source.offset
        found = find_features(source, index.entries[-1].offset, index.offset) if index.entries else ()
        source.seek(back)
        return found

    @property
    def size(self) -> int | None:
        """Size of the file in bytes; `None` for a pipe."""
        return self._source.size

    @property
    def frame_count(self) -> int | None:
        return None if self.tail is None else self.tail.frame_count

    @property
    def start_seconds(self) -> Fraction | None:
        """Time of the first frame, in seconds of the stream's own clock (often 0, but not always)."""
        return None if self.tail is None else self.tail.start_pts * self.video.seconds_per_tick

    @property
    def duration_seconds(self) -> Fraction | None:
        return None if self.tail is None else (self.tail.end_pts - self.tail.start_pts) * self.video.seconds_per_tick

    def _read_end(self) -> None:
        """Find `TAIL` and `INDX` from the end. They are hints: invalid ones are ignored."""
        source, size = self._source, self._source.size
        if self._end_read or size is None:
            return
        self._end_read = True
        back = source.offset
        try:
            source.seek(max(0, size - TAIL_CHUNK))
            end = source.read_chunk()
            if end is None or end.type != c.TAIL or end.end != size:
                return
            tail = unpack_tail(end.payload)
            if tail.index_offset >= end.offset:
                return
            source.announce([(tail.index_offset, end.offset)])
            source.seek(tail.index_offset)
            chunk = source.read_chunk()
            if chunk is None or chunk.type != c.INDX or chunk.end != end.offset:
                return
            self._index, self._tail = unpack_index(chunk.payload, chunk.offset, self.limits), tail
            last = [e for e in self._index.entries if isinstance(e, MetadataEntry)][-1:]
            if last:
                source.seek(last[0].offset)
                found = source.read_chunk()
                if found is not None and found.type == c.META:
                    self._late_metadata = unpack_metadata(found.payload, self.limits)
        except (CorruptError, UnsupportedError, LimitError):
            pass
        finally:
            source.seek(back)

    def records(self) -> Iterator[Record]:
        """Yield all clips and packet groups, in file order."""
        for group in self._groups():
            if isinstance(group, ClipGroup):
                yield from group.clips
            else:
                yield group

    def _groups(self) -> Iterator[ClipGroup | PacketGroup]:
        if self.salvage:
            return self._salvaged()
        return self._walked(self._fresh_walker())

    def _fresh_walker(self) -> Walker:
        """The walker that read the descriptors if it is unused, or a new one on a seekable file."""
        walker, self._walker = self._walker, None
        if self._source.seekable:
            self._source.announce([(0, self._source.size or 0)])
            self._source.seek(0)
            walker = Walker(self._source)
            walker.read_descriptors()
        if walker is None:
            raise UsageError("a pipe can be read only once")
        return walker

    def _walked(self, walker: Walker) -> Iterator[ClipGroup | PacketGroup]:
        groups = walker.records()
        while True:
            group = next(groups, None)
            if group is None:
                break
            position = self._source.offset
            yield group
            if self._source.offset != position:
                self._source.seek(position)  # something else was read in between
        self._index, self._tail, self._late_metadata = walker.index, walker.tail, walker.metadata

    def _salvaged(self) -> Iterator[ClipGroup | PacketGroup]:
        self._source.announce([(0, self._source.size or 0)])
        salvager = Salvager(self._source)
        salvager.read_descriptors()
        self.damage, self.lost_frames = salvager.damage, salvager.lost_frames
        yield from salvager.records()

    def records_from(
        self,
        seconds_start: Seconds = 0,
        seconds_end: Seconds | None = None,
        *,
        packets: bool = True,
        from_first: bool = False,
    ) -> Iterator[Record]:
        """Yield the clips of GOPs that overlap `[seconds_start, seconds_end)`, and `packets` of that time.

        Seconds are those of the stream's clock (pts times time base), or count from the first frame. With an index only
        those chunks are read; without one the file is scanned. The first clips may precede the start, because decoding
        begins at a key clip.
        """
        start = Fraction(seconds_start)
        end = None if seconds_end is None else Fraction(seconds_end)
        if end is not None and end <= start:
            return iter(())
        if from_first and self.tail is not None:
            moved = self.tail.start_pts * self.video.seconds_per_tick
            start, end, from_first = start + moved, None if end is None else end + moved, False
        if not self.salvage and self.index is not None and self.tail is not None:
            return self._indexed(self.index, self.tail, start, end, packets)
        return self._scanned(start, end, packets, from_first)

    def gop(self, number: int) -> list[Clip]:
        """Read the clips of one GOP, by its number in the index, and nothing else. Raises `CorruptError`."""
        index, tail = self.index, self.tail
        if index is None or tail is None:
            raise CorruptError("the file has no valid index — it may be cut off, or still being written")
        if self._gops is None:
            gops = index.gops
            self._gops = list(zip(gops, [*(g.offset for g in gops[1:]), index.offset], strict=True))
        entry, stop = self._gops[number]
        self._source.announce([(entry.offset, stop)])
        groups = [g for g in self._segment(entry, stop, True, True) if isinstance(g, ClipGroup)]
        return [clip for group in groups for clip in group.clips]

    def _packets_wanted(self, stream: int, first: int, last: int, start: Fraction, end: Fraction | None) -> bool:
        tick = self.copied[stream].seconds_per_tick if stream < len(self.copied) else Fraction(1)
        return last * tick >= start and (end is None or first * tick < end)

    def _scanned(self, start: Fraction, end: Fraction | None, packets: bool, from_first: bool) -> Iterator[Record]:
        tick = self.video.seconds_per_tick
        held: list[ClipGroup] = []
        shown = False
        for group in self._groups():
            if isinstance(group, ClipGroup) and self.first_pts is None:
                self.first_pts = group.start_pts
                if from_first:
                    moved = self.first_pts * tick
                    start, end, from_first = start + moved, None if end is None else end + moved, False
            if isinstance(group, PacketGroup):
                times = [t for p in group.packets if (t := p.time) is not None]
                around = from_first or not times  # the time of the first frame is not known before it is read
                around = around or self._packets_wanted(group.stream, min(times), max(times), start, end)
                if packets and around:
                    yield group
                continue
            if group.key:
                held, shown = [], False
                if end is not None and group.start_pts * tick >= end:
                    if not packets:
                        return
                    continue
            elif not held and not shown:
                continue
            held.append(group)
            if shown or max(group.end_pts, group.last_pts + 1) * tick > start:
                shown = True
                for part in held:
                    yield from part.clips
                held = []

    def _indexed(
        self, index: Index, tail: Tail, start: Fraction, end: Fraction | None, packets: bool
    ) -> Iterator[Record]:
        tick = self.video.seconds_per_tick
        gops = index.gops
        ends = {a.offset: (b.start_pts, b.first_frame) for a, b in zip(gops, gops[1:], strict=False)}
        self._source.announce(self._spans(index, tail, start, end))
        stops = [e.offset for e in index.entries[1:]] + [index.offset]
        in_gop = False
        frame = 0
        for entry, stop in zip(index.entries, stops, strict=False):
            if isinstance(entry, GopEntry):
                end_pts, end_frame = ends.get(entry.offset, (max(tail.end_pts, entry.start_pts + 1), tail.frame_count))
                if in_gop and frame != entry.first_frame:
                    raise CorruptError(f"GOP before byte {entry.offset} has fewer frames than the index says")
                in_gop = end_pts * tick > start and (end is None or entry.start_pts * tick < end)
                frame = entry.first_frame
                wanted = in_gop
            elif isinstance(entry, PacketsEntry):
                wanted = packets and self._packets_wanted(entry.stream, entry.start, entry.end, start, end)
            else:
                wanted = False
            if not wanted and not in_gop:
                continue
            for group in self._segment(entry, stop, wanted, in_gop):
                if isinstance(group, PacketGroup):
                    yield group
                    continue
                if group.first_frame != frame:
                    raise CorruptError(f"clip with frame {group.first_frame} where the index says {frame}")
                frame = group.end_frame
                yield from group.clips
            if in_gop and frame > end_frame:
                raise CorruptError("a GOP has more frames than the index says")
        if in_gop and frame != end_frame:
            raise CorruptError("the last GOP has fewer frames than TAIL says")

    def _spans(self, index: Index, tail: Tail, start: Fraction, end: Fraction | None) -> list[tuple[int, int]]:
        """Byte spans of the GOPs of a range; adjacent GOPs share a span."""
        tick = self.video.seconds_per_tick
        gops = index.gops
        ends = [(gop.offset, gop.start_pts) for gop in gops[1:]] + [(index.offset, tail.end_pts)]
        spans: list[tuple[int, int]] = []
        for gop, (stop, end_pts) in zip(gops, ends, strict=False):
            if max(end_pts, gop.start_pts + 1) * tick > start and (end is None or gop.start_pts * tick < end):
                joined = bool(spans) and spans[-1][1] == gop.offset
                spans[-1:] = [(spans[-1][0], stop)] if joined else [*spans[-1:], (gop.offset, stop)]
        return spans

    def _segment(self, entry: IndexEntry, stop: int, first: bool, rest: bool) -> Iterator[ClipGroup | PacketGroup]:
        """Yield the chunk of an index entry (if `first`) and the clips after it up to byte `stop` (if `rest`)."""
        source = self._source
        source.seek(entry.offset)
        if first:
            position, group = self._entry_chunk(entry)
            yield group
        else:
            source.skip_chunk()
            position = source.offset
        while rest and position < stop:
            source.seek(position)
            if source.peek_type() != c.CLIP:
                source.seek(position)
                source.skip_chunk()
                position = source.offset
                continue
            chunk = source.read_chunk()
            if chunk is None:
                break
            position = chunk.end
            group = unpack_clips(chunk.payload, self.video, self.limits)
            if group.key:
                raise CorruptError(f"key clip at byte {chunk.offset} is not in the index")
            yield group
        if position > stop:
            raise CorruptError(f"the index points into the middle of a chunk, at byte {stop}")

    def _entry_chunk(self, entry: IndexEntry) -> tuple[int, ClipGroup | PacketGroup]:
        """Read the chunk at an index entry and compare the two. Returns its end (byte offset) and its content."""
        chunk = self._source.read_chunk()
        wrong = CorruptError(f"the chunk at byte {entry.offset} is not what the index says")
        if chunk is None:
            raise wrong
        if isinstance(entry, PacketsEntry):
            if chunk.type != c.PKTS:
                raise wrong
            packets = unpack_packets(chunk.payload, self.limits)
            if packets.stream != entry.stream or packets.stream >= len(self.copied):
                raise wrong
            return chunk.end, packets
        if chunk.type != c.CLIP or not isinstance(entry, GopEntry):
            raise wrong
        clips = unpack_clips(chunk.payload, self.video, self.limits)
        if not clips.key or clips.first_frame != entry.first_frame or clips.start_pts != entry.start_pts:
            raise wrong
        return chunk.end, clips

    def verify(self) -> Summary:
        """Read and verify everything: CRCs, index, counts, SHA-256. Checksums of latents need unpacked clips.

        Raises `CorruptError`, `TruncatedError`, `UnsupportedError`, `LimitError`.
        """
        walker = self._fresh_walker()
        packets = [0] * len(walker.copied)
        clip_bytes = packet_bytes = 0
        for group in self._walked(walker):
            if isinstance(group, ClipGroup):
                clip_bytes += sum(len(clip.payload) for clip in group.clips)
            else:
                packets[group.stream] += len(group.packets)
                packet_bytes += sum(len(p.data) for p in group.packets)
        state, tail = walker.state, cast(Tail, walker.tail)
        gops = sum(isinstance(e, GopEntry) for e in cast(Index, walker.index).entries)
        return Summary(
            state.frames, state.clips, gops, tuple(packets), self._source.offset, clip_bytes, packet_bytes,
            state.start_pts, state.end_pts, tail.sha256.hex(),
        )  # fmt: skip


def clips_only(records: Iterable[Record]) -> Iterator[Clip]:
    """Yield the clips among records, without packets."""
    return (r for r in records if isinstance(r, Clip))
