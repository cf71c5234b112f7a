"""`lvc unpack`: the latents of a `.lvz` as arrays. Packed tensors become safetensors again, one file for each original
file; a video of lvc's own codec becomes one file of named arrays (`lvc.latents.arrays`)."""

from __future__ import annotations

import contextlib
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from lvc.errors import CorruptError, LimitError, UsageError
from lvc.kinds import NPZ, SAFETENSORS
from lvc.latents.elements import Tensor, save_tensors
from lvc.latents.file import DTYPE, KEY, LatentFile
from lvc.latents.frames import is_video, unpack_video
from lvc.output import check_output, publish
from lvc.place import STREAM, Place
from lvc.results import UnpackResult

Progress = Callable[[int, int, int, int | None], object]
Notice = Callable[[str], object]
SUFFIX, ARCHIVE = ".safetensors", ".npz"
DEFAULT_KEY = "latents"
MAX_DEPTH = 32
"""Most folders in a tensor's name."""
_FREE_BYTES, _EXPANSION = 1 << 30, 1 << 10


def unpack_latents(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    names: Sequence[str] | None = None,
    start: float | None = None,
    end: float | None = None,
    intra: bool = False,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> UnpackResult:
    """Write the latents of the `.lvz` `source` to files.

    Packed tensors go into the folder `target` (None: `source` without its ending), or into one file if it ends in
    `.safetensors` or `.npz`; `names`: only these. Folders in `target` that are links are not entered.

    A video of lvc's own codec goes into the file `target`, `.safetensors` (None: beside `source`) or `.npz`, whose
    arrays `docs/latents.md` lists. They cover the groups of clips that overlap `start` to `end` (seconds from the first
    frame), and with `intra` also the latents that each frame would have as a key frame. This needs the model that made
    the video, and decodes it; without the model only the integers of packing `zstd` can be read, and `notice` is told
    so.

    Raises `UsageError`, `OutputExistsError`, `CorruptError`, `UnsupportedError`, `LimitError` (names of many folders,
    far more tensors than the file has room for), `MediaError` (no room on the disk) and `OSError`.
    """
    source = os.fspath(source)
    if STREAM in (source, target):
        raise UsageError("latents are unpacked from a file to files, not through a pipe")
    own = is_video(source)
    if target is None:
        if Place(source).is_url:
            raise UsageError("is a URL — name OUT")
        target = os.path.splitext(source)[0] + (SUFFIX if own else "")
        if target == source:
            raise UsageError("has no ending that could be left out — name OUT")
    target = os.fspath(target)
    if own:
        if names:
            raise UsageError("holds a video and no tensors with names — leave --name out")
        check_output(source, target, force=force, writes=[SAFETENSORS, NPZ])
        return unpack_video(
            source,
            target,
            start=start,
            end=end,
            intra=intra,
            threads=threads,
            force=force,
            progress=progress,
            notice=notice,
        )
    if intra or start is not None or end is not None:
        raise UsageError("holds tensors and no video of lvc's own codec — leave --start, --end and --intra out")
    started = time.monotonic()
    written = tensors = 0
    with LatentFile(source) as file, contextlib.ExitStack() as undo:
        chosen = _chosen(file, names)
        if target.endswith(ARCHIVE):
            return _unpack_archive(file, chosen, target, started, force, progress)
        single = target.endswith(SUFFIX)
        if single and len(chosen) > 1:
            raise UsageError(f"{len(chosen)} files come out — name a folder, or choose one with --name")
        _check_size(file, chosen, source)
        paths = {name: target if single else str(Path(target, *_parts(name))) + SUFFIX for name in chosen}
        if not single:
            _make_folder(Path(target), undo)
        for name, output in paths.items():
            if not single:
                _make_folders(Path(target), _parts(name)[:-1], undo)
                _refuse_link(Path(output))
            check_output(source, output, force=force, writes=[SAFETENSORS])
        made: set[tuple[int, int]] = set()
        for name, numbers in chosen.items():
            if _identity(paths[name]) in made:
                raise UsageError(f"{name!r} and another tensor are one file here — unpack each alone, with --name")
            with publish(paths[name], force=force) as path:
                content: dict[str, Tensor] = {}
                text: dict[str, str] = {}
                for number in numbers:
                    tags = file.samples[number].tags
                    if (key := tags.get(KEY, DEFAULT_KEY)) in content:
                        raise CorruptError(f"two tensors are named {key!r} in {name!r}")
                    content[key] = file.tensor(number)
                    text.update({k: v for k, v in tags.items() if k not in (KEY, DTYPE)})
                save_tensors(path, content, text)
                written += path.stat().st_size
            made.add(_identity(paths[name]) or (0, 0))
            tensors += len(numbers)
            if progress is not None:
                progress(tensors, os.path.getsize(source), written, len(file))
    return UnpackResult(target, tensors, len(chosen), os.path.getsize(source), written, time.monotonic() - started)


def _unpack_archive(
    file: LatentFile,
    chosen: dict[str, list[int]],
    target: str,
    started: float,
    force: bool,
    progress: Progress | None,
) -> UnpackResult:
    """Write all tensors as arrays of one `.npz`, named `NAME` or `NAME/KEY`. numpy has no bfloat16 and no float8; they
    become float32 and float16 without loss."""
    _check_size(file, chosen, file.path)
    check_output(file.path, target, force=force, writes=[NPZ])
    size, done, seen = os.path.getsize(file.path), 0, set[str]()
    with publish(target, force=force) as path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, numbers in chosen.items():
                for number in numbers:
                    key = file.samples[number].tags.get(KEY)
                    label = "/".join(_parts(name if key is None else f"{name}/{key}"))
                    if label in seen:
                        raise CorruptError(f"two tensors are named {label!r}")
                    seen.add(label)
                    with archive.open(f"{label}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(file.tensor(number).widened()))
                    done += 1
                    if progress is not None:
                        progress(done, size, 0, len(file))
        written = path.stat().st_size
    return UnpackResult(target, done, 1, size, written, time.monotonic() - started)


def _chosen(file: LatentFile, names: Sequence[str] | None) -> dict[str, list[int]]:
    """Return the numbers of tensors by the name of their original file. Raises `UsageError` for an unknown name."""
    found: dict[str, list[int]] = {}
    for number, sample in enumerate(file.samples):
        if names is None or sample.name in names:
            found.setdefault(sample.name, []).append(number)
    missing = set(names or ()) - set(found)
    if missing:
        raise UsageError(f"the file has no tensor {sorted(missing)[0]!r} — but {file.samples[0].name!r}, for example")
    return found


def _parts(name: str) -> tuple[str, ...]:
    """Turn a name into a path below the output. The name is untrusted and must not lead out of it. Raises
    `CorruptError`."""
    parts = PurePosixPath(name).parts
    if not parts or any(p in ("..", "/", ".") or "\\" in p or ":" in p or "\0" in p for p in parts):
        raise CorruptError(f"the tensor's name {name[:200]!r} is not a file name")
    if len(parts) > MAX_DEPTH:
        raise LimitError(f"the tensor's name {name[:40]!r}… leads through {len(parts)} folders, limit {MAX_DEPTH}")
    return parts


def _make_folders(folder: Path, names: tuple[str, ...], undo: contextlib.ExitStack) -> None:
    """Create folders below `folder`, which the user named. Raises `UsageError` for a link, which may lead anywhere."""
    for name in names:
        folder = folder / name
        _refuse_link(folder)
        _make_folder(folder, undo)


def _make_folder(folder: Path, undo: contextlib.ExitStack) -> None:
    """Create a folder if it is missing; it is removed again if it stays empty."""
    if not folder.is_dir():
        folder.mkdir()
        undo.callback(_remove_if_empty, folder)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise UsageError(f"{path} is a link, which lvc unpack does not follow — remove it, or name another folder")


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of a file, which all its names share, also where letter case is ignored; None if there is
    none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_size(file: LatentFile, chosen: dict[str, list[int]], source: str) -> None:
    """Check the output size. Raises `LimitError` if it is far larger than real data of this size yields."""
    channels, width = file.video.planes[0].channels, 4 if file.tensors.element == "float32" else 2
    samples = (file.samples[number] for numbers in chosen.values() for number in numbers)
    size = width * channels * sum(s.frames * s.rows * s.columns for s in samples)
    if size > _FREE_BYTES + _EXPANSION * os.path.getsize(source):
        raise LimitError(
            f"{os.path.getsize(source):,} bytes unpack to {size:,}, a thousand times as many — unpack parts with --name"
        )
