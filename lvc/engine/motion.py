"""Motion compensation from two references, motion search and the coding of motion fields, in C. `motion_reference.py`
defines the integers and does the same in numpy, except for the search."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from ..errors import CorruptError
from . import motion_reference
from .coder import Coder
from .library import compiled, instructions, library
from .motion_reference import CONTEXTS, LONGEST, Exposure
from .rans_reference import Context

Planes = tuple[np.ndarray, np.ndarray]
"""Luma int16 [H,W] and chroma int16 [2,H/2,W/2], 12-bit samples; H and W are multiples of 16."""


_isa = instructions


def _array(a: np.ndarray, dtype: type, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return `a`, contiguous. Raises `ValueError` for another shape or dtype, because C does not check them."""
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
    """Raise `ValueError` for a mode that lacks its reference, a vector that is too long, or one that is not used."""
    unused = (mode == 1) & mv[0].any(0) | (mode == 0) & mv[1].any(0)
    if unused.any() or mode.max() > 2 * references - 2 or np.abs(mv.astype(np.int32)).max() > LONGEST:
        raise ValueError(IMPOSSIBLE)


def planes_in(memory: np.ndarray, rows: int, cols: int) -> Planes:
    """Return the planes of a frame of `rows` x `cols` blocks of 8x8 in one piece of memory, int16 `[96·rows·cols]`:
    pieces of one size leave no gaps in the heap."""
    luma, chroma = memory[: 64 * rows * cols], memory[64 * rows * cols :]
    return luma.reshape(8 * rows, 8 * cols), chroma.reshape(2, 4 * rows, 4 * cols)


def compensate(
    ref0: Planes, ref1: Planes | None, mode: np.ndarray, mv: np.ndarray, difference: Planes | None = None
) -> tuple[Planes, Planes]:
    """Predict a frame by overlapped block motion compensation (OBMC; Orchard and Sullivan 1994,
    https://doi.org/10.1109/83.334974).

    Args:
        ref0, ref1: The references; `ref1` is `None` for a frame with one.
        mode: uint8 [H/8,W/8]: 0 and 1 name a reference, 2 is the mean of both.
        mv: int16 [2,2,H/8,W/8]: vectors (x, y) for each reference, in quarter luma samples.
        difference: Planes that D may be written to.

    Returns:
        The prediction P, and the difference D of the two predictions (0 where there is only one).
    """
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
    made = [*planes_in(np.empty(96 * rows * cols, np.int16), rows, cols)]
    if difference is None:
        difference = planes_in(np.empty(96 * rows * cols, np.int16), rows, cols)
    made += [_array(d, np.int16, shape, "the difference") for d, shape in zip(difference, shapes, strict=True)]
    size = ctypes.c_int64(rows), ctypes.c_int64(cols)
    _checked(c.lvc_compensate(_isa(), *map(_at, given), _at(mode), _at(mv), *size, *map(_at, made)))
    return (made[0], made[1]), (made[2], made[3])


