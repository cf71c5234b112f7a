"""Reads a file from front to back and checks every rule on the way; works on pipes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from lvc.errors import CorruptError, LimitError, MediaError, TruncatedError
from lvc.kinds import VIDEOS, called, kind_of
from lvc.limits import Limits
from lvc.lvz import chunks as c
from lvc.lvz.clips import ClipGroup, unpack_clips
from lvc.lvz.descriptors import (
    unpack_attachment,
    unpack_copied,
    unpack_head,
    unpack_metadata,
    unpack_model_chunk,
    unpack_origin,
    unpack_side,
    unpack_video,
)
from lvc.lvz.index import FileState, pack_index, unpack_index, unpack_tail
from lvc.lvz.packets import unpack_packets
from lvc.lvz.records import (
    PACKING_FIELD,
    Attachment,
    CopiedStream,
    Header,
    Index,
    Metadata,
    ModelChunk,
    Origin,
    PacketGroup,
    Side,
    Tail,
    VideoDescriptor,
)
from lvc.lvz.tensors import TensorSet, unpack_tensors

RECORD_TYPES = (c.CLIP, c.PKTS, c.INDX, c.TAIL)


class Walker:
    """`read_descriptors` once, then `records` once. Nothing in a chunk is used before its CRC is verified."""

    header: Header
    video: VideoDescriptor

    def __init__(self, source: c.Source) -> None:
        self.source = source
        self.limits: Limits = source.limits
        self.copied: list[CopiedStream] = []
        self.metadata = Metadata()
        self.origin: Origin | None = None
        self.side: Side | None = None
        self.attachments: list[Attachment] = []
        self.tensors: TensorSet | None = None
        self.model_chunk: ModelChunk | None = None
        self.state = FileState(self.limits.max_index_entries)
        self.index: Index | None = None
        self.tail: Tail | None = None
        self.digest = hashlib.sha256()

    def read_descriptors(self) -> None:
        """Read everything before the first record."""
        signature = self.source.read(len(c.SIGNATURE))
        check_signature(signature)
        self.digest.update(signature)
        head = self.source.read_chunk()
        if head is None:
            raise TruncatedError("file ends after its signature")
        if head.type != c.HEAD:
            raise CorruptError("the first chunk is not HEAD")
        self.header = unpack_head(head.payload)
        head.feed(self.digest)
        seen_video = False
        while (chunk_type := self.source.peek_type()) not in RECORD_TYPES and chunk_type is not None:
            chunk = self.source.read_chunk()
            if chunk is None:
                break
            if c.check_known(chunk):
                repeated = chunk.type == c.HEAD or (chunk.type == c.VSTR and seen_video)
                too_early = not seen_video and chunk.type not in (c.VSTR, c.META)
                if repeated or too_early:
                    raise CorruptError(f"chunk {chunk.type.decode()!r} at byte {chunk.offset} is out of place")
                seen_video = seen_video or chunk.type == c.VSTR
                self._read_descriptor(chunk)
            chunk.feed(self.digest)
        if seen_video and self.tensors is None and self.video.packing == PACKING_FIELD and chunk_type is not None:
            raise CorruptError("packing field without LTNT")
        if not seen_video:
            raise TruncatedError("file ends before VSTR") if chunk_type is None else CorruptError("no VSTR")

    def _read_descriptor(self, chunk: c.Chunk) -> None:
        if chunk.type == c.VSTR:
            self.video = unpack_video(chunk.payload, self.limits)
        elif chunk.type == c.CSTR:
            number, stream = unpack_copied(chunk.payload, self.limits)
            if number != len(self.copied):
                raise CorruptError(f"copied stream {number} is described where {len(self.copied)} is expected")
            self.copied.append(stream)
        elif chunk.type == c.ORIG:
            if self.origin is not None:
                raise CorruptError(f"a second oRIG, at byte {chunk.offset}")
            self.origin = unpack_origin(chunk.payload, self.limits)
        elif chunk.type == c.SIDE:
            if self.side is not None:
                raise CorruptError(f"a second sIDe, at byte {chunk.offset}")
            self.side = unpack_side(chunk.payload, self.limits)
        elif chunk.type == c.ATTA:
            if len(self.attachments) >= self.limits.max_attachments:
                raise LimitError(f"more than {self.limits.max_attachments} attachments")
            self.attachments.append(unpack_attachment(chunk.payload, self.limits))
        elif chunk.type == c.LTNT:
            if self.tensors is not None:
                raise CorruptError(f"a second LTNT, at byte {chunk.offset}")
            self.tensors = unpack_tensors(chunk.payload, self.video, self.limits)
        elif chunk.type == c.MODL:
            if self.model_chunk is not None:
                raise CorruptError(f"a second MODL, at byte {chunk.offset}")
            self.model_chunk = unpack_model_chunk(chunk.payload, self.header.model_sha256, self.limits)
        else:
            self._add_metadata(chunk)

    def _add_metadata(self, chunk: c.Chunk) -> None:
        self.metadata = unpack_metadata(chunk.payload, self.limits)
        self.state.add_metadata(chunk.offset)

    def records(self) -> Iterator[ClipGroup | PacketGroup]:
        """Yield clips and packets in file order, then compare index, counts and SHA-256."""
        waits_for_tail = False
        at_end = False
        while (chunk := self.source.read_chunk()) is not None:
            at_end = False
            if waits_for_tail and chunk.type != c.TAIL:
                raise CorruptError(f"INDX is not followed by TAIL at byte {chunk.offset}")
            if chunk.type == c.INDX:
                self.index = self._check_index(chunk)
                waits_for_tail = True
            elif chunk.type == c.TAIL:
                if not waits_for_tail or self.index is None:
                    raise CorruptError(f"TAIL at byte {chunk.offset} does not follow INDX")
                self.tail = self._check_tail(chunk, self.index)
                waits_for_tail, at_end = False, True
            elif chunk.type == c.CLIP:
                clips = unpack_clips(chunk.payload, self.video, self.limits)
                self.state.add_clips(chunk.offset, clips)
                yield clips
            elif chunk.type == c.PKTS:
                packets = unpack_packets(chunk.payload, self.limits)
                if packets.stream >= len(self.copied):
                    raise CorruptError(f"packets of the undescribed stream {packets.stream} at byte {chunk.offset}")
                self.state.add_packets(chunk.offset, packets)
                yield packets
            elif chunk.type == c.META:
                self._add_metadata(chunk)
            elif c.check_known(chunk):
                raise CorruptError(f"chunk {chunk.type.decode()!r} at byte {chunk.offset} is out of place")
            chunk.feed(self.digest)
        if not at_end:
            raise TruncatedError("file ends without INDX and TAIL — `--salvage` recovers what is there")

    def _check_index(self, chunk: c.Chunk) -> Index:
        index = unpack_index(chunk.payload, chunk.offset, self.limits)
        if chunk.payload != pack_index(self.state.entries):
            raise CorruptError(f"the index at byte {chunk.offset} does not match the chunks before it")
        return index

    def _check_tail(self, chunk: c.Chunk, index: Index) -> Tail:
        tail = unpack_tail(chunk.payload)
        expected = self.state.tail(index.offset, self.digest.digest())
        if tail.sha256 != expected.sha256:
            raise CorruptError(f"SHA-256 in TAIL at byte {chunk.offset} does not match the bytes before it")
        for name in ("index_offset", "frame_count", "clip_count", "start_pts", "end_pts"):
            says, found = getattr(tail, name), getattr(expected, name)
            if says != found:
                raise CorruptError(f"TAIL at byte {chunk.offset} says {name} {says}, the file has {found}")
        return tail


def check_signature(signature: bytes) -> None:
    """Raise `TruncatedError` for an incomplete signature, `MediaError` for another known kind of file, and
    `CorruptError` for anything else but the signature."""
    if signature != c.SIGNATURE:
        if c.SIGNATURE.startswith(signature):
            raise TruncatedError("file ends inside its signature")
        if signature.startswith(b"\x89LVZ") or signature[1:4] == b"LVZ":
            raise CorruptError("the signature was damaged, as by a transfer in text mode")
        kind = kind_of(signature)
        if kind is not None:
            advice = "lvc encode makes one of it" if kind in VIDEOS else "name another file"
            raise MediaError(f"is {called(kind)}, not a .lvz — {advice}")
        raise CorruptError("not an .lvz file (its signature is missing)")
