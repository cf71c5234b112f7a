"""The command line. Typer only: one file per command, no logic; torch and PyAV are imported inside commands."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from types import FrameType
from typing import Annotated, TextIO, cast

import typer

from lvc import __version__
from lvc.cli import decode, encode, eval, features, info, interpolate, pack, search, train, unpack, verify
from lvc.cli.report import INTERRUPTED
from lvc.output import discard_unfinished
from lvc.remote.addresses import Hiding, remember

app = typer.Typer(
    name="lvc",
    help="A learned video compressor with its own container, .lvz.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich would double the time that `lvc --help` takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lvc {__version__}")
        raise typer.Exit


@app.callback()
def lvc(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command("encode", help=encode.HELP)(encode.encode)
app.command("decode", help=decode.HELP)(decode.decode)
app.command("info", help=info.HELP)(info.info)
app.command("verify", help=verify.HELP)(verify.verify)
app.command("train", help=train.HELP)(train.train)
app.command("eval", help=eval.HELP)(eval.evaluate)
app.command("pack", help=pack.HELP)(pack.pack)
app.command("unpack", help=unpack.HELP)(unpack.unpack)
app.add_typer(search.app, name="search", help=search.HELP)
app.command("features", help=features.HELP)(features.features)
app.command("interpolate", help=interpolate.HELP)(interpolate.interpolate)


def main() -> None:
    """Run the command line of this process and exit."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no error
    if any([remember(argument) for argument in sys.argv[1:]]):
        # whoever writes, and be it a traceback: passwords and signatures stay in this process
        sys.stdout, sys.stderr = cast(TextIO, Hiding(sys.stdout)), cast(TextIO, Hiding(sys.stderr))
    code: object = 0
    try:
        app(prog_name="lvc")
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    if any(thread.daemon for thread in threading.enumerate()):
        # a thread that is blocked in a read would keep the interpreter from ending, or crash it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
    sys.exit(code if isinstance(code, int) or code is None else 1)


_interrupted = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C or SIGTERM unwinds in good order; the second one does not wait."""
    global _interrupted
    if _interrupted:
        discard_unfinished()
        os._exit(INTERRUPTED)
    _interrupted = True
    raise KeyboardInterrupt
