"""`lvc tag`: learn tags from labelled videos, and find them in others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lvc.cli.command import Command
from lvc.cli.report import Force, Json, NoProgress, Quiet, Report, Threads, Verbose
from lvc.cli.search import TagAnswer, indexed
from lvc.errors import UsageError
from lvc.kinds import SAFETENSORS
from lvc.output import about, check_output, publish
from lvc.results import Facts, counted

if TYPE_CHECKING:
    from lvc.search.sources import Moments
    from lvc.search.tagging import TagModel

HELP = """
Tag videos by their content, with tags learnt from labelled examples.

\b
Examples:
  lvc tag fit labels.csv -o tags.safetensors
  lvc tag holiday.lvz camera.mp4 --model tags.safetensors
  lvc tag archive/ --db archive.db --model tags.safetensors

lvc tag FILE… is short for lvc tag apply FILE…
"""

FIT_HELP = """
Learn tags from labelled videos.

\b
Examples:
  lvc tag fit labels.csv -o tags.safetensors
  lvc tag fit labels.csv --db archive.db -o tags.safetensors
  lvc tag fit labels.csv --classifier knn -o tags.safetensors --force

LABELS.csv has a header and the columns file and label and, for parts of a video, start and end. A video may have
several lines. An empty label says that it has none of the tags. Paths are relative to the folder of LABELS.csv.
"""

APPLY_HELP = """
Find the times at which videos show learnt tags.

\b
Examples:
  lvc tag apply holiday.lvz --model tags.safetensors
  lvc tag apply archive/ --db archive.db --model tags.safetensors
  lvc tag apply camera.mp4 --model tags.safetensors --threshold 0.8 --json

A .lvz contains its feature vectors, so nothing is decoded. With --db, files are indexed first, and their tags are kept
for lvc search query --tag; without FILE, everything in the database is tagged.
"""

DB = Annotated[
    Path | None,
    typer.Option("--db", envvar="LVC_SEARCH_DB", metavar="FOLDER", help="A database of lvc search index."),
]


class Classifier(StrEnum):
    """How tags are told."""

    linear = "linear"
    knn = "knn"


class _Group(TyperGroup):
    """`lvc tag FILE…` is `lvc tag apply FILE…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["apply", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Group, name="tag", help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("fit", cls=Command, help=FIT_HELP)
def fit(
    labels: Annotated[str, typer.Argument(metavar="LABELS.csv", help="Which videos show what.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help="The .safetensors to write.")
    ] = "tags.safetensors",
    classifier: Annotated[
        Classifier,
        typer.Option("--classifier", help="linear fits weights; knn compares with the five most similar videos."),
    ] = Classifier.linear,
    db: DB = None,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("tag fit", as_json, quiet, verbose=verbose)
    with report.job(labels):
        check_output(labels, output, force=force, writes=(SAFETENSORS,))
        from lvc.search import Database, moments_of, name_of
        from lvc.search.labels import read_labels
        from lvc.search.tagging import examples, fit_tags

        rows = read_labels(labels)
        known: dict[str, Moments] = {}
        if db is not None:
            with Database(db) as database:
                collection = database.load({name_of(row.path) for row in rows})
            known = {path: collection.moments(i) for i, path in enumerate(collection.paths)}

        def look_up(path: str) -> Moments:
            moments = known.get(name_of(path))
            moments = moments_of(path, threads=threads) if moments is None else moments
            report.event({"event": "read", "path": path, "moments": len(moments.times)})
            return moments

        found = examples(rows, look_up)
        model = fit_tags(found, classifier.value)
        with publish(output, force=force) as unfinished:
            model.save(unfinished)
        files, moments = len({row.path for row in rows}), len(found.vectors)
        tags = list(model.tags)
        values = {"output": output, "classifier": classifier.value, "tags": tags, "files": files, "moments": moments}
        text = f"{counted(len(model.tags), 'tag')} from {counted(moments, 'moment')} of {counted(files, 'file')}"
        report.done(Facts(values, text=f"{text} → {output}"))


@app.command("apply", cls=Command, help=APPLY_HELP)
def apply(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="FILE…", help="Videos, pictures, folders and URLs.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="TAGS", help="The .safetensors that lvc tag fit wrote.")
    ] = "tags.safetensors",
    db: DB = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, metavar="P", help="Lowest probability to report.")] = 0.5,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
    verbose: Verbose = 0,
) -> None:
    report = Report("tag", as_json, quiet, no_progress, verbose)
    asked = paths or []
    name = str(db) if db is not None else asked[0] if len(asked) == 1 else counted(len(asked), "file")
    with report.job(name):
        from lvc.search.tagging import load_tags

        if not asked and db is None:
            raise UsageError("give files to tag, or a database with --db")
        with about(model):
            learnt = load_tags(model)
        if db is None:
            _tag_files(TagAnswer(report, name), report, asked, learnt, threshold, threads)
        else:
            _tag_database(TagAnswer(report, name), report, asked, db, learnt, threshold, threads)


def _tag_files(
    answer: TagAnswer, report: Report, paths: list[str], learnt: TagModel, threshold: float, threads: int | None
) -> None:
    from lvc.errors import LvcError
    from lvc.search import moments_of
    from lvc.search.sources import files_under

    named = [str(file) for path in paths for file in (files_under(Path(path)) if Path(path).is_dir() else [path])]
    for path in named:
        try:
            answer.add(path, learnt.tag(moments_of(path, threads=threads), threshold))
        except LvcError as error:
            report.failed(error, error.exit_code, str(error))
    answer.finish()


def _tag_database(
    answer: TagAnswer,
    report: Report,
    paths: list[str],
    db: Path,
    learnt: TagModel,
    threshold: float,
    threads: int | None,
) -> None:
    from lvc.search import Database, is_under, name_of

    with Database(db, create=bool(paths)) as database:
        if paths:
            indexed(report, paths, database, threads)
        collection, roots = database.load(), [name_of(path) for path in paths]
        for number, path in enumerate(collection.paths):
            if not roots or is_under(path, roots):
                found = learnt.tag(collection.moments(number), threshold)
                database.put_tags(path, learnt.tags, found)
                answer.add(path, found)
    answer.finish()
