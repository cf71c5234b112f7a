"""Clips → the integers and latents of each frame, and frames decoded from changed latents."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..engine.motion_reference import Exposure
from ..errors import CorruptError, UnsupportedError
from ..limits import DEFAULT, Limits
from ..lvz import PACKING_NAMES, Clip, VideoDescriptor
from ..media.types import Frame
from ..models.load import Model
from ..pipeline import usable_cores
from . import payload as layout
from .decoder import ChangedClip, Give, begin_clip, check_shown, decode, decode_side_by_side, decoder_of, read_integers
from .frames import Coded, FrameEncoder, Given, integers, key_row, level_row
from .pyramid import INTRA, Step
from .shown import shown


@dataclass(frozen=True)
class FrameIntegers:
    """The integers that a file holds for one frame, in arrays `[channels, rows, columns]`.

    `number`: of the frame in the file. `time`: seconds from the pts `origin`. `key`: the frame begins a group of
    pictures. `level`: place in the pyramid, 0 for a key frame or an anchor. `references`: numbers of the frames it is
    predicted from, −1 for none. `planes`: integers by name (formats/lvz.md 8.3)."""

    number: int
    pts: int
    duration: int
    time: float
    key: bool
    quality: int
    level: int
    references: tuple[int, int]
    planes: dict[str, np.ndarray]

    @property
    def intra_coded(self) -> bool:
        """Whether it was coded without references, so that its latents stand for the picture: every key frame, and
        some anchors."""
        return "key_latent" in self.planes


@dataclass(frozen=True)
class LatentFrame(FrameIntegers):
    """The same, with the latents that a decoder computes from them.

    `values` int16: the dequantised latents in sixteenths of a step; `scale` float32 `[channels]`: the decoder's factor
    for a step at this quality and level. `intra` int16, if requested: the unrounded latents, in sixteenths of a step,
    that the picture would have as a key frame of the quality of its group's key frame; `intra_scale` is their scale.
    `detail` int16 `[rows/16, columns/16, 6, 64]`: levels of the detail, if there is any (formats/decoder.md, section
    10). `exposure`: brightness relative to the group's key frame (section 5)."""

    values: np.ndarray
    scale: np.ndarray
    intra: np.ndarray | None = None
    intra_scale: np.ndarray | None = None
    detail: np.ndarray | None = None
    exposure: Exposure = Exposure()

    @property
    def dequantised(self) -> np.ndarray:
        """float32 `[channels, rows, columns]`: the latents as the decoder's first layer takes them."""
        return _dequantised(self.values, self.scale)

    @property
    def dequantised_intra(self) -> np.ndarray | None:
        """The same of `intra`."""
        return None if self.intra is None or self.intra_scale is None else _dequantised(self.intra, self.intra_scale)


def _dequantised(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) * (scale / 16)[:, None, None]


Change = Callable[[LatentFrame], Given]
"""Returns the replacement from which a frame is decoded."""


def latents(
    clips: Iterable[Clip],
    video: VideoDescriptor,
    model: Model,
    threads: int | None = None,
    limits: Limits = DEFAULT,
    intra: bool = False,
    origin: int = 0,
) -> Generator[LatentFrame]:
    """Clips in order, starting with a key clip → the integers and latents of each frame, in display order. Frames are
    decoded on the way, because symbols can only be interpreted then. Raises as `decode` does."""
    for _, _, frames in _extracted(clips, video, model, threads, limits, intra, origin):
        yield from sorted(frames, key=lambda frame: frame.number)


def integers_of(
    clips: Iterable[Clip], video: VideoDescriptor, limits: Limits = DEFAULT, origin: int = 0
) -> Generator[FrameIntegers]:
    """Yield the integers of clips with packing `zstd`, in display order. This needs no model and decodes nothing.
    Raises `CorruptError`, `LimitError`, `UnsupportedError`."""
    anchors: list[int] = []  # numbers: the one before the last, if there is one, and the last
    for clip in clips:
        head, said = read_integers(clip, video, limits)
        steps = [Step(1, 0, None, 0)] if clip.key else layout.order_of(head, len(anchors) == 2)
        if not clip.key and not anchors:
            raise CorruptError("the video starts with a predicted frame")
        before = {} if clip.key else {-k: number for k, number in enumerate(reversed(anchors))}
        numbers = before | {s.frame: clip.first_frame + s.frame - 1 for s in steps}
        frames = []
        for step, frame in zip(steps, said, strict=True):
            at = step.frame - 1
            references = [-1 if clip.key or r is None else numbers[r] for r in (step.first, step.second)]
            frames.append(
                FrameIntegers(
                    clip.first_frame + at, clip.pts[at], clip.durations[at],
                    float((clip.pts[at] - origin) * video.seconds_per_tick), clip.key, frame.quality, step.place,
                    (references[0], references[1]), frame.planes,
                )
            )  # fmt: skip
        kept = [numbers[s.frame] for s in steps if s.place == 0]
        anchors = kept if clip.key else [*anchors, *kept][-2:]
        yield from sorted(frames, key=lambda frame: frame.number)


