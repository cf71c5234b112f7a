"""Motion: prediction of frames from two references, and the search for fields, in C. What the integers mean is written
down, and done again in numpy, in `motion_reference.py`, which takes C's place but for the search."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from ..errors import CorruptError
from . import motion_reference
from .coder import Coder
from .library import compiled, instructions, library
from .motion_reference import CONTEXTS, LONGEST
from .rans_reference import Context

Planes = tuple[np.ndarray, np.ndarray]
"""Luma int16 [H,W] and chroma int16 [2,H/2,W/2], 12-bit samples; H and W are multiples of 16."""


_isa = instructions


def _array(a: np.ndarray, dtype: type, shape: tuple[int, ...], what: str) -> np.ndarray:
    """`a`, contiguous; a `ValueError` where it is not of this shape and kind, since C believes both."""
    if a.dtype != dtype or a.shape != shape:
        raise ValueError(f"{what}: {a.dtype} {a.shape} instead of {np.dtype(dtype)} {shape}")
    return np.ascontiguousarray(a)


def _at(a: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if a is None else a.ctypes.data)


IMPOSSIBLE = "a motion field has modes or vectors that no frame can have"


def _checked(code: int) -> None:
    if code == -1:
        raise MemoryError("no memory for motion")
    if code:
        raise ValueError(IMPOSSIBLE)


def _check_field(mode: np.ndarray, mv: np.ndarray, references: int) -> None:
    """Raises `ValueError` for a mode without its references, a vector that is too long or one of no use."""
    unused = (mode == 1) & mv[0].any(0) | (mode == 0) & mv[1].any(0)
    if unused.any() or mode.max() > 2 * references - 2 or np.abs(mv.astype(np.int32)).max() > LONGEST:
        raise ValueError(IMPOSSIBLE)


def compensate(ref0: Planes, ref1: Planes | None, mode: np.ndarray, mv: np.ndarray) -> tuple[Planes, Planes]:
    """The prediction P of a frame and the difference D of both predictions (0 where there is one), from references and
    a field: `mode` uint8 [H/8,W/8], `mv` int16 [2,2,H/8,W/8]."""
    rows, cols = mode.shape
    mode, mv = _array(mode, np.uint8, (rows, cols), "mode"), _array(mv, np.int16, (2, 2, rows, cols), "mv")
    if rows % 2 or cols % 2:
        raise ValueError(f"a field of {rows} x {cols} blocks: both must be even")
    shapes = (8 * rows, 8 * cols), (2, 4 * rows, 4 * cols)
    given: list[np.ndarray | None] = []
    for k, ref in enumerate((ref0, ref1)):
        given += [None, None] if ref is None else [
            _array(ref[0], np.int16, shapes[0], f"luma of reference {k}"),
            _array(ref[1], np.int16, shapes[1], f"chroma of reference {k}"),
        ]  # fmt: skip
    if (c := compiled()) is None:
        _check_field(mode, mv, 1 if ref1 is None else 2)
        refs = [None if y is None or uv is None else (y, uv) for y, uv in (given[:2], given[2:])]
        return motion_reference.compensate(refs, mode, mv)
    made = [np.empty(shape, np.int16) for _ in range(2) for shape in shapes]
    size = ctypes.c_int64(rows), ctypes.c_int64(cols)
    _checked(c.lvc_compensate(_isa(), *map(_at, given), _at(mode), _at(mv), *size, *map(_at, made)))
    return (made[0], made[1]), (made[2], made[3])


class Picture:
    """A frame prepared for `search`: luma (int16 [H,W], 12 bits) halved again and again, and with `reference` at all
    positions between samples (18 bytes a sample), and means of its chroma (int16 [2,H/2,W/2]), which do not count where
    it is not given. Keep those of references for all frames predicted from them. Only the compiled engine searches:
    raises `UsageError` where there is none."""

    def __init__(self, luma: np.ndarray, chroma: np.ndarray | None = None, reference: bool = True) -> None:
        height, width = luma.shape
        if height % 16 or width % 16 or not height or not width:
            raise ValueError(f"a picture of {height} x {width}: both must be multiples of 16")
        luma = _array(luma, np.int16, (height, width), "luma")
        if chroma is not None:
            chroma = _array(chroma, np.int16, (2, height // 2, width // 2), "chroma")
        library().lvc_picture_size.restype = ctypes.c_size_t
        size = ctypes.c_int64(height), ctypes.c_int64(width), ctypes.c_int32(reference)
        self.shape, self.reference = (height, width), reference
        self.memory = np.zeros(library().lvc_picture_size(*size), np.uint8)
        _checked(library().lvc_picture(_isa(), _at(luma), _at(chroma), *size, _at(self.memory)))


@dataclass(frozen=True)
class Field:
    """The field of a coded frame, `mode` uint8 [H/8,W/8] and `mv` int16 [2,2,H/8,W/8]; when it is shown, and when its
    references are (the second `None`: it had one). Times in frames."""

    mode: np.ndarray
    mv: np.ndarray
    time: int
    to: tuple[int, int | None]


class _CField(ctypes.Structure):
    _fields_ = [
        ("mode", ctypes.c_void_p),
        ("mv", ctypes.c_void_p),
        ("time", ctypes.c_int32),
        ("to", ctypes.c_int32 * 2),
    ]


class _CFrame(ctypes.Structure):
    _fields_ = [
        ("mode", ctypes.c_void_p), ("mv", ctypes.c_void_p), ("known", ctypes.c_void_p), ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64), ("references", ctypes.c_int32), ("time", ctypes.c_int32), ("to", ctypes.c_int32 * 2),
        ("fields", _CField * 2),
    ]  # fmt: skip


LONGEST_DISTANCE = 1024
"""In frames, between a frame and what it is predicted from."""


class _Frame:
    """A `LvcFrame` and the arrays it points to."""

    def __init__(
        self, rows: int, cols: int, time: int, to: tuple[int, int | None], fields: tuple[Field | None, Field | None]
    ) -> None:
        self.mode, self.mv = np.zeros((rows, cols), np.uint8), np.zeros((2, 2, rows, cols), np.int16)
        self.known = np.zeros((rows, cols), np.uint8)
        self._kept: list[np.ndarray] = []
        made = [self._field(f, rows, cols, time) for f in fields]
        times = _times(time, to, time)
        self.c = _CFrame(
            self.mode.ctypes.data, self.mv.ctypes.data, self.known.ctypes.data, rows, cols,
            1 if to[1] is None else 2, 0, times, (_CField * 2)(*made),
        )  # fmt: skip

    def _field(self, field: Field | None, rows: int, cols: int, now: int) -> _CField:
        if field is None:
            return _CField()
        mode = _array(field.mode, np.uint8, (rows, cols), "mode of a reference")
        mv = _array(field.mv, np.int16, (2, 2, rows, cols), "vectors of a reference")
        if mode.max() > (0 if field.to[1] is None else 2):
            raise ValueError("the field of a reference has modes for which it has no references")
        self._kept += [mode, mv]
        times = _times(field.time, field.to, now)
        return _CField(mode.ctypes.data, mv.ctypes.data, _apart(field.time, now), times)


def _apart(time: int, now: int) -> int:
    if abs(time - now) > LONGEST_DISTANCE:
        raise ValueError(f"a frame shown at {now} depends on one shown at {time}")
    return time - now


def _times(time: int, to: tuple[int, int | None], now: int) -> ctypes.Array[ctypes.c_int32]:
    """Of a frame's references, from `now`."""
    if time in to:
        raise ValueError(f"a frame shown at {time} is its own reference")
    return (ctypes.c_int32 * 2)(*(0 if t is None else _apart(t, now) for t in to))


