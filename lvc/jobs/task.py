"""A folder job, its tasks, and their results. Everything here can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from lvc.options import DecodeOptions, EncodeOptions, VerifyOptions
from lvc.place import Stamp

Command = Literal["encode", "decode", "verify"]
Options = EncodeOptions | DecodeOptions | VerifyOptions


class Status(StrEnum):
    """How a task ended. `busy`: another run holds this file; it is tried again later."""

    done = "done"
    skipped = "skipped"
    failed = "failed"
    busy = "busy"
    planned = "planned"


@dataclass(frozen=True)
class Job:
    """What to do with every file; the type of `options` selects the command.

    `resume` skips outputs that are complete and up to date, `force` makes every output again. Without either, an
    existing output is an error of its file.
    """

    options: Options
    resume: bool = False
    force: bool = False
    dry_run: bool = False

    @property
    def command(self) -> Command:
        match self.options:
            case EncodeOptions():
                return "encode"
            case DecodeOptions():
                return "decode"
        return "verify"


@dataclass(frozen=True)
class Task:
    """One file. `before`: the stamp of an existing output when the job was planned."""

    source: str
    target: str
    before: Stamp | None = None


@dataclass(frozen=True)
class Progress:
    """Progress of a file: frames done, frames expected (None: unknown), bytes read and written so far."""

    task: Task
    frames: int
    total: int | None
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class Outcome:
    """The result of a task. `text` is for people, `fields` for programs; `kind` names the class of an error."""

    task: Task
    status: Status
    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    kind: str = ""
    notices: tuple[str, ...] = ()


Event = Progress | Outcome