def exposed(reference: Planes, of: Exposure, to: Exposure) -> Planes:
    """Return a reference's planes as they are at another exposure: weighted prediction with one weight a frame (Boyce
    2004, https://doi.org/10.1109/ISCAS.2004.1328865). The same object where that changes nothing."""
    if of == to:
        return reference
    luma, chroma = reference
    if (c := compiled()) is None:
        return motion_reference.expose(reference, of, to)
    luma = _array(luma, np.int16, luma.shape, "luma")
    chroma = _array(chroma, np.int16, (2, luma.shape[0] // 2, luma.shape[1] // 2), "chroma")
    made = np.empty_like(luma), np.empty_like(chroma)
    size = ctypes.c_int64(luma.size)
    changed = c.lvc_expose(_at(luma), _at(chroma), size, _CExposure(*of), _CExposure(*to), *map(_at, made))
    return made if changed else reference


class Picture:
    """A frame prepared for `search`: a pyramid of its luma (int16 [H,W], 12 bits) and means of its chroma (int16
    [2,H/2,W/2]; without it, only luma counts). With `reference`, also luma interpolated at all subsample positions, 18
    bytes a sample. Keep a reference's picture for all frames predicted from it. Only the compiled engine searches:
    raises `UsageError` if it is missing."""

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
    """The motion field of a coded frame: `mode` uint8 [H/8,W/8] and `mv` int16 [2,2,H/8,W/8]; `time` at which the frame
    is shown, and the times `to` of its references (the second is `None` if it has one). Times are in frames."""

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


class _CExposure(ctypes.Structure):
    _fields_ = [("gain", ctypes.c_int32), ("offset", ctypes.c_int32)]


LONGEST_DISTANCE = 1024
"""The largest distance between a frame and its reference, in frames."""


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
    """Return the distances of a frame's references from `now`, in frames."""
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
    """Find the motion field of least rate–distortion cost (Sullivan and Wiegand 1998,
    https://doi.org/10.1109/79.733497).

    Args:
        now: The frame to predict.
        refs: Its reconstructed references, prepared with `reference`.
        time: When the frame is shown, in frames.
        to: When its references are shown, in frames.
        weight: Bits that a squared error of 1 in an 8-bit luma sample is worth (`weight_of`).
        fields: The motion fields of the references; `None` for a key frame.
        effort: The higher, the more candidates are tried.
        level: The frame's pyramid level, for the rate; default 0 with one reference, else 2.
        stream: The stream that the field will be written to, for the rate; default: a new one.

    Returns:
        `mode` uint8 [H/8,W/8], `mv` int16 [2,2,H/8,W/8], and the approximate cost in bits, distortion included.
    """
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
"""The weight of luma's squared errors, as in `lvc.codec.choice`."""


def weight_of(level: float) -> float:
    """Return the `weight` for `search` from `level`, a frame's log2 λ for the squared error of samples in 0..1."""
    return float(LUMA_WEIGHT / 255**2 * 2.0**level)


class Stream:
    """Codes the motion fields and flags of frames, in order, within an entropy-coded stream that may hold other data.
    Contexts keep adapting from frame to frame."""

    def __init__(self, coder: Coder | bytes | None = None, after: Stream | None = None) -> None:
        """Read from a reader or bytes, write to a writer. `after`: start with the present contexts of that stream."""
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
        """Code a motion field: write `given`, or read one. Returns `mode` and `mv`. `shape`: rows and columns of 8x8
        blocks; the rest as for `search`. Raises `CorruptError` for a damaged field."""
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

    def exposure(self, expected: Exposure, given: Exposure | None = None) -> Exposure:
        """Code a frame's exposure, before its field: write `given`, or read one. Raises `CorruptError` for one that is
        out of range."""
        if self._python is not None:
            try:
                return self._python.exposure(expected, given or expected)
            except ValueError as error:
                raise CorruptError(str(error)) from None
        made, known = _CExposure(*(given or expected)), _CExposure(*expected)
        code = library().lvc_motion_stream_exposure(
            _at(self._memory), self.coder.pointer, ctypes.byref(known), ctypes.byref(made)
        )
        if code:
            raise CorruptError("an exposure is out of range")
        return Exposure(made.gain, made.offset)

    def flags(
        self,
        level: int,
        given: tuple[np.ndarray, np.ndarray] | None = None,
        others: tuple[tuple[np.ndarray, np.ndarray] | None, tuple[np.ndarray, np.ndarray] | None] = (None, None),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Code the flags skip and copy, uint8 [H/16,W/16], of the frame whose field was coded last: write `given`, or
        read them. `others`: the flags of its references; `None` for a key frame."""
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
        """Return the address of the contexts, in C's layout."""
        if self._python is not None:
            self._contexts = np.zeros(3 * CONTEXTS + 8, np.uint16)  # followed by no counts
            self._contexts[: 3 * CONTEXTS] = [n for c in self._python.contexts for n in (c.quick, c.slow, c.count)]
            return int(self._contexts.ctypes.data)
        c = library()
        c.lvc_motion_stream_contexts.restype = ctypes.c_void_p
        return int(c.lvc_motion_stream_contexts(_at(self._memory)))

    def counts(self) -> np.ndarray:
        """Return how often each context coded 0 and 1 so far: int64 [contexts,2]. Compiled engine only."""
        c = library()
        c.lvc_motion_stream_counts.restype = ctypes.POINTER(ctypes.c_uint32)
        found = c.lvc_motion_stream_counts(_at(self._memory))
        return np.ctypeslib.as_array(found, (CONTEXTS, 2)).astype(np.int64)

    def finish(self) -> bytes:
        """End the stream, as `Coder.finish` does."""
        return self.coder.finish()
