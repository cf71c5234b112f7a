"""Classical encoders as users run them: PyAV's own libx264, libx265 and libsvtav1, and VVenC of the extra.

Every anchor writes a real file and is charged for all of it: the bare elementary stream (`.h264`, `.hevc`, `.obu`,
`.266`), without a container, or an MP4 where whole files are compared. In its favour, the SEI in which x264
and x265 describe themselves (0.7 and 2 kB, up to a tenth of a short clip at a low rate) is removed: no decoder needs
it. GOP length, B-frames and look-ahead are the encoder's defaults; only preset, CRF, the source's bit depth, the
number of threads and, where it is named, the tune are set, and x264 is told to write the same file each time and on
every processor. The number of key frames is counted when the file is decoded.
Decoding goes through the same file, with FFmpeg's decoder. Odd sides are padded to even ones by repeating the edge, and
cropped again, because x264 and x265 refuse them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.evaluation import vvc
from lvc.evaluation.planes import Picture, Planes, at_depth, cropped, from_frame, padded_to_even, to_frame
from lvc.evaluation.source import ClipFormat
from lvc.media import ffmpeg
from lvc.media.encoders import REPRODUCIBLE, coded_packets
from lvc.media.open import open_output
from lvc.media.planes import PIX_FMT
from lvc.media.priority import opening_encoder
from lvc.media.source import open_file


@dataclass(frozen=True)
class Family:
    """One encoder library: its name in FFmpeg, the raw format's name, the default preset, the CRFs it takes.

    `step` is the finest useful step of the CRF: 0.25 for x264 changes the size by about 3 %. `tunes`: the values of
    `-tune`. By default, encoders spend bits where their authors think it looks best.
    """

    encoder: str
    container: str
    suffix: str
    preset: str
    crf_range: tuple[float, float]
    step: float = 0.25
    tunes: tuple[str, ...] = ()


MP4 = ".mp4"

FAMILIES = {
    "x264": Family("libx264", "h264", ".h264", "medium", (0, 51), tunes=("psnr", "ssim")),
    "x265": Family("libx265", "hevc", ".hevc", "medium", (0, 51), tunes=("psnr", "ssim")),
    "svtav1": Family("libsvtav1", "obu", ".obu", "6", (1, 63)),
    "vvc": Family("libvvenc", "vvc", ".266", "medium", (0, 63), step=1),  # a QP: VVenC has no CRF
}


@dataclass(frozen=True)
class Anchor:
    """An encoder with its settings, such as `x264:medium` or `x264:medium:psnr`. `crfs`: the CRFs to measure, as in
    `x264:medium@22/27/32`, or else lvc's sizes are matched. `tune`: psnr, ssim, or the encoder's default."""

    name: str
    preset: str
    threads: int = 2
    crfs: tuple[float, ...] = ()
    tune: str = ""

    @classmethod
    def parse(cls, text: str, threads: int = 2) -> Anchor:
        """Raises UsageError for a name that is not in FAMILIES, and for CRFs that it does not take."""
        codec, at, steps = text.partition("@")
        name, _, preset = codec.partition(":")
        preset, _, tune = preset.partition(":")
        if name not in FAMILIES:
            raise UsageError(f"unknown anchor {text!r} — one of {', '.join(FAMILIES)}, as in x264:medium")
        if tune and tune not in FAMILIES[name].tunes:
            known = " or ".join(f"{name}:{preset}:{tune}" for tune in FAMILIES[name].tunes)
            raise UsageError(
                f"{text!r}: {name} has no tune {tune!r} here — {f'write {known}' if known else 'leave it out'}"
            )
        low, high = FAMILIES[name].crf_range
        try:
            crfs = tuple(dict.fromkeys(float(crf) for crf in steps.split("/"))) if at else ()
        except ValueError:
            crfs = (math.nan,)
        if not all(low <= crf <= high for crf in crfs):
            raise UsageError(f"{text!r}: CRFs go from {low:g} to {high:g} — write them as in {codec}@22/27/32/37")
        return cls(name, preset or FAMILIES[name].preset, threads, crfs, tune)

    @property
    def family(self) -> Family:
        return FAMILIES[self.name]

    def __str__(self) -> str:
        return f"{self.name}:{self.preset}{self.tune and f':{self.tune}'}"


@dataclass(frozen=True)
class Encoded:
    """A written file. `seconds` is the time inside the encoder, without reading and copying the source."""

    path: Path
    crf: float
    bytes: int
    frames: int
    seconds: float


def why_not(anchor: Anchor) -> str | None:
    """`None` if the anchor's encoder is available, else what is missing and what to do."""
    if anchor.name == "vvc":
        return ffmpeg.why_not("encoder", anchor.family.encoder)
    if anchor.family.encoder in av.codecs_available:
        return None
    return f"this FFmpeg has no {anchor.family.encoder} — leave it out of --anchors"


