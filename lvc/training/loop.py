"""What training of key and of predicted frames shares: optimisers, a schedule by the clock, averaged weights, the
state file, the log, and small files to carry between machines.

A state file holds `model`, `opt`, `step`, `seconds`, `warm_from` and `ema`. A small file (`--export`) holds the
averaged weights in float16 as both `model` and `ema`, and no optimiser: measurements read it as it is, and a training
that starts from it raises its learning rate again.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..output import publish
from . import networks
from .board import Pane
from .optimizer import Muon

WARM_UP = 100  # steps


def optimizers(net: nn.Module, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    named = list(net.named_parameters())
    muon = [p for n, p in named if p.ndim == 4 and p.shape[2] == 1 and min(p.shape[:2]) > 1 and "linear" not in n]
    linear = [p for n, p in named if "linear" in n]
    gains = [p for n, p in named if "gain" in n or n.endswith(("hyper_scale", "base", "slope"))]
    critic = [p for n, p in named if n.startswith("critic")]
    taken = {id(p) for p in muon + linear + gains + critic}
    rest = [p for n, p in named if id(p) not in taken]
    adam = torch.optim.AdamW(
        [{"params": rest, "lr": adam_lr}, {"params": linear, "lr": adam_lr / 16}, {"params": gains, "lr": adam_lr * 3},
         {"params": critic, "lr": adam_lr / 3}],
        betas=(0.9, 0.95), weight_decay=0.0,
    )  # fmt: skip
    return [Muon(muon, muon_lr), adam]


def arguments(p: argparse.ArgumentParser, *, batch: int, muon: float, adam: float, decay_from: float) -> None:
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--batch", type=int, default=batch)
    p.add_argument("--crop", type=int, default=256)
    p.add_argument("--muon", type=float, default=muon)
    p.add_argument("--adam", type=float, default=adam)
    p.add_argument("--decay-from", type=float, default=decay_from)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--max-steps", type=int, help="the schedule goes by steps, not by minutes")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--device", default="cpu")
    p.add_argument("--compile", action="store_true", help="compile the residual blocks and the rate")
    p.add_argument("--resume", type=Path, nargs="*", default=[], help="state files beside OUT; the furthest is taken")
    p.add_argument("--until", type=float, help="the schedule's end, in seconds since 1970")
    p.add_argument("--report", type=float, help="seconds between lines, instead of 50 steps")
    p.add_argument("--save", type=float, default=180, help="seconds between saved states")
    p.add_argument("--repeatable", action="store_true", help="start crops again after every saved state (`anew`)")
    p.add_argument("--start", type=Path, help="a checkpoint whose weights are gone on from")
    p.add_argument("--quantised", type=Path, help="calibration: train with the engine's rounding")
    p.add_argument("--tune", default="psnr", choices=("psnr", "ssim"), help="what the networks are to be good at")
    p.add_argument("--export", type=Path, help="folder for small files, written with every state")


def prepare(net: nn.Module, a: argparse.Namespace) -> None:
    """Weights to go on from, and the engine's rounding, where they are asked for; before the optimisers are made."""
    if a.start is None and a.quantised is None:
        return
    from . import quantise

    if a.start is not None and not a.out.exists():
        quantise.load(net, a.start)
    if a.quantised is not None:
        quantise.apply(net, torch.load(a.quantised, weights_only=True))


def furthest(paths: list[Path]) -> dict[str, Any] | None:
    """The readable state file with the most steps."""
    best = None
    for path in paths:
        if path.exists():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # cut off during writing, for example: an older one will do
                print("left out", path, error, flush=True)
                continue
            if best is None or state["step"] > best["step"]:
                best = state
    return best


def compile_parts(net: nn.Module) -> None:
    """Blocks alone, since whole networks take minutes to compile. What fails to compile runs as it is."""
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = 64
    for module in net.modules():
        if isinstance(module, networks.Block):
            module.compile(dynamic=False)
    networks.gaussian_bits = torch.compile(networks.gaussian_bits, dynamic=False)


