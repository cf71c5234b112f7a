"""Chooses the engine: the compiled one (`_engine.so`) with the instruction set that `LVC_ENGINE` names or the processor
supports; numpy, which gives the same results slowly; or torch for the networks and the compiled one for the rest."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "_engine.so"
ISAS = "avx512vnni", "avxvnni", "avx2", "neon", "c"
"""The library's instruction sets, in the order of `Isa` in cpu.h."""
NUMPY, TORCH = "numpy", "torch"
ENGINES = *ISAS, NUMPY, TORCH
SLOW = "the compiled engine is missing: numpy decodes instead, very slowly, and encoding is not possible"
REMEDY = "install lvc again, or run scripts/build_native.py in a checkout"


def checksum(folder: Path = FOLDER) -> int:
    """Return the CRC-32 of the C sources. It detects a library that was built from other sources."""
    crc = 0
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")], key=lambda p: p.name):
        crc = zlib.crc32(path.read_bytes(), zlib.crc32(path.name.encode(), crc))
    return crc


@cache
def _loaded() -> ctypes.CDLL | None:
    """Load the library. Returns `None` if there is none; raises `UsageError` if it is older than its sources."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.lvc_engine_source.restype = ctypes.c_uint32
    except (OSError, AttributeError):
        return None
    if found.lvc_engine_source() != checksum():
        raise UsageError("the compiled engine is older than its sources — run scripts/build_native.py")
    return found


def library() -> ctypes.CDLL:
    """Return the library, for what only it can do. Raises `UsageError` if it is missing or older than its sources."""
    found = _loaded()
    if found is None:
        raise UsageError(f"the compiled engine is missing, and without it lvc can only decode — {REMEDY}")
    return found


def compiled() -> ctypes.CDLL | None:
    """Return the library, or `None` if the numpy engine is in use."""
    return None if chosen() == NUMPY else library()


def runs(engine: str) -> bool:
    """Return whether `engine` runs here. For an instruction set: the library has its kernels and the processor runs
    them."""
    if engine == NUMPY:
        return True
    found = _loaded()
    if engine == TORCH:
        return found is not None and importlib.util.find_spec("torch") is not None
    return found is not None and engine in ISAS and bool(found.lvc_isa_runs(ISAS.index(engine)))


def chosen(wanted: str | None = None) -> str:
    """Return the engine in use: `wanted`, else `LVC_ENGINE`, else the fastest. Raises `UsageError` if it cannot run
    here; warns if only numpy is left."""
    return _choice(wanted or os.environ.get("LVC_ENGINE") or "")


@cache
def _choice(wanted: str) -> str:
    if not wanted:
        if (found := _loaded()) is not None:
            return ISAS[found.lvc_isa_best()]
        import warnings

        warnings.warn(f"{SLOW} — {REMEDY}", stacklevel=3)
        return NUMPY
    if wanted not in ENGINES:
        raise UsageError(f"LVC_ENGINE: no engine is called {wanted!r} — choose one of {', '.join(ENGINES)}")
    if not runs(wanted):
        if wanted == TORCH and _loaded() is not None:
            raise UsageError("LVC_ENGINE: torch is not installed — leave it out")
        library()
        raise UsageError(f"LVC_ENGINE: this processor cannot run {wanted!r} — leave it out, or set it to c")
    return wanted


def instructions() -> int:
    """Return the number (`Isa` in cpu.h) of the instruction set that the library's own functions use."""
    engine = chosen()
    return ISAS.index(engine) if engine in ISAS else int(library().lvc_isa_best())


def address(a: np.ndarray) -> ctypes.c_void_p:
    """Return an array's address for C. Raises `ValueError` unless the array is C-contiguous, which C assumes."""
    if not a.flags.c_contiguous:
        raise ValueError("an array is not contiguous")
    return ctypes.c_void_p(a.ctypes.data)
