"""MP4 on the fly for other players: python scripts/figures/player_streams.py FILE.lvz [--times 0.3 0.8]

What `lvc serve` converts while it is asked: how long until the first bytes of one MP4 (from its start and from a time
in the middle) and of a segment of the HLS list are there, with the server's processor time until then; then whether
FFmpeg, mpv and VLC, as far as they are installed, show the frame of some times: of all frames of `lvc decode` from
eight seconds before to one after the one that is most like it. FFmpeg and mpv go there in the HLS list, VLC in the MP4
that starts there; in the list it goes to the beginning of a segment, which is printed beside. Ends with 1 where a frame
is not the right one.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from lvc.video import open as open_film
from scripts.figures.player_pages import load, processor_seconds, serving

BEFORE, AFTER = 8.0, 1.0
"""Seconds around a time in which the most similar frame is looked for."""


def first_bytes(address: str, path: str) -> str:
    """Of what a player can show: behind the header of an MP4 comes a fragment of its video."""
    used, start = processor_seconds(), time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=300)
    connection.request("GET", path)
    answer = connection.getresponse()
    got, first = b"", 0.0
    while b"mdat" not in got and not got.startswith(b"G"):  # MPEG-TS starts with G
        piece = answer.read1(65536)
        if not piece:
            break
        first = first or time.monotonic() - start
        got += piece
    shown, used = time.monotonic() - start, processor_seconds() - used
    connection.close()
    return (
        f"{answer.status}, first bytes after {first:.2f} s, pictures after {shown:.2f} s ({used:.2f} s of processors)"
    )


def ffmpeg(address: str, at: float, folder: Path) -> list[str]:
    return ["ffmpeg", "-v", "error", "-ss", f"{at}", "-i", address, "-frames:v", "1", str(folder / "1.png")]


def mpv(address: str, at: float, folder: Path) -> list[str]:
    return [
        "mpv", "--no-config", "--really-quiet", "--vo=image", "--vo-image-format=png", f"--vo-image-outdir={folder}",
        "--ao=null", "--frames=1", "--hr-seek=yes", f"--start={at}", address,
    ]  # fmt: skip


def vlc(address: str, at: float, folder: Path) -> list[str]:
    # it refuses to run as root, and adds a margin to pictures whose size it is not told
    user = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    return [
        *user, "env", f"HOME={folder}", "cvlc", "--quiet", "--no-audio", "--vout=dummy", "--video-filter=scene",
        "--scene-format=png", "--scene-ratio=1", "--scene-prefix=shot", f"--scene-path={folder}",
        f"--start-time={at}", f"--stop-time={at + 0.2:.3f}", address, "vlc://quit",
    ]  # fmt: skip


Command = Callable[[str, float, Path], list[str]]
HLS, FROM_THERE = "/hls/{name}/index.m3u8", "/mp4/{name}.mp4?start={at}"
PLAYERS: list[tuple[str, Command, str]] = [
    ("ffmpeg", ffmpeg, HLS), ("mpv", mpv, HLS), ("cvlc", vlc, FROM_THERE), ("cvlc", vlc, HLS),
]  # fmt: skip


def shown(command: list[str], folder: Path, size: tuple[int, int]) -> np.ndarray | None:
    """Luma of the first picture that a player puts into a folder."""
    os.chmod(folder, 0o777)
    subprocess.run(command, capture_output=True, timeout=600)
    shots = sorted(folder.glob("*.png"))
    return np.asarray(Image.open(shots[0]).convert("L").resize(size)).astype(float) if shots else None


def found(picture: np.ndarray, near: dict[float, np.ndarray]) -> tuple[float, float]:
    """The time of the frame that is most like a picture, and its PSNR in dB."""
    missed = {t: float(np.square(picture - (y.astype(float) - 16) * 255 / 219).mean()) for t, y in near.items()}
    best = min(missed, key=lambda t: missed[t])
    return best, 10 * np.log10(255**2 / max(missed[best], 1e-9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--times", type=float, nargs="*", default=[0.1, 0.45, 0.8], help="0 to 1")
    args = parser.parse_args()
    wrong = 0
    film = open_film(args.file)
    with serving(args.file) as address:
        name, length = args.file.name, float(film.duration or 0)
        print(f"/mp4/: {first_bytes(address, f'/mp4/{name}.mp4')}", flush=True)
        print(f"/mp4/?start: {first_bytes(address, f'/mp4/{name}.mp4?start={length / 2:.2f}')}", flush=True)
        print(f"/hls/, a segment: {first_bytes(address, f'/hls/{name}/1.ts')}", flush=True)
        for at in (round(place * length, 2) for place in args.times):
            near = {f.time: f.y for f in film.between(max(0.0, at - BEFORE), min(length, at + AFTER))}
            due = min(t for t in near if t >= at - 0.001)
            rows, columns = near[due].shape
            for player, command, path in PLAYERS:
                if shutil.which(player) is None:
                    print(f"{player}: not installed", flush=True)
                    continue
                start = time.monotonic()
                with tempfile.TemporaryDirectory() as folder:
                    asked = command(address + path.format(name=name, at=at), at * (path == HLS), Path(folder))
                    picture = shown(asked, Path(folder), (columns, rows))
                seen, quality = (None, 0.0) if picture is None else found(picture, near)
                by_segments = command is vlc and path == HLS
                wrong += seen != due and not by_segments
                right = "the right frame" if seen == due else "no picture" if seen is None else f"frame of {seen:.3f} s"
                spent = time.monotonic() - start
                print(f"{player}, {path[1:4]}, at {at:.2f} s: {right} ({quality:.1f} dB), {spent:.1f} s", flush=True)
        print(load())
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
