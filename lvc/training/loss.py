"""Distortions. Of lvc's own codec, in bits: squared error, and MS-SSIM (`lvc train --tune ssim`) by the judge's
definition (`lvc.evaluation.metrics`) with gradients. Of auto-encoders: a mix of four (`lvc train --loss`)."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

from ..errors import UsageError
from ..models.autoencoder import LUMA
from .networks import from_patches, lapped, squared

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
LUMA_SHARE, CHROMA_SHARE = 0.1, 0.35
"""Share of the squared error: MS-SSIM ignores chroma, and nearly ignores the brightness of flat areas."""
MIDDLE, MIDDLE_LEVEL, SLOPE = 27.0, 11.0, 1.06
"""What 1 - MS-SSIM costs at a level, and how many octaves more one level higher: over crops of the training footage a
bit buys as much of it there as of squared error (measured with the default model)."""
SMALLEST = 1e-3
"""A scale's mean is not taken for less: a negative one has no power, and 0 no gradient."""


def ms_ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """MS-SSIM of luma [B,1,H,W], float32 in [0,1], for each picture: [B]. Of sides under 176 as many scales as have a
    window, with their weights scaled to a sum of 1."""
    scales = [s for s in range(len(WEIGHTS)) if min(a.shape[2:]) >> s >= WINDOW]
    if not scales:
        raise ValueError(f"no window fits {tuple(a.shape[2:])}")
    total = sum(WEIGHTS[s] for s in scales)
    product = torch.ones(len(a), device=a.device)
    for scale in scales:
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        luminance, contrast = _terms(a, b)
        term = luminance * contrast if scale == scales[-1] else contrast
        product = product * term.mean((1, 2, 3)).clamp_min(SMALLEST) ** (WEIGHTS[scale] / total)
    return product


def _terms(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Luminance and contrast-structure at every full window."""
    joint = torch.cat([a, b, a * a + b * b, a * b])
    mean_a, mean_b, squares, cross = _blur(joint).chunk(4)
    energy, product = mean_a * mean_a + mean_b * mean_b, mean_a * mean_b
    contrast = (2 * (cross - product) + C2) / (squares - energy + C2)
    return (2 * product + C1) / (energy + C1), contrast


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Gaussian windows as products with band matrices: a fifth of the time of one-channel convolutions."""
    return _band(x.shape[2], x.device) @ x @ _band(x.shape[3], x.device).t()


@functools.lru_cache(maxsize=32)
def _band(size: int, device: torch.device) -> torch.Tensor:
    """[size - WINDOW + 1, size]: row i holds the window that starts at i."""
    at = torch.arange(WINDOW, device=device) - WINDOW // 2
    taps = torch.exp(-(at**2) / (2 * SIGMA**2))
    rows = torch.zeros(size - WINDOW + 1, size, device=device)
    for i in range(len(rows)):
        rows[i, i : i + WINDOW] = taps / taps.sum()
    return rows


def structural(x: torch.Tensor, recon: torch.Tensor, level: torch.Tensor, lap: bool = False) -> torch.Tensor:
    """1 - MS-SSIM of luma, scaled to cost about what `squared` costs, with a share of that; [B]. `lap`: the patches are
    of planes behind the lapping filter."""
    shares = x.new_tensor([LUMA_SHARE, CHROMA_SHARE]).sqrt().repeat_interleave(torch.tensor([64, 32], device=x.device))
    rest = squared(x * shares[:, None, None], recon * shares[:, None, None], level)
    with torch.autocast(x.device.type, enabled=False):
        a, b = (_luma(p.float(), lap) for p in (x, recon))
        scale = MIDDLE * torch.exp2(SLOPE * (level - MIDDLE_LEVEL))
        return (1 - LUMA_SHARE) * scale * (1 - ms_ssim(a, b)) + rest


def _luma(patches: torch.Tensor, lap: bool) -> torch.Tensor:
    planes = from_patches(patches)
    return (lapped(*planes, back=True) if lap else planes)[0] + 0.5


def distortion_of(
    tune: str, x: torch.Tensor, recon: torch.Tensor, level: torch.Tensor, lap: bool = False
) -> torch.Tensor:
    """What `--tune` asks for, in bits per luma sample: [B]."""
    return structural(x, recon, level, lap) if tune == "ssim" else squared(x, recon, level)


TERMS = "mse", "l1", "ssim", "ms-ssim"


def parse_terms(text: str) -> dict[str, float]:
    """`mse=1,ssim=0.2` → weights by name; a name alone weighs 1. Raises `UsageError`."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            value = float(weight or 1)
        except ValueError:
            value = -1.0
        if name not in TERMS or name in found or not 0 <= value < 1e6:
            raise UsageError(f"--loss {text!r}: {part!r} — write weights of {', '.join(TERMS)}, as in mse=1,ssim=0.2")
        found[name] = value
    if not any(found.values()):
        raise UsageError(f"--loss {text!r} has no weight above 0 — write it as mse=1,ssim=0.2")
    return found


def picture_loss(real: torch.Tensor, made: torch.Tensor, terms: dict[str, float]) -> dict[str, torch.Tensor]:
    """`loss`, the sum of the weighted terms, and each term but `mse`. Both are weighted planes of pictures
    (`lvc.models.autoencoder.to_planes`), `[n, 3 · frames, H, W]`: `mse` and `l1` are means over all samples, SSIM and
    MS-SSIM are of luma, and count as 1 minus them."""
    out: dict[str, torch.Tensor] = {}
    total = real.new_zeros(())
    for name, weight in terms.items():
        if name == "mse":
            value = F.mse_loss(made, real)
        elif name == "l1":
            value = out["l1"] = F.l1_loss(made, real)
        else:
            a, b = (p.reshape(-1, 3, *p.shape[2:])[:, :1] / LUMA + 0.5 for p in (real, made))
            value = out[name] = 1 - (ms_ssim(a, b) if name == "ms-ssim" else ssim(a, b)).mean()
        total = total + weight * value
    return {"loss": total, **out}


def ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """SSIM of luma [B,1,H,W], float32 in [0,1], over Gaussian windows: [B]."""
    luminance, contrast = _terms(a, b)
    return (luminance * contrast).mean((1, 2, 3))
