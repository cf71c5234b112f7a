"""`native.c`, where it was compiled when lvc was built: motion several times as fast, with the same integers.

Without it — no compiler was at hand, or `LVC_NATIVE=0` — numpy and PyTorch do the same.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np

VERSION = 1
"""Of the functions' arguments; a library that was built from another `native.c` is left alone."""
LIBRARY = Path(__file__).with_name("_native.so")


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None."""
    if os.environ.get("LVC_NATIVE") == "0":
        return None
    try:
        found = ctypes.CDLL(str(LIBRARY))
        return found if found.lvc_native_version() == VERSION else None
    except (OSError, AttributeError):
        return None


def address(a: np.ndarray) -> ctypes.c_void_p:
    """Of a contiguous array."""
    assert a.flags.c_contiguous
    return ctypes.c_void_p(a.ctypes.data)
