"""The integer tables that ship with a model: Gaussian rows per index, drawn to what was counted on footage."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..codec.control import LARGEST_RAISE, Constant
from ..codec.frames import FrameEncoder
from ..codec.motion_decision import MotionDecision
from ..codec.scales import Scales
from ..codec.settings import EFFORTS, EncodeSettings
from ..entropy.clip import KIND_KEY, KIND_PREDICTED, FrameLatents, Geometry
from ..entropy.coder import Encoder, IntArray
from ..entropy.rans import HYPER, HYPER_LIMIT, SKIP, GopCoder, hyper_places
from ..models.config import code_to_level
from ..models.integer import TABLES
from ..models.load import TABLE_PREFIX, Model
from ..models.network import SIGMA_MIN, SIGMA_RATE, Codec
from .data import CachedClip

TOTAL = 1 << 20
MAX_REACH = 255
LATENT_PRIOR, HYPER_PRIOR = 2000, 500
"""What the Gaussian rows are worth, in symbols, beside the counted ones."""

Counts = dict[tuple[str, int, int], np.ndarray]
"""(`latent`, 0, index) or (`hyper`, kind, channel) → how often each symbol of the table was written."""


def _gaussian(sigma: float, reach: int) -> np.ndarray:
    """Probabilities of -reach..reach, then of anything farther (two-sided)."""
    edges = (np.arange(-reach, reach + 2) - 0.5) / sigma
    cdf = torch.special.ndtr(torch.from_numpy(edges)).numpy()
    return np.append(np.diff(cdf), max(2 * float(cdf[0]), 1e-7))


def integer_row(p: np.ndarray) -> np.ndarray:
    """Probabilities → integer weights, at least 1 each, about `TOTAL` in sum."""
    weights: np.ndarray = np.maximum(np.round(p / p.sum() * TOTAL), 1).astype(np.int32)
    return weights


def build_tables(codec: Codec, counts: Counts | None = None) -> dict[str, torch.Tensor]:
    """The tensors `tables.*` of a checkpoint. Without `counts` every row is Gaussian."""
    seen = counts or {}
    reach = np.zeros(TABLES, np.int32)
    rows = np.zeros((TABLES, 2 * MAX_REACH + 2), np.int32)
    for i in range(TABLES):
        sigma = SIGMA_MIN * math.exp(SIGMA_RATE * i)
        reach[i] = min(MAX_REACH, max(2, math.ceil(6 * sigma)))
        p = _gaussian(sigma, int(reach[i])) * LATENT_PRIOR
        found = seen.get(("latent", 0, i))
        if found is not None:
            p[:-1] += (found[:-1] + found[-2::-1]) / 2  # symmetric
            p[-1] += found[-1]
        rows[i, : len(p)] = integer_row(p)
    hyper = np.zeros((2, codec.config.hyper, 2 * HYPER_LIMIT + 1), np.int32)
    for kind in range(2):
        for c, log_sigma in enumerate(codec.of(kind).hyper_scale.detach().tolist()):
            p = (_gaussian(math.exp(min(max(log_sigma, -3), 5)), HYPER_LIMIT)[:-1] + 1e-6) * HYPER_PRIOR
            hyper[kind, c] = integer_row(p + seen.get(("hyper", kind, c), 0))
    tables = {"latent": rows, "reach": reach, "hyper": hyper}
    return {TABLE_PREFIX + k: torch.from_numpy(v) for k, v in tables.items()}


class _Counter(Encoder):
    """Counts what is written with each of the model's tables instead of writing it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._names: dict[int, tuple[str, int, int]] = {}
        self._sizes: dict[tuple[str, int, int], int] = {}
        for i, table in enumerate(model.tables.latent):
            if table is not None:
                self._name(table, ("latent", 0, i), 2 * int(model.tables.reach[i]) + 2)
        for c, table in enumerate(model.tables.hyper):
            self._name(table, ("hyper", KIND_KEY, c), 2 * HYPER_LIMIT + 1)
        self.counts: Counts = {}

    def _name(self, table: Any, name: tuple[str, int, int], size: int) -> None:
        self._names[id(table)], self._sizes[name] = name, size

    def put(self, symbols: IntArray, table: Any, *each: IntArray) -> None:
        name = self._names.get(id(table))
        if name is not None and symbols.size:
            found = np.bincount(symbols.reshape(-1), minlength=self._sizes[name])
            self.counts[name] = self.counts.get(name, 0) + found

    def count_hyper(self, frame: FrameLatents) -> None:
        """Those of a predicted frame, whose tables are not the model's but start from them."""
        hyper = frame.planes[HYPER]
        places = hyper_places(frame.planes[SKIP][0], *hyper.shape[1:])
        for c, values in enumerate(hyper):
            found = np.bincount(values[places] + HYPER_LIMIT, minlength=2 * HYPER_LIMIT + 1)
            name = ("hyper", KIND_PREDICTED, c)
            self.counts[name] = self.counts.get(name, 0) + found


def count_symbols(
    model: Model, clips: Sequence[CachedClip], seed: int = 0, frames: int = 10, draws: int = 120
) -> Counts:
    """Code short stretches of training footage at random qualities and count the symbols written with each table."""
    rng = random.Random(seed)
    counter = _Counter(model)
    for _ in range(draws):
        clip = rng.choice(clips)
        height, width = clip.y.shape[1:]
        geometry = Geometry(width, height, 16, model.planes)
        settings = EncodeSettings(quality=rng.uniform(0, 100))
        control, raised = Constant(settings), rng.uniform(0, LARGEST_RAISE)
        first = rng.randrange(max(1, len(clip.y) - frames))
        encoder, decision = FrameEncoder(model, height, width, EFFORTS[settings.effort]), MotionDecision(height, width)
        coder = GopCoder(geometry, Scales(model), model.tables)
        latents: list[FrameLatents] = []
        for i in range(min(frames, len(clip.y) - first)):
            planes = (np.array(clip.y[first + i]), np.array(clip.uv[first + i]))  # copies: torch wants to own them
            quality, motion = control.code(0.0 if i else raised), None
            if i and encoder.recon is not None:
                motion = decision.decide(encoder.recon[0], planes[0], clip.motion[0, first + i], code_to_level(quality))
                decision.coded(motion)
            latents.append(encoder.encode(planes, quality, motion))
        coder.write(latents, counter)
        for frame in latents:
            if frame.kind == KIND_PREDICTED:
                counter.count_hyper(frame)
    return counter.counts
