"""The networks: an intra codec and an inter codec of the same plan, all convolutions at 1/8, latents at 1/16.

A frame is native 4:2:0, sample values v/255 - 1/2, space-to-depth to 96 channels at 1/8 (64 luma, 2 x 16 chroma). The
inter codec sees the motion-compensated prediction `w` as context and codes what it misses. Symbols are y - mean in
units of the step Δ(level); the means are float (they move samples), the table of each symbol comes from `ScaleNet`
alone. A 16x16 block that is skipped has no symbols; the networks may still filter it, unless it is copied: exactly
the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .config import LEVEL_MAX, LEVEL_MIN, ModelConfig
from .fused import Fused
from .integer import TABLES, ScaleNet, round_ste

PATCH = 96
ANCHORS = int(LEVEL_MAX - LEVEL_MIN) + 1
SIGMA_MIN, SIGMA_MAX = 0.06, 256.0
GATE, LARGEST = 8.0, 16.0
"""Bounds on a gate, and on the symbols' values where they enter nonlinear layers: without them products of products
explode on what prediction misses entirely. The linear path takes values of any size."""
SIGMA_RATE = math.log(SIGMA_MAX / SIGMA_MIN) / (TABLES - 1)


def step_size(level: torch.Tensor) -> torch.Tensor:
    """Δ = sqrt(11.5 / λ), λ = 2**level: where the slope of a uniform quantiser's rate meets λ."""
    return torch.sqrt(11.5 / torch.exp2(level))


