"""Conversion between planes of 12-bit samples and the networks' patches, and the lapping filter across block borders:
in C, with a numpy reference that also serves without C."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from .library import address, compiled, library
from .program import LAP_BITS

Array = npt.NDArray[Any]
SAMPLE_MAX = 4095
PATCH, LUMA_PATCH = 96, 64
"""Channels of a patch, and those of them that are luma."""


def _int16(a: Array, shape: tuple[int, ...]) -> Array:
    if a.dtype != np.int16 or a.shape != shape:
        raise ValueError(f"a plane is {a.dtype} {a.shape}, not int16 {shape}")
    return np.ascontiguousarray(a)


def to_patches(luma: Array, chroma: Array, offset: int, out: Array | None = None) -> Array:
    """Return the patches, int16 [h,w,96], of `luma` int16 [8·h,8·w] and `chroma` int16 [2,4·h,4·w], less `offset`; in
    `out`, if it is given."""
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    luma, chroma = _int16(luma, (8 * rows, 8 * columns)), _int16(chroma, (2, 4 * rows, 4 * columns))
    if (engine := compiled()) is None:
        return to_patches_reference(luma, chroma, offset)
    out = np.empty((rows, columns, PATCH), np.int16) if out is None else _int16(out, (rows, columns, PATCH))
    engine.lvc_planes_to_patches(address(luma), address(chroma), rows, columns, offset, address(out))
    return out


def to_planes(
    residual: Array,
    shift: int,
    offset: int = 0,
    prediction: tuple[Array, Array] | None = None,
    wanted: Array | None = None,
    overwrite: bool = False,
) -> tuple[Array, Array]:
    """Add patches to a prediction: clamp(prediction + offset + ((residual + half) >> shift), 0, 4095).

    Args:
        residual: Patches, int16 [h,w,96].
        shift: Fractional bits of `residual`.
        offset: Added to every sample.
        prediction: Luma int16 [8·h,8·w] and chroma int16 [2,4·h,4·w]; default 0.
        wanted: [h/2,w/2], for blocks of 2x2 patches; where it is 0, the prediction stays as it is.
        overwrite: The result may take the prediction's place, which saves memory.

    Returns:
        Luma and chroma, shaped as the prediction.
    """
    rows, columns, _ = residual.shape
    residual = _int16(residual, (rows, columns, PATCH))
    shapes = (8 * rows, 8 * columns), (2, 4 * rows, 4 * columns)
    given: list[Array | None] = [None, None]
    if prediction is not None:
        given = [_int16(p, shape) for p, shape in zip(prediction, shapes, strict=True)]
    luma, chroma = (
        p if overwrite and p is not None else np.empty(shape, np.int16) for p, shape in zip(given, shapes, strict=True)
    )
    mask = None
    if wanted is not None:
        if wanted.shape != (rows // 2, columns // 2) or rows % 2 or columns % 2:
            raise ValueError(f"a mask is {wanted.shape} for {rows} x {columns} patches")
        mask = np.ascontiguousarray(wanted, np.uint8)
    if (engine := compiled()) is None:
        pair = None if prediction is None else (given[0], given[1])
        return to_planes_reference(residual, shift, offset, pair, wanted)  # type: ignore[arg-type]
    engine.lvc_patches_to_planes(
        address(residual), rows, columns, shift, offset, *(None if p is None else address(p) for p in given),
        None if mask is None else address(mask), address(luma), address(chroma),
    )  # fmt: skip
    return luma, chroma


def lap(plane: Array, matrix: Array) -> Array:
    """Apply a lapping filter (Tran, Liang, Tu 2003, https://doi.org/10.1109/TSP.2003.811222): the n samples around each
    border between blocks of n samples are multiplied by `matrix`, along rows and then along columns: out[j] = Σ
    in[k]·matrix[k,j]. `plane`: int16, whole blocks; `matrix`: int16 [n,n] in 1/16384, n = 8 or 16. Raises `ValueError`
    for others."""
    n = len(matrix)
    if n not in (8, 16) or matrix.shape != (n, n) or matrix.dtype != np.int16:
        raise ValueError("a lapping matrix is int16 of 8 x 8 or 16 x 16")
    if plane.ndim != 2 or min(plane.shape) < n or plane.shape[0] % n or plane.shape[1] % n:
        raise ValueError(f"a plane of {plane.shape} is not of whole blocks of {n}")
    if int(np.abs(matrix.astype(np.int64)).sum(0).max()) * 32768 + (1 << (LAP_BITS - 1)) >= 1 << 31:
        raise ValueError("a lapping matrix could overflow")
    if (engine := compiled()) is None:
        return lap_reference(_int16(plane, plane.shape), matrix)
    out = _int16(plane, plane.shape).copy()
    engine.lvc_lap(address(out), *plane.shape, n // 2, address(np.ascontiguousarray(matrix)))
    return out


def deblock(samples: tuple[Array, Array], skip: Array, quality: int, overwrite: bool = False) -> tuple[Array, Array]:
    """Luma int16 [16·h,16·w] and chroma [2,8·h,8·w] with the edges filtered that blocks with symbols (`skip` 0, of
    uint8 [h,w]) have every 8 luma samples, as HEVC does; how much by `quality` 0 … 127 (formats/decoder.md, 10). With
    `overwrite` the result may take the samples' place, which saves memory."""
    rows, columns = skip.shape
    luma, chroma = _int16(samples[0], (16 * rows, 16 * columns)), _int16(samples[1], (2, 8 * rows, 8 * columns))
    if not 0 <= quality < 128:
        raise ValueError(f"a quality of {quality}")
    if skip.all():
        return luma, chroma
    if (engine := compiled()) is None:
        return deblock_reference((luma, chroma), skip, THRESHOLDS[quality & 15] >> (quality >> 4))
    if not overwrite:
        luma, chroma = luma.copy(), chroma.copy()
    skip = np.ascontiguousarray(skip, np.uint8)
    engine.lvc_deblock(address(luma), address(chroma), address(skip), rows, columns, quality)
    return luma, chroma


THRESHOLDS = 245, 234, 224, 215, 206, 197, 189, 181, 173, 166, 159, 152, 145, 139, 133, 128
"""A tenth of a step of quantisation at qualities 0 … 15, in 12-bit samples; it halves every 16 qualities."""


KEY_SHIFT, KEY_OFFSET = 3, 2040
"""A key frame's patches are in eighths of a sample around 2040, before the inverse lapping filter."""


def key_planes(patches: Array, laps: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return luma and chroma of a key frame from its patches, int16 [h,w,96]. `laps`: the inverse lapping matrices for
    luma (16 x 16) and chroma (8 x 8). Samples are rounded and clamped only after the filter."""
    rows, columns, _ = patches.shape
    patches = _int16(patches, (rows, columns, PATCH))
    luma, chroma = np.empty((8 * rows, 8 * columns), np.int16), np.empty((2, 4 * rows, 4 * columns), np.int16)
    if (engine := compiled()) is None:
        return key_planes_reference(patches, laps)
    engine.lvc_patches_apart(address(patches), rows, columns, address(luma), address(chroma))
    luma, chroma = lap(luma, laps[0]), np.stack([lap(c, laps[1]) for c in chroma])
    for plane in (luma, chroma):
        engine.lvc_samples(address(plane), ctypes.c_int64(plane.size), KEY_SHIFT, KEY_OFFSET)
    return luma, chroma


def block_errors(residual: Array, change: Array | None = None) -> Array:
    """Return the squared errors, float32 [h/2,w/2], of blocks of 2x2 patches: of `residual` int16 [h,w,96] in samples,
    less `change` in eighths. Luma weighs 3/4. For the encoder's decisions; not part of the format."""
    rows, columns, _ = residual.shape
    out = np.empty((rows // 2, columns // 2), np.float32)
    given = [_int16(a, (rows, columns, PATCH)) for a in (residual, change) if a is not None]
    library().lvc_block_errors(
        address(given[0]), None if change is None else address(given[1]), rows, columns, address(out)
    )  # fmt: skip
    return out


class Blend:
    """The weighted mean of a plane int16 [H,W] (weight 1) and others like it. For the encoder; not part of the format.
    Others are added first; `mean` ends the work."""

    def __init__(self, plane: Array) -> None:
        self._own = _int16(plane, plane.shape)
        self._sum, self._weight = plane.astype(np.float32), np.ones(plane.shape, np.float32)

    def add(self, other: Array, share: Array, falloff: Array) -> None:
        """Add `other` with the weight `share` · exp(-`falloff` · d²), where d is its difference from the plane. `share`
        and `falloff`: float32 [H/n,W/n], one value for each block of n x n samples."""
        rows, columns = self._own.shape
        side = rows // share.shape[0]
        if share.shape != falloff.shape or (share.shape[0] * side, share.shape[1] * side) != (rows, columns):
            raise ValueError(f"shares are {share.shape} and {falloff.shape} for a plane of {self._own.shape}")
        share, falloff = (np.ascontiguousarray(a, np.float32) for a in (share, falloff))
        library().lvc_blend(
            address(self._own), address(_int16(other, (rows, columns))), rows, columns, side, address(share),
            address(falloff), address(self._sum), address(self._weight),
        )  # fmt: skip

    def mean(self) -> Array:
        np.rint(np.divide(self._sum, self._weight, out=self._sum), out=self._sum)
        return self._sum.astype(np.int16)


# Numpy reference


def to_patches_reference(luma: Array, chroma: Array, offset: int) -> Array:
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    y = luma.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(rows, columns, 64)
    uv = chroma.reshape(2, rows, 4, columns, 4).transpose(1, 3, 0, 2, 4).reshape(rows, columns, 32)
    return np.clip(np.concatenate([y, uv], -1).astype(np.int32) - offset, -32768, 32767).astype(np.int16)


def to_planes_reference(
    residual: Array,
    shift: int,
    offset: int = 0,
    prediction: tuple[Array, Array] | None = None,
    wanted: Array | None = None,
) -> tuple[Array, Array]:
    rows, columns, _ = residual.shape
    r = (residual.astype(np.int32) + (1 << (shift - 1) if shift else 0)) >> shift
    y = r[..., :64].reshape(rows, columns, 8, 8).transpose(0, 2, 1, 3).reshape(8 * rows, 8 * columns)
    uv = r[..., 64:].reshape(rows, columns, 2, 4, 4).transpose(2, 0, 3, 1, 4).reshape(2, 4 * rows, 4 * columns)
    out = []
    for plane, side, start in zip((y, uv), (8, 4), prediction or (np.zeros_like(y), np.zeros_like(uv)), strict=True):
        full = np.clip(plane + offset + start.astype(np.int32), 0, SAMPLE_MAX)
        if wanted is not None:
            full = np.where(wanted.astype(bool).repeat(2 * side, 0).repeat(2 * side, 1), full, start)
        out.append(full.astype(np.int16))
    return out[0], out[1]


def deblock_reference(samples: tuple[Array, Array], skip: Array, t: int) -> tuple[Array, Array]:
    """To read. Every edge reads four samples on each side and changes three: edges of one direction are independent."""
    luma, chroma = samples[0].astype(np.int64), samples[1].astype(np.int64)
    for turn in (False, True):
        coded = (skip == 0).T if turn else skip == 0
        for plane, side, filtered in ((luma, 16, _luma_edges), (chroma[0], 8, _chroma_edges), (chroma[1], 8, _chroma_edges)):  # fmt: skip  # noqa: E501
            lines = plane.T if turn else plane
            of_lines = coded.repeat(side, 0).repeat(side // 8, 1)  # of every 8 samples
            x = np.arange(8, lines.shape[1], 8)
            reach = np.stack([lines[:, x + k] for k in range(-4, 4)])
            made = np.where(of_lines[:, :-1] | of_lines[:, 1:], filtered(reach, t), reach)
            for k in range(-4, 4):
                lines[:, x + k] = made[k + 4]
    return luma.astype(np.int16), chroma.astype(np.int16)


def _luma_edges(reach: Array, t: int) -> Array:
    p3, p2, p1, p0, q0, q1, q2, q3 = reach
    bend_p, bend_q = np.abs(p2 - 2 * p1 + p0), np.abs(q2 - 2 * q1 + q0)
    bend = bend_p + bend_q
    flat = (bend < t) & (np.abs(p3 - p0) + np.abs(q0 - q3) < t) & (2 * np.abs(p0 - q0) < 5 * t)
    strong = [
        p3,
        (2 * p3 + 3 * p2 + p1 + p0 + q0 + 4) >> 3,
        (p2 + p1 + p0 + q0 + 2) >> 2,
        (p2 + 2 * p1 + 2 * p0 + 2 * q0 + q1 + 4) >> 3,
        (p1 + 2 * p0 + 2 * q0 + 2 * q1 + q2 + 4) >> 3,
        (p0 + q0 + q1 + q2 + 2) >> 2,
        (p0 + q0 + q1 + 3 * q2 + 2 * q3 + 4) >> 3,
        q3,
    ]
    much = np.clip(np.stack(strong), reach - 2 * t, reach + 2 * t)
    d = (9 * (q0 - p0) - 3 * (q1 - p1) + 8) >> 4
    small = np.abs(d) < 10 * t
    d = np.clip(d, -t, t)
    inner_p = np.clip((((p2 + p0 + 1) >> 1) - p1 + d) >> 1, -(t >> 1), t >> 1) * (2 * bend_p < 3 * t)
    inner_q = np.clip((((q2 + q0 + 1) >> 1) - q1 - d) >> 1, -(t >> 1), t >> 1) * (2 * bend_q < 3 * t)
    little = np.clip(np.stack([p3, p2, p1 + inner_p, p0 + d, q0 - d, q1 + inner_q, q2, q3]), 0, SAMPLE_MAX)
    return np.where(bend < 4 * t, np.where(flat, much, np.where(small, little, reach)), reach)


def _chroma_edges(reach: Array, t: int) -> Array:
    p1, p0, q0, q1 = reach[2:6]
    d = np.clip((4 * (q0 - p0) + p1 - q1 + 4) >> 3, -t, t)
    made = reach.copy()
    made[3], made[4] = np.clip(p0 + d, 0, SAMPLE_MAX), np.clip(q0 - d, 0, SAMPLE_MAX)
    return made


def key_planes_reference(patches: Array, laps: tuple[Array, Array]) -> tuple[Array, Array]:
    rows, columns, _ = patches.shape
    y = patches[..., :64].reshape(rows, columns, 8, 8).transpose(0, 2, 1, 3).reshape(8 * rows, 8 * columns)
    uv = patches[..., 64:].reshape(rows, columns, 2, 4, 4).transpose(2, 0, 3, 1, 4).reshape(2, 4 * rows, 4 * columns)
    half = 1 << (KEY_SHIFT - 1)
    luma, chroma = (
        np.clip(KEY_OFFSET + ((p.astype(np.int32) + half) >> KEY_SHIFT), 0, SAMPLE_MAX).astype(np.int16)
        for p in (lap_reference(y, laps[0]), np.stack([lap_reference(c, laps[1]) for c in uv]))
    )
    return luma, chroma


def lap_reference(plane: Array, matrix: Array) -> Array:
    for _ in range(2):
        n = len(matrix)
        out = plane.astype(np.int64).copy()
        inner = out[:, n // 2 : -n // 2]
        blocks = inner.reshape(len(plane), -1, n) @ matrix.astype(np.int64)
        moved = (blocks + (1 << (LAP_BITS - 1))) >> LAP_BITS
        out[:, n // 2 : -n // 2] = np.clip(moved.reshape(inner.shape), -32768, 32767)
        plane = out.T
    return np.ascontiguousarray(plane.astype(np.int16))
