"""`lvc search`: find videos, and places in them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lvc.cli.command import Command
from lvc.cli.report import Force, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.output import check_output, publish
from lvc.results import Facts, clock, counted

if TYPE_CHECKING:
    from lvc.errors import LvcError
    from lvc.search import Common, Hit
    from lvc.search.database import Database
    from lvc.search.queries import Way
    from lvc.search.tagging import Tagged

HELP = """
Search videos by their content, in .lvz and other formats.

\b
Examples:
  lvc search index archive/ --db archive.db
  lvc search query excerpt.mp4 --db archive.db --contact-sheet found.png
  lvc search duplicates archive/
"""

INDEX_HELP = """
Index videos in a database; later runs process only new, changed and deleted files.

\b
Examples:
  lvc search index archive/ --db archive.db
  lvc search index a.lvz https://example.org/film.lvz s3://bucket/films --db archive.db
  lvc search index archive/ --db archive.db --json | jq -r 'select(.event == "failed") | .path'

A .lvz contains vectors of its pictures and its sound, so nothing is decoded. An interrupted run continues where it
stopped.
"""

QUERY_HELP = """
Find where a clip, picture, moment or sound occurs.

\b
Examples:
  lvc search query excerpt.mp4 --db archive.db --top 5
  lvc search query song.mp3 --db archive.db
  lvc search query excerpt.mp4 --db archive.db --by both --contact-sheet found.png
  lvc search query holiday.lvz@12.5s --db archive.db --json | jq -r 'select(.event == "hit") | .path'

FILE@12.5 is the frame at that time, FILE@12-16 the part between two times. Each video is listed once, with its best
match. By sound, the middle 30 seconds of CLIP are compared; at least 2.1 are needed. --tag keeps only matches to
which lvc tag gave that tag.
"""

DUPLICATES_HELP = """
Find re-encodes, crops and excerpts of the same footage.

\b
Examples:
  lvc search duplicates archive/
  lvc search duplicates archive/ --db archive.db
  lvc search duplicates --db archive.db --json | jq 'select(.event == "group") | .paths'

Folders are indexed first, in --db or a temporary database.
"""

SIMILAR_HELP = """
Find the videos that are most similar to this one as a whole.

\b
Examples:
  lvc search similar holiday.lvz --db archive.db
  lvc search similar holiday.mp4 --db archive.db --top 3
  lvc search similar holiday.lvz --db archive.db --json | jq -r 'select(.event == "hit") | .path'
"""

TAGS_HELP = """
List the tags in a database, and where they occur. lvc tag writes them.

\b
Examples:
  lvc search tags --db archive.db
  lvc search tags --db archive.db --tag beach
  lvc search tags --db archive.db --tag beach --json | jq -r 'select(.event == "tag") | .path'