def to_patches(y: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """y [B,1,H,W], uv [B,2,H/2,W/2] → [B,96,H/8,W/8], channels last."""
    x = torch.cat([F.pixel_unshuffle(y, 8), F.pixel_unshuffle(uv, 4)], 1)
    return x.contiguous(memory_format=torch.channels_last)


def from_patches(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return F.pixel_shuffle(x[:, :64], 8), F.pixel_shuffle(x[:, 64:], 4)


def gaussian_bits(q: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Bits of symbols `q` (float for the noise proxy) under a zero-mean Gaussian of table `index`, per symbol."""
    inverse = torch.exp(-(math.log(SIGMA_MIN) + SIGMA_RATE * index))
    d = q.abs()
    p = torch.special.ndtr((0.5 - d) * inverse) - torch.special.ndtr((-0.5 - d) * inverse)
    return -torch.log2(p.clamp_min(1e-7))


def checkerboard(height: int, width: int, channels: int, device: torch.device) -> torch.Tensor:
    """bool [1,M,H,W]: symbols of the first pass. The second half of the channels has the colours swapped."""
    grid = (torch.arange(height, device=device)[:, None] + torch.arange(width, device=device)[None]) % 2 == 0
    half = channels // 2
    return torch.cat([grid.expand(half, -1, -1), ~grid.expand(channels - half, -1, -1)])[None]


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


class _Again(torch.autograd.Function):
    """A layer without gradients of its weights, computed again on the way back instead of kept: refinement of a 1080p
    frame takes 0.75 GB less. (torch.utils.checkpoint imports PyTorch's compiler: a second.)"""

    @staticmethod
    def forward(ctx: Any, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        out: torch.Tensor = layer(x)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            out = ctx.layer(x)
        return None, torch.autograd.grad(out, x, gradient)[0]


class Gains(nn.Module):
    """A positive gain per channel, interpolated over the level: exp of a table [anchors, channels]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(ANCHORS, channels))

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """level [B] → [B,C,1,1]."""
        at = (level - LEVEL_MIN).clamp(0, ANCHORS - 1)
        low = at.floor().clamp(max=ANCHORS - 2).long()
        part = (at - low)[:, None]
        return torch.exp(self.table[low] * (1 - part) + self.table[low + 1] * part)[:, :, None, None]


@dataclass
class Context:
    """What both sides know before the latents. `c` [B,C,h8,w8] (inter only), `side` [B,S,h16,w16] (inter only)."""

    c: torch.Tensor | None
    side: torch.Tensor | None


class FrameCodec(nn.Module):
    """One kind of frame. Shapes: patches [B,96,h8,w8], latents [B,M,h16,w16] with h8 = 2·h16, hyper
    [B,Z,⌈h16/4⌉,⌈w16/4⌉]."""

    def __init__(self, config: ModelConfig, intra: bool) -> None:
        super().__init__()
        self.intra, self.latent, self.hyper = intra, config.latents(intra), config.hyper
        self._fused: Fused | None = None
        m, z, s = self.latent, config.hyper, config.side
        c = config.intra_width if intra else config.inter_width
        n_enc = config.intra_encoder_blocks if intra else config.inter_encoder_blocks
        n_dec = config.intra_decoder_blocks if intra else config.inter_decoder_blocks
        extra = 0 if intra else s
        if not intra:
            self.context_in, self.context_block = nn.Conv2d(PATCH, c, 1), Block(c)
            self.context_gain = Gains(c)
            self.context_side = nn.Conv2d(c, s, 2, stride=2)
        self.encoder_in = nn.Conv2d(PATCH if intra else PATCH + c, c, 1)
        self.encoder = nn.Sequential(*[Block(c) for _ in range(n_enc)])
        self.encoder_out = nn.Conv2d(c, m, 2, stride=2)
        self.encoder_linear = nn.Conv2d(PATCH, m, 2, stride=2)
        self.encoder_gain, self.latent_gain = Gains(c), Gains(m)
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(m + extra, s, 3, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(s, z, 3, 2, 1)
        )
        self.hyper_decoder = nn.Sequential(
            nn.Conv2d(z, 4 * s, 1), nn.PixelShuffle(2), nn.LeakyReLU(0.1), nn.Conv2d(s, 4 * s, 1), nn.PixelShuffle(2)
        )
        self.mean_in, self.mean_out = nn.Conv2d(s + extra, 96, 1), nn.Conv2d(96, m, 1)
        self.mean2_in, self.mean2_mix = nn.Conv2d(96 + m, 96, 1), nn.Conv2d(96, 96, 3, padding=1, groups=96)
        self.mean2_out = nn.Conv2d(96, m, 1)
        self.scale1 = ScaleNet(m + z + 3, config.scale_hidden, m)
        self.scale2 = ScaleNet(2 * m + z + 3, config.scale_hidden, m)
        self.hyper_scale = nn.Parameter(torch.full((z,), -1.0))
        self.decoder_in = nn.Conv2d(m, 4 * c, 1)
        self.decoder_mix = nn.Conv2d(c if intra else 2 * c, c, 1)
        self.decoder_gain, self.inverse_gain = Gains(c), Gains(m)
        self.decoder = nn.Sequential(*[Block(c) for _ in range(n_dec)])
        self.decoder_out = nn.Conv2d(c, PATCH, 1)
        self.decoder_linear = nn.Conv2d(m, 4 * PATCH, 1)
        self.output_gain = Gains(1)

    def fuse(self, dtype: torch.dtype) -> None:
        """From now on run as `lvc.models.fused` does, wherever no gradients are wanted, with the weights of now
        (float32)."""
        self._fused = Fused(self, dtype, LARGEST, GATE, step_size)

    def _fast(self, x: torch.Tensor) -> Fused | None:
        return self._fused if len(x) == 1 and not torch.is_grad_enabled() else None

    def context(self, w: torch.Tensor | None, level: torch.Tensor) -> Context:
        if self.intra or w is None:
            return Context(None, None)
        if fast := self._fast(w):
            return Context(*fast.context(w, level))
        c = self.context_in(w.to(self.context_in.weight.dtype))
        c = self.context_block(c * self.context_gain(level).to(c.dtype))
        return Context(c, self.context_side(c))

    def analysis(self, x: torch.Tensor, w: torch.Tensor | None, context: Context, level: torch.Tensor) -> torch.Tensor:
        """Patches → y, float32, in units of the step."""
        r = x if w is None else x - w
        if fast := self._fast(x):
            return fast.analysis(r, context, level)
        delta = step_size(level)[:, None, None, None]
        if context.c is None:
            e = self.encoder_in((2 * x).to(self.encoder_in.weight.dtype))
        else:
            e = self.encoder_in(torch.cat([(r / (4 * delta)).clamp(-4, 4).to(context.c.dtype), context.c], 1))
        e = self.encoder(e * self.encoder_gain(level).to(e.dtype))
        y = self.encoder_linear(r.to(self.encoder_linear.weight.dtype)).float() / delta + self.encoder_out(e).float()
        out: torch.Tensor = y * self.latent_gain(level)
        return out

    def hyper_analysis(self, y: torch.Tensor, context: Context) -> torch.Tensor:
        """y → hyper-latents, not yet rounded, float32."""
        h = y.clamp(-LARGEST, LARGEST) / 4
        if context.side is not None:
            h = torch.cat([h.to(context.side.dtype), context.side], 1)
        pad_y, pad_x = -h.shape[2] % 4, -h.shape[3] % 4
        if pad_y or pad_x:
            h = F.pad(h, (0, pad_x, 0, pad_y), mode="replicate")
        out: torch.Tensor = self.hyper_encoder(h.to(self.encoder_in.weight.dtype)).float()
        return out.clamp(-31, 31)

    def means1(self, z: torch.Tensor, context: Context, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rounded hyper-latents → (features, means of the first pass as float32)."""
        h = self.hyper_decoder(z.to(self.mean_in.weight.dtype))[:, :, : size[0], : size[1]]
        if context.side is not None:
            h = torch.cat([h, context.side.to(h.dtype)], 1)
        p = F.leaky_relu(self.mean_in(h), 0.1)
        return p, self.mean_out(p).float()

    def means2(self, p: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Features and the first pass's values (q + mean, 0 elsewhere) → means of the second pass, float32."""
        known = known.clamp(-4 * LARGEST, 4 * LARGEST)
        out: torch.Tensor = self.mean2_out(
            self.mean2_mix(F.leaky_relu(self.mean2_in(torch.cat([p, known.to(p.dtype)], 1)), 0.1))
        )
        return out.float()

    @staticmethod
    def scale_inputs(
        z: torch.Tensor, previous: torch.Tensor, skip: torch.Tensor, previous_skip: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """Integers that both sides hold → float32 integers in [-127,127], [B, M+Z+3, h16, w16]. `previous`: symbols
        of the frame before (zeros for none), skips [B,1,h16,w16] 0/1, `code` [B] the frame's quality 0..10000."""
        height, width = previous.shape[2:]
        up = z.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, :height, :width]
        q = torch.floor(code / 79)[:, None, None, None].expand(-1, 1, height, width)
        return torch.cat(
            [(up * 4).clamp(-127, 127), previous.abs().clamp(max=15) * 8, skip * 64, previous_skip * 64, q], 1
        ).float()

    def indices1(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.scale1(inputs)
        return out

    def indices2(self, inputs: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """`known`: symbols of the first pass, zeros elsewhere."""
        out: torch.Tensor = self.scale2(torch.cat([inputs, known.abs().clamp(max=15) * 8], 1))
        return out

    def synthesis(self, n: torch.Tensor, context: Context, level: torch.Tensor) -> torch.Tensor:
        """Values n = q + mean, float32 → residual patches (intra: the frame), float32."""
        if fast := self._fast(n):
            return fast.synthesis(n, context, level)
        dtype = self.decoder_in.weight.dtype
        delta = step_size(level)[:, None, None, None]
        n = n * self.inverse_gain(level)
        f = F.pixel_shuffle(self.decoder_in(n.clamp(-LARGEST, LARGEST).to(dtype)), 2)
        if context.c is not None:
            f = torch.cat([f, context.c.to(f.dtype)], 1)
        f = self.decoder_mix(f)
        f = f * self.decoder_gain(level).to(f.dtype)
        for block in self.decoder:
            again = f.requires_grad and not self.decoder_in.weight.requires_grad
            f = _Again.apply(block, f) if again else block(f)  # type: ignore[no-untyped-call]
        out = self.decoder_out(f).float() * (delta * self.output_gain(level))
        total: torch.Tensor = out + F.pixel_shuffle(self.decoder_linear((n * delta).to(dtype)).float(), 2)
        return total

    def synthesis_and_back(
        self, n: torch.Tensor, context: Context, level: torch.Tensor
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """What `synthesis` gives, and the map from a gradient of that to the gradient of `n`."""
        if fast := self._fast(n):
            return fast.synthesis_and_back(n, context, level)
        with torch.enable_grad():
            start = n.detach().requires_grad_()
            r = self.synthesis(start, context, level)
        return r.detach(), lambda gradient: torch.autograd.grad(r, start, gradient)[0]

    def linear_synthesis(self, n: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """What the linear path alone makes of values, residual patches float32: a tenth of the work."""
        if fast := self._fast(n):
            return fast.linear_synthesis(n, level)
        n = n * self.inverse_gain(level) * step_size(level)[:, None, None, None]
        return F.pixel_shuffle(self.decoder_linear(n.to(self.decoder_linear.weight.dtype)).float(), 2)


class Codec(nn.Module):
    """Both frame codecs."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.intra, self.inter = FrameCodec(config, True), FrameCodec(config, False)

    def of(self, kind: int) -> FrameCodec:
        return self.inter if kind else self.intra


__all__ = [
    "Block",
    "Codec",
    "Context",
    "FrameCodec",
    "checkerboard",
    "from_patches",
    "gaussian_bits",
    "round_ste",
    "step_size",
    "to_patches",
]
