"""Batches of streams from the cache, and the way between their bytes and a network's samples."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..codec.compensate import TOP, in_8_bits
from ..codec.motion_decision import MotionDecision
from ..errors import UsageError
from ..models.network import from_patches, to_patches
from .data import CachedClip, stream
from .forward import Past
from .settings import TrainSettings

Streams = list[Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]


@dataclass
class Group:
    """A batch of streams in step. `base` are their levels; y, uv their last reconstructions, as references."""

    streams: Streams
    base: torch.Tensor
    left: int
    y: np.ndarray
    uv: np.ndarray
    past: Past
    decisions: list[MotionDecision]

    def moved(self, frame: np.ndarray, found: np.ndarray, levels: torch.Tensor) -> np.ndarray:
        """The motion decided on the reconstructions, as the encoder decides it: `frame` luma uint8 [B,c,c], `found` and
        the result int16 [B,2,c/8,c/8]."""
        seen = in_8_bits(self.y)
        fields = []
        for decision, *given in zip(self.decisions, seen, frame, found, levels.tolist(), strict=True):
            fields.append(decision.decide(*given))
            decision.coded(fields[-1])
        return np.stack(fields)


class Sampler:
    """Draws streams; a clip's weight is the square root of its samples.

    `world` processes with equal generators draw the same `world * batch` streams, and process `rank` reads its share of
    them: every `world`-th. All streams of a draw have the same length, so that groups end at the same step everywhere.
    """

    def __init__(
        self, clips: list[CachedClip], settings: TrainSettings, rng: random.Random, rank: int = 0, world: int = 1
    ) -> None:
        self.clips = [c for c in clips if min(c.y.shape[1:]) >= settings.crop]
        if not self.clips:
            raise UsageError(f"no clip is at least {settings.crop} samples wide and high — lower --crop or add data")
        self.weights = np.cumsum([math.sqrt(c.y.size) for c in self.clips]).tolist()
        self.settings, self.rng, self.rank, self.world = settings, rng, rank, world

    def joint(self, length: int) -> Streams:
        """The streams of all processes; nothing is read before a stream's first frame is asked for."""
        shortest = min(length, max(len(c.y) for c in self.clips))
        out: Streams = []
        while len(out) < self.settings.batch * self.world:
            clip = self.rng.choices(self.clips, cum_weights=self.weights)[0]
            if len(clip.y) >= shortest:
                out.append(stream(clip, self.settings.crop, length, random.Random(self.rng.getrandbits(64))))
        return out

    def streams(self, length: int) -> Streams:
        """This process's."""
        return self.joint(length)[self.rank :: self.world]


def next_frames(streams: Streams) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The next frame of each: y [B,c,c], uv [B,2,c/2,c/2], motion [B,2,c/8,c/8]; None when one of them is over."""
    items = [next(s, None) for s in streams]
    if any(i is None for i in items):
        return None
    return tuple(np.stack([i[k] for i in items if i is not None]) for k in range(3))  # type: ignore[return-value]


def to_samples(y: np.ndarray, uv: np.ndarray) -> torch.Tensor:
    """Planes uint8 or references int16, [B,H,W] and [B,2,H/2,W/2] → patches float32 around 0."""
    top = 255 if y.dtype == np.uint8 else TOP
    return to_patches(torch.from_numpy(y)[:, None].float() / top - 0.5, torch.from_numpy(uv).float() / top - 0.5)


def to_references(patches: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """`to_samples` backwards, from patches on any device, to references."""
    y, uv = from_patches((patches + 0.5).mul(TOP).round().clamp(0, TOP).to(torch.int16).cpu())
    return y[:, 0].contiguous().numpy(), uv.contiguous().numpy()
