"""Predicted frames, trained on pyramids in closed loop; `python -m lvc.training.inter CLIPS INTRA.pt OUT.pt` runs it
alone.

A group is a batch of crops in step: a key frame (the intra codec as it is), then one to three mini-GOPs of 4, 8 or 16
frames, each frame predicted from the group's own reconstructions with motion decided on them. One step of the optimiser
is one frame of one group.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..codec.pyramid import PYRAMID, steps
from ..engine import motion
from .footage import Clips
from .loop import Training, arguments, prepare
from .loss import distortion_of
from .networks import Inter, Intra, from_patches, lapped, to_patches

CPU = torch.device("cpu")
Samples = np.ndarray | torch.Tensor
TOP = 4080.0
Coded = tuple[int, int, int | None, int]
BETWEEN = (0.8, 0.4, 0.0, -0.4, -0.8, -0.8)
"""Levels of anchors and of the pyramid's levels, above the base."""


def pyramid(a: int, b: int) -> list[Coded]:
    """Coding order of the frames after `a` up to `b`: (frame, ref0, ref1, place in the pyramid)."""
    return [
        (a + s.frame, a + s.first, None if s.second is None else a + s.second, s.place)
        for s in steps(PYRAMID, b - a, older=False)
        if s.first is not None
    ]


