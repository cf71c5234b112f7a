"""Packing `rans`: a clip's integers through the model's integer tables (formats/lvz.md, section "Packing rans").

What a table is chosen by is integers alone: counts of what was coded before, and the indices of the model's integer
network over hyper-latents, skip flags and the symbols of the frame before and of the first pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import CorruptError
from .adaptive import Rows
from .clip import KIND_KEY, KIND_PREDICTED, MAX_QUALITY, FrameLatents, Geometry
from .coder import Coding, Decoder, Encoder, IntArray, make_table, uniform
from .fields import MotionCoder
from .flags import FlagCoder

SKIP, COPY, MOTION, HYPER, LATENT = "skip", "copy", "motion", "hyper", "latent"
HYPER_LIMIT = 31
HYPER_SIZES = 3
"""Contexts of a hyper-latent in predicted frames: 0, 1 or more in the frame before."""
HYPER_GAIN, HYPER_WORTH = 64, 3200
INDICES = 64
"""Number of tables; index 0 has none: its symbols are 0."""
LATENT_LIMIT = 32767


class ScaleModel(Protocol):
    """What the model lends to entropy coding; integers in, integers out."""

    def indices1(self, kind: int, quality: int, hyper: IntArray, past: Past, skip: IntArray) -> tuple[IntArray, Any]:
        """→ table indices uint8 [C,N] for the first pass, N blocks with skip 0 row by row, and something for
        `indices2`. C ≤ M: the other channels of frames of this kind are 0."""

    def indices2(self, kind: int, hold: Any, first: IntArray) -> IntArray:
        """`first` int16 [C,H,W]: symbols of the first pass, zeros elsewhere. → indices [C,N] for the second pass."""


@dataclass
class Past:
    """What is kept of the frame before: `latent` int16 [M,H,W], `skip` uint8 [H,W]; zeros after a key frame."""

    latent: IntArray
    skip: IntArray


@dataclass(frozen=True)
class Tables:
    """Integer tables of a model. `latent`: one row of weights per index, symbols -reach..reach then escape; rows are
    [2·reach+2] long at their front, zeros behind. `reach` [64]. `hyper` [2 kinds, Z, 63]: symbols -31..31."""

    latent: IntArray
    reach: IntArray
    hyper: IntArray

    def compile(self) -> CompiledTables:
        """Raises `ValueError` for rows that are no tables."""
        if self.reach.shape != (INDICES,) or self.latent.ndim != 2 or len(self.latent) != INDICES:
            raise ValueError(f"{INDICES} tables are needed")
        if self.hyper.ndim != 3 or len(self.hyper) != 2 or self.hyper.shape[2] != 2 * HYPER_LIMIT + 1:
            raise ValueError("tables of hyper-latents have the wrong shape")
        if not (1 <= self.reach.min() and 2 * self.reach.max() + 2 <= self.latent.shape[1]):
            raise ValueError("a table reaches farther than its row")
        if self.latent.min() < 0 or self.hyper.min() < 0 or max(self.latent.max(), self.hyper.max()) >= 1 << 32:
            raise ValueError("a table has a negative weight, or an absurd one")
        if not self.hyper.sum(2).all():
            raise ValueError("a table has no weights")
        rows = [make_table(self.latent[i, : 2 * int(self.reach[i]) + 2]) if i else None for i in range(len(self.reach))]
        start = np.maximum(self.hyper[1] * HYPER_WORTH // self.hyper[1].sum(1, keepdims=True), 1)
        return CompiledTables(
            rows,
            self.reach.astype(np.int64),
            [make_table(row) for row in self.hyper[0]],
            start.repeat(HYPER_SIZES, 0),
            self._bits(),
        )

    def _bits(self) -> IntArray:
        width = int(self.reach.max()) + 2
        out = np.zeros((INDICES, width), np.float32)
        for i in range(1, INDICES):
            n = int(self.reach[i])
            row = np.maximum(self.latent[i, : 2 * n + 2].astype(np.float64), 1e-3)
            bits = np.log2(row.sum()) - np.log2(row)
            out[i, : n + 1] = (bits[n : 2 * n + 1] + bits[n::-1]) / 2
            out[i, n + 1 :] = bits[-1] + 16
        return out


@dataclass(frozen=True)
class CompiledTables:
    """`hyper` are those of key frames, `hyper_start` [3·Z, 63] the rows that those of predicted frames start from.
    `bits` float32 [64, longest reach + 2]: what a symbol of absolute value k costs, the last an escaped one; for the
    encoder's choices."""

    latent: list[Any]
    reach: IntArray
    hyper: list[Any]
    hyper_start: IntArray
    bits: IntArray