class Training:
    def __init__(self, net: nn.Module, a: argparse.Namespace) -> None:
        if a.export is not None and a.export.resolve() == a.out.resolve().parent:
            raise SystemExit("--export: choose another folder than the state's, whose .flat.pt is the full one")
        torch.set_num_threads(a.threads)
        self.a, self.device = a, torch.device(a.device)
        self.tell: Callable[[dict[str, Any]], object] = getattr(a, "tell", None) or _printed
        self.pane: Pane | None = getattr(a, "pane", None)
        torch.backends.cudnn.benchmark = True
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.opts = optimizers(net, a.muon, a.adam)
        self.rates = [[g["lr"] for g in o.param_groups] for o in self.opts]
        self.step, self.seconds, self.warm_from = 0, 0.0, 0
        self.ema: dict[str, torch.Tensor] | None = None
        state = furthest([a.out, *a.resume])
        self.resumed = state is not None
        if state is not None:
            net.load_state_dict(state["model"])
            self.step, self.seconds = state["step"], state["seconds"]
            if state["ema"]:
                self.ema = {k: v.to(self.device, torch.float32) for k, v in state["ema"].items()}
            if state.get("opt"):
                for o, s in zip(self.opts, state["opt"], strict=True):
                    o.load_state_dict(s)
            else:
                self.warm_from = self.step
            self.warm_from = state.get("warm_from", self.warm_from)
        self.flat = self.fraction() <= a.decay_from
        """Whether the learning rate has not begun to fall."""
        self.fresh = True
        if a.compile:
            compile_parts(net)
        self.window: list[tuple[tuple[float, ...], torch.Tensor]] = []
        self.saved = self.clock = self.reported = time.monotonic()
        self.log = a.out.with_suffix(".log.jsonl")
        self.log.touch()
        self.tell({"parameters": sum(q.numel() for q in net.parameters()), "from_step": self.step})

    def fraction(self) -> float:
        """Of the schedule."""
        if self.a.until is None and self.a.max_steps is not None:
            return self.step / self.a.max_steps  # type: ignore[no-any-return]
        length = max(self.a.minutes * 60, 1e-9)
        return self.seconds / length if self.a.until is None else 1 - (self.a.until - time.time()) / length  # type: ignore[no-any-return]

    def running(self) -> bool:
        """Whether there is another step; sets its learning rates."""
        fraction, decay = self.fraction(), self.a.decay_from
        if self.flat and fraction > decay:
            self.save()
            self.flat = False
        if fraction >= 1 or (self.a.max_steps is not None and self.step >= self.a.max_steps):
            return False
        factor = min(1.0, (self.step - self.warm_from + 1) / WARM_UP)
        factor *= 1 - 0.98 * max(0.0, (fraction - decay) / (1 - decay))
        for o, rates in zip(self.opts, self.rates, strict=True):
            for g, rate in zip(o.param_groups, rates, strict=True):
                g["lr"] = rate * factor
        return True

    def anew(self) -> bool:
        """Whether random numbers start again from the seed and the step: at the start and, with `--repeatable`, after
        every saved state. A training that was killed then makes the same steps again, with everything else that
        does."""
        if not self.fresh:
            return False
        self.fresh = False
        torch.manual_seed(self.a.seed + self.step)
        return True

    def minutes_left(self) -> float:
        if self.a.until is not None:
            return (self.a.until - time.time()) / 60  # type: ignore[no-any-return]
        if self.a.max_steps is None:
            return self.a.minutes - self.seconds / 60  # type: ignore[no-any-return]
        return self.seconds / 60 * (self.a.max_steps / self.step - 1) if self.step else 0.0

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)

    def apply(self, loss: torch.Tensor) -> float:
        """A step of the optimisers, left out where gradients are not finite. Returns their norm."""
        for o in self.opts:
            o.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), 1.0))
        self.step += 1
        if math.isfinite(norm):
            for o in self.opts:
                o.step()
            with torch.no_grad():
                if self.ema is None:
                    self.ema = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
                elif self.step % 10 == 0:  # about 500 steps
                    mine = self.net.state_dict()
                    torch._foreach_lerp_(list(self.ema.values()), [mine[k] for k in self.ema], 0.02)
        return norm

    def note(self, known: tuple[float, ...], figures: list[torch.Tensor]) -> list[tuple[float, ...]] | None:
        """Count a step and its figures, those of the device unread. When a line is due: the figures since the last."""
        self.window.append((known, torch.stack(figures).detach()))
        now = time.monotonic()
        self.seconds += now - self.clock
        self.clock = now
        if now - self.saved > self.a.save:
            self.save()
        due = self.step % 50 == 0 if self.a.report is None else now - self.reported >= self.a.report
        return [(*k, *f.tolist()) for k, f in self.window] if due else None

    def showing(self) -> bool:
        """Whether it is time for pictures; shows the gradients."""
        if self.pane is None or not self.pane.due():
            return False
        self.pane.gradients(self.step, self.net)
        return True

    def line(self, figures: dict[str, Any]) -> None:
        now = time.monotonic()
        pace = len(self.window) * self.a.batch * self.a.crop**2 / 1e6 / (now - self.reported)
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2), **figures, "mpixels": round(pace, 3)}
        line["minutes_left"] = round(max(self.minutes_left(), 0.0), 2)
        self.tell(line)
        with open(self.log, "a", encoding="ascii") as log:
            log.write(json.dumps(line) + "\n")
        self.window, self.reported = [], now

    def save(self) -> None:
        """The state; before the learning rate falls also as .flat.pt, to go on from."""
        self.saved = time.monotonic()
        self.fresh = self.a.repeatable
        state = {
            "model": self.net.state_dict(), "opt": [o.state_dict() for o in self.opts], "step": self.step,
            "seconds": self.seconds, "warm_from": self.warm_from, "ema": self.ema,
        }  # fmt: skip
        for name in [self.a.out, self.a.out.with_suffix(".flat.pt")] if self.flat else [self.a.out]:
            write(state, name)
        if self.a.export is None or self.ema is None:
            return
        for part in ("flat", "result") if self.flat else ("result",):
            write(small(self.ema, self.step), self.a.export / f"{self.a.out.stem}.{part}.pt")
        shutil.copyfile(self.log, self.a.export / self.log.name)


def _printed(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def small(weights: dict[str, torch.Tensor], step: int) -> dict[str, Any]:
    """A state without optimiser: a sixth of a full one's size."""
    half = {k: v.detach().to("cpu", torch.float16) for k, v in weights.items()}
    return {"model": half, "ema": half, "opt": None, "step": step, "seconds": 0.0}


def steps_of(path: Path) -> int:
    """Of a state file."""
    return int(torch.load(path, map_location="cpu", weights_only=True)["step"])


def write(state: Mapping[str, Any], path: Path) -> None:
    """What `torch.save` writes, whole or not at all."""
    with publish(str(path), force=True) as unfinished:
        torch.save(state, unfinished)
