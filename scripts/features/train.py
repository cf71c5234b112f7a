#!/usr/bin/env python3
"""Train the network that makes features: `scripts/features/train.py FOLDER… -o checkpoints/features.safetensors`.

FOLDER holds videos and photographs. Two views of one moment — one as it is or coded badly, one cropped, tinted,
mirrored, blurred, written over — shall have the same vector, and another one than all other moments, also of the same
clip (InfoNCE). About twelve minutes on one core, and five for the thumbnails, which are kept in --work.
"""

from __future__ import annotations

import argparse
import random
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from lvc.features.network import DIMENSIONS, SOFT
from scripts.features.views import STORED, cropped, disturbed, stored_views

TEMPERATURE = 0.06
SCENES, MOMENTS = 48, 4
TOO_CLOSE = 0.7  # seconds: nearer moments of one clip are no negatives of each other


class FeatureNet(nn.Module):
    """The twin of `lvc.features.network.Extractor`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(18, 48, 3, padding=1)
        self.conv2 = nn.Conv2d(48, 80, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(80, 80, 3, padding=1)
        self.conv4 = nn.Conv2d(80, 128, 3, stride=2, padding=1)
        self.projection = nn.Linear(128 * 16, DIMENSIONS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,18,16,16] → [N,64] of length 1."""
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = x + F.relu(self.conv3(x))
        return F.normalize(self.projection(F.relu(self.conv4(x)).flatten(1)))


def network_input(luma: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """As `lvc.features.network.network_input`, from views of twice the size: luma [N,1,128,128], chroma [N,2,64,64]."""
    luma, chroma = F.avg_pool2d(luma, 2), F.avg_pool2d(chroma, 4) - 128
    scale = 1 / (luma.std((1, 2, 3), correction=0, keepdim=True) + SOFT)
    luma = (luma - luma.mean((1, 2, 3), keepdim=True)) * scale
    return torch.cat([F.pixel_unshuffle(luma, 4), chroma * scale], 1)


def contrast(a: torch.Tensor, b: torch.Tensor, clip: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """InfoNCE both ways; moments of one clip that are too close are left out of the negatives."""
    same = clip[:, None] == clip[None]
    close = same & ((moment[:, None] - moment[None]).abs() < TOO_CLOSE)
    close.fill_diagonal_(False)
    loss = torch.zeros(())
    for x, y in ((a, b), (b, a)):
        logits = (x @ y.T / TEMPERATURE).masked_fill(close, -1e4)
        within = (x @ x.T / TEMPERATURE).masked_fill(close | torch.eye(len(x), dtype=torch.bool), -1e4)
        loss = loss + F.cross_entropy(torch.cat([logits, within], 1), torch.arange(len(x)))
    return loss / 2


class Moments:
    """Thumbnails of all clips and batches of them: SCENES clips, up to MOMENTS moments of each."""

    def __init__(self, clips: list[dict[str, np.ndarray]], seed: int) -> None:
        self.clips = clips
        self.random = random.Random(seed)
        self.weights = [min(len(c["times"]), 60) ** 0.5 for c in clips]

    def batch(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(clip, moment) of the plain views and of the disturbed ones, which may be a quarter of a second off."""
        plain, other = [], []
        chosen: set[int] = set()
        while len(chosen) < min(SCENES, len(self.clips)):
            chosen.add(self.random.choices(range(len(self.clips)), self.weights)[0])
        for clip in chosen:
            n = len(self.clips[clip]["times"])
            for moment in self.random.sample(range(n), min(n, MOMENTS)):
                plain.append((clip, moment))
                near = moment + self.random.choice((-1, 0, 0, 1))
                other.append((clip, min(max(near, 0), n - 1)))
        return plain, other

    def views(self, places: list[tuple[int, int]], kind: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Luma [N,1,S,S], chroma [N,2,S/2,S/2] as they are stored; each plain or coded badly."""
        chosen = [kind or self.random.choice(("plain", "plain", "coded")) for _ in places]
        luma = np.stack([self.clips[c][f"{k}_y"][m] for (c, m), k in zip(places, chosen, strict=True)])
        chroma = np.stack([self.clips[c][f"{k}_c"][m] for (c, m), k in zip(places, chosen, strict=True)])
        return torch.from_numpy(luma).float()[:, None], torch.from_numpy(chroma).float()


def train(moments: Moments, steps: int, seed: int) -> FeatureNet:
    torch.manual_seed(seed)
    net = FeatureNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    started, mean = time.monotonic(), 0.0
    for step in range(steps):
        plain, other = moments.batch()
        a = network_input(*cropped(*moments.views(plain), least=0.94))
        b = network_input(*disturbed(*cropped(*moments.views(other), least=0.7, flip=0.4)))
        clip = torch.tensor([c for c, _ in plain])
        moment = torch.tensor([moments.clips[c]["times"][m] for c, m in plain])
        both = net(torch.cat([a, b]).contiguous(memory_format=torch.channels_last))
        loss = contrast(*both.chunk(2), clip, moment)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        mean += 0.03 * (float(loss.detach()) - mean)
        if (step + 1) % 50 == 0:
            print(
                f"step {step + 1} loss {mean / (1 - 0.97 ** (step + 1)):.3f} {time.monotonic() - started:.0f} s",
                flush=True,
            )
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("features.work"), help="keeps the thumbnails")
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    clips = stored_views(args.folders, args.work, Fraction(1, 4))
    print(f"{len(clips)} clips, {sum(len(c['times']) for c in clips)} moments of {STORED}x{STORED}", flush=True)
    net = train(Moments(clips, args.seed), args.steps, args.seed)
    weights = {name: value.detach().half().contiguous() for name, value in net.state_dict().items()}
    save_file(weights, args.out, {"name": "frame64", "made_by": "scripts/features/train.py"})


if __name__ == "__main__":
    main()
