"""`lvc decode --latents`: arrays in a file replace a video's own latents.

The file is untrusted. Its declared shapes and types are compared with the video's before anything is read, and only the
rows of one frame are in memory at a time.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from lvc.codec import Given, LatentFrame
from lvc.engine.motion_reference import LONGEST
from lvc.errors import MediaError, UsageError
from lvc.latents.arrays import FRAME_OF, KEY, NPZ, PLANES, RESIDUAL, SAFETENSORS, VALUE, Spec, specs_of
from lvc.lvz import Geometry
from lvc.output import about

Array = npt.NDArray[Any]

_MAX_HEADER = 1 << 16
_BLOCK = 1 << 20


class Changes:
    """Called in coding order with a frame's own latents; returns the latents to decode. Made by `opened`."""

    def __init__(
        self, path: str, arrays: dict[str, _Lazy], geometry: Geometry, model_sha256: bytes, frames: int | None
    ) -> None:
        self.path, self._arrays = path, arrays
        known = {spec.name: spec for spec in specs_of(geometry, 0, 0, True)}
        if not any(name in arrays for name in (*PLANES.values(), *VALUE.values())):
            raise MediaError(f"has none of the arrays that lvc unpack writes, as {VALUE[KEY]}")
        if "model_sha256" in arrays and self._whole("model_sha256", known).astype(np.uint8).tobytes() != model_sha256:
            raise MediaError("model_sha256: these latents are another model's")
        self._rows = {kind: self._numbers(kind, frames) for kind in (KEY, RESIDUAL)}
        for plane, name in PLANES.items():
            self._check(known[name], KEY if plane.startswith(KEY) else RESIDUAL)
        for kind, name in VALUE.items():
            self._check(known[name], kind, floats=True)
        self._changed = False  # whether a frame before, of the same group, has been

    def _whole(self, name: str, known: dict[str, Spec]) -> Array:
        array = self._arrays[name]
        if array.shape != known[name].shape or array.dtype.kind not in "iu":
            raise MediaError(f"{name} is {array.dtype} {list(array.shape)}, not {list(known[name].shape)} integers")
        return array.read()

    def _numbers(self, kind: str, frames: int | None) -> dict[int, int]:
        """Return rows by the number of their frame."""
        name = FRAME_OF[kind]
        mine = [n for n in (*PLANES.values(), VALUE[kind]) if n.startswith(kind) and n in self._arrays]
        if name not in self._arrays:
            if mine:
                raise MediaError(f"has {mine[0]} without {name}, which says whose rows these are")
            return {}
        array = self._arrays[name]
        if array.dtype.kind not in "iu" or len(array.shape) != 1:
            raise MediaError(f"{name} is {array.dtype} {list(array.shape)}, not a list of integers")
        if frames is not None and array.shape[0] > frames:
            raise MediaError(f"{name} names {array.shape[0]} frames, the video has {frames}")
        numbers = array.read().tolist()
        rows = {number: row for row, number in enumerate(numbers)}
        if len(rows) != len(numbers):
            raise MediaError(f"{name} names a frame twice")
        wrong = next((n for n in numbers if n < 0 or (frames is not None and n >= frames)), None)
        if wrong is not None:
            raise MediaError(f"{name} names frame {wrong}, which the video does not have")
        return rows

    def _check(self, spec: Spec, kind: str, floats: bool = False) -> None:
        """Return the shape and type of an array, if the file has it."""
        array = self._arrays.get(spec.name)
        if array is None:
            return
        wanted = (len(self._rows[kind]), *spec.shape[1:])
        if array.shape != wanted:
            raise MediaError(f"{spec.name} has the shape {list(array.shape)}, the video's is {list(wanted)}")
        if array.dtype.kind not in ("iuf" if floats else "iu"):
            raise MediaError(f"{spec.name} is {array.dtype}, not {'numbers' if floats else 'integers'}")

    def __call__(self, frame: LatentFrame) -> Given:
        with about(self.path):
            return self._changes(frame)

    def _changes(self, frame: LatentFrame) -> Given:
        if frame.key:
            self._changed = False
        kind, other = (KEY, RESIDUAL) if frame.intra_coded else (RESIDUAL, KEY)
        if frame.number in self._rows[other]:
            raise MediaError(f"{FRAME_OF[other]} names frame {frame.number}, which is none of these in the video")
        row = self._rows[kind].get(frame.number)
        if row is None:
            values, detail = (frame.values, None) if self._changed else (None, frame.detail)
            return Given(frame.planes, values, detail, frame.exposure)
        planes, symbols = dict(frame.planes), "key_latent" if frame.intra_coded else "latent"
        for plane, own in frame.planes.items():
            if (array := self._arrays.get(PLANES[plane])) is not None:
                planes[plane] = _fitted(PLANES[plane], array.row(row), own)
        values = frame.values
        if (array := self._arrays.get(VALUE[kind])) is not None:
            values = _fitted(VALUE[kind], array.row(row), values)
        _check_frame(frame, planes)
        of_symbols = bool((planes[symbols] != frame.planes[symbols]).any())
        of_values = bool((values != frame.values).any())
        if of_symbols and of_values:
            raise MediaError(
                f"frame {frame.number} has other symbols ({PLANES[symbols]}) and other values ({VALUE[kind]}) than the "
                "video — change one of them"
            )
        # after a picture has changed, the means that symbols are relative to change too, so values are used instead
        use_values = not of_symbols and (of_values or self._changed)
        self._changed |= of_symbols or of_values or any((planes[n] != frame.planes[n]).any() for n in planes)
        # detail is the residual of the original picture and does not fit another one
        detail = None if self._changed else frame.detail
        return Given(planes, values if use_values else None, detail, frame.exposure)


