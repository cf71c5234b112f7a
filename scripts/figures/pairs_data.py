"""Training footage for scripts/figures/pairs_train.py: keys N frames apart, and the motion between them."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pairs_model import BetweenDecision, Planes, searched

from lvc.training.data import CachedClip


@dataclass(frozen=True)
class PairMotion:
    """Of a clip with keys at 0, N, 2N, …: `key` int16 [2,K,2,H/8,W/8], forwards and in reversed time (entry i of the
    latter: the i-th from the end), `field` int16 [K,2,H/16,W/16] and `modes` uint8 [K,H/16,W/16] between them."""

    key: np.ndarray
    field: np.ndarray
    modes: np.ndarray


def motion_of(clip: CachedClip, distance: int, folder: Path) -> PairMotion:
    """Searched and decided on the originals, at a random quality for each pair; kept in `folder`."""
    count = (len(clip.y) - 1) // distance
    digest = hashlib.sha256(f"{clip.name}{clip.y.shape}".encode() + bytes(clip.y[0])).hexdigest()[:16]
    file = folder / f"{digest}_{distance}.npz"
    if not file.exists():
        rng = random.Random(digest)
        frames: list[Planes] = [(np.array(clip.y[t]), np.array(clip.uv[t])) for t in range(count * distance + 1)]
        keys, fields, modes = [], [], []
        for order in (frames[::distance], frames[::-distance]):
            decision = BetweenDecision(*clip.y.shape[1:])
            for i, found in enumerate(searched(order)[1:]):
                level = rng.uniform(8.0, 13.0)
                (a, _), (b, _) = order[i], order[i + 1]
                key = decision.decide(a, b, found, level)
                keys.append(key)
                decision.coded(key)
                if len(keys) <= count:
                    middle = [f[0] for f in frames[i * distance + 1 : (i + 1) * distance]]
                    field, mode = decision.between(a, b, middle, key, level)
                    fields.append(field)
                    modes.append(mode)
                    decision.coded(field.repeat(2, 1).repeat(2, 2))
        part = file.with_suffix(".part.npz")
        np.savez(part, key=np.stack(keys).reshape(2, count, *keys[0].shape), field=fields, modes=modes)
        os.replace(part, file)
    with np.load(file) as found_file:
        return PairMotion(**dict(found_file))


Item = tuple[np.ndarray, ...]
"""Of one pair of keys: y [N,c,c] and uv [N,2,c/2,c/2] of the frames after the earlier one, then the key's motion, the
field and the modes between; of the first key y and uv [1,…] alone."""


def pair_stream(clip: CachedClip, motion: PairMotion, crop: int, pairs: int, rng: random.Random) -> Iterator[Item]:
    """As `lvc.training.data.stream`: a random crop, flips, time reversal."""
    _, height, width = clip.y.shape
    count = len(motion.field)
    distance = (len(clip.y) - 1) // count
    reverse, flip = rng.random() < 0.5, rng.random() < 0.5
    top, left = rng.randrange(0, height - crop + 1, 16), rng.randrange(0, width - crop + 1, 16)

    def cut(a: np.ndarray, by: int) -> np.ndarray:
        n = crop // by
        return np.asarray(a[..., top // by : top // by + n, left // by : left // by + n])

    first = rng.randrange(max(1, count - pairs + 1))
    sign = np.array([-1, 1], np.int16)[:, None, None]
    for i in range(first, min(count, first + pairs)):
        k = count - 1 - i if reverse else i
        at = list(range(k * distance, (k + 1) * distance + 1))[:: -1 if reverse else 1]
        y, uv = np.stack([cut(clip.y[t], 1) for t in at]), np.stack([cut(clip.uv[t], 2) for t in at])
        key, field, modes = cut(motion.key[int(reverse), i], 8), cut(motion.field[k], 16), cut(motion.modes[k], 16)
        if reverse:
            field, modes = -field, np.array([0, 2, 1], np.uint8)[modes]
        if flip:
            y, uv, modes = y[..., ::-1], uv[..., ::-1], modes[..., ::-1]
            key, field = key[..., ::-1] * sign, field[..., ::-1] * sign
        if i == first:
            yield y[:1], uv[:1]
        yield y[1:], uv[1:], key, field, modes


def joined(streams: list[Iterator[Item]]) -> Item | None:
    """The next of each, stacked; None when one of them is over."""
    items = [next(s, None) for s in streams]
    if any(i is None for i in items):
        return None
    return tuple(
        np.ascontiguousarray(np.stack(parts)) for parts in zip(*(i for i in items if i is not None), strict=True)
    )
