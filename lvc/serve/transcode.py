"""Converts a `.lvz` to H.264 in MP4 while it is watched, for players that need it.

`stream` makes one MP4 from a time on. `Pieces` makes a list of segments (HLS), each independently from the GOPs that it
covers. Segments are MPEG-TS, in which every player can seek, or fragments of an MP4, for Media Source Extensions.
Pictures are rotated upright, because few television sets do that.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, BinaryIO, cast

import av

from lvc.errors import CorruptError, UnsupportedError
from lvc.features import upright
from lvc.files.coding import VideoModel, model_of
from lvc.files.decode import Decoding, check_size, format_of
from lvc.lvz import PACKET_KEY, CopiedStream, LvzReader, PacketGroup, VideoDescriptor, clips_only
from lvc.media import CopiedPacket, CopiedStreamInfo, Frame, MediaWriter, VideoFormat
from lvc.media.containers import Streaming
from lvc.media.open import NOTHING, open_input, open_output
from lvc.media.params import open_params
from lvc.media.sound import SoundEncoder
from lvc.media.sound_coding import sound_coding

TYPE = "video/mp4"
CRF = 20
MP4, TS = "m4s", "ts"
"""Kinds of segments, by the endings of their names."""
_COPIED = {MP4: ("aac", "mp3", "opus", "flac"), TS: ("aac", "mp3", "ac3", "eac3")}
"""Sound codecs of each kind; other sound becomes AAC."""
_LONGEST = Fraction(4)  # seconds of a segment, unless a GOP is a little longer
_BUFFERED = 4 << 20  # bytes made ahead of the reader
_PATIENCE = 900.0  # seconds that a player may pause; it holds its place in the queue
_BEFORE = Fraction(1, 2)  # seconds of sound that a coder gets before its segment
_OBJECT_TYPES = {"mp3": "mp4a.6b", "opus": "opus", "flac": "flac", "aac": "mp4a.40.2"}


class Stopped(OSError):
    """The client has left."""


class Pipe(io.RawIOBase):
    """Written by one thread and read by another. A writer that is far ahead waits."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        with self._changed:
            while self._bytes > _BUFFERED and not self._stopped:
                self._stopped = not self._changed.wait(_PATIENCE)
            self.check()
            self._pieces.append(piece)
            self._bytes += len(piece)
            self._changed.notify_all()
        return len(piece)

    def check(self) -> None:
        """Write bytes. Raises `Stopped` once the reader has left."""
        if self._stopped:
            raise Stopped("the reader has left")

    def take(self) -> bytes:
        """Wait for bytes and return them; empty at the end. Raises the error that ended the writer."""
        with self._changed:
            while not self._pieces and not self._ended and not self._stopped:
                self._changed.wait()
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._bytes = 0
            self._changed.notify_all()
            if not data and self._error is not None:
                raise self._error
            return data

    def end(self, error: BaseException | None = None) -> None:
        """End writing."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """End reading."""
        with self._changed:
            self._stopped = True
            self._pieces.clear()
            self._changed.notify_all()


def stream(file: BinaryIO, start: float, pipe: Pipe, threads: int | None = None) -> None:
    """Write an MP4 from a time on to `pipe`, whose reader may stop it. Its times start at 0. Raises every kind of
    `LvcError`, and `Stopped`."""
    reader = LvzReader(file)
    check_size(reader)
    sound = _sound_of(reader)
    decoding = Decoding(reader, start or None, None, False, with_packets=sound is not None, from_zero=True)
    copied = [] if sound is None else [_info(reader.copied[sound])]
    audio = "copy" if all(info.codec in _COPIED[MP4] for info in copied) else "aac"
    model = model_of(reader, None, None)
    with MediaWriter(
        cast(BinaryIO, pipe), _upright_format(reader), copied, container="mp4", crf=CRF, threads=threads or 0,
        audio=audio, streaming=Streaming(),
    ) as writer:  # fmt: skip
        writer.start()
        for item in decoding.items(model, threads):
            pipe.check()
            if isinstance(item, Frame):
                writer.write(_upright(item, reader.video))
            elif item.stream == sound:
                writer.write(replace(item, stream=0))


@dataclass(frozen=True)
class Piece:
    """A segment from `start` to `end`, in ticks of the video since its first frame."""

    start: int
    end: int


class Pieces:
    """A finished `.lvz` as a list of segments, which are decoded on request."""

    def __init__(self, file: BinaryIO) -> None:
        reader = LvzReader(file)
        index, tail = reader.index, reader.tail
        if index is None or tail is None:
            raise UnsupportedError("has no end yet: it is being recorded, or was cut off — take the MP4 stream")
        check_size(reader)
        self._tick = reader.video.seconds_per_tick
        starts = [gop.start_pts - tail.start_pts for gop in index.gops]
        self.pieces = _cut([*starts, tail.end_pts - tail.start_pts], self._tick)

    @property
    def seconds(self) -> list[Fraction]:
        """Duration of each segment in seconds."""
        return [(piece.end - piece.start) * self._tick for piece in self.pieces]

    def playlist(self, kind: str, query: str = "") -> str:
        """The HLS playlist. `query`, with its `?`, is appended to every address in it."""
        lengths = [float(length) for length in self.seconds]
        lines = [
            "#EXTM3U", f"#EXT-X-VERSION:{7 if kind == MP4 else 3}",
            f"#EXT-X-TARGETDURATION:{max(1, *map(round, lengths))}", "#EXT-X-MEDIA-SEQUENCE:0",
            "#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-INDEPENDENT-SEGMENTS",
        ]  # fmt: skip
        if kind == MP4:
            lines.append(f'#EXT-X-MAP:URI="init.mp4{query}"')
        for number, length in enumerate(lengths):
            lines += [f"#EXTINF:{length:.6f},", f"{number}.{kind}{query}"]
        return "\n".join([*lines, "#EXT-X-ENDLIST", ""])

    def header(self, file: BinaryIO) -> tuple[bytes, str]:
        """The initialisation segment of the MP4, and its media type with codecs."""
        reader = LvzReader(file)
        out = io.BytesIO()
        with _track(reader, MP4) as track:
            writer = _piece_writer(out, _upright_format(reader), track, 1)
            try:
                writer.start()
            finally:
                writer.abort()
        head = _before(out.getvalue(), b"moof")
        codecs = [_h264_name(head), *(_OBJECT_TYPES[track.info.codec] for _ in [track.info] if track.info is not None)]
        return head, f'{TYPE}; codecs="{",".join(codecs)}"'

    def segment(
        self, file: BinaryIO, number: int, kind: str, stop: threading.Event, threads: int | None = None
    ) -> bytes:
        """Make a segment, on the clock of the whole video. Raises every kind of `LvcError`, and `Stopped`
        after `stop` was set."""
        piece = self.pieces[number]
        reader = LvzReader(file)
        tail = reader.tail
        if tail is None:
            raise CorruptError("the file has lost its end")
        model = model_of(reader, None, None)
        begin, end = piece.start * self._tick, piece.end * self._tick
        out = io.BytesIO()
        first = tail.start_pts
        with _track(reader, kind) as track, _piece_writer(out, _upright_format(reader), track, threads or 0) as writer:
            for packet in track.between(first * self._tick, begin, end):
                writer.write(packet)
            for frame in self._frames(reader, model, begin, end, threads):
                if stop.is_set():
                    raise Stopped("no client waits for this segment")
                # a frame that is still shown when the segment begins is repeated at its start
                at = max(frame.pts - first, piece.start)
                frame = replace(frame, pts=at, duration=frame.pts - first + frame.duration - at)
                writer.write(_upright(frame, reader.video))
        whole = out.getvalue()
        return whole[len(_before(whole, b"moof")) :] if kind == MP4 else _as_ts(whole)

    def _frames(
        self, reader: LvzReader, model: VideoModel, begin: Fraction, end: Fraction, threads: int | None
    ) -> Iterator[Frame]:
        tail = cast(Any, reader.tail)
        first, last = tail.start_pts + begin / self._tick, tail.start_pts + end / self._tick
        records = reader.records_from(begin, end, packets=False, from_first=True)
        clips = list(clips_only(records))
        times = [pts for clip in clips for pts in clip.pts]
        if not any(first <= pts < last for pts in times):
            first = times[max(0, bisect_right(times, first) - 1)]  # the frame before lasts through the whole segment
        yield from model.decode(iter(clips), reader.video, threads, lambda _, pts: first <= pts < last)


def _cut(bounds: Sequence[int], tick: Fraction) -> list[Piece]:
    """Divide a video into segments at starts of GOPs: short GOPs are merged, long ones split into equal parts."""
    most = max(1, int(_LONGEST / tick))
    pieces: list[Piece] = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        if end <= start:
            continue
        if pieces and end - pieces[-1].start <= most:
            pieces[-1] = Piece(pieces[-1].start, end)
            continue
        parts = max(1, -(-(end - start) // (most + most // 2)))
        edges = [start + (end - start) * i // parts for i in range(parts + 1)]
        pieces += [Piece(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    return pieces


def _piece_writer(out: BinaryIO, video: VideoFormat, track: _Track, threads: int) -> MediaWriter:
    return MediaWriter(
        out, video, [] if track.info is None else [track.info], container="mp4", crf=CRF, threads=threads,
        streaming=Streaming(piece=True),
    )  # fmt: skip


def _sound_of(reader: LvzReader) -> int | None:
    """The number of the audio stream to play: the default one, else the first."""
    found = [number for number, stream in enumerate(reader.copied) if stream.kind == "audio"]
    return min(found, key=lambda number: (not reader.copied[number].disposition & 1, number), default=None)


def _info(stream: CopiedStream) -> CopiedStreamInfo:
    return CopiedStreamInfo(**vars(stream))


@dataclass
class _Track:
    """The sound of segments. `info` is `None` where there is none, `coder` where it is copied."""

    reader: LvzReader
    sound: int = 0
    info: CopiedStreamInfo | None = None
    coder: SoundEncoder | None = None

    def between(self, origin: Fraction, begin: Fraction, end: Fraction) -> Iterator[CopiedPacket]:
        """The packets of a segment, as copied stream 0. `origin`: the start of the output's clock."""
        if self.info is None:
            return
        coder, tick = self.coder, self.reader.copied[self.sound].seconds_per_tick
        around = Fraction(0) if coder is None else _BEFORE
        packets = self._packets(tick, origin, max(Fraction(0), begin - around), end + around)
        if coder is None:
            moved = round(origin / tick)
            for packet in packets:
                pts, dts = packet.pts, packet.dts
                at = pts if pts is not None else cast(int, dts)
                yield replace(packet, pts=at - moved, dts=None if dts is None else dts - moved)
            return
        made = [coded for packet in packets for coded in _coded(coder, packet, tick, origin)]
        for packet in [*made, *coder.flush()]:
            if packet.pts is not None and begin <= packet.pts * Fraction(*coder.info.time_base) < end:
                yield packet

    def _packets(self, tick: Fraction, origin: Fraction, begin: Fraction, end: Fraction) -> list[CopiedPacket]:
        """The packets that play from `begin` to `end` after `origin`."""
        found = []
        for group in self.reader.records_from(origin + begin, origin + end):
            if isinstance(group, PacketGroup) and group.stream == self.sound:
                for p in group.packets:
                    at = p.pts if p.pts is not None else p.dts
                    if at is not None and begin <= at * tick - origin < end:
                        found.append(CopiedPacket(0, p.pts, p.dts, p.duration, bool(p.flags & PACKET_KEY), p.data))
        return found


