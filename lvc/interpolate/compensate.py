"""Motion compensation in integers: the prediction of a frame from the reconstruction before it.

One vector per 8x8 luma block, in quarter luma samples. Luma is interpolated with H.264's six-tap half-sample filter
(quarter samples: the mean of whole and half, in one six-tap filter), chroma at eighth samples with HEVC's four-tap
chroma filters, both separable and rounded to 8 bits in between. Neighbouring blocks overlap by a ramp of four luma
(two chroma) samples around their common edge, so that a block's vector fades into its neighbour's. Beyond the picture's
edges the edge samples go on for ever.

Everything is integer arithmetic that cannot overflow: the result is the same on every machine. Planes are 8-bit
pictures, or the codec's references with `FRACTION` more bits. To 8 bits a difference of a tenth of a sample between two
machines is rounded to a whole one in every tenth sample, and three roundings a frame do that again and again; that made
most of the drift in a long closed loop, and 2 to 4 % of the bits (docs/decisions/006-references.md).
"""

from __future__ import annotations

import numpy as np
import torch

BLOCK = 8
"""Side of a motion block in luma samples."""

FRACTION = 4
"""Bits of the codec's references below those of 8-bit samples: int16 in 0..255·16."""

TOP = 255 << FRACTION
"""The largest sample of a reference."""

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


def in_8_bits(reference: np.ndarray) -> np.ndarray:
    """A plane of a reference as it is shown: uint8, same shape."""
    return np.asarray(
        torch.from_numpy(reference).add(1 << FRACTION >> 1).bitwise_right_shift_(FRACTION).to(torch.uint8)
    )


def interpolated(
    padded: np.ndarray,
    image: np.ndarray | int,
    ys: np.ndarray,
    xs: np.ndarray,
    vectors: np.ndarray,
    out: int,
    filters: np.ndarray,
) -> torch.Tensor:
    """Blocks of `out` x `out` samples, int16 [out,out,K] from `padded` uint8 [N,H,W], int32 from int16: block k of
    image `image[k]` whose first sample lies at row ys[k], column xs[k] moved by `vectors` [2,K] (x, y) in units of
    1/len(filters) sample. Windows beyond the array are moved inside: pad it by more than a block and its filter, and
    edges go on for ever. Blocks come last so that a filter's tap is one operation over long rows."""
    n_img, height, width = padded.shape
    taps, per = filters.shape[1], len(filters)
    size, shift, lead = out + taps - 1, per.bit_length() - 1, taps // 2 - 1
    left = np.clip(xs + (vectors[0] >> shift) - lead, 0, width - size)
    top = np.clip(ys + (vectors[1] >> shift) - lead, 0, height - size)
    phases = vectors & (per - 1)
    between = np.asarray(phases.any(0))
    # whole vectors need no filter, and in most footage most are
    whole, rest = np.flatnonzero(~between), np.flatnonzero(between)
    parts = []
    if len(whole):
        parts.append(_windows(padded, _at(image, whole), top[whole] + lead, left[whole] + lead, out))
    if len(rest):
        picked = _windows(padded, _at(image, rest), top[rest], left[rest], size)
        parts.append(_filter(picked, phases[:, rest], out, filters))
    if len(parts) != 2:
        return parts[0] if parts else torch.zeros((out, out, 0), dtype=_arithmetic(padded))
    result = torch.cat(parts, 2)
    if whole[-1] < rest[0]:
        return result
    order = np.empty(len(between), np.int64)
    order[whole], order[rest] = np.arange(len(whole)), np.arange(len(whole), len(between))
    return _picked(result, order)


def _arithmetic(planes: np.ndarray) -> torch.dtype:
    """In what filters and weights cannot overflow: of 8-bit samples, and of references."""
    return torch.int16 if planes.dtype == np.uint8 else torch.int32


def _at(image: np.ndarray | int, at: np.ndarray) -> np.ndarray | int:
    return image if isinstance(image, int) else image[at]


def _picked(v: torch.Tensor, at: np.ndarray) -> torch.Tensor:
    """`v` at indices of its last dimension; numpy takes a quarter of the time that index_select does."""
    return torch.from_numpy(v.numpy().take(at, v.dim() - 1))


def squares(planes: np.ndarray, image: np.ndarray | int, top: np.ndarray, left: np.ndarray, size: int) -> np.ndarray:
    """Squares of `size` samples of contiguous planes [N,H,W], one after the other: [K,size·size]."""
    _, height, width = planes.shape
    samples = planes.reshape(-1)
    # every run of `size` samples as one element, overlapping
    run, each = np.dtype(f"V{size * samples.itemsize}"), samples.itemsize
    runs = np.lib.stride_tricks.as_strided(samples[:size].view(run), (len(samples) - size + 1,), (each,))
    lines = (image * (height * width) + top * width + left)[:, None] + np.arange(size) * width
    return np.asarray(runs[lines].view(samples.dtype).reshape(len(top), size * size))


