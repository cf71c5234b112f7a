"""Writes an `.lvz` file from front to back without seeking, so it can write to a pipe (`formats/lvz.md`)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import BinaryIO

from lvc.errors import CorruptError, LimitError, UnsupportedError, UsageError
from lvc.limits import DEFAULT, Limits
from lvc.lvz import chunks as c
from lvc.lvz.checks import CHECK_BITS
from lvc.lvz.clips import TIME_BOUND, ClipGroup, most_frames, pack_clips
from lvc.lvz.descriptors import (
    U32,
    check_picture,
    pack_attachment,
    pack_copied,
    pack_head,
    pack_metadata,
    pack_model_chunk,
    pack_origin,
    pack_side,
    pack_video,
    unpack_attachment,
    unpack_copied,
    unpack_head,
    unpack_metadata,
    unpack_model_chunk,
    unpack_origin,
    unpack_side,
    unpack_video,
)
from lvc.lvz.features import FeatureTrack, pack_features
from lvc.lvz.index import FileState, pack_index, pack_tail
from lvc.lvz.packets import MAX_GROUP_PACKETS, pack_packets
from lvc.lvz.records import (
    PACKING_RANS,
    Attachment,
    Clip,
    CopiedStream,
    Header,
    Metadata,
    ModelChunk,
    Origin,
    Packet,
    PacketGroup,
    Side,
    VideoDescriptor,
)
from lvc.lvz.tensors import TensorSet, pack_tensors, unpack_tensors
from lvc.lvz.walk import Walker

CHUNK_BYTES = 32768
PACKET_BYTES = 1 << 18
PACKET_SECONDS = 1


class LvzWriter:
    """Forward-only writer; `close` writes `INDX` and `TAIL`. Leaving a `with` block by an exception does not close.

    Small clips of a GOP share a chunk of up to `chunk_bytes` of payload; packets of a copied stream share one for about
    a second. `fileobj` is not closed. `clip_bytes`, `packet_bytes`: of payloads and packets so far;
    `video_chunk_bytes`, `sound_chunk_bytes`: of the chunks that hold and describe the picture, and of those with sound.
    Raises `UsageError` for records that the format forbids, and `LimitError` for what a reader with default limits
    would refuse.
    """

    def __init__(
        self,
        fileobj: BinaryIO,
        header: Header,
        video: VideoDescriptor,
        copied: Sequence[CopiedStream] = (),
        metadata: Metadata | None = None,
        *,
        origin: Origin | None = None,
        side: Side | None = None,
        attachments: Sequence[Attachment] = (),
        tensors: TensorSet | None = None,
        model_chunk: ModelChunk | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        limits: Limits = DEFAULT,
    ) -> None:
        self.header, self.video, self.copied = header, video, tuple(copied)
        self.bytes_written = 0
        self.clip_bytes = 0
        self.packet_bytes = 0
        self.video_chunk_bytes = self.sound_chunk_bytes = 0
        self._file = fileobj
        self._limits = limits
        self._chunk_bytes = chunk_bytes
        self._digest = hashlib.sha256()
        self._state = FileState(limits.max_index_entries)
        self._clips: list[Clip] = []
        self._clip_payload = 0
        self._next_frame = 0
        self._last_pts: int | None = None
        self._packets: list[list[Packet]] = [[] for _ in copied]
        self._packet_sizes = [0] * len(self.copied)
        self._features: bytes | None = None
        self._closed = False
        chunks = self._checked_descriptors()
        if side is not None and side != Side():
            chunks.append((c.SIDE, pack_side(side)))
            unpack_side(chunks[-1][1], limits)
        if len(attachments) > limits.max_attachments:
            raise UsageError(f"{len(attachments)} attachments, at most {limits.max_attachments}")
        for attachment in attachments:
            chunks.append((c.ATTA, pack_attachment(attachment)))
            unpack_attachment(chunks[-1][1], limits)
        if origin is not None:
            chunks.append((c.ORIG, pack_origin(origin)))
            unpack_origin(chunks[-1][1], limits)
        if tensors is not None:
            chunks.append((c.LTNT, pack_tensors(tensors)))
            try:
                unpack_tensors(chunks[-1][1], video, limits)
            except CorruptError as error:
                raise UsageError(f"the description of the tensors breaks the format's rules — {error}") from error
        if model_chunk is not None:
            chunks.append((c.MODL, pack_model_chunk(model_chunk)))
            try:
                unpack_model_chunk(chunks[-1][1], header.model_sha256, limits)
            except (CorruptError, UnsupportedError) as error:
                raise UsageError(f"the model in the file breaks the format's rules — {error}") from error
        self._emit(c.SIGNATURE)
        for chunk_type, payload in chunks:
            size = self._emit(c.pack_chunk(chunk_type, payload))
            self.video_chunk_bytes += size if chunk_type == c.VSTR else 0
        if metadata is not None:
            self.write_metadata(metadata)

    @classmethod
    def append_to(cls, fileobj: BinaryIO, limits: Limits = DEFAULT) -> LvzWriter:
        """Continue a complete file, open for reading and writing, after its `TAIL`. The file is verified first.

        The old `INDX` and `TAIL` stay in place without effect. Raises what `LvzReader.verify` raises.
        """
        fileobj.seek(0)
        walker = Walker(c.Source(fileobj, limits))
        walker.read_descriptors()
        clip_bytes = packet_bytes = 0
        for group in walker.records():
            if isinstance(group, ClipGroup):
                clip_bytes += sum(len(clip.payload) for clip in group.clips)
            else:
                packet_bytes += sum(len(p.data) for p in group.packets)
        writer = cls(io.BytesIO(), walker.header, walker.video, walker.copied, limits=limits)
        writer._file, writer._digest, writer._state = fileobj, walker.digest, walker.state
        writer.bytes_written = walker.source.offset
        writer.clip_bytes, writer.packet_bytes = clip_bytes, packet_bytes
        writer._next_frame = walker.state.frames
        writer._last_pts = walker.state.last_pts if walker.state.frames else None
        return writer

    @property
    def overhead_bytes(self) -> int:
        """Bytes written so far that are neither clip payload nor packet data."""
        return self.bytes_written - self.clip_bytes - self.packet_bytes

    @property
    def frame_count(self) -> int:
        return self._next_frame

    def _checked_descriptors(self) -> list[tuple[bytes, bytes]]:
        """Pack the descriptors and read them back, so that a reader accepts what is written."""
        if len(self.copied) > self._limits.max_streams:
            raise UsageError(f"{len(self.copied)} copied streams, at most {self._limits.max_streams}")
        check_picture(self.video.geometry, self._limits)
        packed = [(c.HEAD, pack_head(self.header)), (c.VSTR, pack_video(self.video))]
        packed += [(c.CSTR, pack_copied(i, stream)) for i, stream in enumerate(self.copied)]
        try:
            unpack_head(packed[0][1])
            unpack_video(packed[1][1], self._limits)
            for _, payload in packed[2:]:
                unpack_copied(payload, self._limits)
        except (CorruptError, UnsupportedError) as error:
            raise UsageError(f"a descriptor breaks the format's rules — {error}") from error
        return packed

    def write_clip(self, clip: Clip) -> None:
        """Write the next clip; the first must be a key clip. It may stay buffered until its chunk is full."""
        self._check_open()
        self._check_clip(clip)
        if self._clips and self._must_break_before(clip):
            self._flush_clips(gop_end=clip.key)
        self._clips.append(clip)
        self._clip_payload += len(clip.payload)
        self._next_frame += clip.n_frames
        self._last_pts = clip.pts[-1]

    def _must_break_before(self, clip: Clip) -> bool:
        full = self._clip_payload + len(clip.payload) > self._chunk_bytes
        full = full or clip.first_frame + clip.n_frames - self._clips[0].first_frame > self._limits.max_group_frames
        return clip.key or full

    def _check_clip(self, clip: Clip) -> None:
        pts = clip.pts
        if not pts or len(pts) != len(clip.durations) or not clip.payload:
            raise UsageError("a clip needs frames, as many durations, and a payload")
        most = most_frames(self.video, self._limits)
        if len(pts) > most:
            raise UsageError(f"{len(pts)} frames in a clip, at most {most}")
        if len(clip.payload) > self._limits.max_chunk - 4096:
            raise LimitError(f"a clip of {len(clip.payload)} bytes, limit {self._limits.max_chunk - 4096}")
        if clip.first_frame != self._next_frame:
            raise UsageError(f"clip starts with frame {clip.first_frame}, expected {self._next_frame}")
        if not clip.key and (self._next_frame == 0 or (self._state.gop_ended and not self._clips)):
            raise UsageError("the first clip of a file, or after its end was written, must be a key clip")
        previous = [] if self._last_pts is None else [self._last_pts]
        if any(a >= b for a, b in zip(previous + pts, pts if previous else pts[1:], strict=False)):
            raise UsageError("pts must increase from frame to frame")
        if max(map(abs, pts)) >= TIME_BOUND or min(clip.durations) < 0 or max(clip.durations) >= TIME_BOUND:
            raise UsageError("a time is out of range")
        no_crc = clip.latents_crc is None or not 0 <= clip.latents_crc < U32
        if no_crc and self.video.packing != PACKING_RANS:
            raise UsageError("a clip of this packing needs a latents_crc of 32 bits")
        if (len(pts) if self.video.checks else 0) != len(clip.checks or ()):
            raise UsageError("checks of frames need one for each frame, and a stream that says it has them")
        if clip.check_bits not in (0, *CHECK_BITS) or not all(0 <= check < U32 for check in clip.checks or ()):
            raise UsageError("a frame's check is out of range")

    def write_packets(self, stream_index: int, packets: Iterable[Packet]) -> None:
        """Write packets of copied stream `stream_index` (from 0), in the source's order. Small groups are merged."""
        self._check_open()
        if not 0 <= stream_index < len(self.copied):
            raise UsageError(f"no copied stream {stream_index}")
        waiting = self._packets[stream_index]
        for packet in packets:
            self._check_packet(packet)
            waiting.append(packet)
            self._packet_sizes[stream_index] += len(packet.data)
            size = self._packet_sizes[stream_index]
            full = size >= PACKET_BYTES or len(waiting) == MAX_GROUP_PACKETS
            full = full or len(waiting) >= size + self._limits.max_empty_packets
            first, last = self._seconds(stream_index, waiting[0]), self._seconds(stream_index, packet)
            if full or (first is not None and last is not None and abs(last - first) >= PACKET_SECONDS):
                self._flush_packets(stream_index)
                waiting = self._packets[stream_index]

    def _check_packet(self, packet: Packet) -> None:
        if any(t is not None and abs(t) >= TIME_BOUND for t in (packet.pts, packet.dts)):
            raise UsageError("a packet's time is out of range")
        if not 0 <= packet.duration < TIME_BOUND or not 0 <= packet.flags < 1 << 32:
            raise UsageError("a packet's duration or flags are out of range")
        if len(packet.data) > self._limits.max_packet:
            raise UsageError(f"a packet of {len(packet.data)} bytes, at most {self._limits.max_packet}")

    def _seconds(self, stream_index: int, packet: Packet) -> Fraction | None:
        return None if packet.time is None else packet.time * self.copied[stream_index].seconds_per_tick

    def write_metadata(self, metadata: Metadata) -> None:
        """Write tags and chapters. A later call replaces an earlier one."""
        self._check_open()
        payload = pack_metadata(metadata)
        try:
            unpack_metadata(payload, self._limits)
        except CorruptError as error:
            raise UsageError(f"metadata break the format's rules — {error}") from error
        self._state.add_metadata(self.bytes_written)
        self._emit(c.pack_chunk(c.META, payload))

    def write_features(self, *tracks: FeatureTrack) -> None:
        """Set the feature vectors, which are written right before the next `INDX`. Tracks without vectors are left
        out."""
        self._check_open()
        tracks = tuple(track for track in tracks if track.pts)
        self._features = pack_features(tracks) if tracks else None

    def flush(self) -> None:
        """Write what is buffered, as for live recording; costs some bytes."""
        self._check_open()
        self._flush_clips(gop_end=False)
        for number in range(len(self.copied)):
            self._flush_packets(number)

    def checkpoint(self) -> None:
        """Flush, and write `INDX` and `TAIL`. Writing may continue: the last valid index counts."""
        self.flush()
        self._write_end()

    def close(self) -> None:
        """Write what is buffered, `INDX` and `TAIL`. A second call does nothing."""
        if self._closed:
            return
        self._flush_clips(gop_end=True)
        for number in range(len(self.copied)):
            self._flush_packets(number)
        self._write_end()
        self._closed = True

    def __enter__(self) -> LvzWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def _flush_clips(self, gop_end: bool) -> None:
        if not self._clips:
            return
        group = ClipGroup(self._clips, gop_end)
        self._state.add_clips(self.bytes_written, group)
        self.video_chunk_bytes += self._emit(c.pack_chunk(c.CLIP, pack_clips(group, self.video)))
        self.clip_bytes += self._clip_payload
        self._clips, self._clip_payload = [], 0
        now = group.end_pts * self.video.seconds_per_tick
        for number, waiting in enumerate(self._packets):
            first = self._seconds(number, waiting[0]) if waiting else None
            if first is not None and now - first >= PACKET_SECONDS:
                self._flush_packets(number)

    def _flush_packets(self, number: int) -> None:
        packets = self._packets[number]
        if not packets:
            return
        self._packets[number], self._packet_sizes[number] = [], 0
        group = PacketGroup(number, packets)
        self._state.add_packets(self.bytes_written, group)
        size = self._emit(c.pack_chunk(c.PKTS, pack_packets(group)))
        self.sound_chunk_bytes += size if self.copied[number].kind == "audio" else 0
        self.packet_bytes += sum(len(p.data) for p in packets)

    def _write_end(self) -> None:
        if self._features is not None:
            self._emit(c.pack_chunk(c.FEAT, self._features))
        index_offset = self.bytes_written
        self._emit(c.pack_chunk(c.INDX, pack_index(self._state.entries)))
        self._emit(c.pack_chunk(c.TAIL, pack_tail(self._state.tail(index_offset, self._digest.digest()))))

    def _emit(self, data: bytes) -> int:
        """How many bytes that are."""
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            view = view[len(view) if written is None else written :]
        self._digest.update(data)
        self.bytes_written += len(data)
        return len(data)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the writer is closed")
