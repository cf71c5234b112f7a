"""lvc: a learned video compressor with its own container, `.lvz`.

The public names are loaded on first use (PEP 562), so that `import lvc` costs nothing: torch and PyAV come in
only with the function that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> module that holds it
_PUBLIC = {
    "encode_file": "lvc.files",
    "decode_file": "lvc.files",
    "decode_frames": "lvc.files",
    "load_model": "lvc.models",
    "LvcError": "lvc.errors",
    "UsageError": "lvc.errors",
    "MediaError": "lvc.errors",
    "CorruptError": "lvc.errors",
    "TruncatedError": "lvc.errors",
    "UnsupportedError": "lvc.errors",
    "OutputExistsError": "lvc.errors",
    "LimitError": "lvc.errors",
    "RegressionError": "lvc.errors",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lvc' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
