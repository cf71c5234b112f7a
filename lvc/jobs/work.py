"""Processes the files of a folder job in this process, through `lvc.files` as for a single file.

A worker loads the model once, when the first file needs it, and keeps it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lvc.errors import MediaError, OutputExistsError, explained
from lvc.jobs.claims import claim
from lvc.jobs.identity import origin_of, why_stale
from lvc.jobs.task import Job, Outcome, Progress, Status, Task
from lvc.kinds import LVZ, VIDEOS
from lvc.latents.foreign import is_continuous
from lvc.lvz import LvzReader
from lvc.options import DecodeOptions, EncodeOptions, ModelName, VerifyOptions
from lvc.output import about, check_output, opened_input, subject
from lvc.place import Place

if TYPE_CHECKING:
    from lvc.models import Model

_EVERY = 0.5  # seconds between two reports of progress


class Worker:
    """Processes one file after another. `threads`: how many cores it may use."""

    def __init__(self, job: Job, threads: int | None = None) -> None:
        self.job = job
        self._options = replace(job.options, threads=threads or job.options.threads)
        self._models: dict[bytes, Model] = {}
        self._sha256: bytes | None = None

    def do(self, task: Task, report: Callable[[Progress], object] | None = None) -> Outcome:
        """Process a file. Errors become its outcome; only `KeyboardInterrupt` is raised."""
        notices: list[str] = []
        try:
            status, text, fields = self._do(task, report or (lambda _: None), notices.append)
        except Exception as error:
            code, message = explained(error)
            # the task names the source already; any other file is named here
            about_other = subject(error) not in (None, task.source)
            text = f"{subject(error)}: {message}" if about_other else message
            return Outcome(task, Status.failed, text, {}, code, type(error).__name__, tuple(notices))
        return Outcome(task, status, text, fields, notices=tuple(notices))

    def _do(
        self, task: Task, report: Callable[[Progress], object], notice: Callable[[str], object]
    ) -> tuple[Status, str, dict[str, Any]]:
        if isinstance(self._options, VerifyOptions):
            return self._verify(task, self._options)
        if self.job.dry_run:
            reason = self._reason_to_skip(task)
            return (Status.skipped, reason, {}) if reason else (Status.planned, f"→ {task.target}", {})
        with about(task.target):
            Place(task.target).make_parent()
        with claim(task.target) as mine:
            if not mine:
                return Status.busy, "another run is processing it", {}
            reason = self._reason_to_skip(task)
            if reason:
                return Status.skipped, reason, {}
            return self._make(task, _throttled(task, report), notice)

    def _reason_to_skip(self, task: Task) -> str:
        """Return why the output needs no work, or "". Raises `OutputExistsError` for one that must stay."""
        now = Place(task.target).stamp()
        if now is None:
            return ""
        paths = Place(task.source).is_local and Place(task.target).is_local
        if paths and os.path.samefile(task.source, task.target):
            raise OutputExistsError("would overwrite itself — choose another --output-dir")
        if now != task.before and self._why_stale(task) is None:
            return "made by another run"
        if not (self.job.force or self.job.resume):
            raise OutputExistsError(f"{task.target} exists already — use --resume, --force or another --output-dir")
        if self.job.resume and self._why_stale(task) is None:
            return "is done"
        if isinstance(self._options, DecodeOptions) and paths and _folder_of(task.source) == _folder_of(task.target):
            raise OutputExistsError(
                f"{task.target} may be the video that it was made from — choose another --output-dir"
            )
        writes = VIDEOS if isinstance(self._options, DecodeOptions) else [LVZ]
        check_output(task.source, task.target, force=True, writes=writes)  # other kinds of file stay
        return ""

    def _why_stale(self, task: Task) -> str | None:
        if isinstance(self._options, EncodeOptions):
            return why_stale(task.target, task.source, self._options, self._model_sha256(self._options))
        return _why_not_decoded(task, self._options) if isinstance(self._options, DecodeOptions) else None

    def _make(
        self, task: Task, progress: Callable[[int, int, int, int | None], object], notice: Callable[[str], object]
    ) -> tuple[Status, str, dict[str, Any]]:
        from lvc.files import decode_video, encode_video

        if isinstance(self._options, EncodeOptions):
            before = Place(task.source).stamp()
            origin = origin_of(task.source, self._options)
            options = replace(self._options, model=self._model(self._options))
            encoded = encode_video(
                task.source, task.target, options, force=True, origin=origin, progress=progress, notice=notice
            )
            if Place(task.source).stamp() != before:
                Place(task.target).remove()
                raise MediaError("changed while it was read — try again when it is no longer being written")
            return Status.done, str(encoded), encoded.fields()
        if not isinstance(self._options, DecodeOptions):
            raise TypeError("this job writes no output")
        chosen = replace(self._options, model=self._model_of_file(task.source, self._options))
        decoded = decode_video(task.source, task.target, chosen, force=True, progress=progress, notice=notice)
        decoded.raise_for_damage()
        return Status.done, str(decoded), decoded.fields()

    def _verify(self, task: Task, options: VerifyOptions) -> tuple[Status, str, dict[str, Any]]:
        from lvc.facts import verified

        if options.full:
            options = replace(options, model=self._model_of_file(task.source, options))
        facts = verified(task.source, options)
        return Status.done, str(facts), facts.fields()

    def _model_sha256(self, options: EncodeOptions) -> bytes:
        if self._sha256 is None:
            from lvc import models

            self._sha256 = models.resolve(models.tuned(_name(options.model), options.tune)).sha256
        return self._sha256

    def _model(self, options: EncodeOptions) -> ModelName:
        """Loaded, or the name of one that torch runs."""
        from lvc import models

        name = models.tuned(_name(options.model), options.tune)
        if name is not None and is_continuous(name):
            return name
        return self._kept(self._model_sha256(options), lambda: models.load_model(name))

    def _model_of_file(self, path: str, options: DecodeOptions | VerifyOptions) -> ModelName | None:
        """The model that a `.lvz` was made with; one that is named has to match, which `decode_file` checks. None or a
        name: of one that torch runs."""
        from lvc import models

        name = _name(options.model)
        if name is not None:
            if is_continuous(name):
                return name
            return self._kept(models.resolve(name).sha256, lambda: models.load_model(name))
        with about(path), opened_input(path) as file:
            reader = LvzReader(file)
            if reader.tensors is not None:
                return None
            header, inside = reader.header, reader.model_chunk
            return self._kept(header.model_sha256, lambda: models.model_of_file(header, inside))

    def _kept(self, sha256: bytes, load: Callable[[], Model]) -> Model:
        if sha256 not in self._models:
            self._models.clear()  # keep one model: folders with several are rare, and models take memory
            self._models[sha256] = load()
        return self._models[sha256]


def _throttled(task: Task, report: Callable[[Progress], object]) -> Callable[[int, int, int, int | None], object]:
    last = 0.0

    def progress(frames: int, bytes_in: int, bytes_out: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            report(Progress(task, frames, total, bytes_in, bytes_out))

    return progress


def _folder_of(path: str) -> str:
    return os.path.realpath(os.path.dirname(path) or ".")


def _name(model: ModelName | None) -> str | None:
    """Return the model's name. A loaded model cannot be sent to a worker."""
    if model is None or isinstance(model, (str, os.PathLike)):
        return None if model is None else os.fspath(model)
    raise TypeError("a folder job takes a model's name, not a loaded model")


def _why_not_decoded(task: Task, options: DecodeOptions) -> str | None:
    """Return why an existing video is not this task's output, or None if it is.

    Videos do not record their source, so only the length is compared. Outputs are published whole: only a video from
    elsewhere, or of a range, can differ.
    """
    from lvc.media import y4m
    from lvc.media.probe import frames_in

    try:
        found = y4m.frames_in(task.target) if task.target.endswith(".y4m") else frames_in(task.target)
        with opened_input(task.source) as file:
            wanted = LvzReader(file).frame_count
    except Exception as error:
        return f"cannot be read ({error})"
    whole = options.start is None and options.end is None
    if whole and found is not None and wanted is not None and found != wanted:
        return f"has {found} frames instead of {wanted}"
    return None
