"""`lvc play`: watch one `.lvz` now."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lvc.cli.decode import Start
from lvc.cli.report import Quiet, Report, Threads, Verbose

if TYPE_CHECKING:
    from lvc.serve.run import Served

HELP = """
Play a .lvz: in mpv or ffplay if one is installed, else in the browser.

\b
Examples:
  lvc play holiday.lvz
  lvc play holiday.lvz --start 1:30 --player ffplay
  lvc play https://example.org/film.lvz --start 12:00

The player gets decoded pictures, sound and subtitles through a pipe, without a second loss. It can pause but not seek;
to seek, use --player browser.
"""


class Player(StrEnum):
    mpv = "mpv"
    ffplay = "ffplay"
    browser = "browser"


def play(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .lvz file, a URL, or - (stdin).")],
    start: Start = None,
    player: Annotated[
        Player | None,
        typer.Option(help="Use this player. Default: the first one installed.", show_default=False),
    ] = None,
    threads: Threads = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("play", quiet=quiet, verbose=verbose)
    with report.job(file):
        from lvc.serve.play import found_player
        from lvc.serve.play import play as run

        name = None if player is Player.browser else found_player(player and player.value)
        if name is not None:
            run(file, name, start=start, threads=threads, notice=report.notice)
        else:
            _in_browser(report, file, start, threads)


def _in_browser(report: Report, file: str, start: float | None, threads: int | None) -> None:
    from lvc.errors import MediaError
    from lvc.place import Place
    from lvc.serve.needed import check_installed

    if not Place(file).is_local:
        raise MediaError("the browser plays files of this machine only — install mpv or ffplay, or download it first")
    check_installed()
    from lvc.serve.run import serve

    def announce(served: Served) -> None:
        report.notice(f"playing at {served.address} — Ctrl-C ends it")

    serve([file], port=0, open_browser=True, threads=threads, start=start or 0.0, started=announce)
