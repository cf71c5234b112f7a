"""The network that makes a new frame of two compensated ones: how much of which, for every sample, and what is missing.

Patches are 96 channels at 1/8 (64 luma, twice 16 chroma), samples v/255 - 1/2. 3.1 kMAC a pixel.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..engine.devices import fast_dtype, pick_device
from ..errors import CorruptError
from ..installed import checkpoint

WIDTH, BLOCKS = 96, 3
HINTS = 5
"""Numbers per block beside the samples, see `Seen.hints`."""
FEATURES = HINTS + 5
_STILL_LOGIT = -1.5
PATCH, GATE = 96, 8.0


def to_patches(y: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """y [B,1,H,W], uv [B,2,H/2,W/2] → [B,96,H/8,W/8], channels last."""
    x = torch.cat([F.pixel_unshuffle(y, 8), F.pixel_unshuffle(uv, 4)], 1)
    return x.contiguous(memory_format=torch.channels_last)


def from_patches(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return F.pixel_shuffle(x[:, :64], 8), F.pixel_shuffle(x[:, 64:], 4)


class Block(nn.Module):
    """Depth-wise block of DCVC (Li et al. 2023): 1x1, activation, depthwise 3x3, 1x1; then a gated 1x1 pair.
    Residual."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.a, self.d, self.b = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 3, padding=1, groups=c), nn.Conv2d(c, c, 1)
        self.f, self.g = nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1)
        for last in (self.b, self.g):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.b(self.d(F.leaky_relu(self.a(x), 0.1)))
        u, v = self.f(x).chunk(2, 1)
        out: torch.Tensor = x + self.g(F.leaky_relu(u, 0.1) * v.clamp(-GATE, GATE))
        return out


@dataclass
class Seen:
    """What the network is given, for B moments; patches float32 [B,96,h8,w8].

    `a`, `b`: both frames compensated to the moment; `still`: both frames blended where they are. `hints` [B,5,h8,w8]:
    absolute error between the ends of the block's vector and at rest, each divided by 16; the vector's length, its
    difference from its neighbours' and from the motion before (which tells a trembling camera from a steady one), each
    as log(1 + luma samples) / 4, the last one -1/2 where nothing is known. `moment` [B] in 0..1 from a to b."""

    a: torch.Tensor
    b: torch.Tensor
    still: torch.Tensor
    hints: torch.Tensor
    moment: torch.Tensor


def _features(seen: Seen) -> torch.Tensor:
    """Hints, the moment, and what goes for the whole picture: [B,10,h8,w8], all about 1. Of the picture: the mean
    errors, the mean length of vectors, and how uneven motion is, relative to it."""
    local = torch.cat([torch.log1p(16 * seen.hints[:, :2]), 4 * seen.hints[:, 2:]], 1)
    means = torch.log1p(seen.hints[:, :2] * 16).mean((2, 3)), torch.expm1(4 * seen.hints[:, 2::2]).mean((2, 3))
    length, uneven = means[1].clamp_min(0).chunk(2, 1)
    relative = torch.log((uneven + 0.05) / (length + 0.05)) * (seen.hints[:, 4:].amax((2, 3)) >= 0)
    everywhere = torch.cat([seen.moment[:, None], means[0], torch.log1p(length), relative], 1)
    return torch.cat([local, everywhere[:, :, None, None].expand(-1, -1, *local.shape[2:])], 1)


class InterpolationNet(nn.Module):
    def __init__(self, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3 * PATCH + FEATURES, width, 1)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(blocks)])
        self.leave = nn.Conv2d(width, 3 * PATCH, 1)
        self.direct = nn.Conv2d(FEATURES, 2, 1)
        for last in (self.leave, self.direct):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, seen: Seen) -> torch.Tensor:
        """The frame at the moment: patches float32 [B,96,h8,w8]."""
        m = seen.moment[:, None, None, None]
        middle = torch.lerp(seen.a, seen.b, m)
        apart, moved = seen.b - seen.a, seen.still - middle
        differences = (16 * torch.cat([apart, moved], 1)).clamp(-4, 4)  # most are a few steps of 1/255
        hints = _features(seen)
        x = torch.cat([2 * middle, differences, hints], 1)
        f = self.blocks(self.enter(x.to(self.enter.weight.dtype)))
        of_b, of_still, missing = self.leave(f).float().chunk(3, 1)
        block_b, block_still = self.direct(hints.to(self.direct.weight.dtype)).float().chunk(2, 1)
        blend = seen.a + torch.sigmoid(of_b + block_b + torch.logit(m, 1e-3)) * apart
        blend = blend + torch.sigmoid(of_still + block_still + _STILL_LOGIT) * (seen.still - blend)
        # what stands still is left alone: a sample moves no farther than what is given differs
        range_ = apart.abs() + moved.abs()
        changes = 255 * range_.mean(1, keepdim=True)
        missing = torch.minimum(torch.maximum(missing * (changes / (changes + 2)), -range_), range_)
        out: torch.Tensor = blend + missing
        return out


@dataclass(frozen=True)
class Interpolation:
    """Weights that are ready to run, and the hash of their file."""

    net: InterpolationNet
    device: torch.device
    sha256: str


def load_interpolation(path: Path, device: str | None = None, dtype: torch.dtype | None = None) -> Interpolation:
    """Raises `CorruptError` for a file that holds other weights."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = path.read_bytes()
    with torch.device("meta"):  # no first weights: they would be drawn from the caller's random numbers
        net = InterpolationNet()
    try:
        net.load_state_dict({name: value.float() for name, value in load(data).items()}, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise CorruptError(f"{path.name} does not contain the interpolation network — reinstall lvc") from error
    target = pick_device(device)
    net.to(target, dtype or fast_dtype(target)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.eval().requires_grad_(False)
    return Interpolation(net, target, hashlib.sha256(data).hexdigest())


@functools.lru_cache(maxsize=2)
def default_interpolation(device: str | None = None) -> Interpolation:
    """The one that comes with lvc. Raises `UnsupportedError` if this installation lacks it."""
    return load_interpolation(checkpoint("interpolate.safetensors"), device)