def _windows(padded: np.ndarray, image: np.ndarray | int, top: np.ndarray, left: np.ndarray, size: int) -> torch.Tensor:
    """`squares` with blocks last, [size,size,K], as `_arithmetic` wants them."""
    picked = torch.from_numpy(squares(padded, image, top, left, size))
    short = picked.to(torch.int16).t().contiguous()  # the fewer bytes are turned the better
    return short.to(_arithmetic(padded)).view(size, size, len(top))


def _filter(samples: torch.Tensor, phases: np.ndarray, out: int, filters: np.ndarray) -> torch.Tensor:
    """Windows [out+taps-1,out+taps-1,K] → [out,out,K]: across, then down, rounded to samples in between."""
    taps = filters.shape[1]
    fx, fy = (torch.from_numpy(np.ascontiguousarray(filters[p].T)).to(samples.dtype) for p in phases)
    top = 255 if samples.dtype == torch.int16 else TOP
    h = samples[:, :out] * fx[0]
    for k in range(1, taps):
        h.addcmul_(samples[:, k : k + out], fx[k])
    h.add_(32).bitwise_right_shift_(6)
    v = h[:out] * fy[0]
    for k in range(1, taps):
        v.addcmul_(h[k : k + out], fy[k])
    return v.add_(32).bitwise_right_shift_(6).clamp_(0, top)


def pad(planes: np.ndarray, by: int) -> np.ndarray:
    """Replicate the edges of [N,H,W] by `by` samples."""
    n, height, width = planes.shape
    out = np.empty((n, height + 2 * by, width + 2 * by), planes.dtype)
    out[:, by:-by, by:-by] = planes
    out[:, by:-by, :by], out[:, by:-by, -by:] = planes[:, :, :1], planes[:, :, -1:]
    out[:, :by], out[:, -by:] = out[:, by : by + 1], out[:, -by - 1 : -by]
    return out


class _Blocks:
    """Which blocks of a field [N,2,rows,cols] are moved as they are, and which have neighbours to be blended with.

    A block whose eight neighbours have its own vector is not touched by blending: the weights sum to one."""

    def __init__(self, motion: np.ndarray) -> None:
        n, _, rows, cols = motion.shape
        pairs = motion.transpose(0, 2, 3, 1).astype(np.int16, order="C", copy=False)
        packed = np.ascontiguousarray(pairs).view(np.uint32)[..., 0]
        around = np.pad(packed, ((0, 0), (1, 1), (1, 1)), mode="edge")
        same = np.ones(packed.shape, bool)
        for dy in range(3):
            for dx in range(3):
                same &= around[:, dy : dy + rows, dx : dx + cols] == packed
        self.plain = _sorted(same & (packed != 0), packed)
        """Indices of the blocks that move and are not blended; those without motion are in neither list."""
        grown = np.pad(~same, ((0, 0), (1, 1), (1, 1)))
        near = np.zeros_like(same)
        for dy in range(3):
            for dx in range(3):
                near |= grown[:, dy : dy + rows, dx : dx + cols]
        self.near = i, y, x = _sorted(near, packed)
        """The blended ones and those around them, K blocks."""
        number = np.full(around.shape, len(i))
        number[i, y + 1, x + 1] = np.arange(len(i))
        self.above, self.below = number[i, y, x + 1], number[i, y + 2, x + 1]
        """Places of the neighbours in `near`; K where there is none."""
        self.top, self.bottom = np.flatnonzero(y == 0), np.flatnonzero(y == rows - 1)
        self.blended = i, y, x = np.nonzero(~same)
        self.left, self.own, self.right = (number[i, y + 1, x + d] for d in (0, 1, 2))
        self.first, self.last = np.flatnonzero(x == 0), np.flatnonzero(x == cols - 1)


def _sorted(mask: np.ndarray, packed: np.ndarray) -> tuple[np.ndarray, ...]:
    """Indices of `mask`, blocks first whose vectors (int16 pairs as uint32) are whole in chroma, then in luma."""
    at = np.nonzero(mask)
    vectors = packed[at]
    order = np.argsort(((vectors & 0x00070007) != 0) + ((vectors & 0x00030003) != 0), kind="stable")
    return tuple(index[order] for index in at)


