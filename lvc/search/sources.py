"""Files → vectors with times. A `.lvz` carries them; other files are decoded."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lvc.errors import MediaError, UsageError
from lvc.features import SPACING, FeatureSampler, default_extractor, heard
from lvc.features import sound as of_sound
from lvc.kinds import LVZ, VIDEO_ENDINGS, endings
from lvc.lvz import PACKET_KEY, FeatureTrack, LvzReader, PacketGroup
from lvc.lvz.chunks import SIGNATURE
from lvc.lvz.features import PICTURE, SOUND
from lvc.media.types import Frame, Sound, VideoFormat
from lvc.output import about, opened_input
from lvc.place import Place
from lvc.search.hearing import QUERY_SPACING as SOUND_SPACING
from lvc.search.hearing import Sounds

QUERY_SPACING = Fraction(1, 4)
"""Spacing of a query: closer than stored vectors, so that it matches them wherever it was cut."""
_HEAD = SIGNATURE[:4]
SUFFIXES = VIDEO_ENDINGS | set(endings([LVZ]))
"""Endings of videos in folders. A file that is named is read whatever its ending."""
_TARGET = re.compile(r"(.+)@(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?s?")


@dataclass(frozen=True)
class Moments:
    """Vectors int8 [N,64] at `times` float64 [N], seconds from the first frame. `seconds`: duration of the video.
    `stored`: the file carried them."""

    times: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.int8]
    seconds: float
    stored: bool = False

    def between(self, start: float, end: float) -> Moments:
        inside = (self.times >= start) & (self.times < end)
        return Moments(self.times[inside], self.vectors[inside], end - start, self.stored)


NO_SOUND = Sounds(np.zeros(0), np.zeros((0, of_sound.SIZE), np.uint8), 0.0)


def parse_target(text: str) -> tuple[str, float | None, float | None]:
    """`FILE`, `FILE@12.5s` or `FILE@12-16` → path, start, end. A file with the whole text as its name takes
    precedence."""
    match = _TARGET.fullmatch(text)
    if match is None or os.path.exists(text):
        return text, None, None
    start, end = float(match[2]), None if match[3] is None else float(match[3])
    if end is not None and end <= start:
        raise UsageError(f"the range {match[2]}-{match[3]} is empty — its end has to be after its start")
    return match[1], start, end


def is_lvz(path: str | os.PathLike[str]) -> bool:
    with opened_input(os.fspath(path)) as file:
        return file.read(len(_HEAD)) == _HEAD


def moments_of(
    path: str | os.PathLike[str],
    start: float | None = None,
    end: float | None = None,
    spacing: Fraction = SPACING,
    threads: int | None = None,
    stored: bool = True,
    opened: BinaryIO | None = None,
) -> Moments:
    """The vectors of a file or of a part of it, about one each `spacing` seconds where it is decoded. A `start` without
    an `end` means the picture at that time. `stored=False` ignores the vectors in a `.lvz`. `opened` is the file at its
    beginning, if it is open already. Of a remote `.lvz` with vectors, only head, end and vectors are read, in about
    five requests.

    Times of a part count from its start. Raises `MediaError`, `CorruptError` and the other errors of decoding.
    """
    name = os.fspath(path)
    with about(name):
        if not Place(name).is_url and not os.path.exists(name):
            raise MediaError("no such file — check the name")
        if os.path.isdir(name):
            raise MediaError("is a folder — give a video or a picture")
        with contextlib.nullcontext(opened) if opened is not None else opened_input(name) as file:
            coded = file.read(len(_HEAD)) == _HEAD
            # a pipe cannot seek to the features at the end
            track = _stored_of(file)[0] if coded and stored and file.seekable() else None
        if track is not None:
            found = _part(track, start, end)
        else:
            found = (_decoded if coded else _watched)(name, start, end, spacing, threads)
        if not len(found.times):
            raise MediaError("there is no frame at this time — check it")
        return found


def _stored_of(file: BinaryIO) -> tuple[Moments | None, Sounds | None]:
    """The vectors of picture and sound in a `.lvz`, where they come from the extractors of this version."""
    file.seek(0)
    reader = LvzReader(file)
    tracks, tail = reader.features, reader.tail
    if not tracks or tail is None:
        return None, None
    tick = reader.video.seconds_per_tick
    seen, heard = _of_kind(tracks, PICTURE, default_extractor().id), _of_kind(tracks, SOUND, of_sound.ID)
    moments = None if seen is None else _moments(seen, float((tail.end_pts - tail.start_pts) * tick), True)
    if heard is not None:
        return moments, _sounds(heard, float(tail.start_pts * tick))
    # a writer of picture vectors also writes those of sound, if there is any
    return moments, None if any(track.kind == SOUND for track in tracks) else NO_SOUND


def _of_kind(tracks: tuple[FeatureTrack, ...], kind: int, wanted: str) -> FeatureTrack | None:
    return next((track for track in tracks if track.kind == kind and track.id == wanted), None)


def _moments(track: FeatureTrack, seconds: float, stored: bool) -> Moments:
    pts = np.array(track.pts, np.float64)
    times = (pts - pts[0]) * float(Fraction(*track.time_base)) if len(pts) else pts
    vectors = np.frombuffer(track.vectors, np.int8).reshape(len(pts), track.dimensions)
    return Moments(times, vectors, seconds, stored)


def _part(whole: Moments, start: float | None, end: float | None) -> Moments:
    if start is None:
        return whole
    if end is None:
        if start > whole.seconds:
            raise MediaError(f"the time {start:g} is after the end, {whole.seconds:.2f} s — choose an earlier one")
        nearest = int(np.abs(whole.times - start).argmin())
        return Moments(np.zeros(1), whole.vectors[nearest : nearest + 1], 0.0, True)
    part = whole.between(start, end)
    return Moments(part.times - start, part.vectors, part.seconds, True)


def _sampled(frames: Iterator[Frame], video: VideoFormat, spacing: Fraction, only_first: bool) -> Moments:
    tick = video.seconds_per_tick
    sampler = FeatureSampler.of(video, spacing)
    first: int | None = None
    end = 0
    for frame in frames:
        if first is None:
            first = frame.pts
        if not only_first or frame.pts == first:
            sampler.add(frame.y, frame.u, frame.v, frame.pts)
        end = frame.pts + frame.duration
    return _moments(sampler.finish(), 0.0 if only_first else float((end - (first or 0)) * tick), False)


def _watched(name: str, start: float | None, end: float | None, spacing: Fraction, threads: int | None) -> Moments:
    from lvc.media import MediaReader

    duration = None if start is None else 0.5 if end is None else end - start
    with MediaReader(
        name, start=start, duration=duration, audio="none", subtitles="none", threads=threads or 0
    ) as reader:
        frames = (item for item in reader if isinstance(item, Frame))
        return _sampled(frames, reader.video, spacing, start is not None and end is None)


def _decoded(name: str, start: float | None, end: float | None, spacing: Fraction, threads: int | None) -> Moments:
    from lvc.files.decode import decode_frames, format_of

    with opened_input(name) as file:
        video = format_of(LvzReader(file))
    until = start + 0.5 if start is not None and end is None else end
    try:
        frames = decode_frames(name, start, until, threads=threads)
        return _sampled(frames, video, spacing, start is not None and end is None)
    except UsageError as error:
        raise MediaError(str(error)) from error


def described(
    path: str | os.PathLike[str], threads: int | None = None, opened: BinaryIO | None = None
) -> tuple[Moments, Sounds]:
    """The vectors of picture and sound of a whole file, about one a second, from the `.lvz` if it has them. `opened`
    and errors as in `moments_of`."""
    name = os.fspath(path)
    moments: Moments | None = None
    sounds: Sounds | None = None
    with about(name), contextlib.nullcontext(opened) if opened is not None else opened_input(name) as file:
        if file.seekable():
            if file.read(len(_HEAD)) == _HEAD:
                moments, sounds = _stored_of(file)
            file.seek(0)
    if moments is None:
        moments = moments_of(path, threads=threads, stored=False)
    return moments, sounds_of(path, spacing=SPACING) if sounds is None else sounds


def only_sounds(name: str) -> bool:
    """Whether a file has sound and no video; cover art does not count."""
    if not Place(name).is_url and not os.path.isfile(name):
        return False
    with about(name):
        if is_lvz(name):
            return False
        from lvc.media.listen import has_only_sound

        return has_only_sound(name)


def sounds_of(
    path: str | os.PathLike[str],
    start: float | None = None,
    end: float | None = None,
    spacing: Fraction = SOUND_SPACING,
) -> Sounds:
    """The vectors of the first audio track of a file or of a part of it, whose times count from its start; none where
    there is no sound, or less than two seconds. Vectors in a `.lvz` are not used.

    Raises `MediaError`, `CorruptError` and the other errors of reading.
    """
    name = os.fspath(path)
    with about(name):
        if not Place(name).is_url and not os.path.exists(name):
            raise MediaError("no such file — check the name")
        if os.path.isdir(name):
            raise MediaError("is a folder — give a video or a sound file")
        if is_lvz(name):
            return _packets_heard(name, start, end, spacing)
        from lvc.media.listen import listen

        return _sounds(heard(_from(listen(name, start, end), start), spacing))


def _packets_heard(name: str, start: float | None, end: float | None, spacing: Fraction) -> Sounds:
    from lvc.media.listen import listen_to_packets
    from lvc.media.types import CopiedPacket, CopiedStreamInfo

    with opened_input(name) as file:
        reader = LvzReader(file)
        tail = reader.tail if file.seekable() else None
        begin = float(tail.start_pts * reader.video.seconds_per_tick) if tail is not None else 0.0
        packets = (
            CopiedPacket(record.stream, p.pts, p.dts, p.duration, bool(p.flags & PACKET_KEY), p.data)
            for record in reader.records()
            if isinstance(record, PacketGroup)
            for p in record.packets
        )
        streams = [CopiedStreamInfo(**vars(stream)) for stream in reader.copied]
        first = begin + (start or 0.0)
        sounds = listen_to_packets(streams, packets, first, None if end is None else begin + end)
        return _sounds(heard(_from(sounds, first), spacing))


def _from(sounds: Iterator[Sound], start: float | None) -> Iterator[Sound]:
    """The same sound, with times relative to `start`."""
    begin = Fraction(start or 0)
    return (Sound(sound.samples, sound.start - begin) for sound in sounds)


def _sounds(track: FeatureTrack, begin: float = 0.0) -> Sounds:
    times = np.array(track.pts, np.float64) * float(Fraction(*track.time_base)) - begin
    vectors = np.frombuffer(track.vectors, np.uint8).reshape(len(times), of_sound.SIZE)
    return Sounds(times, vectors, float(times[-1]) + of_sound.SECONDS if len(times) else 0.0)


def files_under(path: Path) -> Iterator[Path]:
    """Videos in a folder and its subfolders, sorted by name, without hidden ones."""
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and is_video_name(name):
                yield Path(folder, name)


def is_video_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES
