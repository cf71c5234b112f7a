#!/usr/bin/env python3
"""How long a command takes to say something at a terminal.

    python scripts/figures/first_sign.py [--runs N] encode holiday.mp4 out.lvz --force

Runs `lvc ARGUMENT...` at a pseudo-terminal of 80 columns, and prints the seconds to the first visible character, the
processor time of the command until then (which other work hardly moves), the seconds to the first frame that is
counted, and the machine's load. Each run is ended once frames are counted. For Linux.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|[\s\r]")


def once(arguments: list[str], limit: float = 120.0) -> tuple[float, float, float | None]:
    """Seconds to the first visible character, of them of the processor, and seconds to the first counted frame (None:
    the command ended before)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "lvc", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said, first, busy, counted = b"", None, 0.0, None
    try:
        while counted is None and time.monotonic() < started + limit:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            try:
                said += os.read(ours, 65536)
            except OSError:  # the command has ended
                break
            now = time.monotonic() - started
            if first is None and CONTROL.sub(b"", said):
                first, busy = now, processor(process.pid)
            if re.search(rb"[0-9]\s(of [0-9,]+ )?frames", said):
                counted = now
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()
        os.close(ours)
    if first is None:
        raise SystemExit(f"nothing was said within {limit:g} s")
    return first, busy, counted


def processor(pid: int) -> float:
    """Seconds of the processor that a process has taken."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    given = parser.parse_args()
    firsts, counts = [], []
    for _ in range(given.runs):
        first, busy, counted = once(given.arguments)
        firsts.append(first)
        counts += [] if counted is None else [counted]
        frame = "none" if counted is None else f"{counted:.2f} s"
        load = os.getloadavg()[0]
        print(f"first sign {first:.2f} s (processor {busy:.2f} s), first frame {frame}, load {load:.1f}", flush=True)
    frame = f", first frame {statistics.median(counts):.2f} s" if counts else ""
    print(f"median: first sign {statistics.median(firsts):.2f} s{frame}")


if __name__ == "__main__":
    main()