def _blend(v: torch.Tensor, blocks: _Blocks, block: int, ramp: int) -> torch.Tensor:
    """Overlapping windows [block+ramp,block+ramp,K] of `blocks.near` → blended blocks [block,block,B]. Along each axis
    weights rise by 1, 3, … over the ramp and sum to 2·ramp; at the picture's edges a block stands in for the neighbour
    that is missing."""
    half, full = ramp // 2, 2 * ramp

    def mixed(body: torch.Tensor, own: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        # along dimension 0: `own` [block+ramp] is scaled into `body`, to which the strips of both neighbours are added
        torch.mul(own[half:-half], full, out=body)
        for i in range(half):
            up = 2 * (half + i) + 1
            torch.mul(own[half + i], up, out=body[i]).add_(before[i], alpha=full - up)
            torch.mul(own[half + block - 1 - i], up, out=body[block - 1 - i]).add_(after[half - 1 - i], alpha=full - up)
        return body

    width, count = v.shape[1], v.shape[2]
    v = torch.cat([v, v.new_zeros(*v.shape[:2], 1)], 2)  # what nobody will look at
    before, after = _picked(v[block + half :], blocks.above), _picked(v[:half], blocks.below)
    before[:, :, blocks.top] = _picked(v[half:ramp], blocks.top)
    after[:, :, blocks.bottom] = _picked(v[block : block + half], blocks.bottom)
    rows = torch.zeros((block, width, count + 1), dtype=v.dtype)
    mixed(rows[:, :, :-1], v[:, :, :-1], before, after)
    columns = rows.transpose(0, 1).contiguous()
    own = _picked(columns, blocks.own)
    before, after = _picked(columns[block + half :], blocks.left), _picked(columns[:half], blocks.right)
    before[:, :, blocks.first] = own[half:ramp][:, :, blocks.first]
    after[:, :, blocks.last] = own[block : block + half][:, :, blocks.last]
    out = torch.empty((block, block, len(blocks.own)), dtype=v.dtype)
    mixed(out, own, before, after)
    bits = 2 * full.bit_length() - 2
    return out.transpose(0, 1).add_(1 << (bits - 1)).bitwise_right_shift_(bits)


def _put(plane: np.ndarray, samples: torch.Tensor, at: tuple[np.ndarray, ...], block: int) -> None:
    """Write blocks [block,block,K] into contiguous planes [N,H,W] at block indices `at`."""
    kind, word = torch.from_numpy(plane).dtype, np.dtype(f"V{block * plane.itemsize}")
    n, height, width = plane.shape
    lines = samples.to(kind).reshape(block * block, -1).t().contiguous().numpy().view(word)
    image, row, column = at
    plane.view(word).reshape(n, height // block, block, width // block)[image, row, :, column] = lines


def _plane(
    ref: np.ndarray, motion: np.ndarray, blocks: _Blocks, block: int, ramp: int, filters: np.ndarray
) -> np.ndarray:
    """Compensate `ref` [N,H,W] with `motion` [N,2,H/block,W/block] in units of 1/len(filters) sample."""
    out = np.array(ref, order="C")
    margin = block + ramp + filters.shape[1]
    padded = pad(ref, margin)
    for at, overlap in ((blocks.plain, 0), (blocks.near, ramp)):
        image, row, column = at
        if not len(image):
            continue
        vectors = motion[image, :, row, column].T.astype(np.int32)
        start = margin - overlap // 2
        v = interpolated(padded, image, row * block + start, column * block + start, vectors, block + overlap, filters)
        if overlap:
            _put(out, _blend(v, blocks, block, ramp), blocks.blended, block)
        else:
            _put(out, v, at, block)
    return out


def compensate(y: np.ndarray, uv: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict frames. `y` [N,H,W], `uv` [N,2,H/2,W/2], uint8 or references (int16, see `FRACTION`), with H, W multiples
    of 16; `motion` int16 [N,2,H/8,W/8] (x, y; quarter luma samples; the block at p is predicted from p + motion/4).
    Returns the same shapes and dtypes."""
    if not motion.any():
        return y.copy(), uv.copy()
    blocks = _Blocks(motion)
    luma = _plane(y, motion, blocks, BLOCK, 4, LUMA_FILTERS)
    chroma = [_plane(uv[:, c], motion, blocks, BLOCK // 2, 2, CHROMA_FILTERS) for c in range(2)]
    return luma, np.stack(chroma, 1)


_SIX_TAPS = np.ascontiguousarray(np.pad(CHROMA_FILTERS, ((0, 0), (1, 1))))
