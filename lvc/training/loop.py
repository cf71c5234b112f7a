"""The training loop of `lvc train`.

Groups of streams move through footage frame by frame on their own 8-bit reconstructions, as the encoder does: an
intra step, then predicted frames, each trained on its own (no gradient crosses frames; the level of the intra frame
is raised instead). One step is one batch of one group. State is saved every few minutes and after the last step; a
step whose gradient is not finite is dropped, and nothing that is not finite is ever saved.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..codec.compensate import compensate
from ..errors import UnsupportedError, UsageError
from ..models.config import LEVEL_MAX, LEVEL_MIN
from ..models.load import TABLE_PREFIX, wrap
from ..models.network import Codec, FrameCodec, from_patches, to_patches
from .data import CachedClip, open_cache, stream
from .forward import Past, forward
from .optimizer import Muon
from .settings import TrainSettings
from .start import blocks, pca_start
from .tables import build_tables, count_symbols

INTRA_RAISE = (0.5, 4.0)
"""How much higher a key frame's level may be than the predicted frames' after it; the encoder goes by what moves."""
INTRA_EVERY = 3
"""One step in so many is intra frames alone: one in eight left key frames 1 dB behind one in three (decision 004)."""
BASE_LEVELS = (7.0, 15.0)
Report = Callable[[dict[str, Any]], None]


def to_samples(y: np.ndarray, uv: np.ndarray) -> torch.Tensor:
    """uint8 [B,H,W], [B,2,H/2,W/2] → patches float32 around 0."""
    return to_patches(torch.from_numpy(y)[:, None].float() / 255 - 0.5, torch.from_numpy(uv).float() / 255 - 0.5)


def to_bytes(patches: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    y, uv = from_patches((patches + 0.5).mul(255).round().clamp(0, 255).to(torch.uint8))
    return y[:, 0].contiguous().numpy(), uv.contiguous().numpy()


@dataclass
class Group:
    """A batch of streams in step. `base` are their levels; y, uv their last reconstruction."""

    streams: list[Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]
    base: torch.Tensor
    left: int
    y: np.ndarray
    uv: np.ndarray
    past: Past


class Sampler:
    """Draws streams; a clip's weight is the square root of its samples."""

    def __init__(self, clips: list[CachedClip], settings: TrainSettings, rng: random.Random) -> None:
        self.clips = [c for c in clips if min(c.y.shape[1:]) >= settings.crop]
        if not self.clips:
            raise UsageError(f"no clip is at least {settings.crop} samples wide and high — lower --crop or add data")
        self.weights = np.cumsum([math.sqrt(c.y.size) for c in self.clips]).tolist()
        self.settings, self.rng = settings, rng

    def streams(self, length: int) -> list[Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        shortest = min(length, max(len(c.y) for c in self.clips))
        out: list[Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]] = []
        while len(out) < self.settings.batch:
            clip = self.rng.choices(self.clips, cum_weights=self.weights)[0]
            if len(clip.y) >= shortest:
                out.append(stream(clip, self.settings.crop, length, self.rng))
        return out