def scaled(
    y: Samples, uv: Samples, top: float, shift: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes [B,H,W], [B,2,H/2,W/2] of integers → floats [B,1,H,W], [B,2,H/2,W/2] on a device."""
    a, b = (torch.as_tensor(p).to(device, non_blocking=True).float() / top - shift for p in (y, uv))
    return a[:, None], b


def patches12(y: Samples, uv: Samples, shift: float = 0.5, device: torch.device = CPU) -> torch.Tensor:
    """12-bit planes → patches around 0."""
    return to_patches(*scaled(y, uv, TOP, shift, device))


def planes12(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    y, uv = from_patches(((x + 0.5) * TOP).round().clamp(0, 4095).to(torch.int16))
    return y[:, 0].contiguous().cpu().numpy(), uv.contiguous().cpu().numpy()


class Inline(Executor):
    """Runs tasks at once: on one core, threads gain nothing."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


Planes = tuple[np.ndarray, np.ndarray]


@dataclass
class Group:
    y: np.ndarray  # uint8 [B,T,c,c]
    uv: np.ndarray
    base: torch.Tensor
    order: list[Coded]
    recon: dict[int, Planes] = field(default_factory=dict)
    pictures: dict[tuple[int, int], motion.Picture] = field(default_factory=dict)
    fields: dict[int, list[motion.Field | None]] = field(default_factory=dict)
    now: Coded = (0, 0, None, 0)
    level: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    found: list[motion.Field | None] = field(default_factory=list)
    predicted: list[torch.Tensor] = field(default_factory=list)
    """Planes of the prediction and of the difference of both predictions, int16: luma, chroma, luma, chroma."""
    searches: list[Future[None]] = field(default_factory=list)


class Loop:
    """Groups and the motion of their frames. The search for a group's next frame runs while others are trained on, and
    the footage of the next group is read in the background."""

    rng: np.random.Generator
    read: Future[tuple[np.ndarray, np.ndarray, list[Coded]]]

    def __init__(self, clips: Clips, intra: Intra, a: argparse.Namespace, seed: int, effort: int = 1) -> None:
        self.clips, self.intra, self.batch, self.crop, self.effort = clips, intra, a.batch, a.crop, effort
        self.device = torch.device(a.device)
        self.pool = ThreadPoolExecutor(a.searchers) if a.searchers else Inline()
        self.parts = min(self.batch, a.searchers or 1)  # of a group, searched side by side
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Crops from here on follow from the seed."""
        self.rng = np.random.default_rng(seed)
        self.read = self.pool.submit(self.footage)

    def footage(self) -> tuple[np.ndarray, np.ndarray, list[Coded]]:
        n = self.clips.longest + 1
        while n >= self.clips.longest:
            n = int(self.rng.choice([4, 8, 16], p=[0.2, 0.35, 0.45]))
        times = (
            int(self.rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2])) if n < 16 else int(self.rng.choice([1, 2], p=[0.6, 0.4]))
        )
        times = min(times, (self.clips.longest - 1) // n)
        frames = n * times + 1
        crops: list[Planes] = []
        while len(crops) < self.batch:
            y, uv = self.clips.crop(self.rng, frames, self.crop)
            if len(y) == frames:
                crops.append((y, uv))
        y, uv = (np.stack([c[k] for c in crops]) for k in range(2))
        return y, uv, [f for k in range(times) for f in pyramid(k * n, (k + 1) * n)]

    def fresh(self) -> Group:
        y, uv, order = self.read.result()
        self.read = self.pool.submit(self.footage)
        group = Group(y, uv, torch.empty(self.batch).uniform_(6.5, 15.0), order)
        level = (group.base + torch.empty(self.batch).uniform_(0.8, 3.0)).clamp(6.5, 18).to(self.device)
        x = to_patches(*lapped(*scaled(y[:, 0], uv[:, 0], 255, 0.5, self.device)))
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            r, _, _ = self.intra(x, level, noisy=False)
        ry, ruv = lapped(*from_patches(r.float()), back=True)
        shapes = (self.crop, self.crop), (2, self.crop // 2, self.crop // 2)
        pinned = self.device.type == "cuda"
        group.predicted = [torch.empty((self.batch, *s), dtype=torch.int16, pin_memory=pinned) for s in shapes * 2]
        group.found = [None] * self.batch
        self.keep(group, planes12(to_patches(ry, ruv)))
        return group

    def keep(self, group: Group, recon: Planes) -> None:
        """Set the reconstruction of the last coded frame, and start the search for the next one, which must exist."""
        group.recon[group.now[0]], group.fields[group.now[0]] = recon, list(group.found)
        needed = {t for f in group.order for t in f[1:3]}
        for kept in (group.recon, group.fields):
            for t in kept.keys() - needed:
                del kept[t]
        group.pictures = {k: v for k, v in group.pictures.items() if k[0] in needed}
        group.now = group.order.pop(0)
        group.level = (group.base + BETWEEN[group.now[3]] + torch.empty(self.batch).uniform_(-0.4, 0.4)).clamp(
            6.0, 17.0
        )
        group.searches = [self.pool.submit(self.search, group, part) for part in range(self.parts)]

    def picture(self, group: Group, t: int, i: int) -> motion.Picture:
        if (t, i) not in group.pictures:
            luma, chroma = group.recon[t]
            group.pictures[t, i] = motion.Picture(luma[i], chroma[i])
        return group.pictures[t, i]

    def search(self, group: Group, part: int) -> None:
        """Fields and predictions of every `parts`-th crop."""
        t, a, b, _ = group.now
        for i in range(part, self.batch, self.parts):
            luma, chroma = (plane[i, t].astype(np.int16) << 4 for plane in (group.y, group.uv))
            now = motion.Picture(luma, chroma, reference=False)
            refs = self.picture(group, a, i), None if b is None else self.picture(group, b, i)
            known = group.fields[a][i], None if b is None else group.fields[b][i]
            weight = motion.weight_of(float(group.level[i]))
            mode, mv, _ = motion.search(now, refs, t, (a, b), weight, known, self.effort)
            group.found[i] = motion.Field(mode, mv, t, (a, b))
            ref0 = group.recon[a][0][i], group.recon[a][1][i]
            ref1 = None if b is None else (group.recon[b][0][i], group.recon[b][1][i])
            p, d = motion.compensate(ref0, ref1, mode, mv)
            for plane, made in zip(group.predicted, (*p, *d), strict=True):
                plane[i].numpy()[...] = made

    def ready(self, group: Group) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """→ patches of the frame, of its prediction and of the difference. Waits for the search."""
        for s in group.searches:
            s.result()
        t, (py, puv, dy, duv) = group.now[0], group.predicted
        x = to_patches(*scaled(group.y[:, t], group.uv[:, t], 255, 0.5, self.device))
        return x, patches12(py, puv, 0.5, self.device), patches12(dy, duv, 0.0, self.device)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser()
    p.add_argument("clips", type=Path)
    p.add_argument("intra", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--groups", type=int, default=3)
    p.add_argument("--searchers", type=int, default=0, help="threads that search for motion; 0: between the steps")
    arguments(p, batch=5, muon=3e-3, adam=4e-4, decay_from=0.5)
    return p


def run(a: argparse.Namespace) -> None:
    net = Inter()
    prepare(net, a)
    training = Training(net, a)
    intra = Intra()
    state = torch.load(a.intra, map_location=training.device, weights_only=True)
    intra.load_state_dict(state["ema"] or state["model"])
    intra = intra.to(training.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    loop = Loop(Clips(a.clips), intra, a, a.seed + training.step)
    groups: list[Group] = []
    pixels, waited = a.crop * a.crop, 0.0
    while training.running():
        if training.anew():
            if groups:
                loop.begin(a.seed + training.step)
            groups = [loop.fresh() for _ in range(a.groups)]
        slot = training.step % a.groups
        group = groups[slot]
        place = group.now[3]
        level, kind = group.level.to(training.device), torch.full((a.batch,), place, device=training.device)
        before = time.monotonic()
        x, w, d = loop.ready(group)
        waited += time.monotonic() - before
        with training.autocast():
            got = net(x, w, d, level, kind)
        distortion = distortion_of(a.tune, x, got["recon"], level)
        rate = (0.5 * got["noisy"] + 0.5 * got["rounded"]) / pixels
        cost = ((distortion + rate) * torch.exp2((10 - level) / 2)).clamp(max=20.0)
        loss = (0.5 * torch.log(cost + 0.01)).mean()
        norm = training.apply(loss)
        training.showing()
        if group.order and math.isfinite(norm):
            before = time.monotonic()
            loop.keep(group, planes12(got["recon"].detach().float()))
            waited += time.monotonic() - before
        else:
            groups[slot] = loop.fresh()
        bits = got["rounded"].mean() / pixels
        if window := training.note(
            (place, norm), [loss, distortion.mean(), bits, got["keep"].mean(), got["copy"].mean()]
        ):
            m = np.mean(window, 0).tolist()
            by = {
                str(k): round(float(np.mean([v[2] for v in window if v[0] == k])), 3)
                for k in sorted({v[0] for v in window})
            }
            line = {k: round(v, 4) for k, v in zip(("norm", "loss", "d", "bpp", "coded", "copied"), m[1:], strict=True)}
            training.line({**line, "motion": round(waited / len(window), 3), "by": by})
            waited = 0.0
    training.save()
    loop.pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    run(parser().parse_args())
