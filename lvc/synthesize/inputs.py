"""What is walked from and to, and varied: a clip, or one frame of it, `holiday.mp4@1.5`; a video or a `.lvz`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from lvc.errors import MediaError
from lvc.files.decode import decode_frames
from lvc.kinds import LVZ, kind_of_file
from lvc.latents.colour import to_rgb
from lvc.lvz import LvzReader
from lvc.media import Frame, MediaReader
from lvc.output import about, opened_input

_RATE = Fraction(25)


@dataclass(frozen=True)
class Input:
    """`at`: seconds of the frame that is meant; None for all of them."""

    path: str
    at: float | None

    @classmethod
    def parse(cls, word: str) -> Input:
        found = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)", word)
        return cls(found[1], float(found[2])) if found else cls(word, None)

    def facts(self) -> tuple[int, int, Fraction]:
        """Width, height and frame rate. Raises `MediaError`, `CorruptError`."""
        with about(self.path):
            if kind_of_file(self.path) == LVZ:
                with opened_input(self.path) as file:
                    video = LvzReader(file).video
                width, height, rate = video.width, video.height, video.frame_rate
                return width, height, Fraction(*rate) if rate[0] and rate[1] else _RATE
            with MediaReader(self.path, audio="none", subtitles="none") as reader:
                return reader.video.width, reader.video.height, reader.video.rate or _RATE

    def pictures(self, width: int, height: int) -> Iterator[Tensor]:
        """`[3, height, width]` RGB in 0..1, scaled to that size; one, or all. Raises `MediaError`."""
        with about(self.path):
            shown = False
            for frame, matrix, full in self._frames():
                rgb = to_rgb(frame, matrix, full)
                if rgb.shape[1:] != (height, width):
                    smaller = height < rgb.shape[1]
                    rgb = F.interpolate(
                        rgb[None], (height, width), mode="bilinear", antialias=smaller, align_corners=False
                    )[0]  # fmt: skip
                yield rgb
                shown = True
                if self.at is not None:
                    return
            if not shown:
                raise MediaError("no frame could be decoded, or the time is after its end — choose an earlier one")

    def _frames(self) -> Iterator[tuple[Frame, int, int]]:
        if kind_of_file(self.path) == LVZ:
            with opened_input(self.path) as file:
                video = LvzReader(file).video
            for frame in decode_frames(self.path, self.at):
                yield frame, video.matrix, video.color_range
            return
        with MediaReader(self.path, audio="none", subtitles="none", start=self.at) as reader:
            for item in reader:
                if isinstance(item, Frame):
                    yield item, reader.video.matrix, reader.video.color_range


def groups(pictures: Iterator[Tensor], frames: int, stride: int) -> Iterator[Tensor]:
    """So many pictures at a time, `[frames, 3, rows, columns]`. Edges are repeated up to the stride, the last picture
    up to the number."""
    held: list[Tensor] = []
    for picture in pictures:
        height, width = picture.shape[1:]
        pad = (0, -width % stride, 0, -height % stride)
        held.append(F.pad(picture[None], pad, mode="replicate")[0] if any(pad) else picture)
        if len(held) == frames:
            yield torch.stack(held)
            held = []
    if held:
        yield torch.stack(held + held[-1:] * (frames - len(held)))
