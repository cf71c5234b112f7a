"""Which words of a command line are inputs and which is the output, and what may be neither.

A shell pattern may expand to many words. So that a user's file is never mistaken for an output, an output must have
the ending that the command writes, or be given with --output.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Sequence

from lvc.cli.report import default_output
from lvc.errors import OutputExistsError, UsageError
from lvc.kinds import LVZ, endings, kind_by_name, kind_of_file
from lvc.output import about, check_output
from lvc.place import STREAM, Place
from lvc.remote.addresses import is_stored, protocol_of

_NUMBER = re.compile(r"\d+(\.\d+)?")
_PATTERN = re.compile(r"%0?\d*d")


def split(
    words: Sequence[str], named: str | None, writes: Sequence[str], most: int = 2
) -> tuple[list[str], str | None]:
    """Returns (inputs, output or None). The last of at most `most` words is the output if it looks like one."""
    words = list(words)
    if named is None and 1 < len(words) <= most and _is_output(words[-1], writes):
        return words[:-1], words[-1]
    return words, named


def split_required(words: Sequence[str], named: str | None, writes: Sequence[str]) -> tuple[list[str], str]:
    """As `split`, for commands whose inputs never have the output's ending. Raises `UsageError` without an output."""
    inputs, output = split(words, named, writes, most=len(words))
    if output is None:
        wanted = " or ".join(endings(writes))
        raise UsageError(f"no output given — name the {wanted} to write last, or with --output")
    return inputs, output


def _is_output(word: str, writes: Sequence[str]) -> bool:
    if word == STREAM:
        return True
    if Place(word).is_url:
        allowed = (None, *writes) if is_stored(word) else tuple(writes) if protocol_of(word) == "file" else ()
        return kind_by_name(word) in allowed
    return word.lower().endswith(endings(writes)) or _is_sink(word)


def _is_sink(word: str) -> bool:
    """A device such as /dev/null, where nothing can be overwritten; cameras are inputs."""
    return not word.startswith("/dev/video") and os.path.exists(word) and stat.S_ISCHR(os.stat(word).st_mode)


def check(inputs: Sequence[str], writes: Sequence[str], number_is: str = "", *, folders: bool = False) -> None:
    """Raises `UsageError` for inputs that must be mistakes, before any work starts.

    Args:
        inputs: the words taken as inputs.
        writes: the kinds of file that the command writes.
        number_is: the option that a stray number probably belongs to.
        folders: whether folders are allowed beside other inputs.
    """
    for name in inputs:
        if not Place(name).is_local or os.path.exists(name):
            continue
        with about(name):
            if _NUMBER.fullmatch(name):
                hint = f" — if it is a value, write {number_is} {name}" if number_is else " — name a file"
                raise UsageError(f"no such file{hint}")
            if _PATTERN.search(os.path.basename(name)):
                raise UsageError(
                    "numbered pictures cannot be read — make a video of them first: "
                    f"ffmpeg -i {name} -c:v ffv1 pictures.mkv"
                )
            if len(inputs) > 1:
                hint = f"end it with {' or '.join(endings(writes))}, or " if writes else ""
                raise UsageError(f"no such file — if it is the output, {hint}name it with --output")
    if len(inputs) == 1:
        return
    for name in inputs:
        with about(name):
            if name == STREAM:
                raise UsageError("standard input cannot be combined with other inputs — give it alone")
            if os.path.isdir(name) and not folders:
                raise UsageError("a folder cannot be combined with other inputs — give it alone, with --output-dir")
            if Place(name).is_url and kind_by_name(name) in writes:
                raise UsageError("this URL cannot be written to — give a file, or a URL such as s3://…")
            if LVZ in writes and kind_of_file(name) == LVZ:
                raise UsageError("is a .lvz already — it cannot be the output of several inputs")


def outputs(
    inputs: Sequence[str], suffix: str, writes: Sequence[str], *, output: str | None, output_dir: str | None
) -> list[str]:
    """The output of each input: beside it, or in `output_dir`. Raises `UsageError` before any work starts."""
    if output is not None:
        raise UsageError(
            f"{output} cannot be the output of {len(inputs)} inputs — leave it out, or give a folder with --output-dir"
        )
    targets = [default_output(name, suffix) for name in inputs]
    if output_dir is not None:
        targets = [Place(output_dir).joined(os.path.basename(target)) for target in targets]
    counted = Counter(os.path.realpath(target) for target in targets)
    for target in targets:
        if counted[os.path.realpath(target)] > 1:
            rivals = [name for name, other in zip(inputs, targets, strict=True) if other == target]
            raise UsageError(f"{' and '.join(rivals)} would both become {target} — encode them one by one, with -o")
    for target in targets:
        if output_dir is None or os.path.isdir(output_dir):
            check_output(inputs, target, force=True, writes=writes)
    return targets


def check_unnamed(source: str, target: str, force: bool) -> None:
    """Protects an existing video under the default name of the output, which may be the source of the .lvz.

    Raises `OutputExistsError`, even with --force.
    """
    if force and os.path.isfile(target):
        with about(target):
            raise OutputExistsError(
                f"may be the video that {os.path.basename(source)} was made from — name it as OUT to overwrite it"
            )