def _next(
    streams: list[Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    items = [next(s, None) for s in streams]
    if any(i is None for i in items):
        return None
    return tuple(np.stack([i[k] for i in items if i is not None]) for k in range(3))  # type: ignore[return-value]


def _code(level: torch.Tensor) -> torch.Tensor:
    return torch.round((level - LEVEL_MIN) / (LEVEL_MAX - LEVEL_MIN) * 10000)


class Trainer:
    """Everything that changes during training, and how it is saved."""

    def __init__(self, settings: TrainSettings, clips: list[CachedClip], report: Report) -> None:
        self.settings, self.report = settings, report
        torch.manual_seed(settings.seed)
        self.rng = random.Random(settings.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.sampler = Sampler(clips, settings, self.rng)
        self.model = Codec(settings.config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.seconds = 0, 0.0
        if settings.init is not None:
            self._load_weights(settings.init)
        else:
            self._pca()
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

    def _pca(self) -> None:
        intra, inter = [], []
        for _ in range(16):
            s = self.sampler.streams(3)
            before = _next(s)
            after = _next(s)
            if before is None or after is None:
                continue
            x = to_samples(after[0], after[1])
            wy, wuv = compensate(before[0], before[1], np.ascontiguousarray(after[2]))
            intra.append(blocks(x))
            inter.append(blocks(x - to_samples(wy, wuv)))
        for net, rows in ((self.model.intra, intra), (self.model.inter, inter)):
            kept = pca_start(net, torch.cat(rows))
            self.report({"event": "pca", "intra": net.intra, "variance_kept": round(kept, 5)})

    def _load_weights(self, path: Path) -> None:
        try:
            tensors = load_file(path)
            self.model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(TABLE_PREFIX)})
        except (SafetensorError, RuntimeError, OSError) as e:
            raise UnsupportedError(
                f"{path.name} does not fit this model ({str(e)[:80]}) — use a checkpoint of this lvc"
            ) from e

    # --- one step ---

    def _advance(self, index: int) -> tuple[Group, FrameCodec, torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Move a group one frame on: (group, net, x, w or None, level)."""
        part = self.settings.part
        if part == "intra" or (part == "both" and self.step % INTRA_EVERY == INTRA_EVERY - 1):
            return self._intra_only()
        group = self.groups[index]
        frame = _next(group.streams) if group is not None and group.left > 0 else None
        if group is not None and frame is not None:
            group.left -= 1
            wy, wuv = compensate(group.y, group.uv, np.ascontiguousarray(frame[2]))
            jitter = torch.empty(len(group.base)).uniform_(-1.0, 1.0)
            level = (group.base + jitter).clamp(LEVEL_MIN, LEVEL_MAX)
            return group, self.model.inter, to_samples(frame[0], frame[1]), to_samples(wy, wuv), level
        length = self.rng.randint(3, max(3, self.settings.chain))
        group, frame, level = self._fresh(length)
        self.groups[index] = group
        return group, self.model.intra, to_samples(frame[0], frame[1]), None, level

    def _fresh(self, length: int) -> tuple[Group, tuple[np.ndarray, np.ndarray, np.ndarray], torch.Tensor]:
        """A new group at its key frame: (group, that frame, its levels)."""
        while True:
            streams = self.sampler.streams(length)
            frame = _next(streams)
            if frame is not None:
                break
        base = torch.empty(self.settings.batch).uniform_(*BASE_LEVELS)
        level = (base + torch.empty_like(base).uniform_(*INTRA_RAISE)).clamp(LEVEL_MIN, LEVEL_MAX)
        n = self.settings.crop // 16
        past = Past.zeros(self.settings.batch, self.settings.config.latent, n, n)
        return Group(streams, base, length, frame[0], frame[1], past), frame, level

    def _intra_only(self) -> tuple[Group, FrameCodec, torch.Tensor, torch.Tensor | None, torch.Tensor]:
        group, frame, level = self._fresh(1)
        return group, self.model.intra, to_samples(frame[0], frame[1]), None, level

    def train_step(self) -> bool:
        """One batch. False if the gradient was not finite and the step was dropped."""
        fraction = self.seconds / (self.settings.minutes * 60)
        factor = min(1.0, (self.step + 1) / 100)
        factor *= 1 - 0.98 * max(0.0, (fraction - self.settings.decay_from) / (1 - self.settings.decay_from))
        for optimizer, base in zip(self.optimizers, self.base_lr, strict=True):
            for g, lr in zip(optimizer.param_groups, base, strict=True):
                g["lr"] = lr * max(factor, 0.0)
        group, net, x, w, level = self._advance(self.step % len(self.groups))
        learns = self.settings.part in ("both", "intra" if net.intra else "inter")
        with torch.autocast(self.device.type, torch.bfloat16), torch.set_grad_enabled(learns):
            result = forward(net, x, w, level, _code(level), group.past)
        norm = 0.0
        if learns:
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            result.loss.mean().backward()  # type: ignore[no-untyped-call]
            norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0))
        self.step += 1
        finite = math.isfinite(norm) and bool(torch.isfinite(result.recon).all())
        if finite:
            if learns:
                for optimizer in self.optimizers:
                    optimizer.step()
            group.y, group.uv = to_bytes(result.recon)
            zeros = Past(torch.zeros_like(result.past.symbols), torch.zeros_like(result.past.skip))
            group.past = zeros if net.intra else result.past
        else:
            self.groups[(self.step - 1) % len(self.groups)] = None
        self.window.append(
            {
                "intra": float(net.intra), "loss": float(result.loss.detach().mean()),
                "psnr": float(-10 * torch.log10(result.mse).mean()), "bpp": float(result.bpp.mean()),
                "coded": float(result.coded.mean()), "rd": float((torch.exp2(level) * result.mse + result.bpp).mean()),
            }
        )  # fmt: skip
        return finite

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

    def _checkpoint(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Weights, all finite, and the metadata of a file that holds them."""
        weights = {k: v.detach().contiguous() for k, v in self.model.state_dict().items()}
        if not all(bool(torch.isfinite(v).all()) for v in weights.values()):
            raise FloatingPointError("weights are not finite; the last good checkpoint is kept")
        meta = {"step": str(self.step), "seconds": str(self.seconds), "config": self.settings.config.to_json()}
        return weights, meta

    def save(self, final: bool = False) -> None:
        """Weights to `out`, everything needed to go on to `work/state.safetensors`; both through a rename."""
        weights, meta = self._checkpoint()
        state = {f"model.{k}": v for k, v in weights.items()}
        for i, optimizer in enumerate(self.optimizers):
            for j, slots in optimizer.state_dict()["state"].items():
                for key, value in slots.items():
                    state[f"optimizer.{i}.{j}.{key}"] = torch.as_tensor(value).detach().contiguous().clone()
        atomic_save(state, self.settings.work / "state.safetensors", meta)
        atomic_save({**weights, **build_tables(self.model)}, self.settings.out, {**meta, "final": str(final)})

    def calibrate(self, clips: list[CachedClip]) -> None:
        """Write `out` once more, with tables that were counted on footage."""
        model = wrap(self.model, build_tables(self.model))
        tables = build_tables(self.model, count_symbols(model, clips, self.settings.seed))
        weights, meta = self._checkpoint()
        atomic_save({**weights, **tables}, self.settings.out, {**meta, "final": "True"})

    def resume(self) -> bool:
        path = self.settings.work / "state.safetensors"
        if not path.exists():
            return False
        try:
            with safe_open(path, "pt") as f:
                meta = f.metadata() or {}
        except SafetensorError as e:
            raise UsageError(f"the saved state {path.name} is damaged — use another --work or --no-resume") from e
        if meta.get("config") != self.settings.config.to_json():
            raise UsageError("the saved state is of another model configuration — use another --work or --no-resume")
        tensors = load_file(path)
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        for i, optimizer in enumerate(self.optimizers):
            template = optimizer.state_dict()
            slots: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimizer.{i}."):
                    _, _, j, key = name.split(".", 3)
                    slots.setdefault(int(j), {})[key] = value
            template["state"] = slots
            optimizer.load_state_dict(template)
        self.step, self.seconds = int(meta["step"]), float(meta["seconds"])
        self.rng.seed(self.settings.seed + self.step)
        torch.manual_seed(self.settings.seed + self.step)
        return True


def atomic_save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata)
    os.replace(part, path)


def train(settings: TrainSettings, report: Report = lambda line: None) -> Path:
    """Train until `minutes` are used up; returns `settings.out`. `report` gets one dict per event; the same lines go to
    `work/log.jsonl`, one JSON object a line. Raises `UsageError` for unusable data."""
    settings.work.mkdir(parents=True, exist_ok=True)
    threads = settings.threads or torch.get_num_threads()
    torch.set_num_threads(1)  # the cache is made of many small operations
    with open(settings.work / "log.jsonl", "a", encoding="utf-8") as log:

        def tell(line: dict[str, Any]) -> None:
            log.write(json.dumps(line) + "\n")
            log.flush()
            report(line)

        clips = open_cache(
            settings.data, settings.work / "cache", settings.max_height, settings.max_frames, settings.seed,
            lambda message: tell({"event": "data", "message": message}),
        )  # fmt: skip
        torch.set_num_threads(threads)
        tell({"event": "data", "clips": len(clips), "frames": sum(len(c.y) for c in clips)})
        trainer = Trainer(settings, clips, tell)
        if settings.resume and trainer.resume():
            tell({"event": "resumed", "step": trainer.step, "minutes": round(trainer.seconds / 60, 2)})
        budget = settings.minutes * 60
        saved = last = time.monotonic()
        logged_step, dropped = trainer.step, 0
        try:
            while trainer.seconds < budget and (settings.max_steps is None or trainer.step < settings.max_steps):
                dropped += not trainer.train_step()
                now = time.monotonic()
                trainer.seconds += now - last
                last = now
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
                if now - saved > settings.save_every:
                    trainer.save()
                    saved = now
        finally:
            trainer.save(final=trainer.seconds >= budget)
        trainer.calibrate(clips)
        tell({"event": "done", "step": trainer.step, "minutes": round(trainer.seconds / 60, 2)})
    return settings.out
