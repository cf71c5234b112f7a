"""The errors lvc raises on purpose; anything else that escapes is a bug (exit code 1).

    LvcError
    ├── UsageError               2  the command or the call is not valid
    │   └── NoFrameError         2  no frame has that number or time; also an `IndexError`
    ├── MediaError               3  a video cannot be read or written; also plain I/O
    ├── CorruptError             4  a .lvz file is damaged
    │   └── TruncatedError       4  a .lvz file ends too early
    ├── UnsupportedError         5  a version, feature or model that this lvc does not support
    ├── OutputExistsError        6  refusing to overwrite
    ├── LimitError               7  a declared or needed size is over a limit
    ├── RegressionError          8  quality or size got worse than a baseline
    └── LossError                9  something would be lost, and --strict forbids that

`exit_code` is the process exit status documented in docs/reference.md; 130 is an interrupt.
"""

from __future__ import annotations

import os

NOWHERE = "the working directory has been deleted: change to another one, or give absolute paths"


def nowhere() -> bool:
    """Return whether the working directory has been deleted, so that no relative path works."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def explained(error: BaseException) -> tuple[int, str]:
    """Return the exit code of any error, and one line that says what happened and what to do."""
    if isinstance(error, LvcError):
        return error.exit_code, str(error)
    if isinstance(error, OSError):
        advice = "check the path, its permissions and the free space"
        if isinstance(error, BrokenPipeError):
            advice = "the reader of the output has stopped"
        elif isinstance(error, FileNotFoundError) and nowhere():
            advice = NOWHERE
        return 3, f"{error.strerror or error} — {advice}"
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return 1, f"internal error: {what} — a bug in lvc; -vv shows where"


class LvcError(Exception):
    """Base class of the errors that lvc raises on purpose, except `OSError`. `str(error)` reads `what happened — what
    to do`; the command line puts the file in front.

    Attributes:
        exit_code: The status that the command line ends with.
    """

    exit_code = 1


class UsageError(LvcError):
    """The command or the call is not valid: an argument is out of range, or two exclude each other."""

    exit_code = 2


class NoFrameError(UsageError, IndexError):
    """No frame has that number or time."""


class MediaError(LvcError):
    """A video cannot be read or written."""

    exit_code = 3


class CorruptError(LvcError):
    """A file is damaged, or is not a `.lvz` or a model at all."""

    exit_code = 4


class TruncatedError(CorruptError):
    """A `.lvz` ends too early."""


class UnsupportedError(LvcError):
    """A version, a feature or a model that this lvc does not support, or that is not installed."""

    exit_code = 5


class OutputExistsError(LvcError):
    """The output exists and is not overwritten."""

    exit_code = 6


class LimitError(LvcError):
    """A declared or needed size is over a limit."""

    exit_code = 7


class RegressionError(LvcError):
    """Quality or size got worse than a baseline."""

    exit_code = 8


class LossError(LvcError):
    """Something would be lost, and `strict` forbids that."""

    exit_code = 9
