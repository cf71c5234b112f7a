"""The command line. Typer only: one file per command, no logic; torch and PyAV are imported inside commands, and a
command's file when the command is wanted."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, TextIO, cast

import typer
from typer.core import TyperGroup

from lvc import __version__
from lvc.cli.command import Command, converted_at_need
from lvc.cli.report import INTERRUPTED, cannot_be_written, drop_output, say_interrupted
from lvc.errors import LvcError
from lvc.files.memory import share_one_heap
from lvc.output import discard_unfinished
from lvc.pipeline import forget_interrupt, interrupt, stop_signals
from lvc.remote.addresses import Hiding, remember

# command -> what its module, lvc/cli/COMMAND.py, calls the function or the group
_COMMANDS = {
    "encode": "encode", "decode": "decode", "info": "info", "play": "play", "serve": "serve", "verify": "verify",
    "train": "train", "adapt": "adapt", "eval": "evaluate", "pack": "pack", "unpack": "unpack", "features": "features",
    "interpolate": "interpolate", "synthesize": "synthesize", "search": "app", "tag": "app",
}  # fmt: skip


class _Commands(TyperGroup):
    """All commands. Each is loaded when it is wanted, so that none waits for the options of the others."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [converted_at_need(parameter) for parameter in super().get_params(ctx)]

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_COMMANDS, *(name for name in self.commands if name not in _COMMANDS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = cmd_name in _COMMANDS or cmd_name in self.commands
        for name in [cmd_name] if known else _COMMANDS:  # all: the error says which one may be meant
            if name not in self.commands:
                self.commands[name] = _loaded(name)
        return super().get_command(ctx, cmd_name)


def _loaded(name: str) -> Any:
    module = import_module(f"lvc.cli.{name}")
    found = getattr(module, _COMMANDS[name])
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Command, help=module.HELP)(found)
    return typer.main.get_command(alone)


app = typer.Typer(
    cls=_Commands,
    name="lvc",
    help="A learned video compressor with its own container, .lvz.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich would double the time that `lvc --help` takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from lvc.engine.library import chosen

        try:
            print(f"lvc {__version__} (engine {chosen()})")
        except LvcError as error:
            print(f"lvc: error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        raise typer.Exit


@app.callback()
def lvc(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show version and engine, and exit."),
    ] = False,
) -> None:
    pass


HELP = """
Show the help of lvc or of a command.

\b
Examples:
  lvc help
  lvc help encode
  lvc help eval
  lvc help search query
"""


@app.command("help", cls=Command, help=HELP)
def help_(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="A command, such as encode or search query.")
    ] = None,
) -> None:
    above = context.parent
    if above is None:
        raise RuntimeError("a command without the program")
    command: Any = above.command
    for word in words or []:
        inner = command.get_command(above, word) if isinstance(command, TyperGroup) else None
        if inner is None:
            raise typer.BadParameter(f"no such command: {word!r}; lvc help lists them")
        command, above = inner, command.context_class(inner, info_name=word, parent=above)
    typer.echo(command.get_help(above))


def main() -> None:
    """Run the command line of this process and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without some letter is not an error
    if any([remember(argument) for argument in sys.argv[1:]]):
        # passwords and signatures must not be printed, not even by a traceback
        sys.stdout, sys.stderr = cast(TextIO, Hiding(sys.stdout)), cast(TextIO, Hiding(sys.stderr))
    warnings.showwarning = _warned
    share_one_heap()
    try:
        code = _run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    _Ending.begun = True
    forget_interrupt()
    if code == INTERRUPTED:
        discard_unfinished()  # what was made in the moment of the interrupt is nobody's yet
        say_interrupted()
    code = _flushed(code)
    # A thread blocked in a read would keep the interpreter from exiting, or crash it; and after an interrupted import
    # Python itself may exit with SIGINT instead of the code.
    if code != INTERRUPTED and not any(thread.daemon for thread in threading.enumerate()):
        atexit._run_exitfuncs()
    os._exit(code)  # to take the interpreter apart would take 20 ms more, and signals would kill it meanwhile


def _run() -> int:
    """The exit code of the command."""
    for number in stop_signals():
        signal.signal(number, _interrupt)
    try:
        app(prog_name="lvc")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:  # the help or version could not be written
        return cannot_be_written(error)
    return 0


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    """Print a Python warning as one line."""
    with contextlib.suppress(OSError, AttributeError):  # the terminal was closed
        print(f"lvc: warning: {message}", file=sys.stderr, flush=True)


def _flushed(code: int) -> int:
    """Flush the output and return the exit code. Output that cannot be written is an error, not a traceback at exit."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed by the parent process
            try:
                stream.flush()
            except OSError as error:
                if code:  # already reported
                    drop_output()
                else:
                    code = cannot_be_written(error)
    return code


class _Ending:
    interrupted = begun = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C, SIGTERM or SIGHUP unwinds properly; the second one exits at once. None changes an exit code
    that stands."""
    if _Ending.interrupted:
        discard_unfinished()
        os._exit(INTERRUPTED)
    _Ending.interrupted = True
    if not _Ending.begun:
        interrupt(number, frame)
