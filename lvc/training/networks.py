"""The networks in floats: the layers that the engine can compute in integers, trained first without rounding of
weights.

Patches are 96 channels at 1/8 (64 luma, 2 x 16 chroma) of samples v/4080 - 1/2. Latents live at 1/16, hyper-latents at
1/64. Symbols are y - mean in units of a step that the level sets. Latents are coded in four steps: in step s a position
of class k = 2(y&1) + (x&1) codes the quarter SQUARE[s][k] of the channels, knowing all earlier ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

PATCH, TABLES = 96, 64
LEVEL_MIN, LEVEL_MAX = 6.0, 20.0
ANCHORS = int(LEVEL_MAX - LEVEL_MIN) + 1
SIGMA_MIN, SIGMA_MAX = 0.06, 256.0
SIGMA_RATE = math.log(SIGMA_MAX / SIGMA_MIN) / (TABLES - 1)
GATE, LARGEST = 8.0, 16.0
SQUARE = ((0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2), (2, 3, 0, 1))


def step_size(level: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(11.5 / torch.exp2(level))


def to_patches(y: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    x = torch.cat([F.pixel_unshuffle(y, 8), F.pixel_unshuffle(uv, 4)], 1)
    return x.contiguous(memory_format=torch.channels_last)


def from_patches(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return F.pixel_shuffle(x[:, :64], 8), F.pixel_shuffle(x[:, 64:], 4)


def lrelu(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.125)


def _dct(n: int, kind: int) -> torch.Tensor:
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)[None]
    if kind == 4:
        return torch.cos(math.pi * (2 * i + 1) * (2 * k + 1) / (4 * n)) * math.sqrt(2 / n)
    m = torch.cos(math.pi * (2 * i + 1) * k / (2 * n)) * math.sqrt(2 / n)
    m[0] /= math.sqrt(2)
    return m


def lapping(half: int) -> torch.Tensor:
    """Orthonormal filter over a block border, [2·half,2·half] (Tran, Liang, Tu 2003: time-domain lapped transforms)."""
    eye, flip = torch.eye(half, dtype=torch.float64), torch.eye(half, dtype=torch.float64).flip(0)
    v = flip @ _dct(half, 2).T @ _dct(half, 4) @ flip
    zero = torch.zeros_like(eye)
    b = torch.cat([torch.cat([eye, flip], 1), torch.cat([flip, -eye], 1)]) / math.sqrt(2)
    d = torch.cat([torch.cat([eye, zero], 1), torch.cat([zero, v], 1)])
    return (b @ d @ b).float()


@lru_cache
def _lap(half: int, device: torch.device) -> torch.Tensor:
    return lapping(half).to(device)


def _across(x: torch.Tensor, half: int, back: bool) -> torch.Tensor:
    """Filter the last dimension across the borders of blocks of 2·half samples."""
    p = _lap(half, x.device)
    n = x.shape[-1]
    inner = x[..., half : n - half]
    with torch.autocast(x.device.type, enabled=False):  # in bf16 samples would move by a quarter of a level
        moved = (inner.reshape(*inner.shape[:-1], -1, 2 * half) @ (p if back else p.t())).reshape(inner.shape)
    return torch.cat([x[..., :half], moved, x[..., n - half :]], -1)


def lap(plane: torch.Tensor, half: int, back: bool = False) -> torch.Tensor:
    """The lapping pre-filter of a plane [...,H,W], both directions, or its inverse."""
    return _across(_across(plane, half, back).mT, half, back).mT


def lapped(y: torch.Tensor, uv: torch.Tensor, back: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    return lap(y, 8, back), lap(uv, 4, back)


def gaussian_bits(q: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    inverse = torch.exp(-(math.log(SIGMA_MIN) + SIGMA_RATE * index))
    d = q.abs()
    p = torch.special.ndtr((0.5 - d) * inverse) - torch.special.ndtr((-0.5 - d) * inverse)
    return -torch.log2(p.clamp_min(1e-7))


def round_ste(x: torch.Tensor) -> torch.Tensor:
    return x + (torch.floor(x + 0.5) - x).detach()


@lru_cache(maxsize=16)
def steps(height: int, width: int, channels: int, device: torch.device) -> list[torch.Tensor]:
    """Four masks bool [1,M,H,W]: what each step codes."""
    y, x = torch.arange(height, device=device)[:, None] & 1, torch.arange(width, device=device)[None] & 1
    cls = 2 * y + x
    quarter = torch.arange(channels, device=device) % 4
    out = []
    for row in SQUARE:
        mine = torch.tensor(row, device=device)[cls]  # quarter coded at each position
        out.append((quarter[:, None, None] == mine[None])[None])
    return out


class _Rounded(torch.autograd.Function):
    """The engine's activation, in units of `scale` by channel: rounded, leaky (negative values >> 3), clamped.
    Gradients pass through the rounding, and stop where values are clamped."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, leaky: bool, low: float, high: float) -> torch.Tensor:
        v = torch.floor(x.float() / scale + 0.5)
        negative = v < 0
        if leaky:
            v = torch.where(negative, torch.floor(v / 8), v)
        slope = ((v >= low) & (v <= high)).to(x.dtype)
        if leaky:
            slope = torch.where(negative, slope / 8, slope)
        ctx.save_for_backward(slope)
        return (v.clamp(low, high) * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        return grad * ctx.saved_tensors[0], None, None, None, None


class Act(nn.Module):
    """A point where the integer engine rounds: `scale` [channels] is the value of one unit there, None (off) leaves
    floats as they are; `offset` [channels] takes back what rounding adds on average (>> 3 rounds down), and is part of
    the next bias in the engine. Integers lie in -zero … high - zero. `watch` sees floats during calibration. Nothing of
    this is in the state dict: quantise.py keeps it in a file of its own."""

    scale: torch.Tensor | None
    offset: torch.Tensor | None

    def __init__(self, leaky: bool = False, signed8: bool = False) -> None:
        super().__init__()
        self.leaky = leaky
        self.register_buffer("scale", None, persistent=False)
        self.register_buffer("offset", None, persistent=False)
        self.zero, self.high = (128, 255) if signed8 else (64, 127)
        self.signed8 = signed8
        self.watch: Callable[[torch.Tensor], None] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.scale is not None:
            scale = self.scale.view(1, -1, 1, 1)
            x = _Rounded.apply(x, scale, self.leaky, float(-self.zero), float(self.high - self.zero))  # type: ignore[no-untyped-call]
            return x if self.offset is None else x + self.offset.view(1, -1, 1, 1).to(x.dtype)
        if self.watch is not None:
            self.watch(x)
        return lrelu(x) if self.leaky else x


class Wide(nn.Module):
    """A tensor of 16 bits, whose range determines the unit in export.py."""

    def __init__(self) -> None:
        super().__init__()
        self.watch: Callable[[torch.Tensor], None] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.watch is not None:
            self.watch(x)
        return x


def integers(
    weight: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, most: int = 127
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [outputs,inputs,…] between integers in units of `rows` [outputs] and `columns` [inputs] → (integers as
    floats, shift [outputs]): out = (Σ integers · in) >> shift. Shifts of 1 … 24, as large as `most` allows."""
    ratio = columns.view(1, -1, *(1,) * (weight.ndim - 2)) / rows.view(-1, *(1,) * (weight.ndim - 1))
    w = weight * ratio
    largest = w.detach().abs().flatten(1).amax(1).clamp_min(1e-12)
    shift = torch.floor(torch.log2((most + 0.49) / largest)).clamp(0, 23)
    w = (w * torch.exp2(shift).view(-1, *(1,) * (weight.ndim - 1))).clamp(-most, most)
    return round_ste(w), shift


class Conv(nn.Conv2d):
    """A convolution whose weights are rounded as the engine's where `rows` and `columns`, the units of its outputs and
    inputs, are given."""

    rows: torch.Tensor | None
    columns: torch.Tensor | None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.register_buffer("rows", None, persistent=False)
        self.register_buffer("columns", None, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.rows is None or self.columns is None:
            return super().forward(x)
        w, shift = integers(self.weight, self.rows, self.columns)
        back = self.rows * torch.exp2(-shift)
        w = w * back.view(-1, 1, 1, 1) / self.columns.view(1, -1, 1, 1)
        return self._conv_forward(x, w, self.bias)  # type: ignore[no-any-return]


class Down(Conv):
    """3x3 at every second position. Beyond its edges a picture's edge goes on, as in the engine's `down3`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 2, 1, padding_mode="replicate")


class Block(nn.Module):
    """DCVC's depth-wise block: 1x1, activation, depthwise 3x3, 1x1; then a gated 1x1 pair; both residual."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.a, self.d, self.b = Conv(c, c, 1), Conv(c, c, 3, padding=1, groups=c), Conv(c, c, 1)
        self.f, self.g = Conv(c, 2 * c, 1), Conv(c, c, 1)
        self.read_a, self.read_f = Act(), Act()
        self.after_a, self.after_d = Act(leaky=True), Act()
        self.after_u, self.after_v, self.gate = Act(leaky=True, signed8=True), Act(signed8=True), Act()
        for last in (self.b, self.g):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.b(self.after_d(self.d(self.after_a(self.a(self.read_a(x))))))
        u, v = self.f(self.read_f(x)).chunk(2, 1)
        return x + self.g(self.gate(self.after_u(u) * self.after_v(v.clamp(-GATE, GATE))))  # type: ignore[no-any-return]


class Gains(nn.Module):
    """A positive gain per channel, interpolated over the level: exp of a table [anchors, channels]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(ANCHORS, channels))

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        at = (level - LEVEL_MIN).clamp(0, ANCHORS - 1)
        low = at.floor().clamp(max=ANCHORS - 2).long()
        part = (at - low)[:, None]
        return torch.exp(self.table[low] * (1 - part) + self.table[low + 1] * part)[:, :, None, None]


