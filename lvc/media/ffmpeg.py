"""The static FFmpeg that comes with the extra `lvc[eval]`: VMAF and VVC, which PyAV's build lacks.

`imageio-ffmpeg` brings one program for each platform. Builds differ, so the program is asked what it supports.
IMAGEIO_FFMPEG_EXE names another one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from lvc.errors import MediaError, UnsupportedError
from lvc.media.types import Planes
from lvc.pipeline import WriteBehind

VMAF_MIN_SIDE = 32
"""libvmaf fails on 16 rows or columns: its features look at four scales."""
VMAF_MODELS = {"vmaf": "vmaf_v0.6.1", "vmaf_neg": "vmaf_v0.6.1neg"}
"""libvmaf's built-in models by the name of the figure. NEG gives no credit for enhancement, such as sharpening."""
_AHEAD = 8  # pictures by which one side of a comparison may be ahead
EXTRA = "pip install 'lvc[eval]'"


def why_not(kind: str, name: str) -> str | None:
    """`None` if the program supports it, else what is missing and what to do. `kind`: filter or encoder."""
    program = executable()
    if program is None:
        return f"{name} needs the extra: {EXTRA}"
    if name not in _listed(program, kind):
        return f"this FFmpeg ({version()}) was built without {name} — IMAGEIO_FFMPEG_EXE can name another"
    return None


@functools.cache
def executable() -> str | None:
    """Path of the program; `None` where the extra is not installed or does not support this platform."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


@functools.cache
def version() -> str:
    program = executable()
    if program is None:
        return ""
    text = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"ffmpeg version (\S+)", text)
    return match[1] if match else "unknown"


@functools.cache
def _listed(program: str, kind: str) -> frozenset[str]:
    done = subprocess.run([program, "-hide_banner", f"-{kind}s"], capture_output=True, text=True, check=False)
    return frozenset(line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 1)


def raw_input(width: int, height: int, rate: str, source: str, depth: int = 8) -> list[str]:
    """Options to read `source` (a path or `-`) as raw 4:2:0 pictures."""
    pix_fmt = {8: "yuv420p", 10: "yuv420p10le"}[depth]
    picture = ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", f"{width}x{height}", "-framerate", rate]
    return [*picture, "-i", source]


def write_picture(file: IO[bytes], picture: Planes) -> None:
    """Raw planes: y, u, v, little-endian."""
    for plane in (picture.y, picture.u, picture.v):
        file.write(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).data)


class Fed:
    """The program as a process that reads pictures from standard input. Leaving the block waits for it, and raises
    `MediaError` if it failed."""

    def __init__(self, arguments: list[str], folder: Path, inherited: tuple[int, ...] = ()) -> None:
        program = executable()
        if program is None:
            raise UnsupportedError(f"there is no static FFmpeg — {EXTRA}")
        self._log = folder / "ffmpeg.log"
        with self._log.open("wb") as log:
            command = [program, "-hide_banner", "-nostats", "-loglevel", "error", "-y", *arguments]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, cwd=folder, pass_fds=inherited
            )

    def write(self, picture: Planes) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has exited: `__exit__` reports why
                write_picture(self._process.stdin, picture)

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        status = self._process.wait()
        if error is None and status:
            lines = self._log.read_text(errors="replace").strip().splitlines()
            raise MediaError(f"FFmpeg failed: {lines[0] if lines else f'status {status}'}")


class Vmaf(Fed):
    """VMAF of the raw pictures in `decoded` against those written here. `figures`: of `VMAF_MODELS`."""

    LOG = "vmaf.json"

    def __init__(
        self,
        decoded: Path | int,
        width: int,
        height: int,
        folder: Path,
        threads: int = 1,
        figures: Sequence[str] = ("vmaf",),
        depth: int = 8,
    ) -> None:
        """`decoded`: a file, or a descriptor that pictures are read from as they come."""
        # the filter's arguments are parsed twice: `:` inside a model's is escaped twice
        judges = "|".join(rf"version={VMAF_MODELS[name]}\\:name={name}" for name in figures)
        graph = f"[0:v][1:v]libvmaf=log_fmt=json:log_path={self.LOG}:n_threads={threads}:model={judges}"
        name = f"pipe:{decoded}" if isinstance(decoded, int) else str(decoded.resolve())
        # the path of the log is an argument of a filter, where `:` and `\` are special, so it is relative
        inputs = raw_input(width, height, "25", name, depth) + raw_input(width, height, "25", "-", depth)
        arguments = [*inputs, "-lavfi", graph, "-f", "null", "-"]
        super().__init__(arguments, folder, (decoded,) if isinstance(decoded, int) else ())
        self._result, self._figures = folder / self.LOG, tuple(figures)

    def scores(self) -> list[dict[str, float | None]]:
        """Figures of each frame by name, 0 to 100; `None` where libvmaf gave no number. Read them after the block."""
        frames = json.loads(self._result.read_text())["frames"]
        return [{name: frame["metrics"][name] for name in self._figures} for frame in frames]


def vmaf(
    pairs: Iterable[tuple[Planes, Planes]], width: int, height: int, threads: int = 1, depth: int = 8
) -> list[float | None]:
    """Compute VMAF of pairs of source and decoded pictures, in constant memory. Raises `MediaError`,
    `UnsupportedError`, and what `pairs` raises."""
    if os.name != "posix":
        raise UnsupportedError("VMAF during encoding needs inherited pipes, which Windows does not have")
    with tempfile.TemporaryDirectory(prefix="lvc-vmaf-") as folder:
        theirs, ours = os.pipe()
        with os.fdopen(ours, "wb") as decoded:
            try:
                judge = Vmaf(theirs, width, height, Path(folder), threads, depth=depth)
            finally:
                os.close(theirs)

            def write(picture: Planes) -> None:
                with contextlib.suppress(BrokenPipeError):  # it has exited: leaving the block reports why
                    write_picture(decoded, picture)
                    decoded.flush()

            # the program reads both inputs in its own order, so neither may block the other
            with judge:
                with WriteBehind(write, _AHEAD) as others, WriteBehind(judge.write, _AHEAD) as mine:
                    try:
                        for source, coded in pairs:
                            others.put(coded)
                            mine.put(source)
                    except BaseException:
                        judge.kill()  # otherwise its writer would block
                        raise
                decoded.close()
        return [frame["vmaf"] for frame in judge.scores()]
