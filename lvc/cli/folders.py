"""Folder jobs of `encode`, `decode` and `verify`: options, live table, summary."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer

from lvc.cli.report import Report
from lvc.cli.table import Board
from lvc.errors import LvcError, MediaError, UsageError
from lvc.jobs.task import Job, Options, Outcome, Progress, Status, Task
from lvc.place import STREAM, Place
from lvc.results import counted

if TYPE_CHECKING:
    from lvc.jobs.watch import Watcher

OutputDir = Annotated[
    str | None,
    typer.Option("--output-dir", metavar="FOLDER", help="Where to write the outputs; the tree of a folder is kept."),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, max=256, metavar="N", help="Several files: how many at the same time."),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Several files: skip outputs that are complete and made with the same settings."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done; for one file, predict its size and time.")
]
Engine = Annotated[
    str, typer.Option(metavar="local|ray", help="Several files: run on this machine, or on a Ray cluster.")
]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster. Default: found automatically.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Folder: keep processing files that arrive in it, until Ctrl-C.")]


def is_folder(source: str, output_dir: str | None = None) -> bool:
    """Whether `source` is a folder. A URL is checked only if an output folder is given."""
    with contextlib.suppress(LvcError):  # the error is reported when it is opened
        return (output_dir is not None or Place(source).is_local) and Place(source).is_folder()
    return False


@dataclass(frozen=True)
class HowToRun:
    """The options of every job with several files."""

    jobs: int | None = None
    threads: int | None = None
    resume: bool = False
    force: bool = False
    dry_run: bool = False
    watch: bool = False
    engine: str = "local"
    address: str | None = None

    def check(self) -> None:
        """Raises `UsageError` for options that contradict each other."""
        if self.resume and self.force:
            raise UsageError("--resume and --force contradict each other — leave one out")
        if self.watch and (self.dry_run or self.force):
            raise UsageError("--watch cannot be combined with --dry-run or --force — leave one out")
        if self.engine not in ("local", "ray"):
            raise UsageError(f"--engine {self.engine} is unknown — use local or ray")
        if self.address is not None and self.engine != "ray":
            raise UsageError("--address names a Ray cluster — add --engine ray")

    def place(self, name: str) -> str:
        """The path by which workers find it: on other nodes the working directory differs."""
        if name.startswith("file://"):
            name = unquote(name.removeprefix("file://"))
        return Place(name).absolute() if self.engine == "ray" else name

    def refuse_for_a_file(self, output_dir: str | None = None, *, dry_run: bool = False) -> None:
        """Raises `UsageError` for options that make no sense for a single file; `dry_run`: it is allowed."""
        given = {
            "output-dir": output_dir, "jobs": self.jobs, "resume": self.resume, "watch": self.watch,
            "dry-run": self.dry_run and not dry_run, "engine": self.engine != "local", "address": self.address,
        }  # fmt: skip
        for name, value in given.items():
            if value:
                raise UsageError(f"--{name} is for a folder or several files — leave it out")


def run_folder(
    report: Report,
    root: str,
    options: Options,
    how: HowToRun,
    *,
    output: str | None = None,
    output_dir: str | None = None,
    suffix: str = "",
) -> None:
    """Run what `options` are for on every file below `root`, and report each file and a summary.

    A file that fails is reported and does not stop the others; the first failure decides the exit code. Raises
    `LvcError` and `OSError` for errors that concern the whole job.
    """
    from lvc.jobs import tree
    from lvc.jobs.watch import Watcher

    job = Job(options, how.resume or how.watch, how.force, how.dry_run)
    command = job.command
    if output is not None:
        raise UsageError("is a folder — name the folder for the outputs with --output-dir")
    how.check()
    if output_dir is None and command != "verify":
        raise UsageError("is a folder — name the folder for the outputs with --output-dir")
    root = how.place(root)
    target = how.place(output_dir) if output_dir is not None else root

    def plan(files: list[str]) -> list[Task]:
        if command == "verify":
            return [Task(path, "") for path in files]
        return tree.tasks(root, target, files, suffix)

    arrivals = Watcher(root, target, command, plan) if how.watch else None
    found = tree.Tree([], 0) if how.watch else tree.find(root, command, None if command == "verify" else target)
    tasks = plan(found.files)
    if command == "verify" and not tasks:
        raise MediaError("contains no .lvz file, so nothing was checked — is it the right folder?")
    _run(
        report, root, job, how, tasks, others=found.others, output_dir=target, arrivals=arrivals
    )  # fmt: skip


def run_files(
    report: Report,
    sources: Sequence[str],
    targets: Sequence[str],
    options: Options,
    how: HowToRun,
) -> None:
    """Run what `options` are for on each of `sources`, as for a folder."""
    how.check()
    if how.watch:
        raise UsageError("--watch is for a folder — leave it out, or name one")
    job = Job(options, how.resume, how.force, how.dry_run)
    if job.command != "verify" and STREAM in targets:
        raise UsageError("standard output can take only one file — leave out -")
    sources, targets = [how.place(name) for name in sources], [how.place(name) for name in targets]
    tasks = [Task(source, target, Place(target).stamp()) for source, target in zip(sources, targets, strict=True)]
    _run(report, counted(len(tasks), "file"), job, how, tasks)


def _run(
    report: Report,
    name: str,
    job: Job,
    how: HowToRun,
    tasks: list[Task],
    *,
    others: int = 0,
    output_dir: str | None = None,
    arrivals: Watcher | None = None,
) -> None:
    """Run all tasks; `name` is their name in the summary."""
    from lvc.jobs import claims, run
    from lvc.jobs.cluster import CPUS_OF_A_TASK, Cluster
    from lvc.jobs.pool import Pool
    from lvc.pipeline import usable_cores

    cores = how.threads or usable_cores()
    totals = _Totals(others)
    if how.dry_run:
        from lvc.jobs.work import Worker

        worker = Worker(job, cores)
        for task in tasks:
            totals.add(_report_outcome(report, worker.do(task), len(tasks), totals.count))
        report.summary(name, totals.fields(), totals.text(job.command, True))
        return
    folders = {os.path.dirname(task.target) or "." for task in tasks if task.target}
    if output_dir is not None and job.command != "verify":
        folders.add(output_dir)
    claims.sweep_all(folders)
    workers: Pool | Cluster
    if how.engine == "ray":
        workers = Cluster(job, how.jobs, how.threads or CPUS_OF_A_TASK, how.address)
    else:
        jobs = how.jobs or max(1, min(8, cores // 2))  # a worker takes about 1 GB of memory at 1080p
        workers = Pool(job, jobs if how.watch else max(1, min(jobs, len(tasks))), cores)
    try:
        with workers, _board(report, name, None if how.watch else len(tasks)) as board:
            for event in run.run(tasks, workers, arrivals):
                if isinstance(event, Progress):
                    board.progress(event)
                    report.file_progress(event.task.source, event.frames, event.bytes_in, event.bytes_out, event.total)
                else:
                    board.outcome(event)
                    totals.add(_report_outcome(report, event, len(tasks) or None, totals.count))
    except KeyboardInterrupt:
        if job.command != "verify" and not how.watch:
            report.notice(
                f"{totals.count} of {len(tasks)} files are finished — run the same command with --resume to continue",
                name,
            )
        raise
    claims.sweep_all(folders)  # left by workers that died
    report.summary(name, totals.fields(), totals.text(job.command, False))


def _report_outcome(report: Report, outcome: Outcome, total: int | None, before: int) -> Outcome:
    """Report one file, with its number."""
    source = outcome.task.source
    for text in outcome.notices:
        report.notice(text, source)
    if outcome.status is Status.failed:
        report.file_failed(source, outcome.exit_code, outcome.kind, outcome.text)
    else:
        number = f"[{before + 1}/{total}] " if total else ""
        text = outcome.text if outcome.status is Status.done else f"{outcome.status.value}: {outcome.text}"
        report.file_done(source, {"status": outcome.status.value, **_fields_of(outcome)}, number, text)
    return outcome


def _fields_of(outcome: Outcome) -> dict[str, Any]:
    return {"output": outcome.task.target, "reason": outcome.text} if not outcome.fields else outcome.fields


class _Totals:
    """Counts over all files: outcomes, sizes, frames."""

    def __init__(self, others: int) -> None:
        self.others = others
        self.count = 0
        self._status = dict.fromkeys(Status, 0)
        self._frames = self._bytes_in = self._bytes_out = 0
        self._failed: list[str] = []
        self._started = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.count += 1
        self._status[outcome.status] += 1
        self._frames += int(outcome.fields.get("frames") or 0)
        self._bytes_in += int(outcome.fields.get("bytes_in") or 0)
        self._bytes_out += int(outcome.fields.get("bytes_out") or 0)
        if outcome.status is Status.failed:
            self._failed.append(outcome.task.source)

    def fields(self) -> dict[str, Any]:
        seconds = time.monotonic() - self._started
        return {
            "files": self.count,
            "done": self._status[Status.done],
            "skipped": self._status[Status.skipped],
            "planned": self._status[Status.planned],
            "failed": self._failed,
            "others": self.others,
            "frames": self._frames,
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "seconds": round(seconds, 3),
            "fps": round(self._frames / seconds, 2) if seconds else 0.0,
        }

    def text(self, command: str, dry_run: bool) -> str:
        v = self.fields()
        files = counted(v["files"], "file")
        if dry_run:
            return f"{files}: {v['planned']} to {command}, {v['skipped']} to skip, {len(v['failed'])} refused"
        parts = [f"{files}: {v['done']} done, {v['skipped']} skipped, {len(v['failed'])} failed"]
        if self.others and command == "encode":
            parts.append(
                f"{self.others} {'other file is not a video' if self.others == 1 else 'other files are not videos'}"
            )
        if v["bytes_in"] and v["bytes_out"]:
            share = 100 * v["bytes_out"] / v["bytes_in"]
            parts.append(f"{v['bytes_in']:,} → {v['bytes_out']:,} bytes ({share:.1f} %)")
        if v["frames"]:
            parts.append(f"{counted(v['frames'], 'frame')} in {v['seconds']:.1f} s ({v['fps']:.1f} fps)")
        lines = [", ".join(parts), *(f"  failed: {path}" for path in self._failed)]
        return "\n".join(lines)


@contextlib.contextmanager
def _board(report: Report, root: str, total: int | None) -> Iterator[Board]:
    """The live table, if stderr is a terminal."""
    board = Board(root, total)
    if not report.shows_progress:
        yield board
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stderr)
    with Live(get_renderable=board.table, console=console, refresh_per_second=4, transient=True):
        with report.above(console):
            yield board