"""

DB = Annotated[Path, typer.Option("--db", envvar="LVC_SEARCH_DB", metavar="FOLDER", help="The database, a folder.")]
Top = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many results to show.")]
Sheet = Annotated[
    Path | None, typer.Option("--contact-sheet", metavar="PNG", help="Write a picture with the matching frames.")
]


class By(StrEnum):
    """What is compared."""

    picture = "picture"
    sound = "sound"
    both = "both"


ByWhat = Annotated[
    By | None,
    typer.Option(
        "--by", help="What to compare; both finds matches by either. Default: picture, or sound for a sound file."
    ),
]
Tag = Annotated[str | None, typer.Option("--tag", metavar="NAME", help="Only matches to which lvc tag gave this tag.")]

WORDS = {"picture": "seen", "sound": "heard", "both": "seen and heard"}

app = typer.Typer(name="search", help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("index", cls=Command, help=INDEX_HELP)
def index(
    paths: Annotated[list[str], typer.Argument(metavar="FOLDER…", help="Folders, files and URLs.")],
    db: DB,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("search index", as_json, quiet, no_progress, verbose)
    with report.job(str(db)):
        from lvc.search import Database

        with Database(db, create=True) as database:
            report.done(indexed(report, paths, database, threads))


@app.command("query", cls=Command, help=QUERY_HELP)
def query(
    target: Annotated[
        str, typer.Argument(metavar="CLIP", help="A video, a picture, a sound file, FILE@TIME or FILE@FROM-TO.")
    ],
    db: DB,
    by: ByWhat = None,
    top: Top = 10,
    tag: Tag = None,
    contact_sheet: Sheet = None,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    _find("query", target, db, by, top, tag, contact_sheet, force, threads, as_json, verbose)


@app.command("similar", cls=Command, help=SIMILAR_HELP)
def similar(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A video.")],
    db: DB,
    top: Top = 10,
    tag: Tag = None,
    contact_sheet: Sheet = None,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    _find("similar", file, db, None, top, tag, contact_sheet, force, threads, as_json, verbose)


@app.command("duplicates", cls=Command, help=DUPLICATES_HELP)
def duplicates(
    paths: Annotated[list[str] | None, typer.Argument(metavar="FOLDER…", help="Folders, files and URLs.")] = None,
    db: Annotated[
        Path | None, typer.Option("--db", envvar="LVC_SEARCH_DB", metavar="FOLDER", help="The database, a folder.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("search duplicates", as_json, quiet, no_progress, verbose)
    with report.job(str(db or (paths or ["."])[0])):
        from lvc.errors import UsageError
        from lvc.search import Database
        from lvc.search import duplicates as ask

        if not paths and db is None:
            raise UsageError("give folders to search, or a database with --db")
        with _folder_of(db) as folder, Database(folder, create=bool(paths)) as database:
            if paths:
                indexed(report, paths, database, threads)
            collection = database.load()
        groups = ask(collection, lambda done, total: report.progress(done, 0, 0, total))
        if as_json:
            for group in groups:
                report.event({"event": "group", **group.fields()})
            report.done(Facts({"groups": len(groups), "files": len(collection.paths)}))
        else:
            counts = f"{counted(len(groups), 'group')} in {counted(len(collection.paths), 'file')}"
            text = "\n\n".join("\n".join([group.paths[0], *map(_pair_line, group.pairs)]) for group in groups)
            report.show(Facts({}, text=f"{counts}\n{text}".rstrip()))


@app.command("tags", cls=Command, help=TAGS_HELP)
def tags(
    db: DB,
    tag: Tag = None,
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("search tags", as_json, verbose=verbose)
    with report.job(str(db)):
        from lvc.search import Database

        with Database(db) as database:
            found = database.tags(tag)
        if as_json or tag is not None:
            answer = TagAnswer(report, str(db))
            for path, spans in found.items():
                answer.add(path, spans)
            answer.finish()
            return
        files: dict[str, int] = {}
        seconds: dict[str, float] = {}
        for spans in found.values():
            for name in {span.tag for span in spans}:
                files[name] = files.get(name, 0) + 1
            for span in spans:
                seconds[span.tag] = seconds.get(span.tag, 0.0) + span.end - span.start
        lines = [(name, f"{counted(files[name], 'file')}, {clock(seconds[name])}") for name in sorted(files)]
        report.show(Facts({}, lines, "" if lines else "no tags"))


class TagAnswer:
    """The tags of files: as JSON at once, as text at the end. `asked`: what the text begins with."""

    def __init__(self, report: Report, asked: str) -> None:
        self._report, self._asked = report, asked
        self._lines: list[str] = []
        self._files = self._ranges = 0

    def add(self, path: str, found: Sequence[Tagged]) -> None:
        self._files, self._ranges = self._files + 1, self._ranges + len(found)
        if self._report.as_json:
            for span in found:
                self._report.event({"event": "tag", "path": path, **span.fields()})
            return
        if path != self._asked:
            self._lines.append(path if found else f"{path}: no tags")
        elif not found:
            self._lines.append("  no tags")
        self._lines += [f"  {t.score:.3f} {_clock(t.start)}–{_clock(t.end)} {t.tag}" for t in found]

    def finish(self) -> None:
        if self._report.as_json:
            self._report.done(Facts({"files": self._files, "ranges": self._ranges}))
        else:
            self._report.show(Facts({}, text="\n" + "\n".join(self._lines) if self._lines else "no videos"))


@contextlib.contextmanager
def _folder_of(db: Path | None) -> Iterator[Path]:
    if db is not None:
        yield db
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def indexed(report: Report, paths: list[str], database: Database, threads: int | None) -> Facts:
    from lvc.search import index_folders

    if database.restarted:
        report.notice("the database has vectors of another version: everything is indexed again")

    place: dict[str, int] = {}

    def seen(path: str, what: str, error: LvcError | None) -> None:
        if report.as_json:
            report.event({"event": what, "path": path, **place})
        elif error is None and (report.verbose or report.shows_progress):
            report.notice(f"{what}, {place['number']} of {place['files']}" if place else what, path)
        if error is not None:
            report.failed(error, error.exit_code, str(error))

    with _status(report) as show:

        def begun(number: int, files: int, path: str) -> None:
            place.update(number=number, files=files)
            show(f"{number} of {files}: {path}")

        result = index_folders(paths, database, threads=threads, seen=seen, begun=begun)
    values = vars(result)
    counts = [f"{values[name]} {name}" for name in ("added", "changed", "removed", "unchanged", "failed")]
    counts.append(f"{counted(result.moments, 'moment')} of {result.seconds:.0f} s")
    counts += [f"{result.stored} with stored vectors", f"{result.heard} with sound"]
    return Facts(values, text=", ".join(counts))


@contextlib.contextmanager
def _status(report: Report) -> Iterator[Callable[[str], object]]:
    """A status line on a terminal, below the lines printed meanwhile."""
    if not report.shows_progress:
        yield lambda text: None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status("looking for files") as status, report.above(console):
        yield lambda text: status.update(Text(text, overflow="ellipsis", no_wrap=True))


def _find(
    command: Literal["query", "similar"],
    target: str,
    db: Path,
    by: By | None,
    top: int,
    tag: str | None,
    contact_sheet: Path | None,
    force: bool,
    threads: int | None,
    as_json: bool,
    verbose: int,
) -> None:
    """Run `query` or `similar`."""
    report = Report(f"search {command}", as_json, verbose=verbose)
    with report.job(target):
        if contact_sheet is not None:
            check_output(target, str(contact_sheet), force=force)
        from lvc.features import SPACING
        from lvc.search import Asked, Database, find, moments_of, name_of, parse_target
        from lvc.search import similar as like

        whole = command == "similar"
        path, start, end = (target, None, None) if whole else parse_target(target)
        with Database(db) as database:
            tagged = None if tag is None else database.tags(tag)
            collection = database.load(tagged)
        if whole:
            moments = moments_of(path, start, end, SPACING, threads)
            hits, seconds = like(collection, moments, top, name_of(path)), moments.seconds
        else:
            asked = Asked.of(path, start, end, None if by is None else by.value, threads)
            hits, seconds = find(collection, asked, top, tagged=tagged), asked.seconds
        _answer(report, hits, "the database contains no other video" if whole else "no match found")
        middle = (start or 0) + (0 if start is not None and end is None else seconds / 2)
        _draw(report, contact_sheet, path, middle, hits, force, threads)


def _answer(report: Report, hits: list[Hit], nothing: str) -> None:
    if report.as_json:
        for hit in hits:
            report.event({"event": "hit", **hit.fields()})
        report.done(Facts({"hits": len(hits)}))
        return
    mixed = len({hit.by for hit in hits}) > 1
    lines = [
        f"{i:3} {h.score:6.3f} {_clock(h.start)}–{_clock(h.end)} {h.path}{_at(h.speed)}{_by(h.by, mixed)}"
        for i, h in enumerate(hits, 1)
    ]
    report.show(Facts({}, text="\n" + "\n".join(lines) if hits else nothing))


def _draw(
    report: Report, png: Path | None, path: str, at: float, hits: list[Hit], force: bool, threads: int | None
) -> None:
    if png is None:
        return
    from lvc.search.sheet import sheet, tiles_of, write_png

    picture = sheet(tiles_of(path, at, hits), threads)
    with publish(str(png), force=force) as unfinished:
        write_png(unfinished, picture)


def _pair_line(pair: Common) -> str:
    place = f"{_clock(pair.start)} = {_clock(pair.other_start)}, {pair.seconds:.1f} s"
    return f"  {pair.score:.3f} {pair.path} in {pair.other}: {place}"


def _at(speed: float) -> str:
    return "" if speed == 1 else f" at {speed:g}x speed"


def _by(by: Way, mixed: bool) -> str:
    return f" ({WORDS[by]})" if mixed else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"
