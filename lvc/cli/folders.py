"""What `encode`, `decode` and `verify` share when they are given a folder: its options, its table, its summary."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from lvc.cli.report import Report
from lvc.cli.table import Board
from lvc.errors import LvcError, UsageError
from lvc.jobs.task import Command, Job, Outcome, Progress, Status, Task
from lvc.remote.addresses import is_address

OutputDir = Annotated[
    str | None,
    typer.Option("--output-dir", metavar="FOLDER", help="Of a folder: where its outputs go, in the same tree."),
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, max=256, metavar="N", help="Of a folder: files at the same time.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Of a folder: skip what is done, whole and made in the same way.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Of a folder: say what would be done.")]
Engine = Annotated[
    str, typer.Option(metavar="local|ray", help="Of a folder: workers of this machine, or of a Ray cluster.")
]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Of the Ray cluster; by default it is looked for.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Of a folder: go on with what arrives in it, until Ctrl-C.")]


def is_folder(source: str, output_dir: str | None = None) -> bool:
    """What is at an address is asked only if there is somewhere to put the outputs of a folder."""
    if os.path.isdir(source):
        return True
    if output_dir is None or not is_address(source):
        return False
    from lvc.jobs import places

    with contextlib.suppress(LvcError):  # whoever opens it says why it cannot be
        return places.is_folder(source)
    return False


def refuse_for_a_file(**given: Any) -> None:
    """Options that only a folder has. Raises `UsageError`."""
    for name, value in given.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} is for a folder — leave it out, or name a folder")


def run_folder(
    report: Report,
    root: str,
    command: Command,
    settings: dict[str, Any],
    *,
    output: str | None = None,
    output_dir: str | None = None,
    suffix: str = "",
    jobs: int | None = None,
    threads: int | None = None,
    resume: bool = False,
    force: bool = False,
    dry_run: bool = False,
    watch: bool = False,
    engine: str = "local",
    address: str | None = None,
) -> None:
    """Do `command` with every file below `root` and report each of them and all together.

    A file that fails is reported and never stops the rest; the first failure decides the exit code. Raises `LvcError`
    and `OSError` for what concerns all of it.
    """
    from lvc.jobs import claims, places, run, tree
    from lvc.jobs.cluster import CPUS_OF_A_TASK, Cluster
    from lvc.jobs.pool import Pool
    from lvc.jobs.watch import Watcher
    from lvc.pipeline import usable_cores

    if output is not None:
        raise UsageError("is a folder — name that of its outputs with --output-dir")
    if resume and force:
        raise UsageError("--resume and --force contradict each other — leave one out")
    if output_dir is None and command != "verify":
        raise UsageError("is a folder — say where its outputs go with --output-dir")
    if watch and (dry_run or force):
        raise UsageError("--watch goes with neither --dry-run nor --force — leave one out")
    if engine not in ("local", "ray"):
        raise UsageError(f"--engine {engine} is unknown — use local or ray")
    if address is not None and engine != "ray":
        raise UsageError("--address is that of a Ray cluster — add --engine ray")
    root = places.local(root)
    target = places.local(output_dir) if output_dir is not None else root
    if engine == "ray":  # elsewhere another folder is the current one
        root, target = (name if is_address(name) else os.path.abspath(name) for name in (root, target))
    job = Job(command, settings, resume or watch, force, dry_run)
    cores = threads or usable_cores()

    def plan(files: list[str]) -> list[Task]:
        if command == "verify":
            return [Task(path, "") for path in files]
        return tree.tasks(root, target, files, suffix)

    arrivals = Watcher(root, target, command, plan) if watch else None
    found = tree.Tree([], 0) if watch else tree.find(root, command, None if command == "verify" else target)
    tasks = plan(found.files)
    if command != "verify" and not dry_run:
        claims.sweep(_folders_of(tasks, target))
    totals = _Totals(found.others)
    if dry_run:
        from lvc.jobs.work import Worker

        worker = Worker(job, cores)
        for task in tasks:
            totals.add(_said(report, worker.do(task), len(tasks), totals.count))
    else:
        workers: Pool | Cluster
        if engine == "ray":
            workers = Cluster(job, jobs, threads or CPUS_OF_A_TASK, address)
        else:
            jobs = jobs or max(1, min(8, cores // 2))  # a worker takes about 1 GB of memory at 1080p
            workers = Pool(job, jobs if watch else max(1, min(jobs, len(tasks))), cores)
        with workers, _board(report, root, None if watch else len(tasks)) as board:
            for event in run.run(tasks, workers, arrivals):
                if isinstance(event, Progress):
                    board.progress(event)
                    report.file_progress(event.task.source, event.frames, event.bytes_in, event.bytes_out, event.total)
                else:
                    board.outcome(event)
                    totals.add(_said(report, event, len(tasks) or None, totals.count))
        if command != "verify":
            claims.sweep(_folders_of(tasks, target))  # of workers that died
    report.summary(root, totals.fields(), totals.text(command, dry_run))


def _folders_of(tasks: list[Task], output_dir: str) -> set[str]:
    return {output_dir, *(os.path.dirname(task.target) for task in tasks)}


def _said(report: Report, outcome: Outcome, total: int | None, before: int) -> Outcome:
    """Report one file, numbered."""
    source = outcome.task.source
    for text in outcome.notices:
        report.notice(text, source)
    if outcome.status is Status.failed:
        report.file_failed(source, outcome.exit_code, outcome.kind, outcome.text)
    else:
        number = f"[{before + 1}/{total}] " if total else ""
        text = outcome.text if outcome.status is Status.done else f"{outcome.status.value}: {outcome.text}"
        report.file_done(source, {"status": outcome.status.value, **_about(outcome)}, number, text)
    return outcome


def _about(outcome: Outcome) -> dict[str, Any]:
    return {"output": outcome.task.target, "reason": outcome.text} if not outcome.fields else outcome.fields


class _Totals:
    """Of all files: how they ended, sizes and frames."""

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
        if dry_run:
            return (
                f"{v['files']} files: {v['planned']} to {command}, {v['skipped']} to skip, {len(v['failed'])} refused"
            )
        parts = [f"{v['files']} files: {v['done']} done, {v['skipped']} skipped, {len(v['failed'])} failed"]
        if self.others and command == "encode":
            parts.append(f"{self.others} others are no videos")
        if v["bytes_in"] and v["bytes_out"]:
            share = 100 * v["bytes_out"] / v["bytes_in"]
            parts.append(f"{v['bytes_in']:,} → {v['bytes_out']:,} bytes ({share:.1f} %)")
        if v["frames"]:
            parts.append(f"{v['frames']} frames in {v['seconds']:.1f} s ({v['fps']:.1f} fps)")
        lines = [", ".join(parts), *(f"  failed: {path}" for path in self._failed)]
        return "\n".join(lines)


@contextlib.contextmanager
def _board(report: Report, root: str, total: int | None) -> Iterator[Board]:
    """The live table, on a terminal."""
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
