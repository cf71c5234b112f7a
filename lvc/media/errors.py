"""FFmpeg's errors become lvc's: one line without file names, `what happened — what to do`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import av

from lvc.errors import LvcError, MediaError

# PyAV raises FFmpeg's errors, and Python's for values that it or a container cannot represent.
AV_ERRORS = (
    av.FFmpegError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def reason(error: BaseException) -> str:
    """FFmpeg's text for an error, in lower case and without the file name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = str(text).strip().split("\n")[0][:200]
    return text[:1].lower() + text[1:]


@contextlib.contextmanager
def media_errors(what: str, advice: str) -> Iterator[None]:
    """Convert every PyAV error in this context to `MediaError`; the system's I/O errors pass unchanged."""
    try:
        yield
    except LvcError:
        raise
    except BrokenPipeError:
        raise
    except av.FFmpegError as error:
        raise MediaError(f"{what} ({reason(error)}) — {advice}") from error
    except OSError:
        raise
    except AV_ERRORS as error:
        raise MediaError(f"{what} ({reason(error)}) — {advice}") from error
