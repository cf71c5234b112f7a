"""Frequencies of symbols, counted while a model codes footage: `python -m lvc.training.tables MODEL CLIPS`.

The tables of an export are Gaussians. What the encoder writes is not: it rounds towards zero, and tails are longer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from ..codec import encode
from ..codec.frames import FrameEncoder
from ..codec.settings import EncodeSettings
from ..engine import program as p
from ..engine.nets import Network
from ..engine.reference import quarters
from ..media.types import Frame, VideoFormat
from ..models.load import Model, load_model
from ..output import publish
from .export import frequencies, gaussian_tables
from .footage import Clips

FRAMES, CROP = 33, 256
GROUPS = 48
"""Crops of footage, each at a quality of its own."""
PRIOR = 300.0
"""Symbols' worth of the Gaussian in each table."""


class Counter(FrameEncoder):
    """An encoder that counts: `counts` float64 [tables, symbols of the largest], as tables have their symbols."""

    def __init__(self, model: Model, height: int, width: int, counts: np.ndarray, **given: Any) -> None:
        super().__init__(model, height, width, **{**given, "keep": True})
        self.counts = counts
        tables = model.programs.tables
        assert tables is not None
        self._reach = tables.reach.astype(np.int64)
        self._indices = {name: _with_indices(model, name) for name in ("key", "predicted")}

    def _key(self, quality: int, coder: Any, **given: Any) -> Any:
        made = super()._key(quality, coder, **given)
        self._count("key", [], quality, None, given)
        return made

    def _residual(
        self, prediction: Any, difference: Any, row: int, skip: Any, wanted: Any, coder: Any, **given: Any
    ) -> Any:
        given["out"] = None  # the patches are counted afterwards
        made = super()._residual(prediction, difference, row, skip, wanted, coder, **given)
        coded = np.where(skip, 0, 127).astype(np.uint8)[..., None]
        self._count("predicted", [prediction, difference, coded], row, skip == 0, given)
        return made

    def _count(self, name: str, inputs: list[Any], row: int, coded: Any, given: dict[str, Any]) -> None:
        symbols, z = given["symbols"], given["z"]
        with self.turn() as space:
            found = self._indices[name].run(
                inputs, self.size, row, coded=coded, symbols=symbols.copy(), z=z.copy(), workspace=space
            )
        rows, columns, channels = symbols.shape
        own = symbols.reshape(rows, columns, 4, channels // 4)
        for step, index in enumerate(found):
            which = quarters(step, rows, columns)[:, :, None, None]
            self._add(index, np.take_along_axis(own, which, 2)[:, :, 0], coded)

    def _add(self, index: np.ndarray, symbol: np.ndarray, coded: np.ndarray | None) -> None:
        if coded is not None:
            index, symbol = index[coded], symbol[coded]
        i, s = index.astype(np.int64).ravel(), symbol.astype(np.int64).ravel()
        reach = self._reach[i]
        at = np.where(np.abs(s) > reach, 2 * reach + 1, s + reach)
        np.add.at(self.counts, (i[i > 0], at[i > 0]), 1.0)


def _with_indices(model: Model, name: str) -> Network:
    """A program whose outputs are the indices of its latents' tables, step by step."""
    own = model.programs.programs[name]
    outputs = [layer.sources[1].tensor for layer in own.layers if layer.op == p.CODE]
    made = p.Program(own.tensors, own.layers, own.inputs, outputs)
    return Network(p.Model(model.programs.levels, {name: made}, model.programs.tables, model.programs.laps), name)


def counted(counts: np.ndarray) -> p.Tables:
    """Tables of counts: symmetric, and nearer to the Gaussians' the less was counted."""
    given = gaussian_tables()
    rows = []
    for i, gaussian in enumerate(given.rows()[1:], start=1):
        seen = counts[i, : len(gaussian)].copy()
        seen[:-1] = (seen[:-1] + seen[:-1][::-1]) / 2
        rows.append(frequencies(seen + PRIOR * np.asarray(gaussian, np.float64) / 65536))
    return p.Tables(given.reach, np.concatenate(rows).astype(np.uint32))


def count(model: Model, clips: Clips, groups: int, crop: int, seed: int = 5) -> np.ndarray:
    """Counts of symbols in `groups` crops of footage, coded as `lvc encode` does: float64 [64, symbols]."""
    rng = np.random.default_rng(seed)
    tables = model.programs.tables
    assert tables is not None
    counts = np.zeros((len(tables.reach), 2 * int(tables.reach.max()) + 2))
    video = VideoFormat(crop, crop, time_base=(1, 25), frame_rate=(25, 1))
    for quality in rng.permutation(np.linspace(3, 97, groups)):
        y, uv = clips.crop(rng, FRAMES, crop)
        frames = _frames(y, uv)
        settings = EncodeSettings(quality=float(quality), threads=1)
        for _ in encode(frames, video, model, settings, partial(Counter, counts=counts)):
            pass
    return counts


def _frames(y: np.ndarray, uv: np.ndarray) -> Iterator[Frame]:
    for i, (a, b) in enumerate(zip(y, uv, strict=True)):
        yield Frame(a, b[0].copy(), b[1].copy(), i, 1)


def count_into(path: Path, clips: Path, groups: int = GROUPS, crop: int = CROP) -> None:
    """Gives the model in `path` tables that are counted on the cache `clips`."""
    model = load_model(path)
    counts = count(model, Clips(clips), groups, crop)
    with safe_open(path, "np") as file:
        about = file.metadata()
    programs = replace(model.programs, tables=counted(counts))
    with publish(str(path), force=True) as unfinished:
        p.save(programs, unfinished, {"lvc.model": about["lvc.model"]})


if __name__ == "__main__":
    count_into(Path(sys.argv[1]), Path(sys.argv[2]))
