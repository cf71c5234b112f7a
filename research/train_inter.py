"""Train the inter codec of codec 2 on pyramids in closed loop.

    python research/train_inter.py CLIPS INTRA.pt OUT.pt --minutes 60 [--warm checkpoints/default.safetensors]

A group is a batch of crops in step: a key frame (the intra codec as it is), then one to three mini-GOPs of 4, 8 or 16
frames, each frame predicted from the group's own reconstructions with motion decided on them. One step of the optimiser
is one frame of one group.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from clips import Clips  # noqa: E402
from nets import Inter, Intra, from_patches, lapped, squared, to_patches  # noqa: E402
from train_intra import optimizers  # noqa: E402

from lvc.engine import motion  # noqa: E402

TOP = 4080.0
BETWEEN = (0.8, 0.4, 0.0, -0.4, -0.8, -0.8)
"""Levels of anchors and of the pyramid's levels, above the base."""


def pyramid(a: int, b: int) -> list[tuple[int, int, int | None, int]]:
    """Coding order of the frames after `a` up to `b`: (frame, ref0, ref1, place in the pyramid)."""
    out: list[tuple[int, int, int | None, int]] = [(b, a, None, 0)]
    spans, place = [(a, b)], 1
    while spans:
        nexts = []
        for lo, hi in spans:
            if hi - lo > 1:
                m = (lo + hi) // 2
                out.append((m, lo, hi, place))
                nexts += [(lo, m), (m, hi)]
        spans, place = nexts, place + 1
    return out


def patches12(y: np.ndarray, uv: np.ndarray) -> torch.Tensor:
    """12-bit planes [B,H,W], [B,2,H/2,W/2] → patches around 0."""
    a, b = torch.from_numpy(y)[:, None].float() / TOP - 0.5, torch.from_numpy(uv).float() / TOP - 0.5
    return to_patches(a, b)


