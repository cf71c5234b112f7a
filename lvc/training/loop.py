"""The training loop of `lvc train`.

Groups of streams move through footage frame by frame on their own reconstructions, with motion decided on these, as
the encoder does: an intra step, then predicted frames, each trained on its own (no gradient crosses frames; the level
of the intra frame is raised instead). One step is one batch of one group. State is saved every few minutes and after
the last step; a step whose gradient is not finite is dropped, and nothing that is not finite is ever saved.

Several processes (`distributed`) draw the same schedule from equal generators — which net, how long a group, which
streams, their levels — and take their share of the streams; only the noise of the rate is each one's own.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..codec.compensate import compensate
from ..codec.motion_decision import MotionDecision
from ..errors import MediaError, UnsupportedError
from ..models.config import LEVEL_MAX, LEVEL_MIN
from ..models.load import wrap
from ..models.network import Codec, FrameCodec
from ..output import about
from .data import CachedClip, find_footage, open_cache
from .distributed import Team, team
from .forward import Past, forward
from .optimizer import Muon
from .sampler import Group, Sampler, next_frames, to_references, to_samples
from .settings import TrainSettings
from .start import blocks, pca_start
from .state import Tensors, atomic_save, optimizer_tensors, read_state, read_weights, restore_optimizers, uninterrupted
from .tables import build_tables, count_symbols

INTRA_RAISE = (0.5, 4.0)
"""How much higher a key frame's level may be than the predicted frames' after it; the encoder goes by what moves."""
INTRA_EVERY = 3
"""One step in so many is intra frames alone: one in eight left key frames 1 dB behind one in three (decision 004)."""
BASE_LEVELS = (7.0, 15.0)
Report = Callable[[dict[str, Any]], None]


def _code(level: torch.Tensor) -> torch.Tensor:
    return torch.round((level - LEVEL_MIN) / (LEVEL_MAX - LEVEL_MIN) * 10000)


class Trainer:
    """Everything that changes during training, and how it is saved."""

    def __init__(
        self, settings: TrainSettings, clips: list[CachedClip], report: Report, others: Team | None = None
    ) -> None:
        self.settings, self.report, self.team = settings, report, others or Team()
        self.rng, self.levels = random.Random(), torch.Generator()
        self._seed(settings.seed)
        self.device = self.team.device
        self.sampler = Sampler(clips, settings, self.rng, self.team.rank, self.team.world)
        self.model = Codec(settings.config)
        self.step, self.seconds, self.clock = 0, 0.0, time.monotonic()
        self._load(self.team.shared(self._first_weights))
        self.model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        named = list(self.model.named_parameters())

        def of(test: Callable[[str, torch.nn.Parameter], bool]) -> list[torch.nn.Parameter]:
            return [p for n, p in named if test(n, p)]

        muon = of(lambda n, p: p.ndim == 4 and p.shape[2] == 1 and min(p.shape[:2]) > 1 and "linear" not in n)
        linear = of(lambda n, p: "linear" in n)
        gains = of(lambda n, p: "gain" in n or n.endswith("hyper_scale"))
        taken = {id(p) for p in muon + linear + gains}
        rest = of(lambda n, p: id(p) not in taken)
        lr = settings.adam_lr
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(muon, settings.muon_lr),
            torch.optim.AdamW(
                [{"params": rest, "lr": lr}, {"params": linear, "lr": lr / 16}, {"params": gains, "lr": lr * 3}],
                betas=(0.9, 0.95), weight_decay=0.0,
            ),
        ]  # fmt: skip
        self.base_lr = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.groups: list[Group | None] = [None] * settings.groups
        self.window: list[dict[str, float]] = []

    # --- start ---

    def _first_weights(self) -> Tensors:
        if self.settings.init is not None:
            return read_weights(self.settings.init)
        self._pca()
        return {k: v.detach() for k, v in self.model.state_dict().items()}

    def _pca(self) -> None:
        intra, inter = [], []
        sampler = Sampler(self.sampler.clips, self.settings, random.Random(self.settings.seed), 0, self.team.world)
        for _ in range(16):
            s = sampler.joint(3)
            before = next_frames(s)
            after = next_frames(s)
            if before is None or after is None:
                continue
            x = to_samples(after[0], after[1])
            wy, wuv = compensate(before[0], before[1], np.ascontiguousarray(after[2]))
            intra.append(blocks(x))
            inter.append(blocks(x - to_samples(wy, wuv)))
        for net, rows in ((self.model.intra, intra), (self.model.inter, inter)):
            kept = pca_start(net, torch.cat(rows))
            self.report({"event": "pca", "intra": net.intra, "variance_kept": round(kept, 5)})

    def _load(self, weights: Tensors) -> None:
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as e:
            raise UnsupportedError(
                f"the weights do not fit this model ({str(e)[:80]}) — use a checkpoint of this lvc"
            ) from e

    # --- one step ---

    def _advance(self, index: int) -> tuple[Group, FrameCodec, torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Move a group one frame on: (group, net, x, w or None, level)."""
        part = self.settings.part
        if part == "intra" or (part == "both" and self.step % INTRA_EVERY == INTRA_EVERY - 1):
            return self._intra_only()
        group = self.groups[index]
        frame = next_frames(group.streams) if group is not None and group.left > 0 else None
        if group is not None and frame is not None:
            group.left -= 1
            level = (group.base + self._uniform(-1.0, 1.0)).clamp(LEVEL_MIN, LEVEL_MAX)
            wy, wuv = compensate(group.y, group.uv, group.moved(frame[0], frame[2], level))
            return group, self.model.inter, to_samples(frame[0], frame[1]), to_samples(wy, wuv), level
        length = self.rng.randint(3, max(3, self.settings.chain))
        group, frame, level = self._fresh(length)
        self.groups[index] = group
        return group, self.model.intra, to_samples(frame[0], frame[1]), None, level

    def _fresh(self, length: int) -> tuple[Group, tuple[np.ndarray, np.ndarray, np.ndarray], torch.Tensor]:
        """A new group at its key frame: (group, that frame, its levels)."""
        while True:
            streams = self.sampler.streams(length)
            frame = next_frames(streams)
            if frame is not None:
                break
        base = self._uniform(*BASE_LEVELS)
        level = (base + self._uniform(*INTRA_RAISE)).clamp(LEVEL_MIN, LEVEL_MAX)
        n = self.settings.crop // 16
        past = Past.zeros(self.settings.batch, self.model.intra.latent, n, n)
        decisions = [MotionDecision(self.settings.crop, self.settings.crop) for _ in streams]
        return Group(streams, base, length, frame[0], frame[1], past, decisions), frame, level

    def _uniform(self, low: float, high: float) -> torch.Tensor:
        """One number for each of this process's streams."""
        joint = torch.empty(self.settings.batch * self.team.world).uniform_(low, high, generator=self.levels)
        return joint[self.team.rank :: self.team.world]

    def _intra_only(self) -> tuple[Group, FrameCodec, torch.Tensor, torch.Tensor | None, torch.Tensor]:
        group, frame, level = self._fresh(1)
        return group, self.model.intra, to_samples(frame[0], frame[1]), None, level

    def _set_rates(self) -> None:
        """Learning rates of this step: up over a hundred steps, later down with the time that is left."""
        fraction = self.seconds / (self.settings.minutes * 60)
        factor = min(1.0, (self.step + 1) / 100)
        factor *= 1 - 0.98 * max(0.0, (fraction - self.settings.decay_from) / (1 - self.settings.decay_from))
        for optimizer, base in zip(self.optimizers, self.base_lr, strict=True):
            for g, lr in zip(optimizer.param_groups, base, strict=True):
                g["lr"] = lr * max(factor, 0.0)

    def train_step(self) -> bool:
        """One batch. False if the gradient was not finite and the step was dropped."""
        self._set_rates()
        group, net, x, w, level = self._advance(self.step % len(self.groups))
        learns = self.settings.part in ("both", "intra" if net.intra else "inter")
        x, level = x.to(self.device), level.to(self.device)
        past = Past(group.past.symbols.to(self.device), group.past.skip.to(self.device))
        with torch.autocast(self.device.type, torch.bfloat16), torch.set_grad_enabled(learns):
            result = forward(
                net, x, None if w is None else w.to(self.device), level, _code(level), past, self.settings.tune
            )
        if learns:
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            result.loss.mean().backward()  # type: ignore[no-untyped-call]
        row = {
            "loss": float(result.loss.detach().mean()), "psnr": float(-10 * torch.log10(result.mse).mean()),
            "bpp": float(result.bpp.mean()), "coded": float(result.coded.mean()),
            "rd": float((torch.exp2(level) * result.mse + result.bpp).mean()),
            "bad": float(not torch.isfinite(result.recon).all()), "seconds": self._lap(),
        }  # fmt: skip
        gradients = [p.grad for p in net.parameters() if p.grad is not None] if learns else []
        row = dict(zip(row, self.team.average(gradients, list(row.values())), strict=True))
        self.seconds += row.pop("seconds") * self.team.world
        bad = row.pop("bad")
        norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)) if learns else 0.0
        self.step += 1
        finite = math.isfinite(norm) and bad == 0
        if finite:
            if learns:
                for optimizer in self.optimizers:
                    optimizer.step()
            group.y, group.uv = to_references(result.recon)
            n = self.settings.crop // 16
            after_key = Past.zeros(self.settings.batch, self.model.inter.latent, n, n)
            group.past = after_key if net.intra else result.past
        else:
            self.groups[(self.step - 1) % len(self.groups)] = None
        self.window.append({"intra": float(net.intra), **row})
        return finite

    def _lap(self) -> float:
        """Seconds since the last call, by the first process's clock: the schedule goes by time, and has to be one."""
        before, self.clock = self.clock, time.monotonic()
        return self.clock - before if self.team.leads else 0.0

    def summary(self) -> dict[str, float]:
        """Means since the last call, predicted (`p_`) and intra (`i_`) apart."""
        out: dict[str, float] = {}
        for prefix, flag in (("i_", 1.0), ("p_", 0.0)):
            rows = [r for r in self.window if r["intra"] == flag and math.isfinite(r["loss"])]
            for key in ("loss", "psnr", "bpp", "coded", "rd"):
                if rows:
                    out[prefix + key] = round(sum(r[key] for r in rows) / len(rows), 5)
        self.window = []
        return out

    # --- state ---

    def _checkpoint(self) -> tuple[Tensors, dict[str, str]]:
        """Weights, all finite, and the metadata of a file that holds them."""
        weights = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        if not all(bool(torch.isfinite(v).all()) for v in weights.values()):
            raise FloatingPointError("weights are not finite; the last good checkpoint is kept")
        meta = {"step": str(self.step), "seconds": str(self.seconds), "config": self.settings.config.to_json()}
        return weights, meta

    def save(self, final: bool = False) -> None:
        """Weights to `out`, everything needed to go on to `work/state.safetensors`; the first process alone."""
        if not self.team.leads:
            return
        with uninterrupted():
            weights, meta = self._checkpoint()
            state = {f"model.{k}": v for k, v in weights.items()} | optimizer_tensors(self.optimizers)
            atomic_save(state, self.settings.work / "state.safetensors", meta)
            atomic_save({**weights, **build_tables(self.model)}, self.settings.out, {**meta, "final": str(final)})

    def calibrate(self, clips: list[CachedClip]) -> None:
        """Write `out` once more, with tables that were counted on footage; the first process alone."""
        if not self.team.leads:
            return
        model = wrap(self.model, build_tables(self.model))
        tables = build_tables(self.model, count_symbols(model, clips, self.settings.seed))
        weights, meta = self._checkpoint()
        atomic_save({**weights, **tables}, self.settings.out, {**meta, "final": "True"})

    def resume(self) -> bool:
        """Go on from the saved state, if there is one, with as many processes as there are now."""
        path = self.settings.work / "state.safetensors"
        found = self.team.shared(lambda: read_state(path, self.settings.config))
        if found is None:
            return False
        tensors, meta = found
        self._load({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimizers(self.optimizers, tensors)
        self.step, self.seconds = int(meta["step"]), float(meta["seconds"])
        self._seed(self.settings.seed + self.step)
        return True

    def _seed(self, seed: int) -> None:
        self.rng.seed(seed)
        self.levels.manual_seed(seed)
        torch.manual_seed(seed + 1_000_003 * self.team.rank)


def train(settings: TrainSettings, report: Report = lambda line: None) -> Path:
    """Train until `minutes` are used up; returns `settings.out`. `report` gets one dict per event; the same lines go to
    `work/log.jsonl`, one JSON object a line. Started by `torchrun`, the processes train together, and the first one
    writes and reports. Raises `UsageError` for unusable data, `MediaError` for data that is not there and if another
    process ended."""
    find_footage(settings.data)  # before anything is written
    if settings.init is not None and not settings.init.exists():
        with about(str(settings.init)):
            raise MediaError("no such file — check the name")
    with team() as others:
        if not others.leads:
            _train(settings, lambda line: None, others)
            return settings.out
        settings.work.mkdir(parents=True, exist_ok=True)
        with open(settings.work / "log.jsonl", "a", encoding="utf-8") as log:

            def tell(line: dict[str, Any]) -> None:
                log.write(json.dumps(line) + "\n")
                log.flush()
                report(line)

            _train(settings, tell, others)
    return settings.out


def _train(settings: TrainSettings, tell: Report, others: Team) -> None:
    threads = settings.threads or torch.get_num_threads()
    torch.set_num_threads(1)  # the cache is made of many small operations
    clips = others.in_turn(
        lambda: open_cache(
            settings.data, settings.work / "cache", settings.max_height, settings.max_frames, settings.seed,
            lambda message: tell({"event": "data", "message": message}),
        )
    )  # fmt: skip
    torch.set_num_threads(threads)
    same = replace(settings, data=(), out=Path(), work=Path(), init=None, threads=None)
    others.agree((same, [(c.name, c.y.shape) for c in clips]))
    together = {"processes": others.world} if others.world > 1 else {}
    tell({"event": "data", "clips": len(clips), "frames": sum(len(c.y) for c in clips), **together})
    trainer = Trainer(settings, clips, tell, others)
    if settings.resume and trainer.resume():
        tell({"event": "resumed", "step": trainer.step, "minutes": round(trainer.seconds / 60, 2)})
    budget = settings.minutes * 60
    saved = trainer.clock = time.monotonic()
    logged_step, dropped = trainer.step, 0
    try:
        while trainer.seconds < budget and (settings.max_steps is None or trainer.step < settings.max_steps):
            dropped += not trainer.train_step()
            if trainer.step % settings.log_every == 0:
                steps = trainer.step - logged_step
                logged_step = trainer.step
                tell(
                    {
                        "event": "step", "step": trainer.step, "minutes": round(trainer.seconds / 60, 2),
                        "minutes_left": round((budget - trainer.seconds) / 60, 1),
                        "steps_per_s": round(trainer.step / max(trainer.seconds, 1e-9), 3), "steps": steps,
                        "dropped": dropped, **trainer.summary(),
                    }
                )  # fmt: skip
            if time.monotonic() - saved > settings.save_every:
                trainer.save()
                saved = time.monotonic()
    finally:
        trainer.save(final=trainer.seconds >= budget)
    trainer.calibrate(clips)
    tell({"event": "done", "step": trainer.step, "minutes": round(trainer.seconds / 60, 2)})
