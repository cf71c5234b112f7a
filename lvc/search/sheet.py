"""A picture of the results: what was asked for, then each hit, with its rank and time written into it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lvc.errors import LvcError, MediaError
from lvc.features import shrink, upright
from lvc.lvz import LvzReader, VideoDescriptor
from lvc.media.types import Frame, VideoFormat
from lvc.output import opened_input
from lvc.search.queries import Hit
from lvc.search.sources import is_lvz

Picture: TypeAlias = npt.NDArray[np.uint8]
TILE_WIDTH, TILE_HEIGHT, GAP, COLUMNS = 240, 180, 8, 4
_GREY = 40
_DOT = 2  # pixels a dot of the digits
# 3x5 dots each, rows from the top, the leftmost dot is the highest bit
_DIGITS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757",
    "7": "71122", "8": "75757", "9": "75717", ":": "02020", ".": "00002", "#": "57575", " ": "00000", "?": "71202",
}  # fmt: skip
_MATRICES = {True: (1.5748, 0.1873, 0.4681, 1.8556), False: (1.402, 0.3441, 0.7141, 1.772)}  # BT.709, else BT.601


@dataclass(frozen=True)
class Tile:
    path: str
    seconds: float
    label: str


def tiles_of(path: str, at: float, hits: list[Hit]) -> list[Tile]:
    """The query first, then the hits, each at the middle of its range."""
    found = [
        Tile(h.path, (h.start + h.end) / 2, f"#{i} {_clock((h.start + h.end) / 2)}") for i, h in enumerate(hits, 1)
    ]
    return [Tile(path, at, "?"), *found]


def sheet(tiles: list[Tile], threads: int | None = None) -> Picture:
    """uint8 [H,W,3]. A frame that cannot be read is grey."""
    rows = -(-len(tiles) // COLUMNS)
    columns = min(COLUMNS, len(tiles))
    size = rows * (TILE_HEIGHT + GAP) + GAP, columns * (TILE_WIDTH + GAP) + GAP, 3
    page = np.full(size, 255, np.uint8)
    for number, tile in enumerate(tiles):
        top = GAP + number // COLUMNS * (TILE_HEIGHT + GAP)
        left = GAP + number % COLUMNS * (TILE_WIDTH + GAP)
        place = page[top : top + TILE_HEIGHT, left : left + TILE_WIDTH]
        place[:] = _GREY
        try:
            picture = _picture_at(tile.path, tile.seconds, threads)
        except (LvcError, OSError):
            pass
        else:
            y, x = (a - b for a, b in zip((TILE_HEIGHT, TILE_WIDTH), picture.shape, strict=False))
            place[y // 2 : y // 2 + picture.shape[0], x // 2 : x // 2 + picture.shape[1]] = picture
        _write(place, tile.label)
    return page


def write_png(path: Path, picture: Picture) -> None:
    """uint8 [H,W,3] → a PNG file."""
    height, width, _ = picture.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)
    lines[:, 0] = 1  # each sample as the difference to its left neighbour
    lines[:, 1:] = np.diff(picture, axis=1, prepend=np.zeros((height, 1, 3), np.uint8)).reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in parts:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def _picture_at(path: str, seconds: float, threads: int | None) -> Picture:
    """The frame shown at a time, upright and in proportion, no larger than a tile."""
    frame, video = _frame_at(path, seconds, threads)
    turned = video.rotation in (90, 270)
    ratio = video.width * max(video.sar[0], 1) / (video.height * max(video.sar[1], 1))
    ratio = 1 / ratio if turned else ratio
    width = min(TILE_WIDTH, round(TILE_HEIGHT * ratio))
    height = min(TILE_HEIGHT, round(TILE_WIDTH / ratio))
    size = (max(1, width), max(1, height)) if turned else (max(1, height), max(1, width))
    y, u, v = (upright(shrink(p, *size), video.rotation, video.hflip) for p in (frame.y, frame.u, frame.v))
    if video.color_range != 2:
        y, u, v = (y - 16) * (255 / 219), (u - 128) * (255 / 224), (v - 128) * (255 / 224)
    else:
        u, v = u - 128, v - 128
    rv, gu, gv, bu = _MATRICES[video.matrix == 1 or (video.matrix == 2 and video.height >= 720)]
    rgb = np.stack([y + rv * v, y - gu * u - gv * v, y + bu * u], -1)
    picture: Picture = np.rint(rgb.clip(0, 255)).astype(np.uint8)
    return picture


def _frame_at(path: str, seconds: float, threads: int | None) -> tuple[Frame, VideoFormat | VideoDescriptor]:
    """The first frame from a time on; near the end, where there is none, the last before it."""
    for start in (seconds, max(0.0, seconds - 1), 0.0):
        try:
            if is_lvz(path):
                from lvc.files import decode_frames

                with opened_input(path) as file:
                    video: VideoFormat | VideoDescriptor = LvzReader(file).video
                frames = list(decode_frames(path, start, start + 0.2, threads=threads))
            else:
                from lvc.media import MediaReader

                with MediaReader(path, start=start, duration=0.2, audio="none", subtitles="none") as reader:
                    frames, video = [item for item in reader if isinstance(item, Frame)], reader.video
        except LvcError:
            continue
        if frames:
            return frames[0], video
    raise MediaError("no picture was found there")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _write(place: Picture, text: str) -> None:
    """White dots on black in the upper left corner."""
    dots = np.zeros((7, 4 * len(text) + 1), bool)
    for number, letter in enumerate(text):
        for row, bits in enumerate(_DIGITS[letter]):
            for column in range(3):
                dots[1 + row, 1 + 4 * number + column] = int(bits) >> (2 - column) & 1
    large = dots.repeat(_DOT, 0).repeat(_DOT, 1)[:, : place.shape[1]]
    place[: large.shape[0], : large.shape[1]] = np.where(large[..., None], 255, 0)
