"""Train the intra codec of codec 2 on stills: python research/train_intra.py CACHE OUT.pt --minutes 100

Resumes OUT.pt's state if there is one. Prints a line every 50 steps.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, os.environ.get("LVC_ENGINE_TREE", str(Path(__file__).parents[1])))
from nets import Intra, blocks, lapped, pca_start, squared, to_patches  # noqa: E402
from stills import Stills  # noqa: E402

from lvc.training.optimizer import Muon  # noqa: E402


def samples(y: np.ndarray, uv: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    a = torch.from_numpy(y)[:, None].float() / 255 - 0.5
    return a, torch.from_numpy(uv).float() / 255 - 0.5


def patches(y: np.ndarray, uv: np.ndarray) -> torch.Tensor:
    return to_patches(*lapped(*samples(y, uv)))


def optimizers(net: torch.nn.Module, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    named = list(net.named_parameters())
    muon = [p for n, p in named if p.ndim == 4 and p.shape[2] == 1 and min(p.shape[:2]) > 1 and "linear" not in n]
    linear = [p for n, p in named if "linear" in n]
    gains = [p for n, p in named if "gain" in n or n.endswith(("hyper_scale", "base", "slope"))]
    taken = {id(p) for p in muon + linear + gains}
    rest = [p for n, p in named if id(p) not in taken]
    adam = torch.optim.AdamW(
        [{"params": rest, "lr": adam_lr}, {"params": linear, "lr": adam_lr / 16}, {"params": gains, "lr": adam_lr * 3}],
        betas=(0.9, 0.95), weight_decay=0.0,
    )  # fmt: skip
    return [Muon(muon, muon_lr), adam]


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("cache", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--crop", type=int, default=256)
    p.add_argument("--muon", type=float, default=5e-3)
    p.add_argument("--adam", type=float, default=6e-4)
    p.add_argument("--decay-from", type=float, default=0.65)
    p.add_argument("--levels", type=float, nargs=2, default=(7.0, 17.0))
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--max-steps", type=int)
    p.add_argument("--start", type=Path, help="a checkpoint whose weights are gone on from")
    p.add_argument("--quantised", type=Path, help="calibration: train with the engine's rounding")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    stills = Stills(a.cache)
    net = Intra()
    step, seconds = 0, 0.0
    if a.start is not None or a.quantised is not None:
        import quantise

        if a.start is not None and not a.out.exists():
            quantise.load(net, a.start)
        if a.quantised is not None:
            quantise.apply(net, torch.load(a.quantised, weights_only=True))
    net = net.to(memory_format=torch.channels_last)
    opts = optimizers(net, a.muon, a.adam)
    base = [[g["lr"] for g in o.param_groups] for o in opts]
    ema = None
    if a.out.exists():
        state = torch.load(a.out, weights_only=True)
        net.load_state_dict(state["model"])
        for o, s in zip(opts, state["opt"], strict=True):
            o.load_state_dict(s)
        step, seconds, ema = state["step"], state["seconds"], state["ema"]
        rng = np.random.default_rng(a.seed + step)
        torch.manual_seed(a.seed + step)
    elif a.start is None:
        rows = torch.cat([blocks(patches(*stills.crops(rng, 32, a.crop))) for _ in range(8)])
        print("variance kept", pca_start(net, rows), flush=True)
    print(sum(q.numel() for q in net.parameters()) / 1e6, "M parameters", flush=True)
    window: list[tuple[float, ...]] = []
    saved = clock = time.monotonic()
    log = open(a.out.with_suffix(".log.jsonl"), "a", encoding="ascii")

    def save() -> None:
        state = {"model": net.state_dict(), "opt": [o.state_dict() for o in opts], "step": step, "seconds": seconds, "ema": ema}
        names = [a.out] if seconds > a.decay_from * a.minutes * 60 else [a.out, a.out.with_suffix(".flat.pt")]
        for name in names:  # .flat.pt: the last state before the learning rate falls, to go on from
            part = a.out.with_suffix(".part")
            torch.save(state, part)
            os.replace(part, name)

    while seconds < a.minutes * 60 and (a.max_steps is None or step < a.max_steps):
        fraction = seconds / (a.minutes * 60)
        factor = min(1.0, (step + 1) / 100) * (1 - 0.98 * max(0.0, (fraction - a.decay_from) / (1 - a.decay_from)))
        for o, lrs in zip(opts, base, strict=True):
            for g, lr in zip(o.param_groups, lrs, strict=True):
                g["lr"] = lr * factor
        x = patches(*stills.crops(rng, a.batch, a.crop))
        level = torch.empty(a.batch).uniform_(*a.levels)
        with torch.autocast("cpu", torch.bfloat16):
            r, noisy, rounded = net(x, level)
        pixels = a.crop * a.crop
        distortion = squared(x, r, level)
        rate = (0.5 * noisy + 0.5 * rounded) / pixels
        cost = (distortion + rate) * torch.exp2((10 - level) / 2)
        loss = (0.5 * torch.log(cost + 0.01)).mean()
        for o in opts:
            o.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0))
        step += 1
        if math.isfinite(norm):
            for o in opts:
                o.step()
            with torch.no_grad():
                if ema is None:
                    ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
                elif step % 10 == 0:
                    for k, v in net.state_dict().items():
                        ema[k].lerp_(v, 0.02)  # about 500 steps
        window.append((float(loss.detach()), float(distortion.detach().mean()), float((rounded.detach() / pixels).mean()), norm))
        now = time.monotonic()
        seconds += now - clock
        clock = now
        if step % 50 == 0:
            m = np.mean(window, 0)
            line = {"step": step, "minutes": round(seconds / 60, 2), "loss": round(m[0], 4), "d": round(m[1], 4), "bpp": round(m[2], 4), "norm": round(m[3], 3)}
            print(json.dumps(line), flush=True)
            log.write(json.dumps(line) + "\n")
            log.flush()
            window = []
        if now - saved > 180:
            save()
            saved = now
    save()


if __name__ == "__main__":
    main()
