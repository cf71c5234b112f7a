#!/usr/bin/env python3
"""Trains what scripts/figures/pairs.py compares: frame by frame (`one`), or keys and the frames between (a number).

    scripts/figures/pairs_train.py one|2|4 OUT.safetensors --cache FOLDER --data FOLDER [--minutes 12] [--motion FOLDER]

Minutes are processor time of the training steps, motion compensation included. Both start from principal components;
key frames are coded by the intra codec of checkpoints/default.safetensors, which does not learn. Both train with motion
searched and chosen on the originals. LVC_ROOT: where lvc is imported from, to train on while the working tree changes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("LVC_ROOT", Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from pairs_data import Item, PairMotion, joined, motion_of, pair_stream  # noqa: E402
from pairs_model import PairCodec, Planes, predict, samples  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from lvc.codec.compensate import compensate  # noqa: E402
from lvc.models.config import LEVEL_MAX, LEVEL_MIN, ModelConfig  # noqa: E402
from lvc.models.network import FrameCodec  # noqa: E402
from lvc.training import forward as forward_pass  # noqa: E402
from lvc.training import loop  # noqa: E402
from lvc.training.data import CachedClip, open_cache  # noqa: E402
from lvc.training.forward import Past  # noqa: E402
from lvc.training.loop import Trainer  # noqa: E402
from lvc.training.sampler import Group, to_references  # noqa: E402
from lvc.training.settings import TrainSettings  # noqa: E402
from lvc.training.start import blocks, pca_start  # noqa: E402
from lvc.training.state import Tensors, read_weights  # noqa: E402

WORST, SMALLEST = forward_pass.WORST, forward_pass.SMALLEST
Group.moved = lambda self, frame, found, levels: found  # type: ignore[method-assign]
DEFAULT = ROOT / "checkpoints" / "default.safetensors"


class ProcessorTime:
    """For `Trainer`: the schedule goes by processor time."""

    clock: float

    def _lap(self) -> float:
        before, self.clock = self.clock, time.process_time()
        return min(self.clock - before, 60.0) if before < self.clock else 0.0


class OneTrainer(ProcessorTime, Trainer):
    """(a): lvc's own training of the inter codec, from principal components."""

    def _first_weights(self) -> Tensors:
        self._pca()
        started = {k: v.detach() for k, v in self.model.state_dict().items()}
        known = read_weights(DEFAULT)
        return {k: known[k] if k.startswith("intra.") else v for k, v in started.items()}


@dataclass
class PairGroup:
    """Streams in step. `base`: levels of the frames between, `raised`: how much higher the keys' are. y, uv: the last
    key's reconstruction; `waiting`: the pair whose key was just coded, and the reconstruction of the key before."""

    streams: list[Iterator[Item]]
    base: torch.Tensor
    raised: torch.Tensor
    planes: Planes
    key_past: Past
    between_past: Past
    waiting: tuple[Item, Planes] | None = None