class Entropy(nn.Module):
    """Means and table indices of latents, in four steps, from features [B,f,h16,w16] and what is known."""

    def __init__(self, m: int, features: int, hidden: int) -> None:
        super().__init__()
        self.m = m
        self.mix = nn.ModuleList(Conv(features + (m if s else 0), hidden, 1) for s in range(4))
        self.spread = nn.ModuleList(Conv(hidden, hidden, 3, padding=1, groups=hidden) for _ in range(4))
        self.more = nn.ModuleList(Conv(hidden, hidden, 1) for _ in range(4))
        self.out = nn.ModuleList(Conv(hidden, 2 * m, 1) for _ in range(4))
        self.known = Act()
        self.after_mix = nn.ModuleList(Act(leaky=True) for _ in range(4))
        self.read_more, self.read_out = (nn.ModuleList(Act() for _ in range(4)) for _ in range(2))
        self.whole = False  # means in sixteenths, indices as whole numbers
        self.level = nn.Linear(1, hidden)
        for layer in self.out:
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.base = nn.Parameter(torch.zeros(m))
        self.slope = nn.Parameter(torch.full((m,), 0.5 * math.log(2) / SIGMA_RATE))

    def forward(
        self,
        y: torch.Tensor,
        features: torch.Tensor,
        level: torch.Tensor,
        keep: torch.Tensor | None = None,
        offset: torch.Tensor | float = 0.0,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """y [B,M,h,w] float32 → (symbols rounded with straight-through gradients, means, indices). What is not kept
        ([B,1,h,w]) counts as known to be 0; `offset` is added to the indices."""
        masks = steps(y.shape[2], y.shape[3], self.m, y.device)
        lv = (level - 11)[:, None] / 4
        start = (self.base + self.slope * (level - 11)[:, None])[:, :, None, None] + offset
        known = mu = index = None
        for s, mask in enumerate(masks):
            given = (
                features
                if known is None
                else torch.cat([features, self.known(known.clamp(-64, 64).to(features.dtype))], 1)
            )
            h = self.after_mix[s](self.mix[s](given) + self.level(lv)[:, :, None, None].to(features.dtype))
            h = self.spread[s](h)
            h = h + lrelu(self.more[s](self.read_more[s](h)))
            out = self.out[s](self.read_out[s](h)).float()
            mean, idx = out[:, : self.m], (out[:, self.m :] * 8 + start).clamp(0, TABLES - 1)
            part = mask.to(y.dtype)
            q = y - mean
            if self.whole:
                mean, idx = round_ste(mean * 16) / 16, round_ste(idx)
                q = torch.where(idx == 0, 0.0, y - mean)
            got = (round_ste(q) + mean) * (part if keep is None else part * keep)
            known = got if known is None else known + got
            mu = mean * part if mu is None else mu + mean * part
            index = idx * part if index is None else index + idx * part
        return known - (mu if keep is None else mu * keep), mu, index  # type: ignore[operator,return-value]


class Intra(nn.Module):
    """Key frames. Patches are those of planes pre-filtered by `lapped`."""

    def __init__(self, c: int = 128, c16: int = 256, m: int = 256, z: int = 24, f: int = 128,
                 enc: tuple[int, int] = (2, 3), dec: tuple[int, int] = (3, 2)) -> None:  # fmt: skip
        super().__init__()
        self.m, self.z = m, z
        self.encoder_in, self.encoder8 = nn.Conv2d(PATCH, c, 1), nn.Sequential(*[Block(c) for _ in range(enc[0])])
        self.encoder_down = Conv(c, c16, 2, stride=2)
        self.encoder16 = nn.Sequential(*[Block(c16) for _ in range(enc[1])])
        self.encoder_out = Conv(c16, m, 1)
        self.encoder_linear = nn.Conv2d(PATCH, m, 2, stride=2)
        self.gain_e, self.latent_gain = Gains(c16), Gains(m)
        self.hyper_encoder = nn.Sequential(Conv(m, f, 1), Act(leaky=True), Down(f, f), Act(leaky=True), Down(f, z))
        self.hyper_decoder = nn.Sequential(
            Conv(z, 4 * f, 1), nn.PixelShuffle(2), Act(leaky=True), Conv(f, 4 * f, 1), nn.PixelShuffle(2)
        )
        self.hyper_mix = Block(f)
        self.hyper_scale = nn.Parameter(torch.full((z,), -1.0))
        self.entropy = Entropy(m, f, f)
        self.gain_n, self.gain_d, self.gain_d8, self.gain_o = Gains(m), Gains(c16), Gains(c), Gains(1)
        self.decoder_in = Conv(m, c16, 1)
        self.decoder16 = nn.Sequential(*[Block(c16) for _ in range(dec[0])])
        self.decoder_up = Conv(c16, 4 * c, 1)
        self.decoder8 = nn.Sequential(*[Block(c) for _ in range(dec[1])])
        self.decoder_out = Conv(c, PATCH, 1)
        self.decoder_linear = nn.Conv2d(m, 4 * PATCH, 1)
        self.read_down, self.read_encoder_out, self.read_hyper, self.read_features = Act(), Act(), Act(), Act()
        self.read_decoder_in, self.read_up, self.read_out = Act(), Act(), Act()
        self.wide_down, self.wide_encoder_linear = Wide(), Wide()
        self.wide_decoder_in, self.wide_up, self.wide_out, self.wide_linear = Wide(), Wide(), Wide(), Wide()

    def analysis(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        e = self.wide_down(self.encoder_down(self.read_down(self.encoder8(self.encoder_in(2 * x)))))
        e = self.encoder_out(self.read_encoder_out(self.encoder16(e * self.gain_e(level).to(e.dtype))))
        delta = step_size(level)[:, None, None, None]
        return (self.wide_encoder_linear(self.encoder_linear(x).float()) / delta + e.float()) * self.latent_gain(level)  # type: ignore[no-any-return]

    def hyper_analysis(self, y: torch.Tensor) -> torch.Tensor:
        h = y.clamp(-LARGEST * 2, LARGEST * 2) / 4
        pad_y, pad_x = -h.shape[2] % 4, -h.shape[3] % 4
        if pad_y or pad_x:
            h = F.pad(h, (0, pad_x, 0, pad_y), mode="replicate")
        return self.hyper_encoder(self.read_hyper(h)).float().clamp(-31, 31)  # type: ignore[no-any-return]

    def features(self, z: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return self.read_features(self.hyper_mix(self.hyper_decoder(z)[:, :, : size[0], : size[1]]))  # type: ignore[no-any-return]

    def synthesis(self, n: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        n = n * self.gain_n(level)
        delta = step_size(level)[:, None, None, None]
        f = self.wide_decoder_in(self.decoder_in(self.read_decoder_in(n.clamp(-LARGEST, LARGEST))))
        f = self.decoder16(f * self.gain_d(level).to(f.dtype))
        f = self.wide_up(F.pixel_shuffle(self.decoder_up(self.read_up(f)), 2))
        f = self.decoder8(f * self.gain_d8(level).to(f.dtype))
        out = self.wide_out(self.decoder_out(self.read_out(f))).float() * (delta * self.gain_o(level))
        return out + F.pixel_shuffle(self.decoder_linear(self.wide_linear(n * delta)).float(), 2)  # type: ignore[no-any-return]

    @torch.no_grad()
    def symbols(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Integers of the latents."""
        y = self.analysis(x, level)
        features = self.features(round_ste(self.hyper_analysis(y)), y.shape[2:])  # type: ignore[arg-type]
        return self.entropy(y, features, level)[0]  # type: ignore[no-any-return]

    def forward(
        self, x: torch.Tensor, level: torch.Tensor, noisy: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Patches → (reconstructed patches, bits with noise [B], bits rounded [B])."""
        y = self.analysis(x, level)
        z_raw = self.hyper_analysis(y)
        z = round_ste(z_raw)
        features = self.features(z, y.shape[2:])  # type: ignore[arg-type]
        q, mu, index = self.entropy(y, features, level)
        r = self.synthesis(q + mu, level)
        z_index = ((self.hyper_scale - math.log(SIGMA_MIN)) / SIGMA_RATE).clamp(0, TABLES)[None, :, None, None]
        rounded = gaussian_bits(q, index).sum((1, 2, 3)) + gaussian_bits(z, z_index).sum((1, 2, 3))
        if not noisy:
            return r, rounded, rounded
        noise = gaussian_bits(y - mu + torch.rand_like(y) - 0.5, index).sum((1, 2, 3))
        noise = noise + gaussian_bits(z_raw + torch.rand_like(z) - 0.5, z_index).sum((1, 2, 3))
        return r, noise, rounded


@torch.no_grad()
def pca_start(net: Intra, rows: torch.Tensor, level: float = 11.0) -> float:
    """`rows` [N,384]: blocks of pre-filtered pictures, in the order of a 2x2 stride-2 convolution's weights."""
    m = net.m
    mean = rows.mean(0)
    centred = (rows - mean).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    values, vectors = values.flip(0).float(), vectors.flip(1)[:, :m].float()
    net.encoder_linear.weight.copy_(vectors.T.reshape(m, PATCH, 2, 2))
    net.encoder_linear.bias.copy_(-(vectors.T @ mean))  # type: ignore[union-attr]
    net.decoder_linear.weight.copy_(vectors.reshape(PATCH, 2, 2, m).reshape(4 * PATCH, m, 1, 1))
    net.decoder_linear.bias.copy_(mean.reshape(4 * PATCH))  # type: ignore[union-attr]
    for layer in (net.encoder_out, net.decoder_out, net.hyper_encoder[4]):
        layer.weight.mul_(0.02)  # type: ignore[operator]
        layer.bias.zero_()  # type: ignore[operator]
    delta = math.sqrt(11.5 / 2**level)
    sigma = values[:m].clamp_min(1e-9).sqrt() / delta * 0.5
    net.entropy.base.copy_(((sigma.log() - math.log(SIGMA_MIN)) / SIGMA_RATE).clamp(0, TABLES - 1))
    return float(values[:m].sum() / values.sum())


def blocks(patches: torch.Tensor) -> torch.Tensor:
    b, c, h, w = patches.shape
    return patches.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 4 * c)


def squared(x: torch.Tensor, recon: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """λ times weighted squared error of patches (luma 3/4, chroma 1 a sample), bits per luma sample: [B]."""
    e = (x - recon) ** 2
    total = 0.75 * e[:, :64].sum((1, 2, 3)) + e[:, 64:].sum((1, 2, 3))
    return total / (x.shape[2] * x.shape[3] * 64) * torch.exp2(level)


KINDS = 6
"""Anchors, then the levels of the pyramid below them."""


class KindGains(Gains):
    """Gains by level and by place in the pyramid."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.kinds = nn.Parameter(torch.zeros(KINDS, channels))

    def forward(self, level: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(level) * torch.exp(self.kinds[kind])[:, :, None, None]


CODED_BITS, COPY_BITS, LINEAR_GAIN = 10.0, 2.5, 1.25


def block_error(patches: torch.Tensor) -> torch.Tensor:
    """Weighted squared error summed over 16x16 blocks, [B,1,h16,w16]."""
    e = patches.float().square()
    weighted = 0.75 * e[:, :64].sum(1, keepdim=True) + e[:, 64:].sum(1, keepdim=True)
    return F.avg_pool2d(weighted, 2) * 4


class Inter(nn.Module):
    """Predicted frames. `w`: patches of the prediction, `d` of the difference of both predictions (0 where there is
    one), `kind` int64 [B]: place in the pyramid."""

    def __init__(
        self, c: int = 96, m: int = 128, z: int = 16, s: int = 64, enc: int = 3, dec: int = 4, hidden: int = 96
    ) -> None:
        super().__init__()
        self.m = m
        self.context_in, self.context_d, self.context_block = nn.Conv2d(PATCH, c, 1), nn.Conv2d(PATCH, c, 1), Block(c)
        self.context_gain = KindGains(c)
        self.context_side = Conv(c, s, 2, stride=2)
        self.encoder_in = nn.Conv2d(PATCH + c, c, 1)
        self.encoder = nn.Sequential(*[Block(c) for _ in range(enc)])
        self.encoder_out = Conv(c, m, 2, stride=2)
        self.encoder_linear = nn.Conv2d(PATCH, m, 2, stride=2)
        self.encoder_gain, self.latent_gain = KindGains(c), KindGains(m)
        self.hyper_encoder = nn.Sequential(Down(m + s, s), Act(leaky=True), Down(s, z))
        self.hyper_decoder = nn.Sequential(
            Conv(z, 4 * s, 1), nn.PixelShuffle(2), Act(leaky=True), Conv(s, 4 * s, 1), nn.PixelShuffle(2)
        )
        self.hyper_scale = nn.Parameter(torch.full((KINDS, z), -1.0))
        self.entropy = Entropy(m, 2 * s + 1, hidden)
        self.entropy_kind = nn.Parameter(torch.zeros(KINDS, m))
        self.decoder_in = Conv(m, 4 * c, 1)
        self.decoder_mix = Conv(2 * c, c, 1)
        self.decoder_gain, self.inverse_gain = KindGains(c), KindGains(m)
        self.decoder = nn.Sequential(*[Block(c) for _ in range(dec)])
        self.decoder_out = Conv(c, PATCH, 1)
        self.decoder_linear = nn.Conv2d(m, 4 * PATCH, 1)
        self.output_gain = KindGains(1)
        self.read_side, self.read_mix_c, self.read_decoder_in, self.read_out = Act(), Act(), Act(), Act()
        self.after_side, self.after_hyper, self.after_decoder_in = Act(), Act(), Act()
        self.read_encoder_out, self.read_hyper = Act(), Act()
        self.wide_context, self.wide_encoder, self.wide_encoder_linear = Wide(), Wide(), Wide()
        self.wide_mix, self.wide_out, self.wide_linear = Wide(), Wide(), Wide()
        nn.init.zeros_(self.context_d.weight)
        nn.init.zeros_(self.context_d.bias)  # type: ignore[arg-type]

    def context(
        self, w: torch.Tensor, d: torch.Tensor, level: torch.Tensor, kind: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        delta = step_size(level)[:, None, None, None]
        c = self.context_in(w) + self.context_d((d / (4 * delta)).clamp(-4, 4))
        c = self.context_block(self.wide_context(c) * self.context_gain(level, kind).to(c.dtype))
        return c, self.after_side(self.context_side(self.read_side(c)))

    def analysis(self, r: torch.Tensor, c: torch.Tensor, level: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        delta = step_size(level)[:, None, None, None]
        e = self.encoder_in(torch.cat([(r / (4 * delta)).clamp(-4, 4).to(c.dtype), c], 1))
        e = self.encoder(self.wide_encoder(e) * self.encoder_gain(level, kind).to(e.dtype))
        y = (
            self.wide_encoder_linear(self.encoder_linear(r).float()) / delta
            + self.encoder_out(self.read_encoder_out(e)).float()
        )
        return y * self.latent_gain(level, kind)  # type: ignore[no-any-return]

    def hyper_analysis(self, y: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        h = torch.cat([self.read_hyper((y.clamp(-LARGEST, LARGEST) / 4).to(side.dtype)), side], 1)
        h = F.pad(h, (0, -h.shape[3] % 4, 0, -h.shape[2] % 4), mode="replicate")
        return self.hyper_encoder(h).float().clamp(-31, 31)  # type: ignore[no-any-return]

    def linear_synthesis(self, n: torch.Tensor, level: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        n = n * self.inverse_gain(level, kind) * step_size(level)[:, None, None, None]
        return F.pixel_shuffle(self.decoder_linear(self.wide_linear(n)).float(), 2)

    def synthesis(self, n: torch.Tensor, c: torch.Tensor, level: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        g = n * self.inverse_gain(level, kind)
        f = self.after_decoder_in(F.pixel_shuffle(self.decoder_in(self.read_decoder_in(g.clamp(-LARGEST, LARGEST))), 2))
        f = self.wide_mix(self.decoder_mix(torch.cat([f, self.read_mix_c(c.to(f.dtype))], 1)))
        f = self.decoder(f * self.decoder_gain(level, kind).to(f.dtype))
        out = self.wide_out(self.decoder_out(self.read_out(f))).float() * (
            step_size(level)[:, None, None, None] * self.output_gain(level, kind)
        )
        return out + self.linear_synthesis(n, level, kind)  # type: ignore[no-any-return]

    def symbols(
        self, x: torch.Tensor, w: torch.Tensor, d: torch.Tensor, level: torch.Tensor, kind: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Everything of a frame: see the keys."""
        c, side = self.context(w, d, level, kind)
        y = self.analysis(x - w, c, level, kind)
        lam = torch.exp2(level)[:, None, None, None]
        with torch.no_grad():
            q0 = torch.round(y.float())
            r0 = self.linear_synthesis(q0, level, kind)
            gain = (block_error(x - w) - block_error(x - w - r0)) * lam * LINEAR_GAIN
            size = q0.abs()
            bits = torch.where(size > 0, 3.5 + 2 * torch.log2(size.clamp_min(1)), 0.0).sum(1, keepdim=True)
            keep = (gain > bits + CODED_BITS).float()
            alive = F.max_pool2d(F.pad(keep, (0, -keep.shape[3] % 4, 0, -keep.shape[2] % 4)), 4)
        z_raw = self.hyper_analysis(y, side) * alive
        z = round_ste(z_raw)
        h = self.after_hyper(self.hyper_decoder(z)[:, :, : y.shape[2], : y.shape[3]])
        features = torch.cat([h, side.to(h.dtype), keep.to(h.dtype)], 1)
        q, mu, index = self.entropy(y, features, level, keep, self.entropy_kind[kind][:, :, None, None])
        n = (q + mu) * keep
        r = self.synthesis(n, c, level, kind)
        with torch.no_grad():
            gain = (block_error(x - w) - block_error(x - w - r)) * lam
            copy = (1 - keep) * (gain <= COPY_BITS).float()
        return {"y": y, "q": q, "mu": mu, "index": index, "keep": keep, "alive": alive, "z": z, "z_raw": z_raw, "r": r,
                "copy": copy, "c": c}  # fmt: skip

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, d: torch.Tensor, level: torch.Tensor, kind: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """→ recon patches, noisy and rounded bits [B], keep, copy."""
        s = self.symbols(x, w, d, level, kind)
        change = (1 - s["copy"]).repeat_interleave(2, 2).repeat_interleave(2, 3)
        recon = w + s["r"] * change
        z_index = ((self.hyper_scale[kind] - math.log(SIGMA_MIN)) / SIGMA_RATE).clamp(0, TABLES)[:, :, None, None]
        rounded = (gaussian_bits(s["q"], s["index"]) * s["keep"]).sum((1, 2, 3))
        rounded = rounded + (gaussian_bits(s["z"], z_index) * s["alive"]).sum((1, 2, 3))
        noisy = (gaussian_bits(s["y"] - s["mu"] + torch.rand_like(s["y"]) - 0.5, s["index"]) * s["keep"]).sum((1, 2, 3))
        noisy = noisy + (gaussian_bits(s["z_raw"] + torch.rand_like(s["z"]) - 0.5, z_index) * s["alive"]).sum((1, 2, 3))
        return {"recon": recon, "noisy": noisy, "rounded": rounded, "keep": s["keep"], "copy": s["copy"]}