def decode_changed(
    clips: Iterable[Clip],
    video: VideoDescriptor,
    model: Model,
    change: Change,
    threads: int | None = None,
    limits: Limits = DEFAULT,
    wanted: Callable[[int, int], bool] | None = None,
) -> Iterator[Frame]:
    """Decode what `change` returns for each frame's latents. Checksums are compared for the file's own pictures, not
    for the result."""

    def changed() -> Iterator[ChangedClip]:
        for clip, head, frames in _extracted(clips, video, model, threads, limits):
            yield ChangedClip(clip, head, [change(frame) for frame in frames])

    return decode(changed(), video, model, threads, limits, wanted)


def intra_coded_in(clip: Clip, video: VideoDescriptor) -> int:
    """Return the number of intra-coded frames in a clip, 0 or 1."""
    return int(clip.key or (PACKING_NAMES.get(video.packing) == "rans" and clip.payload[:1] == bytes([INTRA])))


_Extracted = tuple[Clip, layout.ClipHead, list[LatentFrame]]


def _extracted(
    clips: Iterable[Clip],
    video: VideoDescriptor,
    model: Model,
    threads: int | None,
    limits: Limits,
    intra: bool = False,
    origin: int = 0,
) -> Iterator[_Extracted]:
    """Yield clips with the integers and latents of their frames, in coding order."""
    decoder = decoder_of(video, model, threads, keep=True)
    if intra and not model.can_encode:
        raise UnsupportedError(f"the model {model.id} can only decode, and intra latents need its encoder")
    geometry = video.geometry
    analysis = FrameEncoder(model, geometry.padded_height, geometry.padded_width) if intra else None
    of_key = 0

    def begun(clip: Clip) -> Callable[[Give[_Extracted]], None]:
        out: list[LatentFrame] = []
        of_group = of_key

        def done(number: int, coded: Coded) -> None:
            nonlocal of_key
            if clip.checks is not None:
                check_shown(clip, number, shown(coded.planes, video.height, video.width, video.bit_depth))
            if clip.key:
                of_key = coded.quality
            frame = _latent_frame(
                clip, number, coded, model, float((clip.pts[number] - origin) * video.seconds_per_tick)
            )
            if analysis is not None:
                quality = coded.quality if clip.key else of_group
                intra, _ = analysis.analysed(coded.planes, quality)
                scale = model.latent_scale("key", key_row(quality))
                frame = replace(frame, intra=_channels_first(intra), intra_scale=scale)
            out.append(frame)
            coded.symbols = {}

        head, rest = begin_clip(decoder, clip, video, limits, done)

        def work(give: Give[_Extracted]) -> None:
            rest(done)
            give((clip, head, out))

        return work

    return decode_side_by_side(clips, begun, threads, threads or usable_cores())


def _latent_frame(clip: Clip, number: int, coded: Coded, model: Model, time: float) -> LatentFrame:
    references, scale = (-1, -1), model.latent_scale("key", key_row(coded.quality))
    if coded.field is not None:
        key = clip.first_frame + number - coded.time
        first, second = coded.field.to
        references = key + first, -1 if second is None else key + second
        scale = model.latent_scale("predicted", level_row(coded.quality, coded.place))
    return LatentFrame(
        clip.first_frame + number, clip.pts[number], clip.durations[number], time, clip.key, coded.quality, coded.place,
        references, integers(coded), _channels_first(coded.symbols["value"]), scale,
        detail=coded.symbols.get("detail"), exposure=coded.exposure,
    )  # fmt: skip


def _channels_first(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a.transpose(2, 0, 1))
