"""Motion search. x264 searches the originals in three milliseconds per 480p frame, with a rate term that keeps fields
smooth, and FFmpeg's decoder exports the vectors that it chose. Nothing else of its output is used.
(docs/decisions/001-motion-search.md has the measurements.)
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ..errors import UnsupportedError

_PARAMS = (
    "keyint=infinite:scenecut=0:bframes=0:ref=1:weightp=0:threads=1:sliced-threads=0:sync-lookahead=0:rc-lookahead=0:"
    "mbtree=0:no-deblock=1:cabac=0:aq-mode=0:no-psy=1:8x8dct=0:trellis=0:partitions=p8x8:me=hex:subme=4:mixed-refs=0"
)
_MAX = 4 * 512
"""Longest vector component kept, in quarter samples."""


def vectors_to_field(vectors: np.ndarray | None, rows: int, cols: int) -> np.ndarray:
    """FFmpeg's motion vectors (AVMotionVector records) → field int16 [2, rows, cols] on the 8x8 grid.
    Blocks without a vector (intra blocks) take that of their left neighbour, or 0."""
    field = np.zeros((2, rows, cols), np.int16)
    if vectors is None or len(vectors) == 0:
        return field
    known = np.zeros((rows, cols), bool)
    w, h = vectors["w"].astype(np.int32), vectors["h"].astype(np.int32)
    left, top = (vectors["dst_x"] - w // 2) // 8, (vectors["dst_y"] - h // 2) // 8
    mx = np.clip(vectors["motion_x"], -_MAX, _MAX)
    my = np.clip(vectors["motion_y"], -_MAX, _MAX)
    for dy in range(2):
        for dx in range(2):
            ok = (
                (w > 8 * dx)
                & (h > 8 * dy)
                & (left + dx < cols)
                & (top + dy < rows)
                & (left + dx >= 0)
                & (top + dy >= 0)
            )
            yy, xx = (top + dy)[ok], (left + dx)[ok]
            field[0, yy, xx], field[1, yy, xx], known[yy, xx] = mx[ok], my[ok], True
    if not known.all():
        source = np.maximum.accumulate(np.where(known, np.arange(cols)[None], -1), axis=1)
        filled = np.take_along_axis(field, np.maximum(source, 0)[None].repeat(2, 0), 2)
        field = np.where((source < 0)[None], np.int16(0), filled)
    return field


class MotionSearch:
    """Vectors of each frame against the one before it, in order: `push` frames, receive fields.

    `crf` sets the weight of the vectors' bits: about the rate at which the result will be coded.
    """

    def __init__(self, width: int, height: int, crf: float) -> None:
        self.rows, self.cols = height // 8, width // 8
        try:
            self._enc = av.CodecContext.create("libx264", "w")
        except (av.FFmpegError, ValueError) as e:
            raise UnsupportedError(
                "this FFmpeg build has no libx264, which searches motion — install PyAV's wheel"
            ) from e
        self._enc.width, self._enc.height, self._enc.pix_fmt = width, height, "yuv420p"
        self._enc.time_base = Fraction(1, 30)
        self._enc.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": f"{crf:.2f}", "x264-params": _PARAMS}
        self._enc.thread_count = 1
        self._dec = av.CodecContext.create("h264", "r")
        self._dec.options = {"flags2": "+export_mvs"}
        self._dec.thread_count = 1
        self._dec.flags |= 0x80000  # AV_CODEC_FLAG_LOW_DELAY: output each frame as soon as it is complete
        self._n = 0

    def _decode(self, packets: list[Any]) -> Iterator[np.ndarray]:
        for packet in packets:
            for frame in self._dec.decode(packet):
                side = frame.side_data.get("MOTION_VECTORS")
                yield vectors_to_field(None if side is None else side.to_ndarray(), self.rows, self.cols)

    def push(self, y: np.ndarray, uv: np.ndarray) -> Iterator[np.ndarray]:
        """`y` uint8 [H,W], `uv` uint8 [2,H/2,W/2], padded sizes. Yields fields int16 [2,H/8,W/8] as they are ready; the
        first frame's is zero."""
        h, w = y.shape
        frame = av.VideoFrame.from_ndarray(
            np.concatenate([y.reshape(-1), uv.reshape(-1)]).reshape(h * 3 // 2, w), "yuv420p"
        )
        frame.pts = self._n
        self._n += 1
        yield from self._decode(self._enc.encode(frame))

    def flush(self) -> Iterator[np.ndarray]:
        yield from self._decode([*self._enc.encode(None), None])