def first_pass(shape: tuple[int, int, int]) -> IntArray:
    """bool [M,H,W]: a checkerboard, its colours swapped in the second half of the channels."""
    m, height, width = shape
    grid = (np.arange(height)[:, None] + np.arange(width)[None]) % 2 == 0
    return np.concatenate(
        [np.broadcast_to(grid, (m // 2, height, width)), np.broadcast_to(~grid, (m - m // 2, height, width))]
    )


def hyper_places(skip: IntArray, rows: int, columns: int) -> IntArray:
    """bool [rows,columns]: where hyper-latents are coded, at least one block below not being skipped."""
    coded = np.zeros((4 * rows, 4 * columns), bool)
    coded[: skip.shape[0], : skip.shape[1]] = skip == 0
    return np.asarray(coded.reshape(rows, 4, columns, 4).any((1, 3)))


class GopCoder:
    """State of one GOP: codes its clips in order, one stream per clip. A key frame starts it afresh."""

    def __init__(self, geometry: Geometry, model: ScaleModel, tables: CompiledTables) -> None:
        self._geometry, self._model, self._tables = geometry, model, tables
        shapes = {p.name: geometry.plane_shape(p) for p in geometry.planes}
        self._latent_shape, self._hyper_shape = shapes[LATENT], shapes[HYPER]
        self._first: dict[int, IntArray] = {}
        self._restart()

    def _restart(self) -> None:
        height, width = self._latent_shape[1:]
        self._flags, self._motion = FlagCoder(height, width), MotionCoder(height, width)
        self._hyper_rows = Rows(self._tables.hyper_start, HYPER_GAIN)
        self._past_hyper = np.zeros(self._hyper_shape, np.int16)
        self._past = Past(np.zeros(self._latent_shape, np.int16), np.zeros((height, width), np.uint8))

    def pack(self, frames: Sequence[FrameLatents]) -> bytes:
        """The next clip of the GOP → its stream, with the frames' kinds and qualities in front."""
        head = bytearray()
        last = -1
        for f in frames:
            changed = f.quality != last
            head.append(f.kind | changed << 1)
            if changed:
                head += f.quality.to_bytes(2, "little")
                last = f.quality
        encoder = Encoder()
        self.write(frames, encoder)
        return bytes(head) + encoder.finish()

    def write(self, frames: Sequence[FrameLatents], encoder: Encoder) -> None:
        """The symbols of the next clip, without the frames' kinds and qualities."""
        for f in frames:
            self._frame(Coding(encoder), f.kind, f.quality, f.planes, f.tables)

    def unpack(self, data: bytes, count: int) -> list[FrameLatents]:
        """The next clip's stream → frames. Raises `CorruptError`."""
        at, quality, heads = 0, -1, []
        for _ in range(count):
            if at >= len(data) or data[at] > 3:
                raise CorruptError("an entropy-coded clip has a damaged frame header")
            kind, changed = data[at] & 1, data[at] >> 1
            at += 1
            if changed:
                if at + 2 > len(data):
                    raise CorruptError("an entropy-coded clip ends inside its frame headers")
                quality = int.from_bytes(data[at : at + 2], "little")
                at += 2
            if not 0 <= quality <= MAX_QUALITY:
                raise CorruptError("an entropy-coded clip declares an impossible quality")
            heads.append((kind, quality))
        decoder = Decoder(data[at:])
        coding = Coding(decoder)
        frames = [FrameLatents(k, q, self._frame(coding, k, q, None)) for k, q in heads]
        decoder.finish()
        return frames

    def _frame(
        self,
        coding: Coding,
        kind: int,
        quality: int,
        planes: dict[str, IntArray] | None,
        tables: IntArray | None = None,
    ) -> dict[str, IntArray]:
        """Write `planes`, or read and return them. `tables`: the indices, where they are known already."""
        out: dict[str, IntArray] = {}
        given: dict[str, IntArray | None] = dict.fromkeys((SKIP, COPY, MOTION, HYPER, LATENT))
        given.update(planes or {})
        skip = np.zeros(self._latent_shape[1:], np.uint8)
        if kind == KIND_KEY:
            self._restart()
        else:
            skip, copy = self._flags.code(coding, given[SKIP], given[COPY])
            out[SKIP], out[COPY] = skip[None], copy[None]
            out[MOTION] = self._motion.code(coding, given[MOTION], skip, copy)
        out[HYPER] = self._hyper(coding, kind, skip, given[HYPER])
        if skip.all():
            out[LATENT] = np.zeros(self._latent_shape, np.int16)
        else:
            out[LATENT] = self._latent(coding, kind, quality, out[HYPER], skip, given[LATENT], tables)
        if kind == KIND_PREDICTED:
            self._flags.learn(out[LATENT], self._motion.changed)
            self._past, self._past_hyper = Past(out[LATENT], skip), out[HYPER]
        return out

    def _hyper(self, coding: Coding, kind: int, skip: IntArray, hyper: IntArray | None) -> IntArray:
        """Hyper-latents, channel by channel; 0 and not written where all blocks below are skipped."""
        out = np.zeros(self._hyper_shape, np.int16)
        places = hyper_places(skip, *self._hyper_shape[1:])
        if not places.any():
            return out
        symbols = None if hyper is None else hyper[:, places].astype(np.int32) + HYPER_LIMIT
        if kind == KIND_PREDICTED:
            size = np.minimum(np.abs(self._past_hyper[:, places].astype(np.int64)), HYPER_SIZES - 1)
            contexts = size + np.arange(len(size))[:, None] * HYPER_SIZES
            want = None if symbols is None else symbols.reshape(-1)
            found = self._hyper_rows.code(coding, want, contexts.reshape(-1))
            out[:, places] = found.reshape(size.shape) - HYPER_LIMIT
            return out
        for c, table in enumerate(self._tables.hyper):
            found = coding.code(None if symbols is None else symbols[c], int(places.sum()), table)
            out[c, places] = found - HYPER_LIMIT
        return out

    def _latent(
        self,
        coding: Coding,
        kind: int,
        quality: int,
        hyper: IntArray,
        skip: IntArray,
        latent: IntArray | None,
        tables: IntArray | None,
    ) -> IntArray:
        hold = None
        if (index := tables) is None:
            index, hold = self._model.indices1(kind, quality, hyper, self._past, skip)
        m = len(index)
        if m not in self._first:
            self._first[m] = first_pass((m, *self._latent_shape[1:])).reshape(m, -1)
        out = np.zeros(self._latent_shape, np.int16)
        flat = out.reshape(len(out), -1)[:m]
        at = np.flatnonzero(skip.reshape(-1) == 0)
        first = self._first[m][:, at]
        wanted = None if latent is None else latent.reshape(len(out), -1)[:m, at]
        known = self._pass(coding, index, first, wanted)
        if tables is None:
            flat[:, at] = known
            index = self._model.indices2(kind, hold, out[:m])
        flat[:, at] = known + self._pass(coding, index, ~first, wanted)
        return out

    def _pass(self, coding: Coding, index: IntArray, where: IntArray, latent: IntArray | None) -> IntArray:
        """Symbols [M,N] at `where` with an index above 0, in order of index, then of place; escapes follow, 16 bits
        each. 0 elsewhere."""
        out = np.zeros(index.shape, np.int16)
        flat_index = index.reshape(-1)
        places = np.flatnonzero(where.reshape(-1) & (flat_index > 0))
        at_place = flat_index[places]
        places = places[np.argsort(at_place, kind="stable")]
        counts = np.bincount(at_place, minlength=len(self._tables.latent))
        flat = out.reshape(-1)
        source = None if latent is None else latent.reshape(-1)[places].astype(np.int32)
        escaped: list[IntArray] = []
        start = 0
        for i in np.flatnonzero(counts).tolist():
            n, reach = int(counts[i]), int(self._tables.reach[i])
            symbols = None
            if source is not None:
                part = source[start : start + n]
                symbols = np.where(np.abs(part) > reach, 2 * reach + 1, part + reach)
            symbols = coding.code(symbols, n, self._tables.latent[i])
            flat[places[start : start + n]] = symbols - reach
            escaped.append(places[start : start + n][symbols == 2 * reach + 1])
            start += n
        far = np.concatenate(escaped) if escaped else np.zeros(0, np.int64)
        if len(far):
            raw = None if latent is None else latent.reshape(-1)[far].astype(np.int32) + 32768
            flat[far] = (coding.code(raw, len(far), uniform(65536)) - 32768).astype(np.int16)
        return out
