"""Key frames, trained on stills; `python -m lvc.training.intra CACHE OUT.pt --minutes 100` runs it alone.

Resumes OUT.pt's state if there is one. Prints a line every 50 steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from .loop import Training, arguments, prepare
from .loss import distortion_of
from .networks import Intra, blocks, from_patches, lapped, pca_start, to_patches
from .stills import ResidentStills, Stills

Samples = np.ndarray | torch.Tensor


def patches(y: Samples, uv: Samples) -> torch.Tensor:
    """8-bit planes [B,H,W], [B,2,H/2,W/2] → patches of them, pre-filtered."""
    a, b = torch.as_tensor(y)[:, None].float() / 255 - 0.5, torch.as_tensor(uv).float() / 255 - 0.5
    return to_patches(*lapped(a, b))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser()
    p.add_argument("cache", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--levels", type=float, nargs=2, default=(7.0, 17.0))
    p.add_argument("--resident", action="store_true", help="keep all pictures in the device's memory")
    arguments(p, batch=8, muon=5e-3, adam=6e-4, decay_from=0.65)
    return p


def run(a: argparse.Namespace) -> None:
    net = Intra()
    prepare(net, a)
    training = Training(net, a)
    stills = ResidentStills(a.cache, training.device) if a.resident else Stills(a.cache)
    if not training.resumed and a.start is None:
        torch.manual_seed(a.seed)
        rng = np.random.default_rng(a.seed)
        rows = torch.cat([blocks(patches(*stills.crops(rng, 32, a.crop))) for _ in range(8)])
        pca_start(net, rows)
    pixels = a.crop * a.crop
    while training.running():
        if training.anew():
            rng = np.random.default_rng(a.seed + training.step)
        x = patches(*stills.crops(rng, a.batch, a.crop)).to(training.device)
        level = torch.empty(a.batch, device=training.device).uniform_(*a.levels)
        with training.autocast():
            r, noisy, rounded = net(x, level)
        distortion = distortion_of(a.tune, x, r, level, lap=True)
        rate = (0.5 * noisy + 0.5 * rounded) / pixels
        cost = (distortion + rate) * torch.exp2((10 - level) / 2)
        loss = (0.5 * torch.log(cost + 0.01)).mean()
        norm = training.apply(loss)
        if training.pane is not None and training.showing():
            luma = [lapped(*from_patches(p.detach().float()), back=True)[0] + 0.5 for p in (x, r)]
            training.pane.pictures(training.step, *luma)
            training.pane.symbols(training.step, net.symbols(x, level))
        if window := training.note((norm,), [loss, distortion.mean(), rounded.mean() / pixels]):
            m = np.mean(window, 0).tolist()
            training.line({k: round(v, 4) for k, v in zip(("norm", "loss", "d", "bpp"), m, strict=True)})
    training.save()


if __name__ == "__main__":
    run(parser().parse_args())