@contextlib.contextmanager
def _track(reader: LvzReader, kind: str) -> Iterator[_Track]:
    sound = _sound_of(reader)
    if sound is None:
        yield _Track(reader)
        return
    info = _info(reader.copied[sound])
    if info.codec in _COPIED[kind]:
        yield _Track(reader, sound, info)
        return
    with open_params(info.params) as template:
        coder = SoundEncoder(template, cast(Any, sound_coding("aac")), 0, aligned=True)
        yield _Track(reader, sound, coder.info, coder)


def _coded(coder: SoundEncoder, item: CopiedPacket, tick: Fraction, origin: Fraction) -> list[CopiedPacket]:
    packet = av.Packet(item.data)
    packet.time_base, packet.pts, packet.dts, packet.duration = tick, item.pts, item.dts, item.duration
    return coder.encode(packet, origin, lambda error: None)


def _upright_format(reader: LvzReader) -> VideoFormat:
    video = format_of(reader)
    size, sar = (video.width, video.height), video.sar
    if video.rotation % 180:
        size, sar = (size[1], size[0]), (sar[1], sar[0])
    turned = video.rotation or video.hflip
    return replace(
        video, width=size[0], height=size[1], sar=sar, rotation=0, hflip=False,
        chroma_location=0 if turned else video.chroma_location,
    )  # fmt: skip


def _upright(frame: Frame, video: VideoDescriptor) -> Frame:
    if not video.rotation and not video.hflip:
        return frame
    y, u, v = (upright(cast(Any, plane), video.rotation, video.hflip) for plane in (frame.y, frame.u, frame.v))
    return replace(frame, y=cast(Any, y), u=cast(Any, u), v=cast(Any, v))


def _as_ts(whole: bytes) -> bytes:
    """Remux an MP4 of one fragment to MPEG-TS."""
    out = io.BytesIO()
    with open_input(io.BytesIO(whole), NOTHING) as source:
        # each segment restarts the continuity counters, and signals that
        with open_output(out, "mpegts", {"mpegts_flags": "initial_discontinuity"}) as target:
            streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)
    return out.getvalue()


def _before(data: bytes, kind: bytes) -> bytes:
    """The boxes of an MP4 before the first of one type."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == kind or size < 8:
            break
        at += size
    return data[:at]


def _h264_name(head: bytes) -> str:
    """The codec string of a header, such as `avc1.64001f`, from profile, constraints and level in `avcC`."""
    found = re.search(rb"avcC\x01(...)", head, re.DOTALL)
    return f"avc1.{found[1].hex()}" if found is not None else "avc1.640028"
