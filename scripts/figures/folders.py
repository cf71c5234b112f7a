#!/usr/bin/env python3
"""Folder jobs: one job with workers against a shell loop, and a job that is killed again and again.

    python scripts/figures/folders.py CLIP --work FOLDER [--files 300] [--loop 30] [--kills 10] [--jobs 2]

The files are `--frames` frames of CLIP, scaled, each with other bytes behind them. `--loop`: how many of them the shell
loop encodes (its time is per file). The killed job gets `kill -9` at random moments and is started again with --resume;
what counts: the end is the same as of the undisturbed job, no finished file was touched, and nothing is left over.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from lvc.media import MediaReader, MediaWriter


def make_files(clip: str, folder: Path, count: int, frames: int, size: str) -> None:
    first = folder / "000.mp4"
    folder.mkdir(parents=True)
    with MediaReader(clip, resolution=size, duration=frames / 25, fps=25, audio="none") as reader:
        with MediaWriter(first, reader.video) as writer:
            for item in reader:
                writer.write(item)
    data = first.read_bytes()
    for number in range(count):
        (folder / f"{number:03}.mp4").write_bytes(data + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))


def clocks() -> tuple[float, float]:
    """Wall time, and processor time of the processes that have ended, which hardly feels what else the machine does."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), ended.ru_utime + ended.ru_stime


def tree(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()} if folder.is_dir() else {}


def stamps_of(folder: Path) -> dict[str, int]:
    """When each finished file was written."""
    found = folder.glob("*.lvz") if folder.is_dir() else []
    return {p.name: p.stat().st_mtime_ns for p in found if not p.name.startswith(".")}


def encode(args: argparse.Namespace, *more: str) -> list[str]:
    return [*shlex.split(args.program), "encode", *more, "--quiet", *shlex.split(args.options)]


def job(args: argparse.Namespace, source: Path, out: Path, *more: str) -> list[str]:
    return encode(args, str(source), "-o", str(out), "--jobs", str(args.jobs), *more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--loop", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--killed-files", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--size", default="176x144")
    parser.add_argument("--program", default="lvc")
    parser.add_argument("--options", default="", help="more of lvc encode")
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    source, out = args.work / "in", args.work / "out"
    make_files(args.clip, source, args.files, args.frames, args.size)

    begin = clocks()
    subprocess.run(job(args, source, out), check=True)
    of_job, cpu_of_job = ((b - a) / args.files for a, b in zip(begin, clocks(), strict=True))
    (args.work / "loop").mkdir()
    begin = clocks()
    for path in sorted(source.iterdir())[: args.loop]:
        target = args.work / "loop" / f"{path.stem}.lvz"
        subprocess.run(encode(args, str(path), str(target)), check=True)
    of_loop, cpu_of_loop = ((b - a) / max(1, args.loop) for a, b in zip(begin, clocks(), strict=True))
    times = {"files": args.files, "looped": args.loop, "job_s_per_file": of_job, "loop_s_per_file": of_loop}
    cpu = {"job_cpu_s_per_file": cpu_of_job, "loop_cpu_s_per_file": cpu_of_loop, "cpu_ratio": cpu_of_job / cpu_of_loop}
    print(json.dumps({**times, "ratio": of_job / of_loop, **cpu}), flush=True)

    for path in sorted(source.iterdir())[args.killed_files :]:
        path.unlink()
    wanted = {name: data for name, data in tree(out).items() if (source / name).with_suffix(".mp4").exists()}
    killed = args.work / "killed"
    rng = random.Random(1)
    stamps: dict[str, int] = {}
    touched = kills = runs = 0
    while True:
        process = subprocess.Popen(job(args, source, killed, "--resume"))
        runs += 1
        try:
            if kills == args.kills:
                raise_for = process.wait()
                break
            # moments in start-up, in the midst of a file and between files
            raise_for = process.wait(rng.uniform(0.2, args.killed_files * of_job * args.jobs / args.kills + 6))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        now = stamps_of(killed)
        touched += sum(now.get(name) != at for name, at in stamps.items())
        stamps = now
        print(json.dumps({"kill": kills, "done": len(now)}), flush=True)
    end = stamps_of(killed)
    touched += sum(end.get(name) != at for name, at in stamps.items())
    result = {
        "kills": kills, "runs": runs, "exit": raise_for, "same_bytes": tree(killed) == wanted,
        "finished_files_touched": touched, "left_over": sorted(set(tree(killed)) - set(wanted)),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
