"""A frame between two others: compensated from both sides, then made by the network.

Planes are padded: y uint8 [H,W], uv uint8 [2,H/2,W/2], H and W multiples of 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..media.types import Frame
from .compensate import BLOCK, compensate
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
        self.a, self.b = a, b
        self._before = before
        self._middle = Middle(a[0], b[0], fields)
        self._at_rest = rest_error(a[0], b[0])

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
        """The new frame."""
        found, device = self.ingredients(moment), interpolation.device
        seen = see([self.a], [self.b], [found], torch.tensor([moment]))
        seen = Seen(*(getattr(seen, name).to(device) for name in Seen.__dataclass_fields__))
        patches = interpolation.net(seen)
        samples = patches.add_(0.5).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        y, uv = from_patches(samples)
        return y[0, 0].contiguous().cpu().numpy(), uv[0].contiguous().cpu().numpy()


def see(a: list[Planes], b: list[Planes], found: list[Ingredients], moment: torch.Tensor) -> Seen:
    """Pairs of frames and what was made of them → the network's input; moment [B]."""
    share = moment[:, None, None, None]
    still = torch.lerp(samples(a), samples(b), share)
    hints = torch.from_numpy(np.stack([f.hints for f in found]))
    return Seen(samples([f.a for f in found]), samples([f.b for f in found]), still, hints, moment)


def samples(pictures: list[Planes]) -> torch.Tensor:
    """Planes → patches float32 [B,96,H/8,W/8], v/255 - 1/2."""
    y = torch.from_numpy(np.stack([y for y, _ in pictures]))[:, None]
    uv = torch.from_numpy(np.stack([uv for _, uv in pictures]))
    return to_patches(y, uv).float().mul_(1 / 255).sub_(0.5)
