"""Reads what remains of a damaged file: finds the next valid chunk, yields what can be decoded, lists the rest."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

from lvc.errors import CorruptError, LimitError
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
from lvc.lvz.index import unpack_tail
from lvc.lvz.packets import unpack_packets
from lvc.lvz.records import (
    Attachment,
    CopiedStream,
    Damage,
    Header,
    Metadata,
    ModelChunk,
    Origin,
    PacketGroup,
    Side,
    Tail,
    VideoDescriptor,
)
from lvc.lvz.tensors import TensorSet, unpack_tensors

MAX_NOTES = 1000
_WINDOW = 1 << 20
_TYPES = re.compile(b"|".join(sorted(c.KNOWN_TYPES)))


def spool(fileobj: BinaryIO) -> IO[bytes]:
    """A pipe's bytes in a temporary file, since resynchronising needs to seek."""
    copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the reader
    while piece := fileobj.read(_WINDOW):
        copy.write(piece)
    copy.seek(0)
    return copy


def frames_named(start: int, stop: int) -> str:
    """`[start, stop)` as the beginning of a sentence."""
    if stop - start == 1:
        return f"1 frame, {start}, is"
    return f"{stop - start} frames, {start} to {stop - 1}, are"


class Salvager:
    """One pass over a damaged seekable file. `damage` and `lost_frames` grow while `records` is consumed.

    A GOP is yielded up to its first missing clip; the clips after that, up to the next key clip, cannot be decoded.
    Unknown critical chunks still raise `UnsupportedError`: they are not damage.
    """

    def __init__(self, source: c.Source) -> None:
        self.source = source
        self.limits: Limits = source.limits
        self.damage: list[Damage] = []
        self.lost_frames: list[tuple[int, int]] = []
        self.header: Header | None = None
        self.video: VideoDescriptor | None = None
        self.copied: list[CopiedStream] = []
        self.metadata = Metadata()
        self.origin: Origin | None = None
        self.side: Side | None = None
        self.attachments: list[Attachment] = []
        self.tensors: TensorSet | None = None
        self.model_chunk: ModelChunk | None = None
        self.tail: Tail | None = None
        self._budget = 4 * (source.size or 0) + (64 << 20)
        self._next_frame = self._told = 0
        self._gop_open = False
        self._last_pts: int | None = None
        self._gap: tuple[int, int] | None = None

    def _note(self, offset: int, reason: object) -> None:
        if len(self.damage) < MAX_NOTES:
            self.damage.append(Damage(offset, str(reason)))
        elif len(self.damage) == MAX_NOTES:
            self.damage.append(Damage(offset, "more damage from here on, not listed"))

    def good_chunks(self) -> Iterator[c.Chunk]:
        """Yield chunks with a valid CRC, in file order, and note what lies between them as damage."""
        source, size = self.source, self.source.size or 0
        source.seek(0)
        offset: int | None = len(c.SIGNATURE)
        if source.read(len(c.SIGNATURE)) != c.SIGNATURE:
            self._note(0, "the signature is damaged")
            offset = self._resync(0)
        ends_well = False
        while offset is not None and offset < size:
            source.seek(offset)
            try:
                chunk = source.read_chunk()
            except (CorruptError, LimitError) as error:
                self._note(offset, error)
                offset = self._resync(offset + 1)
                ends_well = False
                continue
            if chunk is None:
                break
            offset, ends_well = chunk.end, chunk.type == c.TAIL
            yield chunk
        if not ends_well:
            self._note(size, "file ends without a valid INDX and TAIL")

    def _resync(self, start: int) -> int | None:
        """Offset of the next known chunk with a valid CRC; `None` if there is none within the limit of the search."""
        size, step = self.source.size or 0, 256
        while start < size:
            self.source.seek(start)
            window = self.source.read(step)
            self._budget -= len(window)
            for match in _TYPES.finditer(window):
                at = start + match.start()
                if self._plausible(at):
                    return at
                if self._budget <= 0:
                    self._note(at, "too many false chunk starts, the rest is not searched")
                    return None
            if len(window) < step:
                break
            start += step - 3
            step = min(2 * step, _WINDOW)
        return None

    def _plausible(self, offset: int) -> bool:
        self.source.seek(offset)
        try:
            head = self.source.read_header()
        except (CorruptError, LimitError):
            return False
        if head is None or self.source.offset + head[2] + 4 > (self.source.size or 0):
            return False
        crc, left = zlib.crc32(head[1]), head[2]
        while left:
            piece = self.source.read(min(left, _WINDOW))
            crc = zlib.crc32(piece, crc)
            left -= len(piece)
        self._budget -= head[2] + 64
        return crc == int.from_bytes(self.source.read(4), "little")

    def read_descriptors(self) -> None:
        """Find `HEAD` and `VSTR`, without which nothing can be decoded. Raises `CorruptError` if one is lost."""
        for chunk in self.good_chunks():
            if chunk.type in (c.CLIP, c.PKTS):
                break
            self._read_descriptor(chunk)
        if self.header is None or self.video is None:
            raise CorruptError("HEAD or VSTR is lost, so nothing can be salvaged")
        self.damage.clear()

    def _read_descriptor(self, chunk: c.Chunk) -> None:
        if not c.check_known(chunk):
            return
        try:
            if chunk.type == c.HEAD and self.header is None:
                self.header = unpack_head(chunk.payload)
            elif chunk.type == c.VSTR and self.video is None:
                self.video = unpack_video(chunk.payload, self.limits)
            elif chunk.type == c.CSTR:
                number, stream = unpack_copied(chunk.payload, self.limits)
                if number == len(self.copied):
                    self.copied.append(stream)
            elif chunk.type == c.META:
                self.metadata = unpack_metadata(chunk.payload, self.limits)
            elif chunk.type == c.ORIG:
                self.origin = unpack_origin(chunk.payload, self.limits)
            elif chunk.type == c.SIDE:
                self.side = unpack_side(chunk.payload, self.limits)
            elif chunk.type == c.ATTA and len(self.attachments) < self.limits.max_attachments:
                self.attachments.append(unpack_attachment(chunk.payload, self.limits))
            elif chunk.type == c.LTNT and self.video is not None:
                self.tensors = unpack_tensors(chunk.payload, self.video, self.limits)
            elif chunk.type == c.MODL and self.header is not None:
                self.model_chunk = unpack_model_chunk(chunk.payload, self.header.model_sha256, self.limits)
            elif chunk.type == c.TAIL:
                self.tail = unpack_tail(chunk.payload)
        except (CorruptError, LimitError) as error:
            self._note(chunk.offset, error)

    def records(self) -> Iterator[ClipGroup | PacketGroup]:
        """Yield decodable clips and intact packets, in file order. Call `read_descriptors` first."""
        if self.video is None:
            raise CorruptError("HEAD or VSTR is lost, so nothing can be salvaged")
        for chunk in self.good_chunks():
            if chunk.type == c.CLIP:
                try:
                    group = unpack_clips(chunk.payload, self.video, self.limits)
                except (CorruptError, LimitError) as error:
                    self._note(chunk.offset, error)
                    continue
                if self._decodable(chunk.offset, group):
                    yield group
            elif chunk.type == c.PKTS:
                yield from self._packets(chunk)
            elif chunk.type in (c.META, c.TAIL) or chunk.type not in c.KNOWN_TYPES:
                self._read_descriptor(chunk)
                if chunk.type == c.TAIL and self.tail is not None:
                    self._lose_until(self.tail.frame_count, chunk.offset)
        if self._gap is not None:
            self._lose_until(self._gap[1], self._gap[0])

    def _decodable(self, offset: int, group: ClipGroup) -> bool:
        first = group.first_frame
        if first < self._next_frame or (self._last_pts is not None and group.start_pts <= self._last_pts):
            self._note(offset, f"clips from frame {first} on repeat what was read before")
            return False
        if not group.key and not (self._gop_open and first == self._next_frame):
            begun = offset if self._gap is None else self._gap[0]
            self._gap = begun, group.end_frame
            return False
        self._lose_until(first, offset)
        self._next_frame, self._last_pts, self._gop_open = group.end_frame, group.last_pts, not group.gop_end
        return True

    def _lose_until(self, frame: int, offset: int) -> None:
        """Mark the frames from the next one up to `frame` as lost. `offset`: the chunk that shows it. So a false `TAIL`
        inside a packet costs no clip."""
        start = max(self._next_frame, self._told)
        if frame > start:
            self.lost_frames.append((start, frame))
            at = offset if self._gap is None else self._gap[0]
            self._note(at, f"{frames_named(start, frame)} lost, or cannot be decoded without those that are")
            self._told = frame
        self._gap = None

    def _packets(self, chunk: c.Chunk) -> Iterator[PacketGroup]:
        try:
            group = unpack_packets(chunk.payload, self.limits)
        except (CorruptError, LimitError) as error:
            self._note(chunk.offset, error)
            return
        if group.stream < len(self.copied):
            yield group
        else:
            self._note(chunk.offset, f"packets of stream {group.stream}, whose description is lost")
