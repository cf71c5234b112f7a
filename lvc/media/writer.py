"""Frames and copied packets → video files for players."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
from av.stream import Disposition

from lvc.errors import MediaError, UsageError
from lvc.media.colour import ColourTags, known_tags
from lvc.media.containers import Streaming, container_for, iso_options
from lvc.media.encoders import (
    FIELD_ROWS,
    FieldFlag,
    coded_packets,
    encoder_for,
    encoder_options,
    takes,
    top_first,
    unsaid,
    usual_codec,
)
from lvc.media.errors import AV_ERRORS, media_errors, reason
from lvc.media.fitting import add_copy, refusal
from lvc.media.open import open_output
from lvc.media.orientation import matrix_of
from lvc.media.params import open_params
from lvc.media.planes import PIX_FMT, PlaneMaker, frame_from_planes
from lvc.media.priority import opening_encoder
from lvc.media.side import FIELDS, STEREO, TIMECODE
from lvc.media.sound import SoundEncoder
from lvc.media.sound_coding import sound_coding
from lvc.media.timecode import is_countable
from lvc.media.types import Attachment, Chapter, CopiedPacket, CopiedStreamInfo, Frame, VideoFormat, VideoSide
from lvc.notices import Loss

_FALLBACK_RATE = Fraction(25)
_MAX_TICKS = 1 << 62
_MAX_SAR = 65535
_MAX_INT = (1 << 31) - 1
_NEAR = Fraction(1, 2000)  # seconds: more than the rounding of any source's clock
_MOST_EARLY = 4096  # packets buffered until the first frame
_UNKNOWN = "application/octet-stream"
_COVER_CODECS = {"image/jpeg": "mjpeg", "image/png": "png", "image/bmp": "bmp"}
_STEREO_IN_MATROSKA = {
    "side_by_side": "left_right", "side_by_side-inverted": "right_left",
    "top_and_bottom": "top_bottom", "top_and_bottom-inverted": "bottom_top",
    "interleaved_lines": "row_interleaved_lr", "interleaved_lines-inverted": "row_interleaved_rl",
    "interleaved_columns": "col_interleaved_lr", "interleaved_columns-inverted": "col_interleaved_rl",
    "checkerboard": "checkerboard_lr", "checkerboard-inverted": "checkerboard_rl",
    "frame_alternate": "block_lr", "frame_alternate-inverted": "block_rl",
}  # fmt: skip


class MediaWriter:
    """Writes one video file. A context manager; leaving it with an exception closes the file without finishing it.

    `path` is a path or a binary file object (not closed; a pipe gets a fragmented MP4). The container follows from the
    ending of `path` or from `container` (mp4, mov, mkv, webm). `codec` is h264, hevc, av1 or ffv1 (lossless, mkv only);
    `None` means h264 for 8 bits, hevc for 10, and av1 for webm.
    Frames must come in order of their times; packets in order within their stream. `audio` is `copy`, `none`, or a
    codec to transcode to: `flac`, `opus:96k`, `aac`. If the first frame's time is negative, all times are shifted so
    that it is 0, because players do not show what precedes 0.

    `streaming`: a fragmented MP4 for players that read it while it is written: x264, 8 bits, a key frame every two
    seconds.

    What the container or codec cannot hold is left out and named in `notices`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        video: VideoFormat,
        copied: Sequence[CopiedStreamInfo] = (),
        metadata: dict[str, str] | None = None,
        chapters: Sequence[Chapter] = (),
        *,
        container: str | None = None,
        codec: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
        threads: int = 0,
        side: VideoSide | None = None,
        attachments: Sequence[Attachment] = (),
        audio: str = "copy",
        streaming: Streaming | None = None,
    ) -> None:
        self.notices: list[str] = []
        self._streaming = streaming
        self.video = video
        self._format = container_for(path, container)
        if codec is None:
            codec = "h264" if streaming is not None else usual_codec(self._format.name, video.bit_depth)
        self._encoder = encoder_for(codec)
        if codec not in self._format.codecs:
            fitting = ", ".join(self._format.codecs)
            raise UsageError(f"{self._format.name} cannot hold {codec} — use a codec it holds ({fitting}) or .mkv")
        if not (0 < video.time_base[0] <= _MAX_INT and 0 < video.time_base[1] <= _MAX_INT):
            raise MediaError(f"invalid time base {video.time_base} — the source is damaged")
        self._tick = video.seconds_per_tick
        self._last: int | None = None
        self._frames = 0
        self._rounds = not self._format.is_iso  # until a loss was reported
        self._told_rounding = False
        self._closed = False
        self._side = side or VideoSide()
        self._audio, self._coding = audio, sound_coding(audio)
        coded = self._coding is not None and any(info.kind == "audio" for info in copied)
        if self._coding is not None and coded and self._coding.codec not in self._format.sounds:
            fitting = f"use --audio {self._format.any_sound}, or .mkv"
            raise UsageError(f"{self._format.name} cannot hold {self._coding.codec} — {fitting}")
        self._coders: dict[int, SoundEncoder] = {}
        self._moved: Fraction | None = None  # seconds added to all times; None before the first frame
        self._early: list[CopiedPacket] = []
        self._last_dts: dict[int, int] = {}  # by copied stream, in the ticks of the output
        self._templates = ExitStack()
        tags = dict(metadata or {})
        options = encoder_options(
            self._encoder, crf, preset, video.chroma_location, self._side.properties, video.height
        )
        if streaming is not None:
            options |= _without_delay(video.rate or _FALLBACK_RATE)
        try:
            with media_errors("the output cannot be set up", "try another container or codec"):
                self._open(path, copied, tags)
                self._add_video(options, threads)
                self._add_copied(copied)
                covers = self._add_attachments(attachments)
                self._container.metadata.update(tags)
                self._add_chapters(chapters)
                self._write_covers(covers)
        except BaseException:
            self._templates.close()
            raise

    # ---------------------------------------------------------------- set-up

    def _open(
        self, path: str | os.PathLike[str] | BinaryIO, copied: Sequence[CopiedStreamInfo], tags: dict[str, str]
    ) -> None:
        target: Any = f"file:{os.fspath(path)}" if isinstance(path, (str, os.PathLike)) else path
        seekable = isinstance(path, (str, os.PathLike)) and not _is_special(os.fspath(path))
        rewindable = seekable or (not isinstance(path, (str, os.PathLike)) and _seekable(path))
        # negative times (a codec's priming) stay; shifting all streams would change the time of every frame
        options = {"strict": "-2", "avoid_negative_ts": "disabled", **self._format.options}
        if self._format.is_iso:
            rates = [c.sample_rate for c in copied]
            options |= iso_options(self._tick, rates, rewindable, set(tags), self._streaming)
            if self._streaming is None and rewindable and not seekable:
                # FFmpeg moves the index by reopening the file by name
                options["movflags"] = options["movflags"].replace("faststart", "").strip("+")
                options = {key: value for key, value in options.items() if value}
        self._container = open_output(target, self._format.muxer, options)

    def _add_video(self, options: dict[str, str], threads: int) -> None:
        video, encoder = self.video, self._encoder
        width, height = video.width, video.height
        if encoder.even and (width % 2 or height % 2):
            width, height = width + width % 2, height + height % 2
            self.notices.append(
                Loss(
                    f"{encoder.library} writes even sizes only: {video.width}x{video.height} becomes {width}x{height}, "
                    "its edge repeated"
                )
            )
        self._coded_size = (width, height)
        depth = self._depth_of(video)
        self._lower = PlaneMaker(width, height, depth=depth) if depth < video.bit_depth else None
        first = top_first(encoder, self._side.properties, video.height)
        self._flag = None if first is None else FieldFlag(width, height, depth, self._tick, first)
        rate = video.rate or _FALLBACK_RATE
        self._rate = video.rate  # the rate stored in the file
        if not Fraction(1, 100) <= rate <= encoder.max_rate:  # it only controls the bit rate
            rate, self._rate = _FALLBACK_RATE, None
        stream: Any = self._container.add_stream(encoder.library, rate=rate, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, PIX_FMT[depth]
        context.time_base = self._tick
        stream.time_base = self._tick
        context.thread_count = threads
        if encoder.library == "libx264" and self._streaming is None:
            context.thread_type = "FRAME"  # PyAV asks for slices, which cost bits; but no picture waits for another
        colour = known_tags(ColourTags(video.primaries, video.transfer, video.matrix, video.color_range))
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        context.colorspace, context.color_range = colour.matrix, colour.color_range
        if all(0 < side <= _MAX_SAR for side in video.sar):
            context.sample_aspect_ratio = Fraction(*video.sar)
        if encoder.tag and self._format.is_iso:
            context.codec_tag = encoder.tag
        matrix = matrix_of(video.rotation, video.hflip, width, height)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        stream.metadata.update(self._side.tags)
        timecode = self._side.tags.get(TIMECODE)
        if timecode is not None and (self._format.muxer == "webm" or not self._counts(timecode)):
            del stream.metadata[TIMECODE]
            self.notices.append(Loss(f"{self._format.name} has no place for the timecode {timecode}: left out"))
        if self._side.language:
            stream.metadata["language"] = self._side.language
        stream.disposition = self._side.disposition
        self._note_properties(stream)
        self._stream = stream
        self._durations: dict[int, int] = {}
        self._held: Any | None = None  # the newest packet of the encoder
        self._first_pts = self._first_dts = 0
        self._video_end = -_MAX_TICKS
        silent = encoder.library in ("ffv1", "rawvideo", "libsvtav1")
        if silent and not self._format.is_iso and video.sar[0] != video.sar[1]:
            # H.264 and H.265 carry it themselves; PyAV cannot set it on the stream
            self.notices.append(Loss(f"{encoder.library} in {self._format.name} loses the sample aspect ratio"))

    def _depth_of(self, video: VideoFormat) -> int:
        """Bits per sample to write: those of the video where possible."""
        if video.bit_depth == 8 or (self._streaming is None and takes(self._encoder, PIX_FMT[video.bit_depth])):
            if video.bit_depth > 8 and self._encoder.library == "libx264":
                self.notices.append("few players open H.264 with 10 bits a sample — --codec hevc suits more of them")
            return video.bit_depth
        self.notices.append(Loss(f"{self._encoder.library} writes 8 bits a sample here: {video.bit_depth} become 8"))
        return 8

    def _note_properties(self, stream: Any) -> None:
        """Note the picture properties that encoder and container cannot store."""
        codec, name, properties = self._encoder, self._format.name, self._side.properties
        stereo = properties.get(STEREO)
        if stereo is not None and self._format.muxer == "matroska" and stereo in _STEREO_IN_MATROSKA:
            stream.metadata["stereo_mode"] = _STEREO_IN_MATROSKA[stereo]
            properties = {key: value for key, value in properties.items() if key != STEREO}
        self.notices += [
            Loss(f"{codec.library} in {name} cannot store {what}: {properties[key]} is left out")
            for key, what in unsaid(codec, properties).items()
        ]
        if properties.get(FIELDS) == "interlaced" or (FIELDS in properties and self._format.muxer == "webm"):
            self.notices.append(Loss("the field order is unknown or cannot be stored here: left out"))
        elif FIELDS in properties and codec.library == "libx264" and self.video.height % FIELD_ROWS:
            text = f"libx264 cannot flag fields in pictures of {self.video.height} rows: left out — use --codec hevc"
            self.notices.append(Loss(text))

    def _counts(self, timecode: str) -> bool:
        """Write the timecode: as text in Matroska, as a track in MP4 and MOV."""
        return not self._format.is_iso or is_countable(timecode, self.video.rate)

    def _add_attachments(self, attachments: Sequence[Attachment]) -> list[tuple[Any, Attachment]]:
        """Add attachments. Cover art in MP4 is a stream of one packet, which follows the header."""
        covers: list[tuple[Any, Attachment]] = []
        for item in attachments:
            if self._format.muxer == "matroska":
                stream = self._container.add_attachment(item.name or "file", item.mime or _UNKNOWN, item.data)
                stream.metadata.update(
                    {**item.tags, "filename": item.name or "file", "mimetype": item.mime or _UNKNOWN}
                )
                continue
            codec = _COVER_CODECS.get(item.mime)
            if self._format.muxer == "mp4" and item.cover and codec is not None:
                stream = self._container.add_mux_stream(codec, width=1, height=1)
                stream.time_base, stream.disposition = Fraction(1, 90000), int(Disposition.attached_pic)
                stream.metadata.update(item.tags)
                covers.append((stream, item))
            else:
                what = "the cover" if item.cover else f"the attachment {item.name}"
                self.notices.append(Loss(f"{self._format.name} has no place for {what}: left out — a .mkv keeps it"))
        return covers

    def _write_covers(self, covers: list[tuple[Any, Attachment]]) -> None:
        for stream, item in covers:
            packet = av.Packet(item.data)
            packet.stream, packet.time_base = stream, stream.time_base
            packet.pts = packet.dts = 0
            packet.is_keyframe = True
            self._container.mux(packet)

    def _add_copied(self, copied: Sequence[CopiedStreamInfo]) -> None:
        """Recreate the copied streams; those that the container cannot hold are left out with a notice."""
        self._streams: list[Any | None] = []
        self._copied = tuple(copied)
        for number, info in enumerate(copied):
            if info.kind == "audio" and self._audio == "none":
                self._streams.append(None)
                continue
            template = self._templates.enter_context(open_params(info.params))
            if info.kind == "audio" and self._coding is not None:
                coder = self._coders[number] = SoundEncoder(template, self._coding, number)
                info = replace(info, codec=coder.info.codec, time_base=coder.info.time_base, params=coder.info.params)
                template = self._templates.enter_context(open_params(info.params))
            why = refusal(template, self._format)
            if why is not None:
                advice = f"; use --audio {self._format.any_sound}" if info.kind == "audio" else ""
                self.notices.append(
                    Loss(f"{self._format.name} cannot hold {info.kind} {info.codec}: left out ({why}){advice}")
                )
                self._streams.append(None)
                continue
            stream = add_copy(self._container, template)
            stream.time_base = Fraction(*info.time_base)
            stream.metadata.clear()
            stream.metadata.update(info.metadata)
            if info.language:
                stream.metadata["language"] = info.language
            stream.disposition = info.disposition
            self._streams.append(stream)

    def _add_chapters(self, chapters: Sequence[Chapter]) -> None:
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": chapter.start,
                    "end": chapter.end,
                    "time_base": Fraction(*chapter.time_base),
                    "metadata": dict(chapter.tags),
                }
                for number, chapter in enumerate(chapters, 1)
                if all(0 < part <= _MAX_INT for part in chapter.time_base)
                and -_MAX_TICKS < chapter.start <= chapter.end < _MAX_TICKS
            ]
        )

    # ---------------------------------------------------------------- writing

    def start(self) -> None:
        """Write the header, which otherwise comes with the first frame; that of a streaming MP4 is complete."""
        with media_errors("the output cannot be set up", "try another container or codec"):
            self._container.start_encoding()

    def write(self, item: Frame | CopiedPacket) -> None:
        """Raises `MediaError` for frames whose times do not increase, and where writing fails."""
        if self._frames == 0 and self._encoder.library == "libsvtav1":
            with opening_encoder():  # with the first packet or frame
                self._write(item)
        else:
            self._write(item)

    def _write(self, item: Frame | CopiedPacket) -> None:
        if isinstance(item, CopiedPacket):
            if not 0 <= item.stream < len(self._streams):
                raise MediaError(f"a packet of stream {item.stream}, which does not exist — the source is damaged")
            if self._moved is None and len(self._early) < _MOST_EARLY:
                self._early.append(item)
            else:
                self._take_packet(item)
            return
        if self._moved is None:
            self._moved = max(Fraction(0), -item.pts * self._tick)
            self._take_early()
        if self._moved:
            item = replace(item, pts=item.pts + round(self._moved / self._tick))
        if (self._last is not None and item.pts <= self._last) or abs(item.pts) > _MAX_TICKS:
            raise MediaError(f"frame time {item.pts} does not follow {self._last} — the source is damaged")
        if self._last is None:
            self._first_pts = item.pts
        self._last = item.pts
        self._note_rounding(item.pts)
        with media_errors("the video cannot be written", "check the free space and the settings of the codec"):
            frame = frame_from_planes(item.y, item.u, item.v, *self._coded_size)
            if self._lower is not None:
                frame = frame_from_planes(*self._lower.planes(frame), *self._coded_size)  # with swscale's dither
            frame.pts, frame.duration, frame.time_base = item.pts, item.duration, self._tick
            if self._flag is not None:
                frame = self._flag(frame)
            self._durations[item.pts] = item.duration
            self._mux_video(frame)
        self._frames += 1

    def _note_rounding(self, pts: int) -> None:
        """Matroska counts in milliseconds but stores the frame rate exactly, so times on its grid can be recovered."""
        if not self._rounds or (pts * self._tick * 1000).denominator == 1:
            return
        text = f"{self._format.name} counts in milliseconds: times are rounded to the nearest"
        place = None if self._rate is None else (pts - self._first_pts) * self._tick * self._rate
        if place is None or self._rate is None or abs(place - round(place)) > _NEAR * self._rate:
            self._rounds = False
            self.notices.append(Loss(text))
        elif not self._told_rounding:
            self._told_rounding = True
            self.notices.append(f"{text}, the frame rate of {self._rate} is kept")

    def _mux_video(self, frame: Any | None) -> None:
        for packet in coded_packets(self._stream, frame, self._frames):
            # not every encoder preserves durations
            packet.duration = duration = self._durations.pop(packet.pts, packet.duration)
            self._video_end = max(self._video_end, packet.pts + duration)
            if self._held is not None:
                self._container.mux(self._held)
            else:
                self._first_dts = packet.dts
            self._held = packet
        if frame is None and self._held is not None:
            if self._format.is_iso:
                # MP4 stores only distances of decoding times, whose sum must be the length of the video
                length = self._video_end - self._first_pts
                self._held.duration = max(1, length - (self._held.dts - self._first_dts))
            self._container.mux(self._held)
            self._held = None

    def _take_early(self) -> None:
        early, self._early = self._early, []
        for packet in early:
            self._take_packet(packet)

    def _take_packet(self, item: CopiedPacket) -> None:
        """Write a packet, copied or transcoded, at its time in the output."""
        if self._streams[item.stream] is None:
            return
        if self._moved:
            later = round(self._moved / Fraction(*self._copied[item.stream].time_base))
            pts = None if item.pts is None else item.pts + later
            item = replace(item, pts=pts, dts=None if item.dts is None else item.dts + later)
        coder = self._coders.get(item.stream)
        if coder is None:
            self._mux(item, Fraction(*self._copied[item.stream].time_base))
            return
        packet = av.Packet(item.data)
        packet.time_base = Fraction(*self._copied[item.stream].time_base)
        packet.pts, packet.dts, packet.duration = item.pts, item.dts, item.duration
        for coded in coder.encode(packet, Fraction(0), self._note_damage):
            self._mux(coded, Fraction(*coder.info.time_base))

    def _note_damage(self, error: BaseException) -> None:
        text = f"a packet of sound could not be decoded ({reason(error)})"
        if text not in self.notices:
            self.notices.append(Loss(text))

    def _mux(self, item: CopiedPacket, tick: Fraction) -> None:
        stream = self._streams[item.stream]
        if stream is None:
            return
        try:
            packet = av.Packet(item.data)
            packet.stream = stream
            packet.time_base = tick
            packet.pts = item.pts
            packet.dts = item.dts if item.dts is not None else item.pts
            packet.duration = item.duration
            if self._format.is_iso and packet.dts is not None:
                self._set_apart(packet, item.stream)
            packet.is_keyframe = item.is_key
            self._container.mux(packet)
        except OSError as error:
            if not isinstance(error, av.FFmpegError):
                raise
            raise MediaError(f"the file cannot be written ({reason(error)}) — check the free space") from error
        except AV_ERRORS as error:
            info = self._copied[item.stream]
            self._streams[item.stream] = None
            self.notices.append(
                Loss(f"{info.kind} {info.codec} is cut short: a packet cannot be written ({reason(error)})")
            )

    def _set_apart(self, packet: Any, number: int) -> None:
        """MP4 demands increasing times and positive durations, and packets of TrueHD are shorter than Matroska's
        ticks."""
        self._container.start_encoding()  # which decides on the ticks
        tick = Fraction(packet.stream.time_base)
        pts, dts, duration = (
            round((value or 0) * packet.time_base / tick) for value in (packet.pts, packet.dts, packet.duration)
        )
        last = self._last_dts.get(number)
        if last is not None and dts <= last:
            dts = last + 1
            pts = max(pts, dts)
        self._last_dts[number] = dts
        packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, max(1, duration), tick

    # ---------------------------------------------------------------- closing

    def close(self) -> None:
        """Drain the encoder and write the index. Raises `MediaError` if there was no frame."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self._frames:
                raise MediaError("there is no frame to write — the source has none in this range")
            self._take_early()
            for coder in self._coders.values():
                for packet in coder.flush():
                    self._mux(packet, Fraction(*coder.info.time_base))
            with media_errors("the video cannot be finished", "check the free space and the settings of the codec"):
                self._mux_video(None)
                self._container.close()
        finally:
            self._templates.close()

    def abort(self) -> None:
        """Close the file without finishing it."""
        if self._closed:
            return
        self._closed = True
        try:
            self._container.close()
        except (OSError, *AV_ERRORS):
            pass
        finally:
            self._templates.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _without_delay(rate: Fraction) -> dict[str, str]:
    """Options of x264: no reordering delay, and a key frame every two seconds."""
    return {"bf": "0", "g": str(max(1, round(2 * min(rate, Fraction(1000))))), "rc-lookahead": "8"}


def _seekable(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except (AttributeError, OSError, ValueError):
        return False


def _is_special(path: str) -> bool:
    """Whether a path is a named pipe or a device, which is not seekable."""
    return os.path.exists(path) and not os.path.isfile(path)
