"""Video files → frames and copied packets, in the order of their times."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeAlias

import av
import numpy as np
from av.stream import Disposition

from lvc.errors import LimitError, MediaError, UsageError
from lvc.limits import DEFAULT, Limits
from lvc.media.colour import tags_after, tags_of
from lvc.media.depth import DEPTHS
from lvc.media.errors import AV_ERRORS, reason
from lvc.media.header import Crop, attachment_of, video_header
from lvc.media.orientation import orientation_of
from lvc.media.params import codec_name
from lvc.media.planes import PlaneMaker, loss_of, native_depth
from lvc.media.scaling import scaled_sar, target_rate, target_size
from lvc.media.side import FIELDS, TIMECODE, losses_of, properties_of, side_data_of
from lvc.media.sound import SoundEncoder
from lvc.media.sound_coding import SoundCoding, sound_coding
from lvc.media.source import Live, open_source
from lvc.media.streams import (
    PacketClock,
    chapters_of,
    choose_video,
    describe,
    is_plumbing,
    pictures_of,
    ratio,
    tags_of_stream,
    useful_tags,
)
from lvc.media.timecode import advanced
from lvc.media.timing import ArrivalClock, Cut, FrameClock, Gaps, at_constant_rate, with_durations
from lvc.media.types import Attachment, Chapter, CopiedPacket, CopiedStreamInfo, Frame, VideoFormat, VideoSide
from lvc.notices import Loss

Event: TypeAlias = Any  # av.VideoFrame, its pts never None, or av.Packet

_STILLS = ("png", "apng", "mjpeg", "webp", "tiff", "bmp", "jpeg2000", "jpegxl")
_MAX_ERRORS = 64  # demuxing errors in a row after which the rest of a file is given up
_MAX_QUEUE = 4096  # copied packets that wait for the frame they belong to
_OVERRUN = 5  # seconds of video after the end of a range for which other streams are awaited
_EARLY, _EARLY_LIVE = 2000, 100  # packets to read in search of the first one of a stream
_DESCRIPTION = 1 << 16  # bytes of an attachment's names and tags, at most
_LOOKED_AT = 100  # frames whose side data is examined for losses
# hidden packets before a stream's first one that a decoder needs to converge; Opus: 80 ms
_WARM_UP = {"aac": 2, "opus": 4, "mp3": 1, "vorbis": 1, "ac3": 1, "eac3": 1}
_DECODING_TIMES = ("avi", "asf", "asf_o")  # formats that store decoding times, not presentation times


class MediaReader:
    """Iterates over `Frame` and `CopiedPacket`, interleaved by time. A context manager; readable once.

    `path` is a path, an address that FFmpeg opens, `-` (standard input) or a binary file object (a pipe too; it is not
    closed). `resolution` is `WxH`, `Wx`, `xH` or `720p`; `fps` drops and repeats frames to a constant rate; `start` and
    `duration` (seconds) cut a range, whose times then begin at 0. `audio` is `copy`, `none`, `flac` or `opus:48k`;
    `subtitles` is `copy` or `none`. `live` is a source whose frames are stamped with their time of arrival.
    `bit_depth` is 8 or 10; `None` means 10 for pictures of more than 8 bits.
    `allow_playlists`: `path` may be a playlist, and the files that it names are opened. `close_gaps` removes gaps of
    more than 5 s in the times.

    `video`, `side`, `copied`, `attachments`, `metadata`, `chapters` are known from the start. `notices` (losses and
    oddities, one line each) is complete once the last frame was read. `frame_count_hint` and `source_seconds`, of the
    whole file whatever part is read, are estimates or `None`.

    Raises `MediaError` for a file without video, and for sound that cannot be carried as `audio` asks. Damage within a
    video is skipped with a notice.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        resolution: str | None = None,
        fps: str | int | float | Fraction | None = None,
        start: float | Fraction | None = None,
        duration: float | Fraction | None = None,
        audio: str = "copy",
        subtitles: str = "copy",
        threads: int = 0,
        limits: Limits = DEFAULT,
        live: Live | None = None,
        allow_playlists: bool = False,
        close_gaps: bool = False,
        bit_depth: int | None = None,
    ) -> None:
        self.notices: list[str] = []
        if bit_depth not in (None, *DEPTHS):
            raise UsageError(f"a bit depth of {bit_depth} is not possible — use 8 or 10")
        self._depth = bit_depth
        self._pending: deque[Event] = deque()
        self._events: Iterator[Event] = iter(())
        self._coded: dict[int, SoundEncoder] = {}
        self._rate = None if fps is None else target_rate(fps)
        coding = sound_coding(audio)
        if subtitles not in ("copy", "none"):
            raise UsageError(f"subtitles {subtitles!r} is not understood — use copy or none")
        for name, value in (("start", start), ("duration", duration)):
            if value is not None and (value < 0 or (name == "duration" and value == 0)):
                raise UsageError(f"{name} must be positive — got {value}")
        self._live, self._limits = live, limits
        self._close_gaps = close_gaps
        self._begun = False
        self._source = open_source(path, self.notices, live, allow_playlists)
        try:
            self._prepare(resolution, start, duration, audio, coding, subtitles, threads, limits)
        except BaseException:
            self.close()
            raise

    # ---------------------------------------------------------------- opening

    def _prepare(
        self,
        resolution: str | None,
        start: float | Fraction | None,
        duration: float | Fraction | None,
        audio: str,
        coding: SoundCoding | None,
        subtitles: str,
        threads: int,
        limits: Limits,
    ) -> None:
        container = self._source.container
        stream = choose_video(container, self.notices)
        if stream is None:
            raise MediaError("has no video stream — give a video file")
        self._stream: Any = stream
        self._is_iso = "mp4" in container.format.name
        # frame threads delay output
        stream.thread_type = "AUTO" if self._live is None else "SLICE"
        stream.thread_count = threads
        self._tick = Fraction(stream.time_base) if self._live is None else ArrivalClock.TICK

        self._early: deque[Any] = deque()  # packets that were read ahead
        self._choose_others(audio, coding, subtitles)
        self._cut = self._make_cut(start, duration)
        self._errors = 0
        self._first_error = ""
        self._packets = 0
        self._next_pts: int | None = None  # of the first frame after the range
        self._end = Fraction(0)  # seconds: the latest end of any packet
        self._late: dict[int, bool] = {}
        self._give_up = False
        self._restart()
        first = self._first_frame()
        self._describe(first, resolution, limits)
        self.attachments = tuple(self._attachments)
        self.metadata = useful_tags(container.metadata)
        self.chapters = self._cut_chapters(chapters_of(container))
        self.frame_count_hint = self._guess_count()
        self.source_seconds = container.duration / 1e6 if container.duration and container.duration > 0 else None

    def _choose_others(self, audio: str, coding: SoundCoding | None, subtitles: str) -> None:
        """Choose the streams to carry along, and how; the others are not read."""
        container, stream = self._source.container, self._stream
        kinds = {"audio": audio != "none", "subtitle": subtitles != "none", "data": True}
        others = [s for s in container.streams if kinds.get(s.type, False) and not is_plumbing(s)]
        self._covers = {s.index: s for s in pictures_of(container)}
        self._attachments: list[Attachment] = []
        for other in container.streams:
            if other.type == "attachment":
                attachment = attachment_of(other)
                if attachment is None:
                    self.notices.append(Loss(f"attachment {other.index} cannot be read: left out"))
                else:
                    self._attach(attachment)
            if other.type == "video" and other.disposition & Disposition.timed_thumbnails:
                self.notices.append(Loss(f"video stream {other.index} holds chapter pictures: left out"))
            if other.index not in {stream.index, *self._covers, *(s.index for s in others)}:
                other.discard = 48  # AVDISCARD_ALL
        self._wanted = [stream, *self._covers.values(), *others]
        infos = {s.index: describe(s) for s in others if coding is None or s.type != "audio"}
        unknown = [index for index, info in infos.items() if info is None]
        firsts = self._first_packets(unknown) if unknown else {}
        copied: list[CopiedStreamInfo] = []
        self._numbers: dict[int, int] = {}  # index in the file -> number among the copied ones
        self._clocks: list[PacketClock] = []
        self._hidden: dict[int, deque[Any]] = {}  # packets that the container hides, kept for a decoder that needs them
        for other in others:
            if other.type == "audio" and coding is not None and other.codec_context is not None:
                encoder = SoundEncoder(other, coding, len(copied))
                info: CopiedStreamInfo | None = encoder.info
                self._coded[other.index] = encoder
            else:
                info = infos.get(other.index)
                if info is None and other.index in firsts:
                    info = describe(other, firsts[other.index])
            if info is None:
                self._refuse(other, other.index in firsts or other.index not in infos)
                other.discard = 48
                continue
            self._numbers[other.index] = len(copied)
            self._hidden[other.index] = deque(maxlen=_WARM_UP.get(info.codec, 1 if info.kind == "audio" else 0))
            copied.append(info)
            self._clocks.append(PacketClock())
        self.copied = tuple(copied)
        self._wanted = [s for s in self._wanted if s.type == "video" or s.index in self._numbers]

    def _first_packets(self, wanted: list[int]) -> dict[int, bytes]:
        """The first packet of each of these streams, by index, if one comes soon. What is read on the way goes to
        `_early`."""
        found: dict[int, bytes] = {}
        try:
            for packet in self._source.container.demux(self._wanted):
                if not packet.size:
                    break
                self._early.append(packet)
                if packet.stream.index in wanted:
                    found.setdefault(packet.stream.index, bytes(packet))
                if len(found) == len(wanted) or len(self._early) >= (_EARLY if self._live is None else _EARLY_LIVE):
                    break
        except (OSError, *AV_ERRORS):
            pass  # the error recurs, and is noted then
        return found

    def _refuse(self, stream: Any, holds_something: bool) -> None:
        """Report streams that cannot be copied. Losing sound is an error, because silence is easily overlooked."""
        name = f"{stream.type} stream {stream.index} ({codec_name(stream) or 'unknown codec'})"
        if not holds_something:
            self.notices.append(f"{name} holds nothing: left out")
        elif stream.type == "audio":
            ways = "--audio none" if stream.codec_context is None else "--audio opus, flac or none"
            raise MediaError(f"{name} cannot be copied — choose what to do with the sound: {ways}")
        else:
            self.notices.append(Loss(f"{name} cannot be copied: left out"))

    def _make_cut(self, start: float | Fraction | None, duration: float | Fraction | None) -> Cut:
        if start is None and duration is None:
            return Cut()
        origin = Fraction(0)
        if self._stream.start_time is not None:
            origin = self._stream.start_time * self._tick
        elif self._source.container.start_time is not None:
            origin = Fraction(self._source.container.start_time, 1_000_000)
        first = origin + (Fraction(str(start)) if start else 0)
        return Cut(
            begin=first if start else None,
            end=None if duration is None else first + Fraction(str(duration)),
        )

    def _restart(self) -> None:
        """Discard what was read, after a seek of the container."""
        rate = _frame_rate(self._stream)
        if self._live is None:
            decoding_times = self._source.container.format.name in _DECODING_TIMES
            self._clock = FrameClock(self._tick, rate, decoding_times)
        else:
            self._clock = ArrivalClock(self._live.arrival, Fraction(self._stream.time_base), rate)
        self._gaps = Gaps(rate)
        self._events = self._read_events()
        self._pending.clear()

    def _first_frame(self) -> Any:
        """Read up to the first frame of the range; it and the packets before it go to `_pending`."""
        cut = self._cut
        before, first = False, None
        # streams without times (a bare bitstream) are not seekable: everything before the range is decoded
        if cut.begin is not None and self._source.seekable and self._stream.start_time is not None:
            # demuxers may land after the target: go back further until the first frame precedes it
            for back in (Fraction(0), Fraction(2), Fraction(20), None):
                target = 0 if back is None else max(0, int((cut.begin - back) / self._tick))
                try:
                    self._source.container.seek(target, backward=True, stream=self._stream)
                except AV_ERRORS:
                    continue
                self._early.clear()
                self._restart()
                before, first = self._search()
                if before or target == 0 or (first is not None and not self._clock.derived and first.pts <= target):
                    break
        else:
            before, first = self._search()
        if first is not None:
            return first
        if before:
            raise MediaError("the range starts after the end of the video — choose an earlier start")
        detail = f" ({self._first_error})" if self._first_error else ""
        raise MediaError(f"no frame could be decoded{detail} — the file is damaged, or not a video")

    def _search(self) -> tuple[bool, Any | None]:
        """(Whether frames before the range were seen, the first frame of the range)."""
        before = False
        for event in self._events:
            if _is_frame(event) and not self._cut.has_begun(event.pts, self._tick):
                before = True
                continue
            self._pending.append(event)
            if _is_frame(event):
                return before, event
        return before, None

    def _describe(self, frame: Any, resolution: str | None, limits: Limits) -> None:
        stream = self._stream
        rotation, hflip = 0, False
        header = video_header(stream)
        found: dict[str, bytes] = {}
        self._lost: set[str] = set()
        self._left_to_look = 0
        if stream.codec_context.name in _STILLS:
            rotation = -frame.rotation % 360  # their side data (ICC, EXIF) crash PyAV when read
        else:
            found, self._left_to_look = side_data_of(frame), _LOOKED_AT
            if "DISPLAYMATRIX" in found:
                matrix = np.frombuffer(found["DISPLAYMATRIX"][:36], dtype=np.int32).tolist()
                rotation, hflip, exact = orientation_of(matrix)
                if not exact:
                    self.notices.append(Loss("the rotation is not a multiple of 90°: rounded to the nearest one"))
        crop = header.crop
        size = crop.size(frame.width, frame.height)
        if min(size) <= 0:
            crop, size = Crop(), (frame.width, frame.height)
        shown = size
        if resolution is not None:
            size = target_size(resolution, *size, turned=rotation in (90, 270))
        if max(size) > limits.max_side or size[0] * size[1] > limits.max_pixels:
            raise LimitError(f"pictures of {size[0]}x{size[1]} are over the limit — scale them down with --resolution")
        sar = scaled_sar(Fraction(stream.sample_aspect_ratio or 1), shown, size)
        depth = native_depth(frame.format) if self._depth is None else self._depth
        loss = loss_of(frame.format, depth)
        self._formats = {frame.format.name}
        if loss:
            self.notices.append(Loss(loss))
        self.side = self._side_of(stream, frame, properties_of(found), header.field_order, size != shown)
        tags = tags_after(tags_of(frame), frame.format)
        rate = self._rate or _frame_rate(stream)
        self._source_rate = _frame_rate(stream)
        self._source_size = (frame.width, frame.height)
        self._maker = PlaneMaker(*size, crop, depth)
        tick = self._tick if self._rate is None else 1 / self._rate
        self.video = VideoFormat(
            width=size[0],
            height=size[1],
            time_base=ratio(tick),
            frame_rate=ratio(rate),
            sar=ratio(sar),
            rotation=rotation,
            hflip=hflip,
            primaries=tags.primaries,
            transfer=tags.transfer,
            matrix=tags.matrix,
            color_range=tags.color_range,
            chroma_location=header.chroma_location,
            source_pix_fmt=frame.format.name,
            bit_depth=depth,
        )

    def _side_of(
        self, stream: Any, frame: Any, properties: dict[str, str], field_order: str, scaled: bool
    ) -> VideoSide:
        language, tags = tags_of_stream(stream.metadata)
        tags = {TIMECODE if key.lower() == TIMECODE else key: value for key, value in tags.items()}
        for key in ("alpha_mode", "stereo_mode", "rotate"):
            value = next((tags.pop(name) for name in list(tags) if name.lower() == key), "")
            if key == "alpha_mode" and value == "1":
                self.notices.append(Loss("transparency is dropped"))
        if frame.interlaced_frame and field_order in ("", "progressive"):
            field_order = "interlaced"
        if field_order not in ("", "progressive"):
            if scaled or self._rate is not None:
                self.notices.append(Loss("interlaced video is processed as progressive: fields are mixed"))
            else:
                properties[FIELDS] = field_order
                self.notices.append("interlaced video: lvc codes frames, fields stay woven; their order is kept")
        begin, rate = self._cut.begin, _frame_rate(stream)
        if TIMECODE in tags and (begin is not None or self._rate is not None):
            since = Fraction(0) if begin is None else begin - (stream.start_time or 0) * self._tick
            moved = None if rate is None else advanced(tags[TIMECODE], rate, since, self._rate)
            if moved is None:
                self.notices.append(Loss(f"the timecode {tags.pop(TIMECODE)} cannot be moved to the range: left out"))
            else:
                tags[TIMECODE] = moved
        return VideoSide(language, int(stream.disposition), tags, properties)

    def _cut_chapters(self, chapters: list[Chapter]) -> list[Chapter]:
        cut, kept = self._cut, []
        for chapter in chapters:
            tick = Fraction(*chapter.time_base)
            start, end = chapter.start, chapter.end
            if cut.begin is not None:
                start, end = max(0, start - cut.shift(tick)), end - cut.shift(tick)
            if cut.end is not None:
                length = round((cut.end - (cut.begin or 0)) / tick)
                end = min(end, length)
            if end > start or (cut == Cut() and end >= start):
                kept.append(replace(chapter, start=start, end=end))
        return kept

    def _guess_count(self) -> int | None:
        stream, cut = self._stream, self._cut
        seconds: Fraction | None = None
        if stream.duration is not None:
            seconds = stream.duration * self._tick
        elif self._source.container.duration is not None:
            seconds = Fraction(self._source.container.duration, 1_000_000)
        count = stream.frames or None
        if cut.begin is None and cut.end is None and self._rate is None and count:
            return int(count)
        if cut.begin is not None or cut.end is not None:
            begin = cut.begin or Fraction(0)
            if seconds is None and cut.end is None:
                return None
            left = None if seconds is None else max(Fraction(0), seconds - begin)
            wanted = None if cut.end is None else cut.end - begin
            seconds = min(x for x in (left, wanted) if x is not None)
        rate = self._rate or self._source_rate
        return round(seconds * rate) if seconds is not None and rate else None

    # ---------------------------------------------------------------- reading

    def _read_events(self) -> Iterator[Event]:
        """Yield decoded frames and packets to copy, in file order. Continues after damage."""
        video = self._stream.index
        in_a_row = 0
        while in_a_row < _MAX_ERRORS:
            try:
                for packet in self._demuxed():
                    in_a_row = 0
                    index = packet.stream.index
                    if index in self._covers:
                        self._add_cover(packet)
                        continue
                    if packet.pts is not None:
                        self._end = max(self._end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                    time = packet.dts if packet.dts is not None else packet.pts
                    if time is not None and packet.stream.type in ("audio", "video") and self._live is None:
                        self._gaps.see(index, time * packet.time_base, (packet.duration or 0) * packet.time_base)
                    if index == video:
                        self._packets += bool(packet.size)
                        yield from self._decode(packet)
                    elif packet.size and index in self._numbers:
                        yield from self._shown(packet)
                    if self._give_up:
                        return
                return
            except (OSError, *AV_ERRORS) as error:
                self._note_error(error)
                in_a_row += 1
                if not isinstance(error, av.error.InvalidDataError):
                    break
        yield from self._decode(None)

    def _demuxed(self) -> Iterator[Any]:
        while self._early:
            yield self._early.popleft()
        yield from self._source.container.demux(self._wanted)

    def _add_cover(self, packet: Any) -> None:
        stream = self._covers[packet.stream.index]
        if packet.size and not any(cover.data == bytes(packet) for cover in self._attachments):
            _, tags = tags_of_stream(stream.metadata)
            name, mime = tags.pop("filename", ""), tags.pop("mimetype", "")
            codec = codec_name(stream)
            kind = {"mjpeg": "jpeg"}.get(codec, codec)
            name = name or f"cover.{'jpg' if kind == 'jpeg' else kind}"
            self._attach(Attachment(name, mime or f"image/{kind}", bytes(packet), True, tags))

    def _attach(self, attachment: Attachment) -> None:
        many = len(self._attachments) >= self._limits.max_attachments
        if many or len(attachment.data) > self._limits.max_metadata - _DESCRIPTION:
            self.notices.append(Loss(f"the attachment {attachment.name} is too large, or there are too many: left out"))
        else:
            self._attachments.append(attachment)

    def _shown(self, packet: Any) -> list[Any]:
        """Yield the packet after the hidden ones that its decoder needs, or nothing while the container hides it."""
        hidden = self._hidden[packet.stream.index]
        if packet.is_discard:
            hidden.append(packet)
            return []
        packets = [*hidden, packet]
        hidden.clear()
        return packets

    def _decode(self, packet: Any) -> list[Any]:
        if packet is not None and packet.size:
            self._clock.sent(packet.dts)
        try:
            frames: list[Any] = self._stream.decode(packet)
        except EOFError:
            return []
        except AV_ERRORS as error:
            self._note_error(error)
            return []
        if isinstance(self._clock, ArrivalClock):
            self._clock.over = packet is None
        for frame in frames:
            frame.pts = self._clock.stamp(frame.pts, frame.dts, frame.duration)
            if self._live is not None:
                frame.duration = 0  # it is in the stream's ticks
        return frames

    def _note_error(self, error: BaseException) -> None:
        self._errors += 1
        self._first_error = self._first_error or reason(error)

    def _all_events(self) -> Iterator[Event]:
        while self._pending:
            yield self._pending.popleft()
        yield from self._events

    def __iter__(self) -> Iterator[Frame | CopiedPacket]:
        if self._begun:
            raise UsageError("a reader can be iterated only once — open the file again")
        self._begun = True
        return self._items()

    def _items(self) -> Iterator[Frame | CopiedPacket]:
        self._queue: deque[tuple[Fraction, CopiedPacket]] = deque()
        tick = self._tick
        frames: Iterator[Frame] = with_durations(self._frames(), self._clock.step, self._video_end)
        if self._rate is not None:
            frames = at_constant_rate(frames, tick, self._rate)
            tick = 1 / self._rate
        for frame in frames:
            now = frame.pts * tick
            while self._queue and (self._queue[0][0] <= now or len(self._queue) > _MAX_QUEUE):
                yield self._queue.popleft()[1]
            yield frame
        while self._queue:
            yield self._queue.popleft()[1]
        self._close_notices()

    def _frames(self) -> Iterator[Frame]:
        """Yield frames of the range with complete times; copied packets go to the queue on the way."""
        cut, tick = self._cut, self._tick
        shift = cut.shift(tick)
        over = False
        corrupt = 0
        for event in self._all_events():
            if not _is_frame(event):
                self._enqueue(event, over)
                if over and self._others_are_late():
                    self._give_up = True
                continue
            pts = event.pts
            if over or cut.is_over(pts, tick):
                if not over:
                    self._next_pts = pts - shift - self._closed(pts * tick, tick)
                over = True
                if self._others_are_late() or (cut.end is not None and pts * tick > cut.end + _OVERRUN):
                    self._give_up = True
                continue
            if not cut.has_begun(pts, tick):
                continue
            corrupt += event.is_corrupt
            self._note_changes(event)
            try:
                y, u, v = self._maker.planes(event)
            except AV_ERRORS as error:
                self._note_error(error)
                continue
            yield Frame(y, u, v, pts - shift - self._closed(pts * tick, tick), event.duration)
        for encoder in self._coded.values():
            self._push(encoder.flush())
        if corrupt:
            self.notices.append(Loss(f"{corrupt} frame(s) are damaged in the source"))

    def _closed(self, time: Fraction, tick: Fraction) -> int:
        """Ticks to subtract from a time for the gaps that were removed before it."""
        return round(self._gaps.before(time) / tick) if self._close_gaps and self._gaps.found else 0

    def _note_changes(self, frame: Any) -> None:
        if self._left_to_look:
            self._left_to_look -= 1
            for text in sorted(losses_of(side_data_of(frame)) - self._lost):
                self._lost.add(text)
                self.notices.append(Loss(f"{text}: dropped"))
        size = (frame.width, frame.height)
        if size != self._source_size:
            old, self._source_size = self._source_size, size
            self.notices.append(
                Loss(
                    f"the picture size changes from {old[0]}x{old[1]} to {size[0]}x{size[1]}: "
                    f"scaled to {self.video.width}x{self.video.height}"
                )
            )
        if frame.format.name not in self._formats:
            self._formats.add(frame.format.name)
            loss = loss_of(frame.format, self._maker.depth)
            self.notices.append(Loss(loss) if loss else f"the pixel format changes to {frame.format.name}")

    def _enqueue(self, packet: Any, over: bool) -> None:
        index = packet.stream.index
        number = self._numbers[index]
        tick = Fraction(packet.time_base)
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            if self._cut.is_over(time, tick):
                self._late[index] = True
                return
            if not self._cut.has_begun(time + max(0, (packet.duration or 1) - 1), tick):
                return
        if packet.size == 2 and self.copied[number].codec == "mov_text" and bytes(packet) == b"\0\0":
            return  # MP4 fills the time between subtitles with empty ones; so does the writer
        shift = self._cut.shift(tick)
        if isinstance(self._clock, ArrivalClock) and self._clock.offset is not None:
            shift = round(self._clock.offset / tick)
        if index in self._coded:
            begin = self._cut.begin or Fraction(0)
            if self._close_gaps and time is not None:
                begin += self._gaps.before(time * tick)
            self._push(self._coded[index].encode(packet, begin, self._note_error))
            return
        copy = self._clocks[number].packet(number, packet, shift, lambda ticks: self._closed(ticks * tick, tick))
        if packet.stream.type == "subtitle" and copy.pts is not None and copy.pts < 0 and self._cut.begin is not None:
            copy.duration, copy.pts = max(0, copy.duration + copy.pts), 0
            copy.dts = None if copy.dts is None else max(0, copy.dts)
        self._push([copy])

    def _push(self, packets: list[CopiedPacket]) -> None:
        for packet in packets:
            time = packet.dts if packet.dts is not None else packet.pts
            tick = Fraction(*self.copied[packet.stream].time_base)
            seconds = Fraction(0) if time is None else time * tick
            if time is None and self._queue:
                seconds = self._queue[-1][0]
            # streams arrive nearly in order: search from the end
            position = len(self._queue)
            while position and self._queue[position - 1][0] > seconds:
                position -= 1
            self._queue.insert(position, (seconds, packet))

    def _others_are_late(self) -> bool:
        return all(self._late.get(s.index, False) for s in self._wanted if s.type == "audio")

    def _video_end(self) -> int | None:
        """End of the last frame. In MP4 with reordered frames the track tells it, not the packet."""
        stream = self._stream
        if self._next_pts is not None:
            return self._next_pts
        complete = stream.frames and self._packets >= stream.frames and not self._clock.jumps
        complete = complete and not (self._close_gaps and self._gaps.found)
        if complete and self._is_iso and self._live is None and stream.duration and stream.start_time is not None:
            return int(stream.start_time + stream.duration) - self._cut.shift(self._tick)
        return None

    def _close_notices(self) -> None:
        clock = self._clock
        if self._errors:
            self.notices.append(Loss(f"{self._errors} part(s) of the file could not be read ({self._first_error})"))
        if clock.jumps:
            self.notices.append(Loss(f"timestamps jump back {clock.jumps} time(s): later frames are shifted"))
        for at, length in self._gaps.found:
            self.notices.append(
                f"the times jump forward by {float(length):.1f} s at {float(at - length / 2):.1f} s: "
                + ("taken out" if self._close_gaps else "the picture stands still meanwhile; --close-gaps takes it out")
            )
        if clock.moved:
            self.notices.append(Loss(f"{clock.moved} frame(s) were not later than the one before: moved"))
        if clock.derived:
            self.notices.append(f"{clock.derived} frame(s) had no time: derived from the frame rate")
        for clock_ in self._clocks:
            if clock_.jumps:
                self.notices.append(Loss(f"timestamps of a copied stream jump back {clock_.jumps} time(s): shifted"))
        if self._cut == Cut() and self._live is None:
            self._note_missing_end()

    def _note_missing_end(self) -> None:
        stream, container = self._stream, self._source.container
        # edit lists hide frames that the track counts
        expected = min(stream.frames, len(stream.index_entries) or stream.frames)
        if self._is_iso and expected > self._packets:
            self.notices.append(Loss(f"the file ends early: it has {self._packets} of {expected} frames"))
        elif container.duration is not None and container.duration > 0:
            promised = Fraction(container.duration, 1_000_000)
            # Matroska counts from 0, others from the first packet
            missing = promised - max(self._end, self._end - Fraction(container.start_time or 0, 1_000_000))
            if missing > max(Fraction(1), promised / 20):
                self.notices.append(
                    Loss(f"the file ends early: {float(missing):.1f} of {float(promised):.1f} s are missing")
                )

    # ---------------------------------------------------------------- closing

    def close(self) -> None:
        """Close the file and the decoder's threads. The description of the video stays available."""
        self._give_up = True
        self._pending.clear()
        self._events = iter(())
        self._stream = None
        self._wanted, self._covers = [], {}
        self._coded.clear()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _is_frame(event: Event) -> bool:
    return isinstance(event, av.VideoFrame)


def _frame_rate(stream: Any) -> Fraction | None:
    """The average rate, or the guessed one where the average is missing or absurd.

    Matroska stores nanoseconds, which FFmpeg turns into 19001/317, so a rate within 1e-6 of an NTSC rate is that
    rate."""
    candidates = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate]
    sane = [rate for rate in candidates if Fraction(1, 1000) <= rate <= 1000]
    if not sane:
        return None
    whole = round(sane[0] * Fraction(1001, 1000))
    ntsc = Fraction(whole * 1000, 1001)
    if whole in (24, 30, 48, 60, 120) and abs(sane[0] / ntsc - 1) < Fraction(1, 1_000_000):
        return ntsc
    return Fraction(sane[0]).limit_denominator(1_000_000)
