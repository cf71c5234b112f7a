"""The latents of lvc's own codec as named arrays (`docs/latents.md` defines them), written as `.npz` or safetensors row
by row, in memory that does not grow with the file."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lvc.codec import FrameIntegers, LatentFrame
from lvc.engine import safetensors_file
from lvc.errors import MediaError
from lvc.lvz import Geometry
from lvc.output import publish, workspace

Array = npt.NDArray[Any]

NPZ, SAFETENSORS = ".npz", ".safetensors"
KEY, RESIDUAL = "key", "residual"
"""Prefixes of array names: for intra-coded frames, and for predicted ones, whose latents are residuals."""
FRAME_OF = {KEY: "key_frame", RESIDUAL: "residual_frame"}
"""The arrays that give the frame of each row of the other arrays."""
PLANES = {
    "key_hyper": "key_hyper", "key_latent": "key_latent", "skip": "residual_skip", "copy": "residual_copy",
    "mode": "residual_mode", "vectors": "residual_vectors", "hyper": "residual_hyper", "latent": "residual_latent",
}  # fmt: skip
"""A plane's name in the file → the name of its array."""
VALUE = {KEY: "key_value", RESIDUAL: "residual_value"}


@dataclass(frozen=True)
class Spec:
    """One array: its name, type and shape for a video."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=object))


def row_shape(name: str, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape of one frame's row: a plane of one channel is `[rows, columns]`, vectors are `[2, 2, rows,
    columns]`."""
    if name == "vectors":
        return 2, 2, *shape[1:]
    return shape[1:] if name in ("skip", "copy", "mode") else shape


def specs_of(geometry: Geometry, keys: int, residuals: int, intra: bool, values: bool = True) -> list[Spec]:
    """Return the arrays for a part of a video with these numbers of intra-coded and predicted frames, in the order of
    `docs/latents.md`; without `values` only those that need no model."""
    frames, shapes = keys + residuals, {p.name: geometry.plane_shape(p) for p in geometry.planes}
    specs = [
        Spec("size", "int64", (4,)),
        Spec("time_base", "int64", (2,)),
        Spec("model_sha256", "uint8", (32,)),
        Spec("frame", "int64", (frames,)),
        Spec("pts", "int64", (frames,)),
        Spec("duration", "int64", (frames,)),
        Spec("time", "float64", (frames,)),
        Spec("key", "uint8", (frames,)),
        Spec("quality", "uint8", (frames,)),
        Spec("level", "uint8", (frames,)),
        Spec("references", "int64", (frames, 2)),
    ]
    for kind, count in ((KEY, keys), (RESIDUAL, residuals)):
        specs.append(Spec(FRAME_OF[kind], "int64", (count,)))
        mine = [p for p in geometry.planes if p.in_key == (kind == KEY)]
        specs += [Spec(PLANES[p.name], p.dtype, (count, *row_shape(p.name, shapes[p.name]))) for p in mine]
        latent = shapes["key_latent" if kind == KEY else "latent"]
        if values:
            specs.append(Spec(VALUE[kind], "int16", (count, *latent)))
            specs.append(Spec(f"{kind}_scale", "float32", (count, latent[0])))
    if intra:
        specs.append(Spec("intra_value", "int16", (frames, *shapes["key_latent"])))
        specs.append(Spec("intra_scale", "float32", (frames, shapes["key_latent"][0])))
    return specs


def rows_of(frame: FrameIntegers) -> Iterator[tuple[str, Array]]:
    """Return the row that a frame adds to each array."""
    for name, value in (
        ("frame", frame.number), ("pts", frame.pts), ("duration", frame.duration), ("time", frame.time),
        ("key", frame.key), ("quality", frame.quality), ("level", frame.level), ("references", frame.references),
    ):  # fmt: skip
        yield name, np.array(value)
    kind = KEY if frame.intra_coded else RESIDUAL
    yield FRAME_OF[kind], np.array(frame.number)
    for name, plane in frame.planes.items():
        yield PLANES[name], plane.reshape(row_shape(name, (len(plane), *plane.shape[1:])))
    if not isinstance(frame, LatentFrame):
        return
    yield VALUE[kind], frame.values
    yield f"{kind}_scale", frame.scale
    if frame.intra is not None and frame.intra_scale is not None:
        yield "intra_value", frame.intra
        yield "intra_scale", frame.intra_scale


class ArraysWriter:
    """Receives the rows of arrays one after the other. Made by `written`."""

    def __init__(self, files: Mapping[str, tuple[BinaryIO, int]], specs: list[Spec]) -> None:
        self._files, self._specs = files, {s.name: s for s in specs}
        self._done = dict.fromkeys(self._specs, 0)

    def add(self, name: str, row: Array) -> None:
        spec = self._specs[name]
        whole = np.ascontiguousarray(row, np.dtype(spec.dtype).newbyteorder("<"))
        if self._done[name] + whole.nbytes > spec.bytes:
            raise ValueError(f"{name} gets more than it was made for")
        file, start = self._files[name]
        file.seek(start + self._done[name])
        file.write(whole.data if whole.ndim else whole.tobytes())
        self._done[name] += whole.nbytes

    def check_full(self) -> None:
        for spec in self._specs.values():
            if self._done[spec.name] != spec.bytes:
                raise ValueError(f"{spec.name} was not filled")


@contextmanager
def written(target: str, specs: list[Spec], text: dict[str, str], force: bool) -> Iterator[ArraysWriter]:
    """Open a `.npz` or `.safetensors` for these arrays; it gets its final name when the block is left without an error.
    Raises `MediaError` if the disk has no room for it."""
    total = sum(spec.bytes for spec in specs)
    free = shutil.disk_usage(Path(target).absolute().parent).free
    if total > free:
        raise MediaError(f"the arrays take {total:,} bytes, {free:,} are free — unpack a part with --start and --end")
    with ExitStack() as stack:
        path = stack.enter_context(publish(target, force=force))
        if target.endswith(NPZ):
            folder = stack.enter_context(workspace(target))
            files = {spec.name: stack.enter_context((folder / spec.name).open("wb")) for spec in specs}
            places = {spec.name: (files[spec.name], _npy_header(files[spec.name], spec)) for spec in specs}
            writer = ArraysWriter(places, specs)
            yield writer
            writer.check_full()
            for file in files.values():
                file.close()
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for spec in specs:
                    archive.write(folder / spec.name, f"{spec.name}.npy")
                    os.unlink(folder / spec.name)
            return
        out = stack.enter_context(path.open("wb"))
        # wide types first, so that every array begins at a multiple of its item's size
        ordered = sorted(specs, key=lambda s: -np.dtype(s.dtype).itemsize)
        data = safetensors_file.header([(s.name, s.dtype, s.shape, s.bytes) for s in ordered], text)
        out.write(data)
        out.truncate(len(data) + total)
        starts = accumulate((s.bytes for s in ordered), initial=len(data))
        writer = ArraysWriter({s.name: (out, start) for s, start in zip(ordered, starts, strict=False)}, specs)
        yield writer
        writer.check_full()


def _npy_header(file: BinaryIO, spec: Spec) -> int:
    """Write it and return where the array begins."""
    descr = np.lib.format.dtype_to_descr(np.dtype(spec.dtype).newbyteorder("<"))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": spec.shape})
    return file.tell()
