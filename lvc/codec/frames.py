"""One frame at a time: planes of 12-bit samples ↔ symbols in an entropy-coded stream, by the engine's integers alone.

Planes are padded: luma int16 [H,W], chroma int16 [2,H/2,W/2], H and W multiples of 16, samples 0 … 4095. What the
decoder does is the law (formats/decoder.md); the encoder decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from ..engine import detail, motion, planes
from ..engine.coder import Coder
from ..engine.motion_reference import LONGEST, Exposure, expected_exposure
from ..engine.nets import Workspace
from ..engine.planes import KEY_OFFSET, KEY_SHIFT
from ..engine.program import Tables
from ..errors import CorruptError
from ..models.load import Model
from ..pipeline import usable_cores
from .exposure import block_means, fit_exposure
from .payload import DETAIL_FROM, NETWORKS_BEST, QUALITIES, level_of
from .pyramid import PLACES
from .refine import Latents, refine
from .settings import Effort

Planes = motion.Planes
Array = npt.NDArray[Any]
L = TypeVar("L", bound="Loop")
P = ParamSpec("P")
R = TypeVar("R")
SCALE = 4080.0
"""Sample values of a range of 1: 255 in 12 bits."""
OFFSET = 2040
CODED_BITS, COPY_BITS, LINEAR_GAIN = 10.0, 2.5, 1.25
"""A block gets symbols when they save so many bits' worth of error beyond their own, and is copied when the networks
save no more. What the linear path alone would save is a little less than what is saved in the end."""
BIT_OF_SYMBOL, BITS_OF_DOUBLING = 3.5, 2.0
"""About what a symbol costs that is not 0."""
DETAIL_ROUNDING = 0.3
"""Steps that are added before coefficients of the detail are cut off (decision 009)."""
DEEP = 3
"""From this place in the pyramid on, three of four frames or more, networks run only around blocks with symbols: what
they do elsewhere is not worth the time of encoder and decoder (decision 009)."""
ROUNDING, KEY_ROUNDING = (0.46, 0.015), (0.5, 0.03)
"""Steps that are added before latents of predicted and of key frames are cut off, and how many fewer for each bit that
the symbol 1 costs more than 0, since smaller symbols are cheaper (decision 009)."""
MOTION_WEIGHT = 0.6
"""Of errors in the choice of motion: residuals take back part of what it misses (decision 009)."""


@dataclass
class Coded:
    """A frame that was coded: what others are predicted from, and what they say of it."""

    time: int
    planes: Planes
    quality: int
    place: int = 0
    field: motion.Field | None = None
    flags: tuple[Array, Array] | None = None
    """skip and copy, uint8 [H/16,W/16]; `None`: a key frame."""
    symbols: dict[str, Array] = dataclasses.field(default_factory=dict)
    """`symbols` of latents, hyper-latents `z`, and of a decoder the latents' values `value` in sixteenths of a step,
    int16, channels last, where they were asked for; of a frame with detail its levels, `detail`."""
    exposure: Exposure = Exposure()
    _picture: list[motion.Picture] = dataclasses.field(default_factory=list)
    _means: list[Array] = dataclasses.field(default_factory=list)
    _one: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def picture(self) -> motion.Picture:
        """Its planes, prepared for the search: once, whatever the number of threads that ask."""
        with self._one:
            if not self._picture:
                self._picture.append(motion.Picture(*self.planes))
            return self._picture[0]

    def means(self) -> Array:
        """Of its blocks (`block_means`)."""
        with self._one:
            if not self._means:
                self._means.append(block_means(self.planes[0]))
            return self._means[0]

    def forget_picture(self) -> None:
        """Gives its memory back, which is six times that of the planes; it can be made again."""
        with self._one:
            self._picture.clear()


References = tuple[Coded, Coded | None]


class Given:
    """A frame's integers in the place of a stream that says them: as its planes have them (formats/lvz.md), from a file
    with packing `zstd`. `values` int16, of the latents' shape, in sixteenths of a step: latents are made of these, as
    near as whole steps allow, and not of their plane. `detail`: its levels (`lvc.engine.detail`), if it has any.
    `exposure`: its exposure, if it is not the key frame's."""

    def __init__(
        self,
        planes: dict[str, Array],
        values: Array | None = None,
        detail: Array | None = None,
        exposure: Exposure = Exposure(),  # noqa: B008  # a constant
    ) -> None:
        self._planes, self._values, self.detail, self._exposure = planes, values, detail, exposure

    @property
    def coder(self) -> Coder | None:
        """What values are made symbols with; nobody reads it."""
        return None if self._values is None else Coder()

    @property
    def symbols(self) -> dict[str, Array]:
        latent, hyper = ("key_latent", "key_hyper") if "key_latent" in self._planes else ("latent", "hyper")
        given = {"symbols": self._planes[latent]} if self._values is None else {"y": self._values}
        given["z"] = self._planes[hyper]
        return {name: np.array(a.transpose(1, 2, 0), np.int16, order="C") for name, a in given.items()}

    def exposure(self, expected: Exposure) -> Exposure:
        return self._exposure

    def field(
        self, shape: tuple[int, int], time: int, to: tuple[int, int | None], fields: Any, level: int
    ) -> tuple[Array, Array]:
        mode, mv = self._planes["mode"][0], self._planes["vectors"].reshape(2, 2, *shape)
        unused = (mode == 1) & mv[0].any(0) | (mode == 0) & mv[1].any(0)
        if unused.any() or mode.max() > (0 if to[1] is None else 2) or np.abs(mv.astype(np.int32)).max() > LONGEST:
            raise CorruptError("a motion field has modes or vectors that no frame can have")
        return mode, mv

    def flags(self, level: int, given: None, others: Any) -> tuple[Array, Array]:
        skip, copy = self._planes["skip"][0], self._planes["copy"][0]
        if (copy > skip).any():
            raise CorruptError("a block with symbols is marked as copied")
        return skip, copy


