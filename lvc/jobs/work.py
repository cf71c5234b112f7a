"""One file of a folder job, in this process: by the same jobs of `lvc.files` as any single file.

A worker keeps what costs time to make: the model is loaded once, when the first file needs it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lvc.errors import MediaError, OutputExistsError, explained
from lvc.jobs.claims import claim
from lvc.jobs.identity import origin_of, why_stale
from lvc.jobs.places import make_folder_of, remove, stamp
from lvc.jobs.task import Job, Outcome, Progress, Status, Task
from lvc.kinds import LVZ, VIDEOS
from lvc.lvz import LvzReader
from lvc.output import about, check_output, opened_input, subject
from lvc.remote.addresses import is_address

if TYPE_CHECKING:
    from lvc.models import Model

_EVERY = 0.5  # seconds between two reports of progress


class Worker:
    """Does one file after the other. `threads`: how many cores it may keep busy."""

    def __init__(self, job: Job, threads: int | None = None) -> None:
        self.job = job
        self.settings = {**job.settings, "threads": threads or job.settings.get("threads")}
        self._models: dict[bytes, Model] = {}
        self._sha256: bytes | None = None

    def do(self, task: Task, report: Callable[[Progress], object] | None = None) -> Outcome:
        """Never raises but `KeyboardInterrupt`: what goes wrong with a file is its outcome."""
        notices: list[str] = []
        try:
            status, text, fields = self._do(task, report or (lambda _: None), notices.append)
        except Exception as error:
            code, message = explained(error)
            # a file of this job that the error is about is named by its task
            about_other = subject(error) not in (None, task.source)
            text = f"{subject(error)}: {message}" if about_other else message
            return Outcome(task, Status.failed, text, {}, code, type(error).__name__, tuple(notices))
        return Outcome(task, status, text, fields, notices=tuple(notices))

    def _do(
        self, task: Task, report: Callable[[Progress], object], notice: Callable[[str], object]
    ) -> tuple[Status, str, dict[str, Any]]:
        if self.job.command == "verify":
            return self._verify(task)
        if self.job.dry_run:
            reason = self._reason_to_skip(task)
            return (Status.skipped, reason, {}) if reason else (Status.planned, f"→ {task.target}", {})
        with about(task.target):
            make_folder_of(task.target)
        with claim(task.target) as mine:
            if not mine:
                return Status.busy, "another run is at it", {}
            reason = self._reason_to_skip(task)
            if reason:
                return Status.skipped, reason, {}
            return self._make(task, _throttled(task, report), notice)

    def _reason_to_skip(self, task: Task) -> str:
        """Why the output needs no work. Raises `OutputExistsError` for one that is in the way."""
        now = stamp(task.target)
        if now is None:
            return ""
        paths = not (is_address(task.source) or is_address(task.target))
        if paths and os.path.samefile(task.source, task.target):
            raise OutputExistsError("would overwrite itself — choose another --output-dir")
        if now != task.before and self._why_stale(task) is None:
            return "made by another run"
        if not (self.job.force or self.job.resume):
            raise OutputExistsError(f"{task.target} exists already — use --resume, --force or another --output-dir")
        if self.job.resume and self._why_stale(task) is None:
            return "is done"
        if self.job.command == "decode" and paths and _folder_of(task.source) == _folder_of(task.target):
            raise OutputExistsError(
                f"{task.target} may be the video that it was made from — choose another --output-dir"
            )
        writes = [LVZ] if self.job.command == "encode" else VIDEOS
        check_output(task.source, task.target, force=True, writes=writes)  # what it would not have written stays
        return ""

    def _why_stale(self, task: Task) -> str | None:
        if self.job.command == "encode":
            return why_stale(task.target, task.source, self.job.settings, self._model_sha256())
        return _why_not_decoded(task, self.job.settings)

    def _make(
        self, task: Task, progress: Callable[[int, int, int, int | None], object], notice: Callable[[str], object]
    ) -> tuple[Status, str, dict[str, Any]]:
        from lvc.files import decode_file, encode_file, encode_to_size, encode_to_vmaf

        common = {**self.settings, "force": True, "progress": progress, "notice": notice}
        if self.job.command == "decode":
            common["model"] = self._model_of_file(task.source)
            decoded = decode_file(task.source, task.target, **common)
            decoded.raise_for_damage()
            return Status.done, str(decoded), decoded.fields()
        before = stamp(task.source)
        common["origin"] = origin_of(task.source, self.job.settings)
        common["model"] = self._model()
        vmaf, size = common.pop("target_vmaf", None), common.pop("target_size", None)
        if vmaf is not None:
            encoded = encode_to_vmaf(task.source, task.target, vmaf, **common)
        elif size is not None:
            encoded = encode_to_size(task.source, task.target, int(size), **common)
        else:
            encoded = encode_file(task.source, task.target, **common)
        if stamp(task.source) != before:
            remove(task.target)
            raise MediaError("changed while it was read — try again when it is no longer being written")
        return Status.done, str(encoded), encoded.fields()

    def _verify(self, task: Task) -> tuple[Status, str, dict[str, Any]]:
        from lvc.facts import verify_file

        settings = dict(self.settings)
        if settings.get("full"):
            settings["model"] = self._model_of_file(task.source)
        facts = verify_file(task.source, **settings)
        return Status.done, str(facts), facts.fields()

    def _model_sha256(self) -> bytes:
        if self._sha256 is None:
            from lvc import models

            self._sha256 = models.resolve(self._model_name()).sha256
        return self._sha256

    def _model(self) -> Model:
        return self._kept(self._model_sha256(), self._model_name())

    def _model_name(self) -> str | None:
        from lvc import models

        name: str | None = self.settings.get("model")
        return models.tuned(name, self.settings.get("tune"))

    def _model_of_file(self, path: str) -> Model:
        """The model that a `.lvz` was made with; one that is named has to match, which `decode_file` checks."""
        from lvc import models

        name = self.settings.get("model")
        if name is not None:
            return self._model()
        with about(path), opened_input(path) as file:
            header = LvzReader(file).header
            return self._kept(
                header.model_sha256,
                None
                if header.model_sha256 in self._models
                else str(models.find_model(header.model_id, header.model_sha256)),
            )

    def _kept(self, sha256: bytes, name: str | None) -> Model:
        from lvc import models

        if sha256 not in self._models:
            self._models.clear()  # a folder of many models is rare: one at a time is enough memory
            self._models[sha256] = models.load_model(name)
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


def _why_not_decoded(task: Task, settings: dict[str, Any]) -> str | None:
    """Why a decoded video is not there; None if it is. It says nothing of its origin: what is compared is its length.

    It was published whole, so that only a file of somebody else, or of a range, can differ.
    """
    from lvc.media import y4m
    from lvc.media.probe import frames_in

    try:
        found = y4m.frames_in(task.target) if task.target.endswith(".y4m") else frames_in(task.target)
        with opened_input(task.source) as file:
            wanted = LvzReader(file).frame_count
    except Exception as error:
        return f"cannot be read ({error})"
    ranged = settings.get("start") is not None or settings.get("end") is not None
    if found is not None and wanted is not None and found != wanted and not ranged:
        return f"has {found} frames instead of {wanted}"
    return None