def encode(frames: Iterable[Planes], video: ClipFormat, anchor: Anchor, crf: float, path: Path) -> Encoded:
    """Write `path`: an MP4 if it ends in `.mp4`, else the bare stream. Frames need `pts` in `video.time_base`, or are
    numbered. Raises UnsupportedError, MediaError."""
    if missing := why_not(anchor):
        raise UnsupportedError(f"{anchor}: {missing}")
    if anchor.name == "vvc":
        try:
            count, seconds = vvc.encode(frames, video, anchor.preset, crf, path, anchor.threads)
        except MediaError as e:
            raise MediaError(f"{anchor} at QP {crf:g}: {e} — leave it out of --anchors") from e
        return Encoded(path, crf, path.stat().st_size, count, seconds)
    seconds, count = 0.0, 0
    try:
        with open_output(f"file:{path}", _container(path, anchor)) as container:
            stream = _stream(container, video, anchor, crf)
            with opening_encoder():
                container.start_encoding()  # it now has its threads
            plain = BitStreamFilterContext("filter_units=remove_types=6", stream) if anchor.name == "x264" else None

            def write(packets: list[Any]) -> None:
                for packet in packets:
                    container.mux(plain.filter(packet) if plain else packet)

            for index, picture in enumerate(frames):
                frame = to_frame(padded_to_even(picture), video.full_range)
                frame.pts = getattr(picture, "pts", index)
                frame.time_base = video.time_base
                start = time.perf_counter()
                write(coded_packets(stream, frame, count))
                seconds += time.perf_counter() - start
                count += 1
            start = time.perf_counter()
            write(coded_packets(stream, None, count))
            seconds += time.perf_counter() - start
    except av.error.FFmpegError as e:
        raise MediaError(f"{anchor} at CRF {crf:g} failed: {e.strerror} — leave it out of --anchors") from e
    return Encoded(path, crf, path.stat().st_size, count, seconds)


def decode(path: Path, anchor: Anchor, video: ClipFormat) -> Iterator[Picture]:
    """The frames of a file written by `encode` with the same `video`, in display order."""
    return (picture for picture, _ in decode_marked(path, anchor, video))


def decode_marked(path: Path, anchor: Anchor, video: ClipFormat) -> Iterator[tuple[Picture, bool]]:
    """As `decode`, and whether each is a key frame."""
    with open_file(path, _container(path, anchor)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = anchor.threads
        for index, frame in enumerate(container.decode(stream)):
            picture = at_depth(from_frame(frame, index), video.bit_depth)
            yield cropped(picture, video.width, video.height), frame.key_frame


def at_size(
    size_of: Callable[[float], int],
    target_bytes: int,
    family: Family,
    *,
    tolerance: float = 0.02,
    start: float = 30,
    known: Mapping[float, int] | None = None,
) -> float:
    """Find the CRF whose file comes closest to `target_bytes`, by secant steps over log(size) inside a bracket.

    `size_of(crf)` encodes and returns the size; sizes in `known` are not computed again. The closest CRF is returned
    even if it misses the tolerance: the caller reports the size.
    """
    first, last = (round(crf / family.step) for crf in family.crf_range)
    # log(size / target) by CRF, counted in steps
    missed = {round(crf / family.step): math.log(size / target_bytes) for crf, size in (known or {}).items()}
    asked: set[int] = set()
    while True:
        best = min(missed, key=lambda k: abs(missed[k]), default=None)
        if best is not None and abs(missed[best]) <= math.log1p(tolerance / 2):
            return best * family.step
        step = _next_step(missed, first, last, family.step) if missed else round(start / family.step)
        step = min(max(step, first), last)
        if step in missed or len(asked) == 14:
            return (best if best is not None else step) * family.step
        asked.add(step)
        missed[step] = math.log(size_of(step * family.step) / target_bytes)


def _next_step(missed: dict[int, float], first: int, last: int, width: float) -> int:
    """Where log(size) should meet the target, strictly inside the bracket; a known step if nothing is left."""
    low = max((k for k, miss in missed.items() if miss > 0), default=None)  # files too big
    high = min((k for k, miss in missed.items() if miss < 0 and (low is None or k > low)), default=None)
    if low is not None and high is not None:
        across = missed[low] / (missed[low] - missed[high])
        # the secant converges slowly at an end where the curve bends: stay a tenth of the bracket away from both
        guess = round(low + (high - low) * min(max(across, 0.1), 0.9))
        return min(max(guess, low + 1), max(high - 1, low))
    # six whole CRFs double or halve the size, and a little further to get the target between two points
    known = low if low is not None else min(missed)
    guess = known + round(missed[known] * 6 / math.log(2) / width * 1.2) + (1 if low is not None else -1)
    return min(max(guess, first), last)


def _container(path: Path, anchor: Anchor) -> str:
    return "mp4" if path.suffix == MP4 else anchor.family.container


def _stream(container: av.container.OutputContainer, video: ClipFormat, anchor: Anchor, crf: float) -> VideoStream:
    options = {"preset": anchor.preset, "crf": f"{crf:g}", **({"tune": anchor.tune} if anchor.tune else {})}
    match anchor.name:
        case "x264":
            options["x264-params"] = REPRODUCIBLE
        case "x265":
            options["x265-params"] = f"pools={anchor.threads}:info=0:log-level=error"
        case "svtav1":  # FFmpeg's own option crf takes whole numbers only
            options = {"preset": anchor.preset, "svtav1-params": f"crf={crf:g}:lp={anchor.threads}"}
    stream = cast(VideoStream, container.add_stream(anchor.family.encoder, rate=video.rate, options=options))
    stream.width, stream.height = video.width + video.width % 2, video.height + video.height % 2
    stream.pix_fmt = PIX_FMT[video.bit_depth]
    stream.codec_context.time_base = video.time_base
    stream.codec_context.thread_count = anchor.threads
    # PyAV asks for threads within a picture: x264 would cut each into slices, which takes it 3 to 8 % more bits
    stream.thread_type = "FRAME"
    if video.full_range:
        stream.codec_context.color_range = 2
    return stream