def integers(coded: Coded) -> dict[str, Array]:
    """The planes of a frame that was coded with its symbols kept."""

    def plane(a: Array, kind: type = np.int16) -> Array:
        return np.ascontiguousarray(a.transpose(2, 0, 1), kind)

    latent, hyper = plane(coded.symbols["symbols"]), plane(coded.symbols["z"])
    if coded.field is None or coded.flags is None:
        return {"key_hyper": hyper, "key_latent": latent}
    skip, copy = (f[None] for f in coded.flags)
    vectors = coded.field.mv.reshape(4, *coded.field.mode.shape)
    return {
        "skip": skip,
        "copy": copy,
        "mode": coded.field.mode[None],
        "vectors": vectors,
        "hyper": hyper,
        "latent": latent,
    }


def _in_turn(work: Callable[Concatenate[L, P], R]) -> Callable[Concatenate[L, P], R]:
    """A method that waits for the thread's turn."""

    @functools.wraps(work)
    def alone(self: L, /, *args: P.args, **given: P.kwargs) -> R:
        with self.turn():
            return work(self, *args, **given)

    return alone


class Loop:
    """What encoder and decoder share. `keep`: what is coded has its symbols. `at_once`: frames that may be worked on at
    the same time; what more threads ask for waits, since a frame in work takes ten times the memory of its planes."""

    def __init__(self, model: Model, height: int, width: int, keep: bool = False, at_once: int | None = None) -> None:
        self.model = model
        self.size = height // 8, width // 8
        self._keep = keep
        self._local = threading.local()
        self._spaces: queue.LifoQueue[Workspace] = queue.LifoQueue()
        for _ in range(at_once or usable_cores()):
            self._spaces.put(Workspace())

    @contextlib.contextmanager
    def turn(self) -> Iterator[Workspace]:
        """A frame's work, with scratch memory of its own. A thread that has its turn keeps it within."""
        if (own := getattr(self._local, "space", None)) is not None:
            yield own
            return
        space = self._local.space = self._spaces.get()
        try:
            yield space
        finally:
            self._local.space = None
            self._spaces.put(space)

    def _run(self, program: str, inputs: list[Array], row: int, **given: Any) -> list[Array]:
        """Runs one of the model's networks."""
        with self.turn() as space:
            return self.model.network(program).run(inputs, self.size, row, workspace=space, **given)

    def _nothing(self, key: bool = False) -> dict[str, Array]:
        """Symbols of a frame that has none."""
        hyper, latent = self.model.planes[:2] if key else self.model.planes[-2:]
        rows, columns = self.size
        return {
            "symbols": np.zeros((rows // 2, columns // 2, latent.channels), np.int16),
            "z": np.zeros((-(-rows // 8), -(-columns // 8), hyper.channels), np.int16),
        }

    def _buffer(self, name: str) -> Array:
        """Scratch memory for a frame's samples, int16, that of the thread's turn."""
        with self.turn() as space:
            return space.buffer(name, planes.PATCH * self.size[0] * self.size[1])

    def _compensated(self, refs: References, mode: Array, mv: Array) -> tuple[Planes, Planes]:
        """The prediction, and the difference of two predictions, in scratch memory that `_patches` uses too."""
        difference = motion.planes_in(self._buffer("first"), *self.size)
        second = None if refs[1] is None else refs[1].planes
        return motion.compensate(refs[0].planes, second, mode, mv, difference)

    def _patches(self, prediction: Planes, difference: Planes) -> tuple[Array, Array]:
        """Patches of what `_compensated` returns, in scratch memory."""
        first, second = (self._buffer(name).reshape(*self.size, planes.PATCH) for name in ("first", "second"))
        of_difference = planes.to_patches(*difference, 0, second)
        return planes.to_patches(*prediction, OFFSET, first), of_difference

    def _key(self, quality: int, coder: Coder | None, **given: Array) -> tuple[Planes, Array]:
        """The planes, and the latents' values."""
        patches, values = self._run("key", [], key_row(quality), coder=coder, **given)
        return planes.key_planes(patches, self.model.laps), values

    def _residual(
        self,
        prediction: Array,
        difference: Array,
        row: int,
        skip: Array,
        wanted: Array,
        coder: Coder | None,
        **given: Array | None,
    ) -> tuple[Array, Array]:
        """The residual's patches, and the latents' values."""
        coded = np.where(skip, 0, 127).astype(np.uint8)[..., None]
        residual, values = self._run(
            "predicted", [prediction, difference, coded], row, coder=coder, coded=skip == 0, wanted=wanted, **given
        )
        return residual, values


def key_row(quality: int) -> int:
    """The row of the key frames' tables."""
    return min(quality, NETWORKS_BEST)


def level_row(quality: int, place: int) -> int:
    """The row of the predicted frames' tables."""
    return QUALITIES * min(place, PLACES - 1) + min(quality, NETWORKS_BEST)


def worth_of(quality: int) -> float:
    """Bits that a squared error of 1 is worth, in 12-bit samples: λ in the codec's unit."""
    return float(2.0 ** level_of(quality) / SCALE**2)


def _times(refs: References) -> tuple[int, int | None]:
    return refs[0].time, None if refs[1] is None else refs[1].time


def _fields(refs: References) -> tuple[motion.Field | None, motion.Field | None]:
    return refs[0].field, None if refs[1] is None else refs[1].field


def _flags(refs: References) -> tuple[tuple[Array, Array] | None, tuple[Array, Array] | None]:
    return refs[0].flags, None if refs[1] is None else refs[1].flags


def expected(refs: References, place: int) -> Exposure:
    """The exposure of a frame that says nothing of it: an anchor has its first reference's."""
    second = refs[1]
    return expected_exposure(refs[0].exposure, None if second is None or place == 0 else second.exposure)


def exposed_references(refs: References, to: Exposure) -> References:
    """References as they are at another exposure."""

    def one(coded: Coded) -> Coded:
        made = motion.exposed(coded.planes, coded.exposure, to)
        same = made is coded.planes
        return coded if same else Coded(coded.time, made, coded.quality, coded.place, coded.field, coded.flags)

    return one(refs[0]), None if refs[1] is None else one(refs[1])


def write(stream: motion.Stream, coded: Coded, refs: References, latents: Coder) -> None:
    """A predicted frame: its exposure, its motion, its flags, its latents."""
    field = coded.field
    assert field is not None
    stream.exposure(expected(refs, coded.place), coded.exposure)
    stream.field(field.mode.shape, coded.time, field.to, _fields(refs), coded.place, (field.mode, field.mv))
    stream.flags(coded.place, coded.flags, _flags(refs))
    stream.coder.append(latents)


class FrameDecoder(Loop):
    def _detailed(self, made: Planes, quality: int, stream: Coder | Given) -> tuple[Planes, dict[str, Array]]:
        """A frame with its detail, and the detail's levels where they are kept."""
        levels, coder = (stream.detail, None) if isinstance(stream, Given) else (None, stream)
        if quality < DETAIL_FROM or (coder is None and levels is None):
            return made, {}
        if self._keep and levels is None:
            levels = detail.none(made)
        made = detail.code(made, quality, coder, levels, overwrite=True)
        return made, {"detail": levels} if levels is not None and levels.any() else {}

    @_in_turn
    def key(self, time: int, quality: int, stream: Coder | Given) -> Coded:
        if isinstance(stream, Given):
            coder, given = stream.coder, stream.symbols
        else:
            coder, given = stream, self._nothing(key=True) if self._keep else {}
        made, values = self._key(quality, coder, **given)
        made, levels = self._detailed(made, quality, stream)
        return Coded(time, made, quality, symbols=given | {"value": values} | levels if self._keep else {})

    @_in_turn
    def predicted(self, time: int, refs: References, place: int, quality: int, stream: motion.Stream | Given) -> Coded:
        to = _times(refs)
        exposure = stream.exposure(expected(refs, place))
        refs = exposed_references(refs, exposure)
        mode, mv = stream.field(self.size, time, to, _fields(refs), place)
        skip, copy = stream.flags(place, None, _flags(refs))
        made, difference = self._compensated(refs, mode, mv)
        given = stream.symbols if isinstance(stream, Given) else self._nothing() if self._keep else {}
        if not copy.all():
            wanted, inputs = copy == 0, self._patches(made, difference)
            spare = self.model.network("predicted").spare_input()
            out = None if spare is None else inputs[spare]
            r, values = self._residual(*inputs, level_row(quality, place), skip, wanted, stream.coder, out=out, **given)
            made = planes.to_planes(r, KEY_SHIFT, 0, made, wanted, overwrite=True)
            made = planes.deblock(made, skip, quality, overwrite=True)
        elif self._keep:
            values = np.zeros_like(given["symbols"])
        made, levels = self._detailed(made, quality, stream if isinstance(stream, Given) else stream.coder)
        kept = given | {"value": values} | levels if self._keep else {}
        return Coded(time, made, quality, place, motion.Field(mode, mv, time, to), (skip, copy), kept, exposure)


class FrameEncoder(Loop):
    """`detail`: frames have it where it pays, and exposures; no file with packing `zstd` can say them."""

    def __init__(
        self,
        model: Model,
        height: int,
        width: int,
        keep: bool = False,
        detail: bool = True,
        at_once: int | None = None,
    ) -> None:
        super().__init__(model, height, width, keep, at_once)
        self._detail_from, self._exposures = DETAIL_FROM if detail else QUALITIES, detail
        assert model.programs.tables is not None  # `load_model` has seen to it
        self._rounding, self._key_rounding = (rounding_of(model.programs.tables, *r) for r in (ROUNDING, KEY_ROUNDING))

    @_in_turn
    def analysed(self, source: Planes, quality: int) -> tuple[Array, Array]:
        """A key frame's latents in sixteenths of a step, before they are cut off, and its hyper-latents, int16,
        channels last."""
        y, z = self._run("key_analysis", [self._lapped(source)], key_row(quality))
        return y, z

    def _lapped(self, source: Planes) -> Array:
        """What a key frame's patches would be without loss."""
        before = [planes.lap(p, m.T.copy()) for p, m in self._eighths(source)]
        return planes.to_patches(before[0], np.stack(before[1:]), 0)

    def _refined(
        self,
        program: str,
        inputs: list[Array],
        row: int,
        quality: int,
        target: Array,
        y: Array,
        z: Array,
        rounding: Array,
        rounds: int,
        coded: Array | None = None,
        counted: Array | None = None,
    ) -> Array:
        """Latents, refined. `target`: patches. `coded`: blocks with symbols; `counted`: blocks whose error counts."""
        worth = worth_of(quality) / (1 << KEY_SHIFT) ** 2
        gradient, none = self.model.gradient(program), np.zeros(y.shape[:2], np.uint8)

        def run(y: Array) -> Latents:
            symbols, tables = np.zeros_like(y), np.zeros(y.shape, np.uint8)
            _, values = self._run(
                program, inputs, row, coder=Coder(), y=y, z=z.copy(), rounding=rounding, coded=coded, wanted=none,
                symbols=symbols, tables=tables,
            )  # fmt: skip
            return Latents(values, symbols, tables)

        def slope(values: Array) -> Array:
            with self.turn() as space:
                return gradient.at(values, target, row, *inputs[:2], counted=counted, workspace=space)

        return refine(y, run, slope, gradient.curvature(row), worth, self.model.symbol_bits, rounds)

    @_in_turn
    def key(self, time: int, source: Planes, quality: int, coder: Coder, rounds: int = 0) -> Coded:
        """`rounds`: how often its latents are refined."""
        y, z = self.analysed(source, quality)
        if rounds:
            target, row = self._lapped(source), key_row(quality)
            y = self._refined("key", [], row, quality, target, y, z, self._key_rounding, rounds)
        kept = {"symbols": np.zeros_like(y)} if self._keep else {}
        made = self._key(quality, coder, y=y, z=z, rounding=self._key_rounding, **kept)[0]
        coded = Coded(time, self._detailed(source, made, quality, coder), quality)
        coded.symbols = kept | {"z": z}
        return coded

    def missed(self, source: Planes, coded: Coded) -> float:
        """What a coded frame misses of its source, in bits."""
        error = planes.to_patches(*source, OFFSET)
        error -= planes.to_patches(*coded.planes, OFFSET)
        return float(planes.block_errors(error).sum() * worth_of(coded.quality))

    def levels(self, source: Planes, made: Planes, quality: int) -> Array | None:
        """The detail of a frame that was coded as `made`, at a quality that has some; `None` where it does not pay."""
        return detail.find(source, made, quality, worth_of(quality), DETAIL_ROUNDING)

    def _detailed(self, source: Planes, made: Planes, quality: int, coder: Coder) -> Planes:
        """A frame with its detail, which is written."""
        if quality < self._detail_from:
            return made
        return detail.code(made, quality, coder, self.levels(source, made, quality), overwrite=True)

    def _eighths(self, source: Planes) -> list[tuple[Array, Array]]:
        """Planes in the unit of a key frame's patches, and the lapping matrix of each."""
        luma, chroma = self.model.laps
        moved = [(p - np.int16(KEY_OFFSET)) << KEY_SHIFT for p in (source[0], *source[1])]
        return list(zip(moved, (luma, chroma, chroma), strict=True))

    @_in_turn
    def predicted(
        self,
        time: int,
        refs: References,
        place: int,
        quality: int,
        source: Planes,
        prices: motion.Stream,
        effort: Effort,
    ) -> tuple[Coded, Coder]:
        """The frame, and its latents for `write`. `prices`: a stream that says what motion costs."""
        to, row, level = _times(refs), level_row(quality, place), level_of(quality)
        exposure = self.exposure(source, refs, place) if self._exposures else Exposure()
        refs = exposed_references(refs, exposure)
        now, pictures = (
            motion.Picture(*source, reference=False),
            tuple(None if r is None else r.picture() for r in refs),
        )
        mode, mv, _ = motion.search(
            now, pictures,  # type: ignore[arg-type]
            time, to, motion.weight_of(level) * MOTION_WEIGHT, _fields(refs), effort.motion, place, prices,
        )  # fmt: skip
        del now, pictures  # they take more memory than what follows
        p, d = self._compensated(refs, mode, mv)
        prediction, difference = self._patches(p, d)
        residual, out = (self._buffer(name).reshape(prediction.shape) for name in ("third", "fourth"))
        residual = planes.to_patches(*source, OFFSET, residual)
        residual -= prediction
        worth = np.float32(worth_of(quality))
        missed = planes.block_errors(residual) * worth
        skip = np.ones_like(missed, np.uint8)
        given = {"y": (nothing := self._nothing())["symbols"], "z": nothing["z"]} if self._keep else {}
        able = missed * LINEAR_GAIN > CODED_BITS
        if able.any():
            able = self._promising(residual, row, missed, able, worth)
        if able.any():
            skip, given = self._symbols(prediction, difference, residual, row, missed, able, worth)
            if place < effort.places and not skip.all():
                flags, counted = np.where(skip, 0, 127).astype(np.uint8)[..., None], (skip == 0) | (missed > COPY_BITS)
                given["y"] = self._refined(
                    "predicted", [prediction, difference, flags], row, quality, residual << KEY_SHIFT, given["y"],
                    given["z"], self._rounding, effort.rounds // 2, skip == 0, counted,
                )  # fmt: skip
        coder, made = Coder(), p
        wanted = (skip == 0) | (missed > COPY_BITS) & (_around(skip == 0) if place >= DEEP else True)
        copy = skip.copy()
        if wanted.any():
            kept = {"symbols": np.zeros_like(given["y"])} if self._keep else {}
            r, _ = self._residual(prediction, difference, row, skip, wanted, coder, out=out, **given, **kept)
            given |= kept
            gain = missed - planes.block_errors(residual, r) * worth
            copy = ((skip == 1) & ~(wanted & (gain > COPY_BITS))).astype(np.uint8)
            made = planes.to_planes(r, KEY_SHIFT, 0, p, copy == 0, overwrite=True)
            made = planes.deblock(made, skip, quality, overwrite=True)
        made = self._detailed(source, made, quality, coder)
        symbols = {"symbols": given.get("symbols", np.zeros_like(given["y"])), "z": given["z"]} if self._keep else {}
        return Coded(
            time, made, quality, place, motion.Field(mode, mv, time, to), (skip, copy), symbols, exposure
        ), coder  # fmt: skip

    def exposure(self, source: Planes, refs: References, place: int) -> Exposure:
        """That of a frame to be predicted."""
        known = [(r.means(), r.exposure) for r in refs if r is not None]
        return fit_exposure(block_means(source[0]), known, expected(refs, place))

    def _promising(self, residual: Array, row: int, missed: Array, able: Array, worth: Any) -> Array:
        """Blocks that might get symbols, by the linear path alone."""
        y = self._run("linear_analysis", [residual], row, wanted=able)[0]
        return self._worthwhile(y, residual, row, missed, able, worth)

    def _worthwhile(self, y: Array, residual: Array, row: int, missed: Array, able: Array, worth: Any) -> Array:
        """Which of the `able` blocks' latents, in sixteenths of a step, save more on the linear path than they cost."""
        whole, sizes = np.zeros_like(y), y[able] + 8 >> 4
        whole[able] = sizes << 4
        out = self._buffer("fourth").reshape(residual.shape)
        made = self._run("linear", [whole], row, wanted=able, out=out)[0]
        gain = (missed - planes.block_errors(residual, made) * worth)[able] * LINEAR_GAIN
        worthwhile = np.zeros_like(able)
        bits = _SYMBOL_BITS[np.minimum(np.abs(sizes), len(_SYMBOL_BITS) - 1)].sum(-1)
        worthwhile[able] = gain > bits + CODED_BITS
        return worthwhile

    def _symbols(
        self, prediction: Array, difference: Array, residual: Array, row: int, missed: Array, able: Array, worth: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Which blocks are skipped, and the latents of the others."""
        y, z = self._run("predicted_analysis", [prediction, difference, residual], row, wanted=able)
        y[~able] = 0
        keep = self._worthwhile(y, residual, row, missed, able, worth)
        alive = keep
        for _ in range(2):
            alive = np.pad(alive, [(0, n % 2) for n in alive.shape])
            alive = alive[::2, ::2] | alive[1::2, ::2] | alive[::2, 1::2] | alive[1::2, 1::2]
        z[~alive] = 0
        return (~keep).astype(np.uint8), {"y": y, "z": z, "rounding": self._rounding}


def _around(blocks: Array) -> Array:
    """The blocks and those beside them."""
    padded = np.pad(blocks, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    around: Array = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return around


def rounding_of(tables: Tables, most: float, by_bits: float) -> Array:
    """Of each table, in sixteenths of a step: uint8 [64]."""
    rows = [np.log2(np.asarray(row[len(row) // 2 - 1 : len(row) // 2 + 1], np.float64)) for row in tables.rows()[1:]]
    steps = most - by_bits * np.array([0.0, *(zero - one for zero, one in rows)])
    rounding: Array = np.clip(np.rint(16 * steps), 0, 8).astype(np.uint8)
    return rounding


def _symbol_bits() -> Array:
    size = np.arange(2048)
    bits = np.where(size > 0, BIT_OF_SYMBOL + BITS_OF_DOUBLING * np.log2(np.maximum(size, 1)), 0.0)
    return bits.astype(np.float32)


_SYMBOL_BITS = _symbol_bits()
