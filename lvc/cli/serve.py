"""`lvc serve`: watch `.lvz` files in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lvc.cli.report import Json, Quiet, Report, Threads, Verbose
from lvc.results import counted

if TYPE_CHECKING:
    from lvc.serve.run import Served

HELP = """
Watch .lvz files in a browser: a gallery of files and folders, and a player.

\b
Examples:
  lvc serve holiday.lvz --open
  lvc serve coded/ archive/ --port 8000
  lvc serve coded/ --host 0.0.0.0 --db archive.db

Only this machine can connect by default. With --host, the printed addresses contain a token that every visitor needs.
Files are only read, and only .lvz files in PATH. Ctrl-C stops the server. docs/watch.md has recipes for other players.
"""


def serve(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files and folders with .lvz files.")],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 is the whole network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port to listen on; 0 picks a free one.")
    ] = 8080,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    transcode: Annotated[
        bool | None,
        typer.Option(
            "--transcode/--no-transcode",
            help="Convert to MP4 while playing. Default: for other players and for browsers that cannot decode.",
            show_default=False,
        ),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option("--db", envvar="LVC_SEARCH_DB", metavar="DIR", help="Search this database of lvc search."),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("serve", as_json, quiet, verbose=verbose)
    with report.job(paths[0]):
        from lvc.serve.needed import check_installed

        check_installed()
        from lvc.serve.run import serve as run

        run(
            paths, host=host, port=port, open_browser=open_browser, transcode=transcode, database=db, threads=threads,
            notice=lambda text: report.notice(text, "serve"), started=lambda served: _say(report, served),
        )  # fmt: skip


def _say(report: Report, served: Served) -> None:
    if report.as_json:
        report.event({
            "event": "serving", "address": served.address, "others": list(served.others), "token": served.token,
            "videos": served.videos,
        })  # fmt: skip
        return
    print(f"{counted(served.videos, 'video')} at {served.address}", flush=True)
    for address in served.others:
        print(f"from other machines: {address}", flush=True)
    if not report.quiet:
        report.notice("Ctrl-C ends it", "serve")
