"""MP4 on the fly for other players: python scripts/figures/player_streams.py FILE.lvz [--times 0.3 0.8]

What `lvc serve` converts while it is asked: how long until the first bytes of one MP4 (from its start and from a time
in the middle) and of a segment of the HLS list are there, with the server's processor time until then; then whether
FFmpeg, mpv and VLC, as far as they are installed, read the HLS list, go to some places in it, and show the frame of
that time: of all frames of `lvc decode` within a second the one that is most like it. Ends with 1 where one does not.
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
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from lvc.video import open as open_film
from scripts.figures.player_pages import load, processor_seconds, serving

SEARCHED = 1.0
"""Seconds on both sides of a time in which the most similar frame is looked for."""


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
    # it refuses to run as root
    user = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    return [
        *user, "env", f"HOME={folder}", "cvlc", "--quiet", "--no-audio", "--vout=dummy", "--video-filter=scene",
        "--scene-format=png", "--scene-ratio=1", "--scene-replace", "--scene-prefix=shot", f"--scene-path={folder}",
        f"--start-time={at}", f"--stop-time={at + 0.02:.3f}", address, "vlc://quit",
    ]  # fmt: skip


PLAYERS = {"ffmpeg": ffmpeg, "mpv": mpv, "cvlc": vlc}


def found(shot: Path, near: dict[float, np.ndarray]) -> tuple[float, float]:
    """The time of the frame that a picture shows, and its PSNR in dB."""
    rows, columns = next(iter(near.values())).shape
    shown = np.asarray(Image.open(shot).convert("L")).astype(float)[:rows, :columns]  # VLC's have a margin
    alike = {t: float(np.square(shown - (y.astype(float) - 16) * 255 / 219).mean()) for t, y in near.items()}
    best = min(alike, key=lambda t: alike[t])
    return best, 10 * np.log10(255**2 / max(alike[best], 1e-9))


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
        for place in args.times:
            # half a frame after the beginning of one
            at = round(place * length, 2)
            near = {f.time: f.y for f in film.between(max(0.0, at - SEARCHED), min(length, at + SEARCHED))}
            due = min(t for t in near if t >= at - 0.001)
            for player, command in PLAYERS.items():
                if shutil.which(player) is None:
                    print(f"{player}: not installed", flush=True)
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    os.chmod(folder, 0o777)
                    start = time.monotonic()
                    subprocess.run(
                        command(f"{address}/hls/{name}/index.m3u8", at, Path(folder)), capture_output=True, timeout=600
                    )
                    spent = time.monotonic() - start
                    shots = sorted(Path(folder).glob("*.png"))
                    if not shots:
                        print(f"{player} at {at:.2f} s: no picture within {spent:.1f} s", flush=True)
                        wrong += 1
                        continue
                    seen, quality = found(shots[0], near)
                right = seen == due
                wrong += not right
                print(
                    f"{player} at {at:.2f} s: {'the right frame' if right else f'frame of {seen:.3f} s, due {due:.3f}'}"
                    f" ({quality:.1f} dB), {spent:.1f} s",
                    flush=True,
                )
        print(load())
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
