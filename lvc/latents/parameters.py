"""The parameters of packing `field` as bytes: the `coding` of `LTNT` (`formats/lvz.md`, 8.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.errors import UnsupportedError
from lvc.latents.field import MEAN_FEATURES, PASSES, SIZE_FEATURES, FieldModel, PassWeights
from lvc.lvz import fields as f

IntArray = npt.NDArray[Any]
_TEMPORAL = 1
_MOST = 32767


def pack_model(model: FieldModel) -> bytes:
    """Serialise the parameters. A set that equals an earlier one costs one byte."""
    parts = [f.u8(_TEMPORAL * model.temporal), f.uvarint(model.group)]
    seen: dict[bytes, int] = {}
    for number, weights in enumerate((w for sets in model.sets for w in sets), 1):
        data = b"".join(f.ints(row.tolist()) for row in (*weights.mean, *weights.size))
        if data in seen:
            parts.append(f.u8(seen[data]))
        else:
            parts += [f.u8(0), data]
        seen.setdefault(data, number)
    parts.append(f.ints(model.norm.tolist()))
    for channel in range(model.channels):
        parts.append(f.ints(model.cross[channel, : channel // model.group * model.group].tolist()))
    return b"".join(parts)


def unpack_model(data: bytes, channels: int) -> FieldModel:
    """Parse the parameters. `channels` is at most 1024, so sizes are bounded. Raises `CorruptError`,
    `UnsupportedError`."""
    r = f.Fields(data, "parameters of packing field")
    flags = r.u8()
    if flags & ~_TEMPORAL:
        raise UnsupportedError("packing field uses a reserved flag — use a newer lvc")
    group = r.uvarint(channels + 1)
    if group < 1:
        raise r.bad("groups of no channels")
    known: list[PassWeights] = []
    for _ in range(PASSES * (1 + flags)):
        source = r.u8()
        if source > len(known):
            raise r.bad(f"weights are copied from set {source}, which does not come earlier")
        if source:
            known.append(known[source - 1])
        else:
            mean = np.array([_row(r, channels, -_MOST) for _ in range(MEAN_FEATURES)], np.int64)
            size = np.array([_row(r, channels, 0) for _ in range(SIZE_FEATURES)], np.int64)
            known.append(PassWeights(mean, size))
    norm = np.array(_row(r, channels, 0), np.int64)
    cross = np.zeros((channels, channels), np.int64)
    for channel in range(channels):
        before = channel // group * group
        cross[channel, :before] = _row(r, before, -_MOST)
    r.end()
    sets = tuple(tuple(known[i : i + PASSES]) for i in range(0, len(known), PASSES))
    return FieldModel(bool(flags), group, sets, cross, norm)


def _row(r: f.Fields, count: int, lowest: int) -> list[int]:
    row = r.ints(count)
    if row and (min(row) < lowest or max(row) > _MOST):
        raise r.bad("a weight is out of range")
    return row