def search(
    now: Picture,
    refs: tuple[Picture, Picture | None],
    time: int,
    to: tuple[int, int | None],
    weight: float,
    fields: tuple[Field | None, Field | None] = (None, None),
    effort: int = 1,
    level: int | None = None,
    stream: Stream | None = None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """The field by which a frame is best predicted from its references' reconstructions: `mode` uint8 [H/8,W/8], `mv`
    int16 [2,2,H/8,W/8], and about what it costs in bits (errors included). `weight`: bits that a squared step of an
    8-bit luma sample is worth (`weight_of`). `fields` are the references' own (`None`: a key frame's). `level` in the
    pyramid (0 with one reference, else 2, where it is not given) and the `stream` that the field will be written to say
    what it costs there."""
    rows, cols = now.shape[0] // 8, now.shape[1] // 8
    for ref in refs:
        if ref is not None and (ref.shape != now.shape or not ref.reference):
            raise ValueError("references must be pictures of the frame's size, prepared as references")
    if (refs[1] is None) != (to[1] is None):
        raise ValueError("a second reference needs its time")
    frame = _Frame(rows, cols, time, to, fields)
    cost = ctypes.c_float()
    pictures = [_at(None if p is None else p.memory) for p in (now, *refs)]
    level = (0 if to[1] is None else 2) if level is None else level
    prices = ctypes.c_int32(level), ctypes.c_void_p(None if stream is None else stream.contexts())
    more = *prices, ctypes.c_float(weight), ctypes.c_int32(effort), ctypes.byref(cost)
    _checked(library().lvc_search(_isa(), *pictures, ctypes.byref(frame.c), *more))
    return frame.mode, frame.mv, float(cost.value)


LUMA_WEIGHT = 0.75
"""As `lvc.codec.choice` weighs squared errors."""


def weight_of(level: float) -> float:
    """`weight` of `search` for a frame's level, log2 λ of the error of samples in 0..1."""
    return float(LUMA_WEIGHT / 255**2 * 2.0**level)


class Stream:
    """Fields and flags of frames, written or read in order within an entropy-coded stream that may hold other things
    besides. What contexts learn goes on from frame to frame."""

    def __init__(self, coder: Coder | bytes | None = None, after: Stream | None = None) -> None:
        """To read a `coder`'s bytes, or to write to it. `after`: contexts go on from where those of that stream are."""
        self.coder = coder if isinstance(coder, Coder) else Coder(coder)
        self._python: motion_reference.FieldCoder | None = None
        self._frame: _Frame | None = None
        if self.coder.python is not None:
            contexts = motion_reference.start()
            if after is not None and after._python is not None:
                contexts = [Context(c.quick, c.slow, c.count) for c in after._python.contexts]
            self._python = motion_reference.FieldCoder(self.coder.python, contexts)
            return
        c = library()
        c.lvc_motion_stream_size.restype = ctypes.c_size_t
        self._memory = np.empty(c.lvc_motion_stream_size(), np.uint8)
        c.lvc_motion_stream(_at(self._memory), _at(None if after is None else after._memory))

    def field(
        self,
        shape: tuple[int, int],
        time: int,
        to: tuple[int, int | None],
        fields: tuple[Field | None, Field | None],
        level: int,
        given: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mode and vectors of a frame of `shape` blocks, `given` when writing; the rest as for `search`."""
        frame = _Frame(*shape, time, to, fields)
        if given is not None:
            frame.mode[:] = _array(given[0], np.uint8, shape, "mode")
            frame.mv[:] = _array(given[1], np.int16, (2, 2, *shape), "vectors")
            _check_field(frame.mode, frame.mv, 1 if to[1] is None else 2)
        if self._python is not None:
            made = motion_reference.Field(frame.mode, frame.mv, time, to)
            others = [None if f is None else motion_reference.Field(f.mode, f.mv, f.time, f.to) for f in fields]
            self._leaves = self._python.field(made, (others[0], others[1]), level)
            self._frame = frame
            return frame.mode, frame.mv
        code = library().lvc_motion_stream_field(
            _at(self._memory), self.coder.pointer, ctypes.byref(frame.c), ctypes.c_int32(level)
        )
        if code:
            raise CorruptError("a motion field is damaged")
        self._frame = frame
        return frame.mode, frame.mv

    def flags(
        self,
        level: int,
        given: tuple[np.ndarray, np.ndarray] | None = None,
        others: tuple[tuple[np.ndarray, np.ndarray] | None, tuple[np.ndarray, np.ndarray] | None] = (None, None),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Flags skip and copy, uint8 [H/16,W/16], of the frame whose field was coded last; `others` are those of its
        references (`None`: a key frame's)."""
        if self._frame is None:
            raise ValueError("flags come after a frame's field")
        shape = self._frame.mode.shape[0] // 2, self._frame.mode.shape[1] // 2
        made = [np.zeros(shape, np.uint8) for _ in range(2)]
        if given is not None:
            made = [_array(a, np.uint8, shape, "flags").copy() for a in given]
        pairs = [(None, None) if o is None else tuple(_array(a, np.uint8, shape, "flags") for a in o) for o in others]
        if self._python is not None:
            self._python.flags(self._leaves, level, made[0], made[1], others)
            return made[0], made[1]
        library().lvc_motion_stream_flags(
            _at(self._memory), self.coder.pointer, ctypes.byref(self._frame.c), ctypes.c_int32(level), *map(_at, made),
            *(_at(a) for pair in pairs for a in pair),
        )  # fmt: skip
        return made[0], made[1]

    def contexts(self) -> int:
        """Where its contexts lie, as C sees them."""
        if self._python is not None:
            self._contexts = np.zeros(3 * CONTEXTS + 8, np.uint16)  # behind them no counts
            self._contexts[: 3 * CONTEXTS] = [n for c in self._python.contexts for n in (c.quick, c.slow, c.count)]
            return int(self._contexts.ctypes.data)
        c = library()
        c.lvc_motion_stream_contexts.restype = ctypes.c_void_p
        return int(c.lvc_motion_stream_contexts(_at(self._memory)))

    def counts(self) -> np.ndarray:
        """How often each flag was 0 and 1 so far: [contexts,2]. The compiled engine counts."""
        c = library()
        c.lvc_motion_stream_counts.restype = ctypes.POINTER(ctypes.c_uint32)
        found = c.lvc_motion_stream_counts(_at(self._memory))
        return np.ctypeslib.as_array(found, (CONTEXTS, 2)).astype(np.int64)

    def finish(self) -> bytes:
        """As the coder's."""
        return self.coder.finish()
