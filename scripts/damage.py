#!/usr/bin/env python3
"""Damages a .lvz in many ways and counts what becomes of it: a clean error or the same frames, and nothing else.

    scripts/damage.py FILE.lvz [--count 500] [--seed 1] [--verify-only] [--timeout 60] [--model M]

Half of the trials flip one to four bytes at random places, a quarter cut the end off, a quarter take out, repeat or
zero a run of bytes. Each damaged file is verified; if that finds nothing, it is decoded and its frames are compared
with those of the whole file. Trials run in a process that is replaced when it crashes or hangs. At the end the file's
first half is salvaged: every clip in it must come back, frame by frame as before. Exits 1 on anything unexpected.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import multiprocessing
import random
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

GOOD = ("clean error", "identical")


def damaged(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What was done, and the result."""
    kind, at = rng.randrange(4), rng.randrange(len(data))
    if kind < 2:
        out = bytearray(data)
        places = [at, *(rng.randrange(len(data)) for _ in range(rng.randrange(4)))]
        for place in places:
            out[place] ^= rng.randrange(1, 256)
        return f"flipped {places}", bytes(out)
    if kind == 2:
        return f"cut at {at}", data[:at]
    run = min(len(data) - at, rng.choice((1, 4, 64, 4096)))
    match rng.randrange(3):
        case 0:
            return f"{run} bytes gone at {at}", data[:at] + data[at + run :]
        case 1:
            return f"{run} bytes twice at {at}", data[: at + run] + data[at:]
        case _:
            return f"{run} zeros at {at}", data[:at] + bytes(run) + data[at + run :]


def frame_hashes(path: Path, model: str | None, *, salvage: bool = False) -> list[tuple[int, str]]:
    from lvc.files import decode_frames

    return [
        (f.pts, hashlib.sha256(b"".join(p.tobytes() for p in (f.y, f.u, f.v))).hexdigest())
        for f in decode_frames(path, model=model, salvage=salvage)
    ]


def try_file(path: Path, whole: list[tuple[int, str]], model: str | None, verify_only: bool) -> str:
    from lvc.errors import LvcError
    from lvc.facts import verify_file

    try:
        verify_file(str(path))
        if verify_only:
            return "PASSED VERIFY"
        return "identical" if frame_hashes(path, model) == whole else "OTHER FRAMES"
    except LvcError as e:
        return f"clean error/{type(e).__name__}"
    except Exception as e:
        return f"BUG {type(e).__name__}: {e}"


def serve(pipe: Connection, *args: Any) -> None:
    while True:
        pipe.send(try_file(Path(pipe.recv()), *args))


class Worker:
    def __init__(self, *args: Any) -> None:
        self._args = args
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, *self._args), daemon=True)
        self._process.start()
        other.close()

    def ask(self, path: Path, timeout: float) -> str:
        self._pipe.send(str(path))
        try:
            if self._pipe.poll(timeout):
                return str(self._pipe.recv())
            outcome = f"HANG over {timeout:g} s"
        except EOFError:
            self._process.join()
            outcome = f"CRASH, status {self._process.exitcode}"
        self.stop()
        self._start()
        return outcome

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def salvaged_half(data: bytes, whole: list[tuple[int, str]], model: str | None, work: Path) -> str:
    from lvc.lvz import Clip, LvzReader

    full, path = work / "full.lvz", work / "half.lvz"
    full.write_bytes(data)
    path.write_bytes(data[: len(data) // 2])
    with path.open("rb") as file:
        clips = [r for r in LvzReader(file, salvage=True).records() if isinstance(r, Clip)]
    sure = sum(c.n_frames for c in clips)
    got = frame_hashes(path, model, salvage=True) if clips else []
    if got != whole[: len(got)] or len(got) < sure:
        return f"FAILED: {len(got)} frames, at least {sure} expected, or other frames"
    return f"{len(got)} of {len(whole)} frames in {len(clips)} clips; all as before"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--model")
    parser.add_argument("--verify-only", action="store_true", help="do not decode what passes verify")
    args = parser.parse_args()
    data, rng = args.file.read_bytes(), random.Random(args.seed)
    whole = [] if args.verify_only else frame_hashes(args.file, args.model)
    tally: collections.Counter[str] = collections.Counter()
    bad: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lvc-damage-") as folder:
        path, worker = Path(folder) / "damaged.lvz", Worker(whole, args.model, args.verify_only)
        for _ in range(args.count):
            what, content = damaged(data, rng)
            path.write_bytes(content)
            outcome = worker.ask(path, args.timeout)
            tally[outcome.split(":")[0]] += 1
            if content != data and not outcome.startswith(GOOD):
                bad.append(f"{what}: {outcome}")
        worker.stop()
        half = salvaged_half(data, whole, args.model, Path(folder)) if not args.verify_only else "not tried"
    print(f"{args.file.name}, {len(data):,} bytes, {args.count} trials, seed {args.seed}")
    for outcome, count in tally.most_common():
        print(f"{count:6} {outcome}")
    print(f"first half salvaged: {half}")
    for line in bad[:20]:
        print(f"unexpected: {line}")
    return 1 if bad or half.startswith("FAILED") else 0


if __name__ == "__main__":
    sys.exit(main())
