"""The integer tables that ship with a model: Gaussian rows per index, blended with what was counted on footage."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..entropy.rans import HYPER_LIMIT
from ..models.integer import TABLES
from ..models.load import TABLE_PREFIX
from ..models.network import SIGMA_MIN, SIGMA_RATE, Codec

TOTAL = 1 << 20
MAX_REACH = 255


def _gaussian(sigma: float, reach: int) -> np.ndarray:
    """Probabilities of -reach..reach, then of anything farther (two-sided)."""
    edges = (np.arange(-reach, reach + 2) - 0.5) / sigma
    cdf = torch.special.ndtr(torch.from_numpy(edges)).numpy()
    return np.append(np.diff(cdf), max(2 * float(cdf[0]), 1e-7))


def integer_row(p: np.ndarray) -> np.ndarray:
    """Probabilities → integer weights, at least 1 each, about `TOTAL` in sum."""
    weights: np.ndarray = np.maximum(np.round(p / p.sum() * TOTAL), 1).astype(np.int32)
    return weights


def build_tables(
    codec: Codec, counts: np.ndarray | None = None, hyper_counts: np.ndarray | None = None
) -> dict[str, torch.Tensor]:
    """`counts` [64, 2·255+2]: how often -255..255 and farther occurred at each index; `hyper_counts` [2,Z,63].
    Rows without counts are Gaussian; counted ones are drawn to them by a prior worth 2000 symbols."""
    reach = np.zeros(TABLES, np.int32)
    rows = np.zeros((TABLES, 2 * MAX_REACH + 2), np.int32)
    for i in range(TABLES):
        sigma = SIGMA_MIN * math.exp(SIGMA_RATE * i)
        reach[i] = min(MAX_REACH, max(2, math.ceil(6 * sigma)))
        p = _gaussian(sigma, int(reach[i]))
        if counts is not None:
            low, high = MAX_REACH - int(reach[i]), MAX_REACH + int(reach[i])
            seen = np.append(counts[i, low : high + 1], counts[i].sum() - counts[i, low : high + 1].sum())
            seen[:-1] = (seen[:-1] + seen[-2::-1]) / 2  # symmetric
            p = p * 2000 + seen
        rows[i, : len(p)] = integer_row(p)
    hyper = np.zeros((2, codec.config.hyper, 2 * HYPER_LIMIT + 1), np.int32)
    for kind, net in enumerate((codec.intra, codec.inter)):
        for c, log_sigma in enumerate(net.hyper_scale.detach().tolist()):
            p = _gaussian(math.exp(min(max(log_sigma, -3), 5)), HYPER_LIMIT)[:-1] + 1e-6
            if hyper_counts is not None:
                p = p * 500 + hyper_counts[kind, c]
            hyper[kind, c] = integer_row(p)
    tables = {"latent": rows, "reach": reach, "hyper": hyper}
    return {TABLE_PREFIX + k: torch.from_numpy(v) for k, v in tables.items()}
