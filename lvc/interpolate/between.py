"""A frame between two others: compensated from both sides, then made by the network.

Planes are padded: y [H,W], uv [2,H/2,W/2], H and W multiples of 16, uint8, or uint16 of 10 bits. Motion is looked for
in 8 bits; what is compensated and made has the depth of the frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..media.depth import depth_of, in_eight_bits
from ..media.types import Frame
from .compensate import BLOCK, FRACTION, TOP, compensate
from .motion import Fields, Middle, Through
from .network import Interpolation, Seen, from_patches, to_patches

Planes = tuple[np.ndarray, np.ndarray]


def pad_planes(frame: Frame) -> Planes:
    """A frame's planes, sides made multiples of 16 by repeating the last row and column: y [H,W], uv [2,H/2,W/2]."""
    h, w = frame.y.shape
    ph, pw = -h % 16, -w % 16
    ch, cw = (h + ph) // 2 - frame.u.shape[0], (w + pw) // 2 - frame.u.shape[1]
    y = np.pad(frame.y, ((0, ph), (0, pw)), mode="edge") if ph or pw else frame.y
    uv = np.stack([frame.u, frame.v])
    return y, np.pad(uv, ((0, 0), (0, ch), (0, cw)), mode="edge") if ch or cw else uv


def in_eight(planes: Planes) -> Planes:
    """Planes of either depth in 8 bits."""
    return in_eight_bits(planes[0]), in_eight_bits(planes[1])


def _references(planes: Planes) -> Planes:
    """Planes of 10 bits as what `compensate` takes with more than 8; those of 8 bits as they are."""
    if depth_of(planes[0]) == 8:
        return planes
    y, uv = (np.minimum(p.astype(np.int16) << (FRACTION - 2), TOP) for p in planes)
    return y, uv


def flatness(y: np.ndarray) -> float:
    """Mean absolute difference of luma from its 8x8 blocks' means: what a crude intra prediction misses."""
    h, w = y.shape
    blocks = torch.from_numpy(y).reshape(h // 8, 8, w // 8, 8).transpose(1, 2).reshape(-1, 64).float()
    return float((blocks - blocks.mean(1, keepdim=True)).abs().mean())


@dataclass(frozen=True)
class Ingredients:
    """What the network sees, as planes: both frames compensated to the moment, and `hints` float32 [5,H/8,W/8]."""

    a: Planes
    b: Planes
    hints: np.ndarray


def rest_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference of two luma planes in each 8x8 block: float32 [H/8,W/8]."""
    height, width = a.shape
    apart = torch.from_numpy(a).to(torch.int16).sub_(torch.from_numpy(b)).abs_()
    blocks = apart.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).sum((1, 3), dtype=torch.int32)
    result: np.ndarray = blocks.numpy().astype(np.float32) / BLOCK**2
    return result


def _hints(through: Through, at_rest: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    v = (through.to_b - through.to_a).astype(np.float32) / 4
    padded = np.pad(v, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rough = sum(
        np.abs(v - near).sum(0)
        for near in (padded[:, 2:, 1:-1], padded[:, :-2, 1:-1], padded[:, 1:-1, 2:], padded[:, 1:-1, :-2])
    )
    logs = np.log1p(np.stack([np.abs(v).sum(0), rough])) / 4
    errors = np.minimum(np.stack([through.error, at_rest]) / 16, 4)
    uneven = np.full_like(at_rest, -0.5) if before is None else np.log1p(np.abs(v - before / 4).sum(0)) / 4
    return np.concatenate([errors, logs, uneven[None]]).astype(np.float32)


class Between:
    """The frames between a and b. `before`: vectors [2,H/8,W/8] in quarter samples that led to a's blocks, for as long
    a time as from a to b; None where there was a cut, or nothing."""

    def __init__(self, a: Planes, b: Planes, fields: Fields, before: np.ndarray | None = None) -> None:
        self.a, self.b = _references(a), _references(b)
        self._depth = depth_of(a[0])
        self._before = before
        ya, yb = in_eight_bits(a[0]), in_eight_bits(b[0])
        self._middle = Middle(ya, yb, fields)
        self._at_rest = rest_error(ya, yb)

    def ingredients(self, moment: float) -> Ingredients:
        """`moment`: 0..1 of the way from a to b."""
        through = self._middle.through(moment)
        sides = [
            compensate(planes[0][None], planes[1][None], vectors[None])
            for planes, vectors in ((self.a, through.to_a), (self.b, through.to_b))
        ]
        (ya, uva), (yb, uvb) = sides
        return Ingredients((ya[0], uva[0]), (yb[0], uvb[0]), _hints(through, self._at_rest, self._before))

    @torch.inference_mode()
    def frame(self, moment: float, interpolation: Interpolation) -> Planes:
        """The new frame, of the depth of those around it."""
        found, device = self.ingredients(moment), interpolation.device
        seen = see([self.a], [self.b], [found], torch.tensor([moment]))
        seen = Seen(*(getattr(seen, name).to(device) for name in Seen.__dataclass_fields__))
        patches = interpolation.net(seen)
        levels, top, kind = (255, 255, torch.uint8) if self._depth == 8 else (255 << 2, 1023, torch.int16)
        y, uv = from_patches(patches.add_(0.5).mul_(levels).round_().clamp_(0, top).to(kind))
        made = y[0, 0].contiguous().cpu().numpy(), uv[0].contiguous().cpu().numpy()
        return made if self._depth == 8 else (made[0].view(np.uint16), made[1].view(np.uint16))


def see(a: list[Planes], b: list[Planes], found: list[Ingredients], moment: torch.Tensor) -> Seen:
    """Pairs of frames and what was made of them → the network's input; moment [B]."""
    share = moment[:, None, None, None]
    still = torch.lerp(samples(a), samples(b), share)
    hints = torch.from_numpy(np.stack([f.hints for f in found]))
    return Seen(samples([f.a for f in found]), samples([f.b for f in found]), still, hints, moment)


def samples(pictures: list[Planes]) -> torch.Tensor:
    """Planes, uint8 or references, → patches float32 [B,96,H/8,W/8], v/255 - 1/2."""
    largest = 255 if pictures[0][0].dtype == np.uint8 else TOP
    y = torch.from_numpy(np.stack([y for y, _ in pictures]))[:, None]
    uv = torch.from_numpy(np.stack([uv for _, uv in pictures]))
    return to_patches(y, uv).float().mul_(1 / largest).sub_(0.5)
