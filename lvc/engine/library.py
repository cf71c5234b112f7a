"""Which engine runs: the compiled one, `_engine.so`, with the instruction set that `LVC_ENGINE` or the processor picks;
or numpy, which does the same slowly; or torch for the networks and the compiled one for the rest."""

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
"""Instruction sets in the library, in the order of `Isa` in cpu.h."""
NUMPY, TORCH = "numpy", "torch"
ENGINES = *ISAS, NUMPY, TORCH
SLOW = "the compiled engine is missing, so that numpy decodes, very slowly, and nothing can be encoded"
REMEDY = "install lvc again, or run scripts/build_native.py in a checkout"


def checksum(folder: Path = FOLDER) -> int:
    """CRC-32 of the C sources, by which a library made from others is told apart."""
    crc = 0
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")], key=lambda p: p.name):
        crc = zlib.crc32(path.read_bytes(), zlib.crc32(path.name.encode(), crc))
    return crc


@cache
def _loaded() -> ctypes.CDLL | None:
    """`None` where there is no library for this machine; raises `UsageError` for one of other sources than those beside
    it."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.lvc_engine_source.restype = ctypes.c_uint32
    except (OSError, AttributeError):
        return None
    if found.lvc_engine_source() != checksum():
        raise UsageError("the compiled engine is older than its sources — run scripts/build_native.py")
    return found


def library() -> ctypes.CDLL:
    """For what only the compiled engine does. Raises `UsageError` where there is none, or one of other sources."""
    found = _loaded()
    if found is None:
        raise UsageError(f"the compiled engine is missing, and without it lvc can only decode — {REMEDY}")
    return found


def compiled() -> ctypes.CDLL | None:
    """The library, or `None` where numpy is to do its work."""
    return None if chosen() == NUMPY else library()


def runs(engine: str) -> bool:
    """Whether this engine runs here; of an instruction set, whether the library has kernels for it and the processor
    runs them."""
    if engine == NUMPY:
        return True
    found = _loaded()
    if engine == TORCH:
        return found is not None and importlib.util.find_spec("torch") is not None
    return found is not None and engine in ISAS and bool(found.lvc_isa_runs(ISAS.index(engine)))


def chosen(wanted: str | None = None) -> str:
    """The engine in use: `wanted`, else `LVC_ENGINE`, else the best. Raises `UsageError` for one that cannot run here,
    and where there is no compiled one warns of numpy."""
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
    """The instruction set, as C counts them, of what the library does for any engine."""
    engine = chosen()
    return ISAS.index(engine) if engine in ISAS else int(library().lvc_isa_best())


def address(a: np.ndarray) -> ctypes.c_void_p:
    """Of a contiguous array; raises `ValueError` for another, whose memory is not what its shape says."""
    if not a.flags.c_contiguous:
        raise ValueError("an array is not contiguous")
    return ctypes.c_void_p(a.ctypes.data)
