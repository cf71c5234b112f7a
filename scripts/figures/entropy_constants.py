#!/usr/bin/env python3
"""Fits the learned constants of packing `rans`, lvc/entropy/rans.json, to the flags and motion of files.

    scripts/figures/entropy_constants.py FILE.lvz ... [--out lvc/entropy/rans.json]

Files of any packing that `lvc` decodes, made from training footage at several qualities. Weights of features are
fitted by logistic regression, rows by counting what is written with them, first with rows that know nothing. Changing
the constants changes the format: every file has to be written anew.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from bits_split import gops_of

from lvc.entropy import adaptive, fields, flags
from lvc.entropy.clip import FrameLatents
from lvc.entropy.coder import Coding, Encoder
from lvc.entropy.fields import CANDIDATES, MAGNITUDES, MotionCoder
from lvc.entropy.flags import FlagCoder

FEATURES = {
    "skip": {"frame": 13, "around": 12, "pass": 5},
    "copy": {"frame": 15, "around": 12, "pass": 5},
    "same": {"frame": 6, "pass": 8, "bias": 6},
    "split": {"frame": 14},
}
GROUPS = {"skip": 4, "copy": 4, "same": 2, "split": 2}
ROWS = {
    "moving": (2, 2),
    "top": (3, 2),
    "candidate": (32, 2 * CANDIDATES),
    "quarter": (12, 2 * CANDIDATES),
    "dx": (16, MAGNITUDES),
    "dy": (64, MAGNITUDES),
}
WORTH = {"moving": 2, "top": 2, **dict.fromkeys(GROUPS, 24)}
"""Symbols that the learned start of a row is worth; 12 for the others."""

Gops = Sequence[Sequence[FrameLatents]]


class Features(np.ndarray):
    """Features instead of their sum: the last axis; + puts them side by side, an integer being one more."""

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Features):
            other = np.full((*self.shape[:-1], 1), other).view(Features)
        return np.concatenate([self, other], -1).view(Features)


def features(weights: Sequence[int], parts: Sequence[Any]) -> Features:
    shape = np.broadcast_shapes(*[np.shape(p) for p in parts])
    return np.stack([np.broadcast_to(np.asarray(p, np.int32), shape) for p in parts], -1).view(Features)


def walk(gops: Gops) -> None:
    """Code the flags and motion of all frames for the sake of what the coders are asked on the way."""
    for gop in gops:
        coders: tuple[FlagCoder, MotionCoder] | None = None
        for frame in gop:
            if frame.kind == 0:
                coders = None
                continue
            planes = frame.planes
            if coders is None:
                coders = FlagCoder(*planes["skip"].shape[1:]), MotionCoder(*planes["skip"].shape[1:])
            coding = Coding(Encoder())
            skip, copy = coders[0].code(coding, planes["skip"], planes["copy"])
            coders[1].code(coding, planes["motion"], skip, copy)
            coders[0].learn(planes["latent"], coders[1].changed)


def regression(x: np.ndarray, y: np.ndarray, steps: int = 2000) -> np.ndarray:
    """Weights of features [n,F] for flags [n], in 64ths of log odds."""
    spread = np.maximum(x.std(0), 1e-3)
    wide, wanted = torch.from_numpy((x / spread).astype(np.float32)), torch.from_numpy(y.astype(np.float32))
    torch.manual_seed(0)
    weight = torch.zeros(x.shape[1], requires_grad=True)
    optimiser = torch.optim.AdamW([weight], 2e-2, weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-2, total_steps=steps)
    for _ in range(steps):
        pick = torch.randint(len(wide), (2048,))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(wide[pick] @ weight, wanted[pick])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        plan.step()
    found: np.ndarray = np.round(weight.detach().numpy() / spread * 64).astype(int)
    return found


def blank() -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name, parts in FEATURES.items():
        known[name] = {part: [0] * count for part, count in parts.items()}
        known[name]["rows"] = [[8, 8]] * (GROUPS[name] * adaptive.CLASSES)
    for name, (contexts, symbols) in ROWS.items():
        known[name] = [[8] * symbols] * contexts
    return known


def fit_weights(known: dict[str, Any], gops: Gops) -> None:
    seen: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    names = {id(known[name]["rows"]): name for name in FEATURES}
    start = adaptive.Rows.__init__
    whose: dict[int, str] = {}
    kept: list[Any] = []

    def begin(self: Any, rows: Any) -> None:
        start(self, rows)
        whose[id(self)] = names.get(id(rows), "")
        kept.append(self)

    def collect(self: Any, coding: Coding, want: Any, scores: Any, group: Any = 0) -> np.ndarray:
        seen.setdefault(whose[id(self)], []).append((np.asarray(scores), want))  # type: ignore[arg-type]
        return np.asarray(want, np.int64)

    # a bias stands for itself: its number
    numbered = {"skip": "pass", "copy": "pass", "same": "bias"}
    for name, part in numbered.items():
        known[name][part] = list(range(len(known[name][part])))
    with (
        patch.object(adaptive, "learned", lambda: known), patch.object(flags, "learned", lambda: known),
        patch.object(fields, "learned", lambda: known), patch.object(flags, "score", features),
        patch.object(fields, "score", features), patch.object(adaptive.Rows, "__init__", begin),
        patch.object(adaptive.Scored, "code_flags", collect),
    ):  # fmt: skip
        walk(gops)
    for name, parts in FEATURES.items():
        x, y = (np.concatenate([s[i] for s in seen[name]]) for i in (0, 1))  # type: ignore[index]
        if name in numbered:
            x = np.concatenate([x[:, :-1], x[:, -1:] == np.arange(parts[numbered[name]])], -1)
        found, at = regression(x.astype(np.float64), y).tolist(), 0
        for part, count in parts.items():
            known[name][part] = found[at : at + count]
            at += count


def fit_rows(known: dict[str, Any], gops: Gops) -> None:
    counted: dict[str, np.ndarray] = {}
    names = {id(known[n]["rows"] if n in GROUPS else known[n]): n for n in (*GROUPS, *ROWS)}
    start, count = adaptive.Rows.__init__, adaptive.Rows.count
    whose: dict[int, str] = {}
    kept: list[Any] = []

    def begin(self: Any, rows: Any) -> None:
        start(self, rows)
        whose[id(self)] = names[id(rows)]
        kept.append(self)

    def counting(self: Any, contexts: np.ndarray, symbols: np.ndarray) -> None:
        name, shape = whose[id(self)], self.counts.shape
        found = np.bincount(contexts * shape[1] + symbols, minlength=self.counts.size).reshape(shape)
        counted[name] = counted.get(name, 0) + found
        count(self, contexts, symbols)

    with (
        patch.object(adaptive, "learned", lambda: known), patch.object(flags, "learned", lambda: known),
        patch.object(fields, "learned", lambda: known), patch.object(adaptive.Rows, "__init__", begin),
        patch.object(adaptive.Rows, "count", counting),
    ):  # fmt: skip
        walk(gops)
    for name, found in counted.items():
        worth = 16 * WORTH.get(name, 12)
        # a rare context leans on its class, or on the others
        lean = np.array(known[name]["rows"]) / 384 if name in GROUPS else found.sum(0) / found.sum()
        shares = found + 0.1 + 3 * lean
        rows = np.maximum(np.round(shares / shares.sum(1, keepdims=True) * worth), 1).astype(int).tolist()
        if name in GROUPS:
            known[name]["rows"] = rows
        else:
            known[name] = rows


def classes(known: dict[str, Any]) -> None:
    """Rows of flags that say what their class says, until they are counted."""
    for name, groups in GROUPS.items():
        odds = [math.exp((c + 0.5 - adaptive.CLASSES / 2) / 2) for c in range(adaptive.CLASSES)]
        known[name]["rows"] = [[max(1, round(384 / (1 + o))), max(1, round(384 * o / (1 + o)))] for o in odds] * groups


def fit(gops: Gops) -> dict[str, Any]:
    known = blank()
    fit_weights(known, gops)
    classes(known)
    for _ in range(2):
        fit_rows(known, gops)
    return known


def text(known: dict[str, Any]) -> str:
    """JSON with a list of numbers a line."""
    lines = json.dumps(known, indent=1)
    out: list[str] = []
    depth = 0
    for line in lines.splitlines():
        bare = line.strip()
        number = bare.rstrip(",").lstrip("-").isdigit()
        if number or (depth and bare in ("]", "],")):
            out[-1] += bare + (" " if number and bare.endswith(",") else "")
            depth = 0 if bare.startswith("]") else 1
        else:
            out.append(bare)
            depth = 0
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path(adaptive.__file__).with_name("rans.json"))
    args = parser.parse_args()
    gops: Iterable[Sequence[FrameLatents]] = [gop for path in args.files for gop in gops_of(path)]
    args.out.write_text(text(fit(list(gops))), encoding="ascii")


if __name__ == "__main__":
    main()
