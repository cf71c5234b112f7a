"""lvc: a learned video compressor with its own container, `.lvz`.

The public names are loaded on first use (PEP 562), so that `import lvc` costs nothing: torch and PyAV come in
only with the function that needs them.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as type checkers understand it; importing typing takes a moment in which Ctrl-C is not heard

# ruff: noqa: F401 - for type checkers; at run time `__getattr__` imports them
if TYPE_CHECKING:
    from typing import Any

    from lvc.errors import (
        CorruptError,
        LimitError,
        LossError,
        LvcError,
        MediaError,
        NoFrameError,
        OutputExistsError,
        RegressionError,
        TruncatedError,
        UnsupportedError,
        UsageError,
    )
    from lvc.facts import info_file, verify_file
    from lvc.files import decode_file, encode_file
    from lvc.interpolate import interpolate_file
    from lvc.media.types import VideoFormat
    from lvc.models import load_model
    from lvc.results import DecodeResult, EncodeResult, Facts, InterpolateResult, SynthesizeResult
    from lvc.search import Group, Hit, SearchIndex
    from lvc.synthesize import synthesize_file
    from lvc.video import Frame, Video, Writer, decode, encode, open

__version__ = "0.1.0"

# public name -> module that holds it
_PUBLIC = {
    "open": "lvc.video",
    "Video": "lvc.video",
    "Frame": "lvc.video",
    "VideoFormat": "lvc.media.types",
    "Writer": "lvc.video",
    "encode": "lvc.video",
    "decode": "lvc.video",
    "encode_file": "lvc.files",
    "decode_file": "lvc.files",
    "interpolate_file": "lvc.interpolate",
    "synthesize_file": "lvc.synthesize",
    "info_file": "lvc.facts",
    "verify_file": "lvc.facts",
    "EncodeResult": "lvc.results",
    "DecodeResult": "lvc.results",
    "InterpolateResult": "lvc.results",
    "SynthesizeResult": "lvc.results",
    "Facts": "lvc.results",
    "SearchIndex": "lvc.search",
    "Hit": "lvc.search",
    "Group": "lvc.search",
    "load_model": "lvc.models",
    "LvcError": "lvc.errors",
    "UsageError": "lvc.errors",
    "NoFrameError": "lvc.errors",
    "MediaError": "lvc.errors",
    "CorruptError": "lvc.errors",
    "TruncatedError": "lvc.errors",
    "UnsupportedError": "lvc.errors",
    "OutputExistsError": "lvc.errors",
    "LimitError": "lvc.errors",
    "RegressionError": "lvc.errors",
    "LossError": "lvc.errors",
}

# what `from lvc import *` brings in; not `open`, which would hide Python's
__all__ = ["__version__", *(name for name in _PUBLIC if name != "open")]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lvc' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
