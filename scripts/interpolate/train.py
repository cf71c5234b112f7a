#!/usr/bin/env python3
"""Train the network of `lvc interpolate` on clips as `lvc train` caches them; what is in checkpoints/ was made by it.

    scripts/interpolate/train.py DATA --work FOLDER [--samples 4000] [--minutes 35] [--out FILE]

Samples are taken once, into WORK: two frames, 2 to 4 apart, and one that lies between them; motion is searched and both
are compensated as `lvc interpolate` does it, and tiles of 192x192 of the five pictures are kept. Training goes on where
it was when it is started again. The loss is the logarithm of the mean squared error, what PSNR is, of every sample.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from lvc.interpolate.between import Between, Ingredients, Planes, see
from lvc.interpolate.between import samples as to_samples
from lvc.interpolate.compensate import BLOCK
from lvc.interpolate.motion import PairSearch
from lvc.interpolate.network import HINTS, InterpolationNet
from lvc.training import footage
from lvc.training.optimizer import Muon
from lvc.training.sources import find_footage

UNKNOWN = 0.1
"""Share of samples without the motion before."""
TILE, MARGIN = 192, 48
"""Side of a sample in luma samples, and what the search sees around it."""
STEPS = ((2, 1), (2, 1), (2, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 3))
"""(frames from a to b, frames from a to the one to make); the same often as that is trained."""
PHOTO_SHARE = 0.1
WORST = 24.0
"""Mean absolute error of a sample's compensated pictures beyond which it shows a cut."""
SMALLEST = 4e-6
"""Added to squared errors before the logarithm: half a step of 1/255, squared."""
PICTURE = TILE * TILE * 3 // 2
HINT_VALUES = HINTS * (TILE // BLOCK) ** 2
RECORD = np.dtype([("pictures", np.uint8, (5, PICTURE)), ("hints", np.float16, (HINT_VALUES,)), ("moment", np.float32)])
MUON_LR, ADAM_LR = 4e-3, 1e-3


def planes_of(flat: np.ndarray) -> Planes:
    return flat[: TILE * TILE].reshape(TILE, TILE), flat[TILE * TILE :].reshape(2, TILE // 2, TILE // 2)


def sample(clip: Planes, rng: random.Random) -> np.ndarray | None:
    """One record of a random place, or None where nothing can be learnt: a cut, frames that repeat, a small picture."""
    all_y, all_uv = clip
    frames, height, width = all_y.shape
    gap, step = rng.choice(STEPS)
    if frames <= 2 * gap or min(height, width) < TILE:
        return None
    first, direction = rng.randrange(gap, frames - gap), rng.choice((1, -1))
    first = first if direction == 1 else frames - 1 - first
    earlier, at, end = (first + direction * n for n in (-gap, step, gap))
    top, left = rng.randrange(0, height - TILE + 1, 16), rng.randrange(0, width - TILE + 1, 16)
    y0, x0 = max(0, top - MARGIN), max(0, left - MARGIN)
    y1, x1 = min(height, top + TILE + MARGIN), min(width, left + TILE + MARGIN)

    def cut(t: int) -> Planes:
        return (
            np.array(all_y[t, y0:y1, x0:x1]),
            np.array(all_uv[t, :, y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]),
        )

    a, x, b = cut(first), cut(at), cut(end)
    if min(mean_error(a, x), mean_error(b, x)) == 0:
        return None
    search = PairSearch(*a[0].shape)
    search.push(*cut(earlier))
    led_here, fields = search.push(*a), search.push(*b)
    assert led_here is not None and fields is not None
    steady = None if rng.random() < UNKNOWN else -led_here.onward.astype(np.float32)
    found = Between(a, b, fields, steady).ingredients(step / gap)
    if mean_error(found.a, x) > WORST or mean_error(found.b, x) > WORST:
        return None
    rows, cols = slice(top - y0, top - y0 + TILE), slice(left - x0, left - x0 + TILE)
    small = [slice(s.start // 2, s.stop // 2) for s in (rows, cols)]
    blocks = [slice(s.start // BLOCK, s.stop // BLOCK) for s in (rows, cols)]
    record = np.zeros((), RECORD)
    for k, (y, uv) in enumerate((a, found.a, x, found.b, b)):
        record["pictures"][k] = np.concatenate([y[rows, cols].reshape(-1), uv[:, small[0], small[1]].reshape(-1)])
    record["hints"] = found.hints[:, blocks[0], blocks[1]].reshape(-1)
    record["moment"] = step / gap
    return record


def mean_error(one: Planes, other: Planes) -> float:
    return float(np.abs(one[0].astype(np.int16) - other[0]).mean())


def prepare(clips: list[Planes], path: Path, count: int, seed: int) -> None:
    """Append to `path` until it holds `count` records. A photograph's pan teaches motion without noise."""
    photos = [c for c in clips if len(c[0]) <= 20]
    videos = [c for c in clips if len(c[0]) > 20]
    done = path.stat().st_size // RECORD.itemsize if path.exists() else 0
    started = time.monotonic()
    with open(path, "ab") as out:
        out.truncate(done * RECORD.itemsize)
        for n in range(done, count):
            rng, record = random.Random(f"{seed}.{n}"), None
            while record is None:
                record = sample(rng.choice(photos if photos and rng.random() < PHOTO_SHARE else videos), rng)
            out.write(record.tobytes())
            if (n + 1) % 250 == 0:
                out.flush()
                print(json.dumps({"samples": n + 1, "seconds": round(time.monotonic() - started)}), flush=True)


def batch_of(records: np.ndarray, rng: random.Random, size: int) -> tuple[Any, torch.Tensor]:
    """`size` random samples, mirrored and turned: (what the network sees, the frame's patches)."""
    a, b, found, wanted, moments = [], [], [], [], []
    for _ in range(size):
        record = records[rng.randrange(len(records))]
        flip = rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.5

        def turned(plane: np.ndarray, flip: tuple[bool, bool, bool] = flip) -> np.ndarray:
            plane = plane[..., ::-1, :] if flip[0] else plane
            plane = plane[..., ::-1] if flip[1] else plane
            return np.ascontiguousarray(plane.swapaxes(-1, -2) if flip[2] else plane)

        pictures: list[Planes] = []
        for flat in record["pictures"]:
            y, uv = planes_of(flat)
            pictures.append((turned(y), turned(uv)))
        side = TILE // BLOCK
        hints = turned(record["hints"].reshape(HINTS, side, side).astype(np.float32))
        a.append(pictures[0])
        b.append(pictures[4])
        found.append(Ingredients(pictures[1], pictures[3], hints))
        wanted.append(pictures[2])
        moments.append(float(record["moment"]))
    return see(a, b, found, torch.tensor(moments)), to_samples(wanted)


def loss_of(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """[B]: logarithms of the planes' squared errors, weighted as PSNR 6:1:1 weighs them."""
    error = (made - wanted) ** 2
    planes = [error[:, :64], error[:, 64:80], error[:, 80:]]
    y, u, v = (torch.log(p.mean((1, 2, 3)) + SMALLEST) for p in planes)
    return (6 * y + u + v) / 8


def train(records: np.ndarray, work: Path, out: Path, minutes: float, batch: int, seed: int) -> None:
    torch.manual_seed(seed)
    net = InterpolationNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    matrices = [p for n, p in net.named_parameters() if p.ndim == 4 and p.shape[2] == 1 and n.startswith("blocks")]
    direct = list(net.direct.parameters())
    rest = [p for p in net.parameters() if all(p is not m for m in matrices + direct)]
    groups = [{"params": rest, "lr": ADAM_LR}, {"params": direct, "lr": 10 * ADAM_LR}]
    optimizers = [Muon(matrices, MUON_LR), torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)]
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    average = {k: v.clone() for k, v in net.state_dict().items()}
    step, seconds, state = 0, 0.0, work / "state.pt"
    if state.exists():
        saved = torch.load(state, weights_only=True)
        net.load_state_dict(saved["net"])
        average, step, seconds = saved["average"], saved["step"], saved["seconds"]
        for optimizer, values in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
    rng, window, last = random.Random(f"{seed}.{step}"), [], time.monotonic()
    saved_at = seconds

    def save() -> None:
        part = state.with_suffix(".part")
        states = [o.state_dict() for o in optimizers]
        values = {"net": net.state_dict(), "average": average, "step": step, "seconds": seconds, "optimizers": states}
        torch.save(values, part)
        os.replace(part, state)
        part = out.with_suffix(".part")
        save_file({k: v.contiguous() for k, v in average.items()}, part, {"steps": str(step)})
        os.replace(part, out)

    while seconds < 60 * minutes:
        done = seconds / (60 * minutes)
        factor = min(1.0, (step + 1) / 100) * (1 - 0.99 * max(0.0, (done - 0.3) / 0.7))
        for optimizer, own in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, own, strict=True):
                group["lr"] = rate * factor
        seen, wanted = batch_of(records, rng, batch)
        with torch.autocast("cpu", torch.bfloat16):
            made = net(seen)
        loss = loss_of(made, wanted)
        with torch.no_grad():
            plain = loss_of(torch.lerp(seen.a, seen.b, seen.moment[:, None, None, None]), wanted)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0))
        if math.isfinite(norm):
            for optimizer in optimizers:
                optimizer.step()
        step += 1
        keep = min(0.998, step / (step + 10))
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 1 - keep)
        now = time.monotonic()
        seconds, last = seconds + now - last, now
        # in dB: what the network gains over the mean of both compensated pictures
        window.append([float(-10 / math.log(10) * x) for x in (loss.detach().mean(), (loss.detach() - plain).mean())])
        if step % 100 == 0:
            psnr, gain = np.mean(window, 0)
            row = {"step": step, "minutes": seconds / 60, "psnr": psnr, "gain": gain}
            print(json.dumps({k: round(float(v), 3) for k, v in row.items()}), flush=True)
            window.clear()
        if seconds - saved_at > 150:
            save()
            saved_at = seconds
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=35.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / "samples.bin"
    cache = args.work / "clips"
    if not cache.with_suffix(".json").exists():
        footage.build(find_footage((args.data,)), cache, TILE, print, 1 << 40)
    clips = footage.Clips(cache)
    prepare([clips.clip(i) for i in range(len(clips.index))], path, args.samples, args.seed)
    records = np.memmap(path, RECORD, "r")
    train(records, args.work, args.out or args.work / "interpolate.safetensors", args.minutes, args.batch, args.seed)


if __name__ == "__main__":
    main()
