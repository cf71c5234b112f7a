#!/usr/bin/env python3
"""A long stream on loopback: memory of the recorder, frames that arrive, what is left after `kill -9`.

    python scripts/figures/stream.py CLIP [--minutes 30] [--speed 0] [--fps 10] [--size 640x360] [--kill] [--program …]

CLIP is sent over and over by FFmpeg's TCP, scaled, as H.264 in MPEG-TS. `--speed 0`: as fast as it goes. `--kill` ends
the recorder with SIGKILL when all but the last 10 s were sent. Prints JSON lines of memory (MiB), and a summary.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def send(clip: str, address: str, frames: int, fps: int, size: str, speed: float) -> None:
    import av

    width, height = map(int, size.split("x"))
    with av.open(clip) as source:
        pictures = [f.reformat(width, height, "yuv420p") for f in itertools.islice(source.decode(video=0), 50)]
    with av.open(address, "w", format="mpegts") as out:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(5 * fps), "crf": "20"}
        stream = out.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        begin = time.monotonic()
        order = [*range(len(pictures)), *reversed(range(len(pictures)))]
        for number in range(frames):
            picture = pictures[order[number % len(order)]]
            picture.pts = number
            picture.pict_type = 0
            out.mux(stream.encode(picture))
            print(number + 1, flush=True)
            if speed:
                time.sleep(max(0.0, begin + (number + 1) / fps / speed - time.monotonic()))
        out.mux(stream.encode())


def resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--speed", type=float, default=0)
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--program", default="lvc")
    parser.add_argument("--options", default="", help="more of lvc encode")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    args = parser.parse_args()
    frames = round(args.minutes * 60 * args.fps)
    if args.send:
        return send(args.clip, args.send, frames, args.fps, args.size, args.speed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    folder = Path(tempfile.mkdtemp())
    out, counted = folder / "stream.lvz", folder / "sent"
    with counted.open("wb") as count:
        sender = subprocess.Popen([sys.executable, *sys.argv, "--send", address + "?listen=1"], stdout=count)
    time.sleep(5)
    command = [*shlex.split(args.program), "encode", address, str(out), "--reconnect", "0", "--quiet", "--no-features"]
    recorder = subprocess.Popen([*command, *shlex.split(args.options)])
    begin, memory = time.monotonic(), []
    killed_at = None
    while recorder.poll() is None:
        time.sleep(1)
        sent = counted.read_bytes().count(b"\n")
        try:
            memory.append((sent, resident(recorder.pid)))
        except OSError:
            break
        if len(memory) % 30 == 0:
            print(json.dumps({"sent": sent, "mib": round(memory[-1][1], 1)}), flush=True)
        if args.kill and sent >= frames - 10 * args.fps:
            recorder.send_signal(signal.SIGKILL)
            recorder.wait()
            killed_at = sent
    seconds = time.monotonic() - begin
    sender.kill()
    info = subprocess.run(
        [*shlex.split(args.program), "info", "--json", str(out)], capture_output=True, text=True, check=True
    )
    kept = json.loads(info.stdout)["frames"]
    # 0: it has just ended
    late = [mib for sent, mib in memory if sent > 0.2 * frames and mib] or [0.0]
    summary = {
        "sent": frames, "killed_at": killed_at, "kept": kept, "seconds": round(seconds, 1), "bytes": out.stat().st_size,
        "mib_after_a_fifth": round(late[0], 1), "mib_least": round(min(late), 1), "mib_most": round(max(late), 1),
        "spread": round((max(late) - min(late)) / max(1.0, min(late)), 4),
    }  # fmt: skip
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
