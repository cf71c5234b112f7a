"""`lvc play`: decoded pictures and sound, through a pipe into a local player."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from typing import IO, BinaryIO, cast

from lvc.errors import MediaError
from lvc.files.coding import model_of
from lvc.files.common import opened
from lvc.files.decode import Decoding, attachments_of, check_size, format_of, side_of
from lvc.lvz import LvzReader
from lvc.media import Chapter, CopiedStreamInfo, MediaWriter
from lvc.output import about
from lvc.remote.addresses import without_secrets
from lvc.threads import own_threads

Notice = Callable[[str], object]
PLAYERS = ("mpv", "ffplay")


def found_player(name: str | None = None) -> str | None:
    """The first installed player, or the named one. Raises `MediaError` if it is not installed."""
    if name is not None and shutil.which(name) is None:
        raise MediaError(f"{name} is not installed — leave --player out, or install it")
    return name or next((player for player in PLAYERS if shutil.which(player)), None)


def play(
    source: str, player: str, *, start: float | None = None, threads: int | None = None, notice: Notice | None = None
) -> None:
    """Play a file or an address with an installed player, until the end or until the player is closed.

    Raises every kind of `LvcError`: `MediaError` where the player fails.
    """
    with about(source), opened(source, notice=notice) as reader:
        check_size(reader)
        decoding = Decoding(reader, start, None, False, with_packets=True, from_zero=True)
        with subprocess.Popen(_command(player, reader, source), stdin=subprocess.PIPE) as process:
            stdin = cast(IO[bytes], process.stdin)
            try:
                with contextlib.suppress(BrokenPipeError), stdin:
                    _feed(reader, decoding, cast(BinaryIO, stdin), threads)
            except BaseException:
                process.terminate()
                raise
    if process.returncode not in (0, 4):  # 4: mpv was ended by a signal
        raise MediaError(f"{player} ended with code {process.returncode} — another player with --player may do better")


def _command(player: str, reader: LvzReader, source: str) -> list[str]:
    title = reader.metadata.tags.get("title") or without_secrets(source).rpartition("/")[2]
    video = reader.video
    # the pipe's format cannot describe samples that are not square
    wide = Fraction(*video.sar) if all(video.sar) else Fraction(1)
    if player == "ffplay":
        aspect = [] if wide == 1 else ["-vf", f"setsar={wide.numerator}/{wide.denominator}"]
        return ["ffplay", "-loglevel", "error", "-autoexit", "-window_title", title, *aspect, "-i", "pipe:0"]
    aspect = [] if wide == 1 else [f"--video-aspect-override={float(wide * video.width / video.height):.6f}"]
    return ["mpv", f"--force-media-title={title}", "--msg-level=all=error", *aspect, "-"]


def _feed(reader: LvzReader, decoding: Decoding, stdin: BinaryIO, threads: int | None) -> None:
    model = model_of(reader, None, None)
    copied = [CopiedStreamInfo(**vars(stream)) for stream in reader.copied]
    chapters = [] if decoding.ranged else [Chapter(**vars(chapter)) for chapter in reader.metadata.chapters]
    with own_threads(), MediaWriter(
        stdin, format_of(reader), copied, reader.metadata.tags, chapters, container="mkv", codec="raw",
        side=side_of(reader), attachments=attachments_of(reader),
    ) as writer:  # fmt: skip
        for item in decoding.items(model, threads):
            writer.write(item)