class PairTrainer(ProcessorTime, Trainer):
    """(b): keys and the frames between, in turns."""

    model: PairCodec

    def __init__(
        self, settings: TrainSettings, clips: list[CachedClip], motions: list[PairMotion], distance: int, report: Any
    ) -> None:
        self.distance, self.motions = distance, {id(c): m for c, m in zip(clips, motions, strict=True)}
        self.pairs: list[PairGroup | None] = [None] * settings.groups
        codec, loop.Codec = loop.Codec, lambda config: PairCodec(config, distance)  # type: ignore[attr-defined,assignment]
        try:
            super().__init__(settings, clips, report)
        finally:
            loop.Codec = codec  # type: ignore[attr-defined]

    def _pair_streams(self, pairs: int) -> list[Iterator[Item]]:
        out: list[Iterator[Item]] = []
        while len(out) < self.settings.batch:
            clip = self.rng.choices(self.sampler.clips, cum_weights=self.sampler.weights)[0]
            motion = self.motions[id(clip)]
            if len(motion.field) >= min(pairs, 4):
                out.append(
                    pair_stream(clip, motion, self.settings.crop, pairs, random.Random(self.rng.getrandbits(64)))
                )
        return out

    def _first_weights(self) -> Tensors:
        keys, between = [], []
        for _ in range(16):
            streams = self._pair_streams(1)
            before, item = joined(streams), joined(streams)
            if before is None or item is None:
                continue
            earlier, later = (before[0][:, 0], before[1][:, 0]), (item[0][:, -1], item[1][:, -1])
            keys.append(blocks(samples(*later) - samples(*compensate(*earlier, item[2]))))
            w, _ = predict(earlier, later, item[3], item[4], self.distance)
            between.append(blocks(self._between_samples(item) - w))
        kept = pca_start(self.model.inter, torch.cat(keys)), self.model.between.start(torch.cat(between))
        self.report({"event": "pca", "key": round(kept[0], 5), "between": round(kept[1], 5)})
        known = read_weights(DEFAULT)
        return {k: known[k] if k.startswith("intra.") else v.detach() for k, v in self.model.state_dict().items()}

    @staticmethod
    def _between_samples(item: Item) -> torch.Tensor:
        return torch.cat([samples(item[0][:, t], item[1][:, t]) for t in range(item[0].shape[1] - 1)], 1)

    def _past(self, latent: int) -> Past:
        return Past.zeros(self.settings.batch, latent, self.settings.crop // 16, self.settings.crop // 16)

    def _fresh_group(self) -> tuple[PairGroup, torch.Tensor, torch.Tensor]:
        """A new group, its first key and levels."""
        while True:
            streams = self._pair_streams(max(1, self.rng.randint(3, self.settings.chain) // self.distance))
            if (first := joined(streams)) is not None:
                break
        base = self._uniform(*loop.BASE_LEVELS)
        planes = first[0][:, 0], first[1][:, 0]
        pasts = self._past(self.model.inter.latent), self._past(self.model.between.latent)
        group = PairGroup(streams, base, self._uniform(0.0, 1.5), planes, *pasts)
        return group, samples(*planes), base + self._uniform(*loop.INTRA_RAISE)

    def train_step(self) -> bool:
        """One batch of one group: an intra frame (no learning), a key, or the frames between two keys."""
        self._set_rates()
        slot = self.step % len(self.pairs)
        group, model = self.pairs[slot], self.model
        item = joined(group.streams) if group is not None and group.waiting is None else None
        w: torch.Tensor | None = None
        net: FrameCodec
        if group is not None and group.waiting is not None:
            net, past = model.between, group.between_past
            held, earlier = group.waiting
            x, level = self._between_samples(held), group.base + self._uniform(-0.5, 0.5)
            w, model.between.apart = predict(earlier, group.planes, held[3], held[4], self.distance)
        elif group is not None and item is not None:
            net, past = model.inter, group.key_past
            x, level = samples(item[0][:, -1], item[1][:, -1]), group.base + group.raised + self._uniform(-0.5, 0.5)
            w = samples(*compensate(*group.planes, item[2]))
        else:
            group, x, level = self._fresh_group()
            self.pairs[slot] = group
            net, past = model.intra, self._past(model.intra.latent)
        learns = w is not None
        level = level.clamp(LEVEL_MIN, LEVEL_MAX)
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(learns):
            # of several frames, the bounds on what a sample costs are those of one, times their number
            frames = x.shape[1] // 96
            forward_pass.WORST, forward_pass.SMALLEST = WORST * frames, SMALLEST * frames
            result = forward_pass.forward(net, x, w, level, loop._code(level), past)
        norm = 0.0
        if learns:
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            result.loss.mean().backward()  # type: ignore[no-untyped-call]
            norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0))
        finite = math.isfinite(norm) and bool(torch.isfinite(result.recon).all())
        kind = "b_" if net is model.between else "k_" if learns else "i_"
        error = ((x - result.recon) ** 2).reshape(len(x), frames, 96, -1).mean((1, 3))
        mse = 0.75 * error[:, :64].mean(1) + 0.25 * error[:, 64:].mean(1)
        row = {"loss": result.loss.detach(), "bpp": result.bpp, "psnr": -10 * torch.log10(mse), "coded": result.coded}
        self.window.append({kind + name: float(value.mean()) for name, value in row.items()})
        self.step += 1
        self.seconds += self._lap()
        if not finite:
            self.pairs[slot] = None
            return False
        if learns:
            for optimizer in self.optimizers:
                optimizer.step()
        if net is model.between:
            group.between_past, group.waiting = result.past, None
            return True
        before, group.planes = group.planes, to_references(result.recon)
        if learns and item is not None:
            group.key_past, group.waiting = result.past, (item, before)
        return True

    def summary(self) -> dict[str, float]:
        out: dict[str, float] = {}
        for name in sorted({name for row in self.window for name in row if not name.startswith("i_")}):
            values = [row[name] for row in self.window if name in row]
            out[name] = round(sum(values) / len(values), 5)
        self.window = []
        return out


def run(trainer: Trainer, tell: Callable[[dict[str, Any]], None]) -> None:
    """Until the minutes are used up."""
    trainer.clock = time.process_time()
    budget, dropped, logged = trainer.settings.minutes * 60, 0, 0
    while trainer.seconds < budget:
        dropped += not trainer.train_step()
        if trainer.step - logged >= trainer.settings.log_every:
            logged = trainer.step
            minutes = round(trainer.seconds / 60, 2)
            tell({"step": trainer.step, "minutes": minutes, "dropped": dropped, **trainer.summary()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("one", "2", "4"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--motion", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with safe_open(DEFAULT, "pt") as file:
        config = ModelConfig.from_json(file.metadata()["config"])
    settings = TrainSettings(
        (args.data,), args.out, args.cache.parent, args.minutes, part="inter", threads=1, log_every=100, config=config
    )

    def tell(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    clips = open_cache(
        settings.data, args.cache, settings.max_height, settings.max_frames, 0, lambda m: tell({"data": m})
    )
    trainer: Trainer
    if args.kind == "one":
        trainer = OneTrainer(settings, clips, tell)
    else:
        distance = int(args.kind)
        args.motion.mkdir(parents=True, exist_ok=True)
        motions = [motion_of(c, distance, args.motion) for c in clips]
        tell({"event": "motion", "pairs": sum(len(m.field) for m in motions)})
        trainer = PairTrainer(settings, clips, motions, distance, tell)
    run(trainer, tell)
    save_file({k: v.contiguous() for k, v in trainer.model.state_dict().items()}, args.out, {"kind": args.kind})
    tell({"done": trainer.step, "minutes": round(trainer.seconds / 60, 2)})


if __name__ == "__main__":
    main()
