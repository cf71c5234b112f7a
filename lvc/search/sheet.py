"""A contact sheet of the results: the query, then each hit with its rank, score, times and name."""

from __future__ import annotations

import contextlib
import functools
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from lvc.errors import LvcError, MediaError
from lvc.lvz import LvzReader
from lvc.media.types import Frame, VideoFormat
from lvc.output import opened_input
from lvc.search.queries import Hit
from lvc.search.sources import is_lvz

Picture: TypeAlias = npt.NDArray[np.uint8]
TILE_WIDTH, TILE_HEIGHT, GAP, COLUMNS = 240, 180, 8, 4
CAPTION = 40  # height in pixels
_GREY = 40
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf")
_FONT_SIZE = 14


@dataclass(frozen=True)
class Tile:
    """A frame of a video, and the caption line above its name."""

    path: str
    seconds: float
    label: str


def tiles_of(path: str, at: float, hits: list[Hit]) -> list[Tile]:
    """The query first, then the hits, each at the middle of its range."""
    found = [
        Tile(h.path, (h.start + h.end) / 2, f"{i}   {h.score:.3f}   {_clock(h.start)}–{_clock(h.end)}")
        for i, h in enumerate(hits, 1)
    ]
    return [Tile(path, at, f"asked for   {_clock(at)}"), *found]


def sheet(tiles: list[Tile], threads: int | None = None) -> Picture:
    """Draw the sheet, uint8 [H,W,3]. A frame that cannot be read is grey."""
    rows = -(-len(tiles) // COLUMNS)
    columns = min(COLUMNS, len(tiles))
    size = columns * (TILE_WIDTH + GAP) + GAP, rows * (TILE_HEIGHT + CAPTION + GAP) + GAP
    page = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(page), _font()
    for number, tile in enumerate(tiles):
        top = GAP + number // COLUMNS * (TILE_HEIGHT + CAPTION + GAP)
        left = GAP + number % COLUMNS * (TILE_WIDTH + GAP)
        page.paste((_GREY,) * 3, (left, top, left + TILE_WIDTH, top + TILE_HEIGHT))
        try:
            picture = _picture_at(tile.path, tile.seconds, threads)
        except (LvcError, OSError):
            pass
        else:
            y, x = (a - b for a, b in zip((TILE_HEIGHT, TILE_WIDTH), picture.shape, strict=False))
            page.paste(Image.fromarray(picture), (left + x // 2, top + y // 2))
        for line, text in enumerate((tile.label, os.path.basename(tile.path.rstrip("/")))):
            pen.text((left, top + TILE_HEIGHT + 2 + line * 18), _fitted(text, font), fill="black", font=font)
    return np.asarray(page)


def write_png(path: Path, picture: Picture) -> None:
    """uint8 [H,W,3] → a PNG file."""
    Image.fromarray(picture).save(path, "PNG")


Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@functools.cache
def _font() -> Font:
    """A known font of the system, or else Pillow's own, which covers ASCII only."""
    for name in _FONTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, _FONT_SIZE)
    return ImageFont.load_default(_FONT_SIZE)


def _fitted(text: str, font: Font) -> str:
    """Shorten the middle of a text to the width of a tile. Letters that the font lacks lose their accents or become
    `?`."""
    missing = bytes(font.getmask("\U0010ffff"))
    has = functools.cache(lambda letter: letter.isprintable() and bytes(font.getmask(letter)) != missing)
    plain = (letter if has(letter) else unicodedata.normalize("NFKD", letter)[0] for letter in text)
    text = "".join(letter if has(letter) else "-" if letter == "–" else "?" for letter in plain)
    kept = len(text)
    shown = text
    while kept > 1 and font.getlength(shown) > TILE_WIDTH:
        kept -= 1
        shown = text[: kept - kept // 2] + "…" + text[len(text) - kept // 2 :]
    return shown


def _picture_at(path: str, seconds: float, threads: int | None) -> Picture:
    """The frame shown at a time, upright, with square samples, no larger than a tile."""
    from lvc.media.pictures import maker_of

    frame, video = _frame_at(path, seconds, threads)
    ratio = video.width * max(video.sar[0], 1) / (video.height * max(video.sar[1], 1))
    ratio = 1 / ratio if video.rotation in (90, 270) else ratio
    size = min(TILE_WIDTH, round(TILE_HEIGHT * ratio)), min(TILE_HEIGHT, round(TILE_WIDTH / ratio))
    image = Image.fromarray(maker_of(video).rgb(frame))
    return np.asarray(image.resize((max(1, size[0]), max(1, size[1])), Image.Resampling.BOX))


def _frame_at(path: str, seconds: float, threads: int | None) -> tuple[Frame, VideoFormat]:
    """The first frame at or after a time, or the last one of the video."""
    for start in (seconds, max(0.0, seconds - 1), 0.0):
        try:
            if is_lvz(path):
                from lvc.files.decode import decode_frames, format_of

                with opened_input(path) as file:
                    video = format_of(LvzReader(file))
                frames = list(decode_frames(path, start, start + 0.2, threads=threads))
            else:
                from lvc.media import MediaReader

                with MediaReader(path, start=start, duration=0.2, audio="none", subtitles="none") as reader:
                    frames, video = [item for item in reader if isinstance(item, Frame)], reader.video
        except LvcError:
            continue
        if frames:
            return frames[0], video
    raise MediaError("there is no frame at this time")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
