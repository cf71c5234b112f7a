"""What a folder job is made of, and what comes back of each of its files. Everything here can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from lvc.options import DecodeOptions, EncodeOptions, VerifyOptions

Stamp = tuple[Any, ...]
Command = Literal["encode", "decode", "verify"]
Options = EncodeOptions | DecodeOptions | VerifyOptions


class Status(StrEnum):
    """`busy`: another run is at this file right now; it is asked for again later."""

    done = "done"
    skipped = "skipped"
    failed = "failed"
    busy = "busy"
    planned = "planned"


@dataclass(frozen=True)
class Job:
    """What is done with every file: that which `options` are for.

    `resume` skips outputs that are whole and were made of the same bytes in the same way; `force` makes every output
    again; without either an existing output is an error of its file.
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
    """One file. `before`: what stood in the output's place when the job was planned."""

    source: str
    target: str
    before: Stamp | None = None


@dataclass(frozen=True)
class Progress:
    """Of a file in work: frames done, expected (None: unknown), bytes read and written so far."""

    task: Task
    frames: int
    total: int | None
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class Outcome:
    """How it ended. `text` is for people, `fields` for machines; `kind` names the class of an error."""

    task: Task
    status: Status
    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    kind: str = ""
    notices: tuple[str, ...] = ()


Event = Progress | Outcome