def _fitted(name: str, row: Array, own: Array) -> Array:
    """Return a row in the video's own type and shape; floats are rounded and clamped, integers must be in range."""
    row = row.reshape(own.shape)
    if row.dtype.kind == "f":
        if not np.isfinite(row).all():
            raise MediaError(f"{name} has values that are not finite")
        row = np.rint(row).clip(-32768, 32767)
    limits = np.iinfo(own.dtype)
    if row.size and (row.min() < limits.min or row.max() > limits.max):
        raise MediaError(f"{name} has values that do not fit {own.dtype}")
    return row.astype(own.dtype)


def _check_frame(frame: LatentFrame, planes: dict[str, Array]) -> None:
    """Check modes, vectors and flags. Raises `MediaError` for values that no frame can have."""
    if frame.intra_coded:
        return
    skip, copy, mode = (planes[name] for name in ("skip", "copy", "mode"))
    mv, where = planes["vectors"].reshape(2, 2, *mode.shape[1:]), f"of frame {frame.number}"
    if max(skip.max(), copy.max()) > 1 or (copy > skip).any():
        raise MediaError(f"residual_skip or residual_copy {where}: each is 0 or 1, and copy is 1 only where skip is")
    if mode.max() > (0 if frame.references[1] < 0 else 2):
        raise MediaError(f"residual_mode {where} names references that the frame does not have")
    if np.abs(mv.astype(np.int32)).max() > LONGEST:
        raise MediaError(f"residual_vectors {where} go beyond ±{LONGEST}")
    if ((mode[0] == 1) & mv[0].any(0) | (mode[0] == 0) & mv[1].any(0)).any():
        raise MediaError(f"residual_vectors {where} are not 0 for a reference that residual_mode does not use")


class _Lazy:
    """An array in a file: its type and shape, and access to its rows one by one."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self) -> Array:
        raise NotImplementedError

    def row(self, number: int) -> Array:
        raise NotImplementedError


class _Mapped(_Lazy):
    def __init__(self, array: Array) -> None:
        self._array, self.dtype, self.shape = array, array.dtype, array.shape

    def read(self) -> Array:
        return np.array(self._array)

    def row(self, number: int) -> Array:
        return np.array(self._array[number])


_ELEMENTS = {
    "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4", "I64": "<i8", "U64": "<u8",
    "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


class _Slice(_Lazy):
    def __init__(self, name: str, part: Any) -> None:
        element = part.get_dtype()
        if element not in _ELEMENTS:
            raise MediaError(f"{name} is {element}, which lvc does not read — convert it to float32 or int16")
        self._part, self.dtype, self.shape = part, np.dtype(_ELEMENTS[element]), tuple(part.get_shape())

    def read(self) -> Array:
        return cast(Array, self._part[:])

    def row(self, number: int) -> Array:
        return cast(Array, self._part[number])


@contextlib.contextmanager
def opened(path: str, geometry: Geometry, model_sha256: bytes, frames: int | None, scratch: Path) -> Iterator[Changes]:
    """Open `path`, a `.npz` or `.safetensors` of arrays as `lvc unpack` writes them, for a video with this geometry,
    model and number of frames. `scratch`: a folder for arrays extracted from a `.npz`. Raises `MediaError` for arrays
    that do not fit, `UsageError` for another kind of file, `OSError`."""
    with about(path), contextlib.ExitStack() as stack:
        names = {spec.name: spec for spec in specs_of(geometry, 0, 0, True)}
        if path.endswith(SAFETENSORS):
            try:
                file = stack.enter_context(safe_open(path, framework="np"))
                arrays: dict[str, _Lazy] = {n: _Slice(n, file.get_slice(n)) for n in file.keys() if n in names}  # noqa: SIM118
            except SafetensorError as error:
                raise MediaError(f"is not a safetensors file ({str(error)[:200]})") from error
        elif path.endswith(NPZ):
            arrays = _members(path, names, scratch)
        else:
            raise UsageError(f"has to be a {SAFETENSORS} or a {NPZ}, as lvc unpack writes them")
        changes = Changes(path, arrays, geometry, model_sha256, frames)
    yield changes


def _members(path: str, names: dict[str, Spec], scratch: Path) -> dict[str, _Lazy]:
    """Extract the arrays of a `.npz` so that they can be mapped."""
    found: dict[str, _Lazy] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in names and name not in found:
                    with archive.open(info) as member:
                        found[name] = _taken_out(member, names[name], scratch / name)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError) as error:
        raise MediaError(f"is not a .npz that can be read ({str(error)[:200]})") from error
    return found


def _taken_out(member: Any, spec: Spec, target: Path) -> _Lazy:
    """Extract an array of a `.npz`. Its rows must have the shape of the video's own, so that their number alone
    determines its size."""
    shape, order, dtype = _npy_header(member)
    if order or dtype.kind not in "iuf" or len(shape) != len(spec.shape) or shape[1:] != spec.shape[1:]:
        row = ", ".join(map(str, spec.shape[1:])) or "integers"
        raise MediaError(f"{spec.name} is {dtype} {list(shape)}, the video's is a list of {row}, in C order")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > shutil.disk_usage(target.parent).free:
        raise MediaError(f"{spec.name} takes {size:,} bytes, more than are free there")
    if not size:
        return _Mapped(np.zeros(shape, dtype))
    left = size
    with target.open("wb") as out:
        while left and (block := member.read(min(_BLOCK, left))):
            out.write(block)
            left -= len(block)
    if left or member.read(1):
        raise MediaError(f"{spec.name} does not have the bytes that its header says")
    return _Mapped(np.memmap(target, dtype, "r", shape=shape))


def _npy_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, order, dtype = read(member, max_header_size=_MAX_HEADER)
    return shape, order and len(shape) > 1, dtype
