"""Output of all commands: progress, notices, results and errors, as text or JSON lines.

A command runs its work inside `Report.job`, which turns every exception into one line and an exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
import time
import traceback
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Annotated, Any, Protocol

import typer

from lvc.cli.progress import Pace, ProgressLine, short_name
from lvc.errors import CorruptError, explained
from lvc.notices import Loss
from lvc.output import about, subject
from lvc.place import STDIN, STDOUT, STREAM, Place
from lvc.remote.addresses import without_secrets

if TYPE_CHECKING:
    from rich.console import Console


class Result(Protocol):
    """The result of a job: `fields()` for JSON, `str()` for people."""

    def fields(self) -> dict[str, Any]: ...


INTERRUPTED = 130
_OF_LVZ = ("decode", "verify", "info", "interpolate")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line on stdout; the last one is done or error.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Do not show progress.")]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        metavar="",
        show_default=False,
        help="Print more; -vv adds a traceback to errors.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="OUT", help="The output, instead of OUT; for a folder use --output-dir."),
]
OnlyOutput = Annotated[str | None, typer.Option("--output", "-o", metavar="OUT", help="The output, instead of OUT.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing output.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail with exit code 9, and write nothing, if anything in IN would be lost.")
]
Threads = Annotated[
    int | None,
    typer.Option(envvar="LVC_THREADS", min=1, max=1024, metavar="N", help="CPU threads. Default: one per core."),
]
Device = Annotated[
    str | None, typer.Option(envvar="LVC_DEVICE", metavar="NAME", help="Where PyTorch networks run: cpu, cuda, cuda:1.")
]


class Report:
    """Reports for one command. `to_stdout`: the result goes to stdout, and JSON lines to stderr."""

    def __init__(
        self,
        command: str,
        as_json: bool = False,
        quiet: bool = False,
        no_progress: bool = False,
        verbose: int = 0,
        *,
        to_stdout: bool = False,
    ) -> None:
        self.command = command
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.exit_code = 0
        self._json_lost = False
        self._file = ""
        self._show_progress = not (quiet or no_progress or as_json)
        self._json_to: IO[str] = sys.stderr if to_stdout else sys.stdout
        self._display: ProgressLine | None = None
        self._console: Console | None = None
        self._unit = "tensors" if command in ("pack", "unpack") else "frames"
        self._pace = Pace(self._unit)
        self._shown = 0.0

    @contextlib.contextmanager
    def job(self, file: str, *, go_on: bool = False, show: bool = False) -> Iterator[None]:
        """Context for work on `file`: an error is reported, and the command exits with its code.

        `go_on`: do not exit; `finish` will. `show`: draw a progress line if stderr is a terminal.
        """
        self._file = file
        self._pace = Pace(self._unit)
        self._shown = self._pace.started
        try:
            try:
                if show and self.shows_progress:
                    self._display = ProgressLine(short_name(Place(file).called(STDIN)), self._pace)
                    self._display.__enter__()
                yield
            finally:
                self._clear()
        except typer.Exit:
            raise
        except KeyboardInterrupt as error:
            self.failed(error, *explained(error))
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if isinstance(error, BrokenPipeError) or self._json_lost:
                drop_output()
            self.failed(error, *explained(error))
        if not go_on:
            self.finish()

    def failed(self, error: BaseException, code: int, message: str) -> None:
        """Report an error. The first one decides the exit code of the command."""
        self.file_failed(subject(error) or self._file, code, type(error).__name__, message)
        if self.verbose > 1:
            sys.stderr.write("".join(traceback.format_exception(error)))

    def file_failed(self, file: str, code: int, kind: str, message: str) -> None:
        """Report the error of one file, which occurred in a worker."""
        global _interrupt_said
        _interrupt_said = _interrupt_said or code == INTERRUPTED
        self.exit_code = self.exit_code or code
        if code == CorruptError.exit_code and self.command in _OF_LVZ and " — " not in message:
            message += " — get another copy, or recover what is intact with lvc decode --salvage"
        if self.as_json:
            with contextlib.suppress(OSError):  # reported below, and by the exit code
                self._json("error", file=file, exit_code=code, kind=kind, message=message)
        self._line(f"lvc: error: {_one_line(Place(file).called(STDIN))}: {message}")

    def file_done(self, file: str, fields: dict[str, Any], number: str, text: str) -> None:
        """Report one finished file of several; `number` is its text prefix."""
        if self.as_json:
            self._json("done", file=file, **fields)
        elif not self.quiet:
            self._line(f"{number}{_one_line(f'{file}: {text}')}")

    def file_progress(self, file: str, frames: int, bytes_in: int, bytes_out: int, total: int | None) -> None:
        """Report the progress of one file of several, as JSON; people see the table."""
        if self.as_json:
            self._json("progress", file=file, frames=frames, frames_total=total, bytes_in=bytes_in, bytes_out=bytes_out)

    def summary(self, file: str, fields: dict[str, Any], text: str) -> None:
        """Report the summary of a job with several files."""
        if self.as_json:
            self._json("summary", file=file, **fields)
        elif not self.quiet:
            self._line(text if text.startswith(f"{file}: ") else f"{file}: {text}")  # "2 files" already says it

    def finish(self) -> None:
        """Exit with the code of the first failure, if there was one."""
        if self.exit_code:
            raise typer.Exit(self.exit_code)

    def done(self, result: Result) -> None:
        """Report the result on stderr as text, or as JSON."""
        self._clear()
        if self.as_json:
            self._json("done", file=self._file, **result.fields())
        elif not self.quiet:
            self._line(_wrapped(f"{_one_line(self._file)}: {result}"))
            if self.verbose:
                for name, value in result.fields().items():
                    self._line(f"  {name}: {value}")

    def show(self, result: Result) -> None:
        """Print a result that is itself the output of the command, on stdout."""
        if self.as_json:
            self._json("done", file=self._file, **result.fields())
        else:
            with about(STDOUT):
                print(_printable(f"{self._file}: {result}"), flush=True)

    def event(self, fields: dict[str, Any]) -> None:
        """Report one step of a long job: `event` and its figures. `done` is always printed."""
        if self.as_json:
            self._json(fields["event"], file=self._file, **{k: v for k, v in fields.items() if k != "event"})
        elif not self.quiet and (fields["event"] == "done" or self.verbose or self.shows_progress):
            figures = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in fields.items() if k != "event")
            self._line(f"lvc: {self._file}: {fields['event']}: {figures}")

    def notice(self, text: str, file: str | None = None) -> None:
        """Tell the user something, such as a loss in conversion."""
        if self.as_json:
            self._json("notice", file=file or self._file, message=text, loss=isinstance(text, Loss))
        elif not self.quiet:
            self._line(f"lvc: {_one_line(file or self._file)}: {text}")

    def progress(self, frames: int, bytes_in: int, bytes_out: int, total: int | None) -> None:
        """Record progress; may be called often. JSON lines are printed at most twice a second."""
        self._pace.add(frames, bytes_out, total)
        now = time.monotonic()
        if not self.as_json or now - self._shown < 0.5:
            return
        self._shown = now
        fps, left = self._pace.fps, self._pace.left
        self._json(
            "progress", file=self._file, frames=frames, frames_total=total, bytes_in=bytes_in, bytes_out=bytes_out,
            fps=None if fps is None else round(fps, 2), number=self._pace.number,
            seconds=round(self._pace.elapsed, 2), seconds_left=None if left is None else round(left, 2),
        )  # fmt: skip

    def recording(self, dropped: int, path: str) -> None:
        """Show dropped frames and the current file of a recording."""
        self._pace.also = (f"{dropped:,} dropped", _one_line(short_name(path)))

    @property
    def shows_progress(self) -> bool:
        return self._show_progress and sys.stderr.isatty()

    @contextlib.contextmanager
    def above(self, console: Console) -> Iterator[None]:
        """Context in which lines are printed above the display on `console`."""
        self._console = console
        try:
            yield
        finally:
            self._console = None

    def _json(self, event: str, **fields: Any) -> None:
        if not self._json_lost:
            line = json.dumps({"event": event, "command": self.command, **fields})
            try:
                self._json_to.write(line + "\n")
                self._json_to.flush()
            except OSError as error:
                self._json_lost = True
                raise _about_json(error) from error

    def _line(self, text: str) -> None:
        """Print a line on stderr, above any progress display, with control characters escaped."""
        safe = _printable(text)
        console = self._console if self._display is None else self._display.console
        if console is not None:
            console.print(safe, markup=False, highlight=False, soft_wrap=True)
        else:
            with contextlib.suppress(OSError, AttributeError):  # the terminal was closed: the exit code tells
                print(safe, file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._display is not None:
            display, self._display = self._display, None
            with contextlib.suppress(OSError):  # the terminal was closed
                display.__exit__(None, None, None)


def _about_json(error: OSError) -> OSError:
    """An `OSError` of the same kind that names standard output."""
    return type(error)(error.errno, error.strerror, STDOUT)


def drop_output() -> None:
    """Redirect stdout to null, so that Python's flush at exit does not fail again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def cannot_be_written(error: OSError) -> int:
    """Handle output that cannot be written (no space, no reader), and return the exit code."""
    drop_output()
    code, message = explained(error)
    with contextlib.suppress(OSError):
        print(f"lvc: error: {STDOUT}: {message}", file=sys.stderr, flush=True)
    return code


_interrupt_said = False


def say_interrupted() -> None:
    """Report an interrupt that happened outside of any job; once."""
    if not _interrupt_said:
        with contextlib.suppress(OSError):
            print("lvc: error: interrupted", file=sys.stderr, flush=True)


def _one_line(name: str) -> str:
    """A file name on one line; it may contain line breaks."""
    return name.replace("\n", "\\n")


def _wrapped(text: str) -> str:
    """Wrap a long line between words, if stderr is a terminal."""
    if not sys.stderr.isatty() or "\n" in text:
        return text
    width = shutil.get_terminal_size().columns - 1
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def default_output(source: str, suffix: str) -> str:
    """The default output: the input with another ending; stdout for stdin.

    The output of a URL is written to the current folder, under the last part of the URL's path.
    """
    if source == STREAM:
        return STREAM
    if Place(source).is_url:
        source = os.path.basename(without_secrets(source).rstrip("/")) or "video"
    stem, old = os.path.splitext(source)
    return f"{source}{suffix}" if old == suffix else f"{stem}{suffix}"
