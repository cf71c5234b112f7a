"""The compiled engine, `_engine.so`: loaded once, its instruction set chosen by `LVC_ENGINE` or by the processor."""

from __future__ import annotations

import ctypes
import os
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import UsageError

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "_engine.so"
ISAS = "avx512vnni", "avxvnni", "avx2", "neon", "c"
"""Instruction sets in the library, in the order of `Isa` in cpu.h."""


def checksum(folder: Path = FOLDER) -> int:
    """CRC-32 of the C sources, by which a library made from others is told apart."""
    crc = 0
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")], key=lambda p: p.name):
        crc = zlib.crc32(path.read_bytes(), zlib.crc32(path.name.encode(), crc))
    return crc


@cache
def library() -> ctypes.CDLL:
    """Raises `UsageError` where there is none, or one of other sources than those beside it."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.lvc_engine_source.restype = ctypes.c_uint32
        same = found.lvc_engine_source() == checksum()
    except (OSError, AttributeError) as e:
        raise UsageError(
            "the compiled engine is missing — install lvc again, or run scripts/build_native.py in a checkout"
        ) from e
    if not same:
        raise UsageError("the compiled engine is older than its sources — run scripts/build_native.py")
    found.lvc_isa_name.restype = ctypes.c_char_p
    return found


def runs(isa: str) -> bool:
    """Whether the library has kernels of this instruction set and the processor runs them."""
    return isa in ISAS and bool(library().lvc_isa_runs(ISAS.index(isa)))


@cache
def chosen(wanted: str | None = None) -> str:
    """The instruction set in use: `wanted`, else `LVC_ENGINE`, else the best. Raises `UsageError` for one that
    cannot run here."""
    wanted = wanted or os.environ.get("LVC_ENGINE")
    if not wanted:
        return ISAS[library().lvc_isa_best()]
    if wanted not in ISAS:
        raise UsageError(f"LVC_ENGINE: no engine is called {wanted!r} — choose one of {', '.join(ISAS)}")
    if not runs(wanted):
        raise UsageError(f"LVC_ENGINE: this processor cannot run {wanted!r} — leave it out, or set it to c")
    return wanted


def address(a: np.ndarray) -> ctypes.c_void_p:
    """Of a contiguous array; raises `ValueError` for another, whose memory is not what its shape says."""
    if not a.flags.c_contiguous:
        raise ValueError("an array is not contiguous")
    return ctypes.c_void_p(a.ctypes.data)
