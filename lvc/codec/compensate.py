"""Motion compensation in integers: the prediction of a frame from the reconstruction before it.

One vector per 8x8 luma block, in quarter luma samples. Luma is interpolated with H.264's six-tap half-sample filter
(quarter samples: the mean of whole and half, in one six-tap filter), chroma at eighth samples with HEVC's four-tap
chroma filters, both separable and rounded to 8 bits in between. Neighbouring blocks overlap by a ramp of four luma
(two chroma) samples around their common edge, so that a block's vector fades into its neighbour's. Beyond the picture's
edges the edge samples go on for ever.

Everything is 16-bit integer arithmetic that cannot overflow: the result is the same on every machine, which is what
lets a closed loop run for hundreds of frames without drift.
"""

from __future__ import annotations

import numpy as np
import torch

BLOCK = 8
"""Side of a motion block in luma samples."""

LUMA_FILTERS = np.array(
    [[0, 0, 64, 0, 0, 0], [1, -5, 52, 20, -5, 1], [2, -10, 40, 40, -10, 2], [1, -5, 20, 52, -5, 1]], np.int16
)
CHROMA_FILTERS = np.array(
    [
        [0, 64, 0, 0], [-2, 58, 10, -2], [-4, 54, 16, -2], [-6, 46, 28, -4],
        [-4, 36, 36, -4], [-4, 28, 46, -6], [-2, 16, 54, -4], [-2, 10, 58, -2],
    ],
    np.int16,
)  # fmt: skip


def _ramp(n_blocks: int, block: int, ramp: int) -> torch.Tensor:
    """Weights [n_blocks, block + ramp] along one axis; they sum to 2·ramp at every sample of the picture."""
    up = [2 * i + 1 for i in range(ramp)]
    one = torch.tensor(up + [2 * ramp] * (block - ramp) + up[::-1], dtype=torch.int16)
    w = one.repeat(n_blocks, 1)
    w[0, : ramp // 2], w[-1, -(ramp // 2) :] = 0, 0
    w[0, ramp // 2 : ramp] = 2 * ramp
    w[-1, block : block + ramp // 2] = 2 * ramp
    return w


def interpolate(
    padded: np.ndarray,
    image: np.ndarray,
    ys: np.ndarray,
    xs: np.ndarray,
    vectors: np.ndarray,
    out: int,
    filters: np.ndarray,
) -> torch.Tensor:
    """Blocks of `out` x `out` samples, int16 [K,out,out] in 0..255, from `padded` uint8 [N,H,W]: block k of image
    `image[k]` whose first sample lies at row ys[k], column xs[k] moved by `vectors` [2,K] (x, y) in units of
    1/len(filters) sample. Windows beyond the array are moved inside: pad it by more than a block and its filter, and
    edges go on for ever."""
    n_img, height, width = padded.shape
    taps, per = filters.shape[1], len(filters)
    size, shift, lead = out + taps - 1, per.bit_length() - 1, taps // 2 - 1
    left = np.clip(xs + (vectors[0] >> shift) - lead, 0, width - size)
    top = np.clip(ys + (vectors[1] >> shift) - lead, 0, height - size)
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (n_img, height - size + 1, width - size + 1, size, size),
        padded.strides + padded.strides[1:],
        writeable=False,
    )
    phases = vectors & (per - 1)
    between = np.flatnonzero(phases.any(0))
    if len(between) == len(left):
        return _filter(windows[image, top, left], phases, out, filters)
    # whole vectors need no filter, and in most footage most are
    result = torch.from_numpy(windows[image, top, left, lead : lead + out, lead : lead + out]).to(torch.int16)
    if len(between):
        picked = windows[image[between], top[between], left[between]]
        result[torch.from_numpy(between)] = _filter(picked, phases[:, between], out, filters)
    return result


def _filter(picked: np.ndarray, phases: np.ndarray, out: int, filters: np.ndarray) -> torch.Tensor:
    """Windows uint8 [K,out+taps-1,out+taps-1] → int16 [K,out,out]: across, then down, rounded to 8 bits in between."""
    taps = filters.shape[1]
    samples = torch.from_numpy(picked).to(torch.int16)
    fx = torch.from_numpy(filters[phases[0]]).reshape(-1, taps, 1, 1)
    fy = torch.from_numpy(filters[phases[1]]).reshape(-1, taps, 1, 1)
    h = samples[:, :, :out] * fx[:, 0]
    for k in range(1, taps):
        h.addcmul_(samples[:, :, k : k + out], fx[:, k])
    h.add_(32).bitwise_right_shift_(6)
    v = h[:, :out] * fy[:, 0]
    for k in range(1, taps):
        v.addcmul_(h[:, k : k + out], fy[:, k])
    return v.add_(32).bitwise_right_shift_(6).clamp_(0, 255)


def pad(planes: np.ndarray, by: int) -> np.ndarray:
    """Replicate the edges of [N,H,W] by `by` samples."""
    return np.pad(planes, ((0, 0), (by, by), (by, by)), mode="edge")


def _plane(ref: np.ndarray, motion: np.ndarray, block: int, ramp: int, filters: np.ndarray) -> np.ndarray:
    """Compensate `ref` [N,H,W] uint8 with `motion` [N,2,H/block,W/block] in units of 1/len(filters) sample."""
    n_img, height, width = ref.shape
    rows, cols = motion.shape[2:]
    out, half = block + ramp, ramp // 2
    margin = out + filters.shape[1]
    image, by, bx = (g.reshape(-1) for g in np.indices((n_img, rows, cols), np.int32))
    vectors = np.ascontiguousarray(motion.astype(np.int32).transpose(1, 0, 2, 3)).reshape(2, -1)
    v = interpolate(
        pad(ref, margin), image, by * block + (margin - half), bx * block + (margin - half), vectors, out, filters
    )
    v = v.reshape(n_img, rows, cols, out, out)
    v *= _ramp(rows, block, ramp)[None, :, None, :, None] * _ramp(cols, block, ramp)[None, None, :, None, :]
    canvas = torch.zeros((n_img, height + 2 * block, width + 2 * block), dtype=torch.int16)
    for py in range(2):  # blocks of equal parity are 2·block apart and do not overlap each other
        for px in range(2):
            tile = torch.zeros((n_img, rows // 2, 2 * block, cols // 2, 2 * block), dtype=torch.int16)
            tile[:, :, :out, :, :out] = v[:, py::2, px::2].transpose(2, 3)
            canvas[:, py * block : py * block + height, px * block : px * block + width] += tile.reshape(
                n_img, height, width
            )
    area = canvas[:, half : half + height, half : half + width]
    full = 2 * (2 * ramp).bit_length() - 2
    return area.add(1 << (full - 1)).bitwise_right_shift_(full).to(torch.uint8).numpy()


def compensate(y: np.ndarray, uv: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict frames. `y` uint8 [N,H,W], `uv` uint8 [N,2,H/2,W/2] with H, W multiples of 16; `motion` int16
    [N,2,H/8,W/8] (x, y; quarter luma samples; the block at p is predicted from p + motion/4). Returns the same
    shapes."""
    n, _, h2, w2 = uv.shape
    if not motion.any():
        return y.copy(), uv.copy()
    luma = _plane(y, motion, BLOCK, 4, LUMA_FILTERS)
    chroma = _plane(uv.reshape(2 * n, h2, w2), np.repeat(motion, 2, 0), BLOCK // 2, 2, CHROMA_FILTERS)
    return luma, chroma.reshape(uv.shape)