def planes12(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    y, uv = from_patches(((x + 0.5) * TOP).round().clamp(0, 4095).to(torch.int16))
    return y[:, 0].contiguous().numpy(), uv.contiguous().numpy()


@dataclass
class Group:
    y: np.ndarray  # uint8 [B,T,c,c]
    uv: np.ndarray
    base: torch.Tensor
    order: list[tuple[int, int, int | None, int]]
    recon: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    pictures: dict[int, list[motion.Picture]] = field(default_factory=dict)
    fields: dict[int, list[motion.Field | None]] = field(default_factory=dict)
    last: int = -1


class Loop:
    def __init__(self, clips: Clips, intra: Intra, batch: int, crop: int, rng: np.random.Generator, effort: int = 1) -> None:
        self.clips, self.intra, self.batch, self.crop, self.rng, self.effort = clips, intra, batch, crop, rng, effort

    def fresh(self) -> Group:
        n = int(self.rng.choice([4, 8, 16], p=[0.2, 0.35, 0.45]))
        times = int(self.rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2])) if n < 16 else int(self.rng.choice([1, 2], p=[0.6, 0.4]))
        frames = n * times + 1
        crops = []
        while len(crops) < self.batch:
            y, uv = self.clips.crop(self.rng, frames, self.crop)
            if len(y) == frames:
                crops.append((y, uv))
        y, uv = (np.stack([c[k] for c in crops]) for k in range(2))
        base = torch.empty(self.batch).uniform_(6.5, 15.0)
        order = [f for k in range(times) for f in pyramid(k * n, (k + 1) * n)]
        group = Group(y, uv, base, order)
        level = (base + torch.empty(self.batch).uniform_(0.8, 3.0)).clamp(6.5, 18)
        a, b = torch.from_numpy(y[:, 0])[:, None].float() / 255 - 0.5, torch.from_numpy(uv[:, 0]).float() / 255 - 0.5
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            r, _, _ = self.intra(to_patches(*lapped(a, b)), level, noisy=False)
        ry, ruv = lapped(*from_patches(r.float()), back=True)
        self.keep(group, 0, planes12(to_patches(ry, ruv)), [None] * self.batch)
        return group

    def keep(self, group: Group, t: int, recon: tuple[np.ndarray, np.ndarray], fields: list[motion.Field | None]) -> None:
        group.recon[t], group.fields[t] = recon, fields
        if any(t in (o[1], o[2]) for o in group.order):
            group.pictures[t] = [motion.Picture(recon[0][i]) for i in range(self.batch)]

    def predict(self, group: Group, f: tuple[int, int, int | None, int], level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[motion.Field]]:
        """→ patches of prediction and of difference, fields."""
        t, a, b, _ = f
        found, made = [], []
        for i in range(self.batch):
            now = motion.Picture(group.y[i, t].astype(np.int16) << 4, reference=False)
            refs = group.pictures[a][i], None if b is None else group.pictures[b][i]
            known = group.fields[a][i], None if b is None else group.fields[b][i]
            mode, mv, _ = motion.search(now, refs, t, (a, b), motion.weight_of(float(level[i])), known, self.effort)
            found.append(motion.Field(mode, mv, t, (a, b)))
            ref0 = group.recon[a][0][i], group.recon[a][1][i]
            ref1 = None if b is None else (group.recon[b][0][i], group.recon[b][1][i])
            made.append(motion.compensate(ref0, ref1, mode, mv))
        w = patches12(np.stack([m[0][0] for m in made]), np.stack([m[0][1] for m in made]))
        d = to_patches(
            torch.from_numpy(np.stack([m[1][0] for m in made]))[:, None].float() / TOP,
            torch.from_numpy(np.stack([m[1][1] for m in made])).float() / TOP,
        )
        return w, d, found


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("clips", type=Path)
    p.add_argument("intra", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--warm", type=Path)
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--batch", type=int, default=5)
    p.add_argument("--crop", type=int, default=256)
    p.add_argument("--groups", type=int, default=3)
    p.add_argument("--muon", type=float, default=3e-3)
    p.add_argument("--adam", type=float, default=4e-4)
    p.add_argument("--decay-from", type=float, default=0.5)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--max-steps", type=int)
    p.add_argument("--start", type=Path, help="a checkpoint whose weights are gone on from")
    p.add_argument("--quantised", type=Path, help="calibration: train with the engine's rounding")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    intra = Intra()
    state = torch.load(a.intra, weights_only=True)
    intra.load_state_dict(state["ema"] or state["model"])
    intra = intra.to(memory_format=torch.channels_last).eval()
    loop = Loop(Clips(a.clips), intra, a.batch, a.crop, rng)
    net = Inter()
    if a.warm is not None and not a.out.exists():
        from safetensors.torch import load_file

        old = {k[6:]: v for k, v in load_file(a.warm).items() if k.startswith("inter.")}
        print("taken", len(net.warm(old)), "of", len(net.state_dict()), flush=True)
    if a.start is not None or a.quantised is not None:
        import quantise

        if a.start is not None and not a.out.exists():
            quantise.load(net, a.start)
        if a.quantised is not None:
            quantise.apply(net, torch.load(a.quantised, weights_only=True))
    net = net.to(memory_format=torch.channels_last)
    opts = optimizers(net, a.muon, a.adam)
    base_lr = [[g["lr"] for g in o.param_groups] for o in opts]
    step, seconds, ema = 0, 0.0, None
    if a.out.exists():
        state = torch.load(a.out, weights_only=True)
        net.load_state_dict(state["model"])
        for o, s in zip(opts, state["opt"], strict=True):
            o.load_state_dict(s)
        step, seconds, ema = state["step"], state["seconds"], state["ema"]
        torch.manual_seed(a.seed + step)
        loop.rng = np.random.default_rng(a.seed + step)
    groups: list[Group | None] = [None] * a.groups
    window: list[tuple[int, float, float, float, float, float, float]] = []
    saved = clock = time.monotonic()
    log = open(a.out.with_suffix(".log.jsonl"), "a", encoding="ascii")

    def save() -> None:
        state = {"model": net.state_dict(), "opt": [o.state_dict() for o in opts], "step": step, "seconds": seconds, "ema": ema}
        names = [a.out] if seconds > a.decay_from * a.minutes * 60 else [a.out, a.out.with_suffix(".flat.pt")]
        for name in names:
            part = a.out.with_suffix(".part")
            torch.save(state, part)
            os.replace(part, name)

    spent = 0.0
    while seconds < a.minutes * 60 and (a.max_steps is None or step < a.max_steps):
        fraction = seconds / (a.minutes * 60)
        factor = min(1.0, (step + 1) / 100) * (1 - 0.98 * max(0.0, (fraction - a.decay_from) / (1 - a.decay_from)))
        for o, lrs in zip(opts, base_lr, strict=True):
            for g, lr in zip(o.param_groups, lrs, strict=True):
                g["lr"] = lr * factor
        slot = step % a.groups
        group = groups[slot]
        if group is None or not group.order:
            group = groups[slot] = loop.fresh()
        f = group.order.pop(0)
        place = f[3]
        level = (group.base + BETWEEN[place] + torch.empty(a.batch).uniform_(-0.4, 0.4)).clamp(6.0, 17.0)
        kind = torch.full((a.batch,), place, dtype=torch.long)
        t0 = time.monotonic()
        w, d, fields = loop.predict(group, f, level)
        spent += time.monotonic() - t0
        y = torch.from_numpy(group.y[:, f[0]])[:, None].float() / 255 - 0.5
        x = to_patches(y, torch.from_numpy(group.uv[:, f[0]]).float() / 255 - 0.5)
        with torch.autocast("cpu", torch.bfloat16):
            got = net(x, w, d, level, kind)
        pixels = a.crop * a.crop
        distortion = squared(x, got["recon"], level)
        rate = (0.5 * got["noisy"] + 0.5 * got["rounded"]) / pixels
        cost = ((distortion + rate) * torch.exp2((10 - level) / 2)).clamp(max=20.0)
        loss = (0.5 * torch.log(cost + 0.01)).mean()
        for o in opts:
            o.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0))
        step += 1
        if math.isfinite(norm):
            for o in opts:
                o.step()
            loop.keep(group, f[0], planes12(got["recon"].detach().float()), list(fields))
            with torch.no_grad():
                if ema is None:
                    ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
                elif step % 10 == 0:
                    for k, v in net.state_dict().items():
                        ema[k].lerp_(v, 0.02)
        else:
            groups[slot] = None
        window.append((
            place, float(loss.detach()), float(distortion.detach().mean()), float((got["rounded"].detach() / pixels).mean()),
            float(got["keep"].mean()), float(got["copy"].mean()), norm,
        ))  # fmt: skip
        now = time.monotonic()
        seconds += now - clock
        clock = now
        if step % 50 == 0:
            m = np.mean(window, 0)
            by = {str(k): round(float(np.mean([v[1] for v in window if v[0] == k])), 3) for k in sorted({v[0] for v in window})}
            line = {"step": step, "minutes": round(seconds / 60, 2), "loss": round(m[1], 4), "d": round(m[2], 4), "bpp": round(m[3], 4),
                    "coded": round(m[4], 3), "copied": round(m[5], 3), "norm": round(m[6], 2), "motion": round(spent / 50, 3), "by": by}  # fmt: skip
            print(json.dumps(line), flush=True)
            log.write(json.dumps(line) + "\n")
            log.flush()
            window, spent = [], 0.0
        if now - saved > 180:
            save()
            saved = now
    save()


if __name__ == "__main__":
    main()
