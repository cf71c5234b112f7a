"""`lvc unpack`: a `.lvz` of latents becomes safetensors again, a file for each that there was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from safetensors.torch import save_file

from lvc.errors import CorruptError, UsageError
from lvc.kinds import SAFETENSORS
from lvc.latents.file import LatentFile
from lvc.latents.sources import DTYPE, KEY
from lvc.output import STREAM, check_output, publish
from lvc.results import UnpackResult

Progress = Callable[[int, int, int, int | None], object]
SUFFIX = ".safetensors"
DEFAULT_KEY = "latents"


def unpack_latents(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> UnpackResult:
    """Write the tensors of the `.lvz` `source` to the folder `target`, or to one file if it ends in `.safetensors`.

    `names`: only these. Raises `UsageError`, `OutputExistsError`, `CorruptError`, `UnsupportedError`, `OSError`.
    """
    source, target = os.fspath(source), os.fspath(target)
    if STREAM in (source, target):
        raise UsageError("latents are unpacked from a file to files, not through a pipe")
    started = time.monotonic()
    written = tensors = 0
    with LatentFile(source) as file:
        chosen = _chosen(file, names)
        single = target.endswith(SUFFIX)
        if single and len(chosen) > 1:
            raise UsageError(f"{len(chosen)} files come out — name a folder, or choose one with --name")
        if not single:
            Path(target).mkdir(exist_ok=True)
        paths = {name: target if single else str(Path(target, *_parts(name))) + SUFFIX for name in chosen}
        for output in paths.values():
            Path(output).parent.mkdir(parents=True, exist_ok=True)
            check_output(source, output, force=force, writes=[SAFETENSORS])
        for name, numbers in chosen.items():
            with publish(paths[name], force=force) as path:
                content, text = {}, {}
                for number in numbers:
                    sample = file.samples[number]
                    key = sample.tags.get(KEY, DEFAULT_KEY)
                    if key in content:
                        raise CorruptError(f"two tensors are named {key!r} in {name!r}")
                    content[key] = file.read(number).contiguous()
                    text.update({k: v for k, v in sample.tags.items() if k not in (KEY, DTYPE)})
                save_file(content, path, text or None)
                written += path.stat().st_size
            tensors += len(numbers)
            if progress is not None:
                progress(tensors, os.path.getsize(source), written, len(file))
    return UnpackResult(target, tensors, len(chosen), os.path.getsize(source), written, time.monotonic() - started)


def _chosen(file: LatentFile, names: Sequence[str] | None) -> dict[str, list[int]]:
    """Numbers of tensors by the name of the file they came from. Raises `UsageError` for a name that is not there."""
    found: dict[str, list[int]] = {}
    for number, sample in enumerate(file.samples):
        if names is None or sample.name in names:
            found.setdefault(sample.name, []).append(number)
    missing = set(names or ()) - set(found)
    if missing:
        raise UsageError(f"there is no tensor {sorted(missing)[0]!r} in it — but {file.samples[0].name!r}, for example")
    return found


def _parts(name: str) -> tuple[str, ...]:
    """A name as a path below the output. It comes from the file: nothing in it may lead out. Raises `CorruptError`."""
    parts = PurePosixPath(name).parts
    if not parts or any(p in ("..", "/", ".") or "\\" in p or ":" in p or "\0" in p for p in parts):
        raise CorruptError(f"the tensor's name {name!r} is no name of a file")
    return parts
