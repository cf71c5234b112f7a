"""Files that mean harm: the vectors that no reader takes, and a film with bytes changed, checksums mended or not."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts import fuzz_lvz

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"CorruptError", "UnsupportedError", "LimitError", "NetworkError"}
"""Errors that a file may end with; any other is a fault of the player."""


def hostile_files(film: bytes, count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """`count` names and contents, one half vectors (again from the first when there are no more)."""
    rng = random.Random(seed)
    vectors = sorted((ROOT / "formats" / "vectors").glob("*.lvz"))
    contents = [path.read_bytes() for path in vectors]
    bad = [path for path in vectors if not path.name.startswith("good-")]
    rng.shuffle(bad)
    for number in range(count):
        if number % 2:
            path = bad[number // 2 % len(bad)]
            yield path.name, path.read_bytes()
        else:
            yield f"mutation {number}", fuzz_lvz.mutate(film, contents, rng)


def peak_of_pages() -> int:
    """Bytes that the largest of this process's renderers has ever had in memory; 0 where that cannot be seen."""
    if not sys.platform.startswith("linux"):
        return 0
    parents: dict[int, int] = {}
    peaks: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines())
            parents[int(entry.name)] = int(fields["PPid"])
            if b"--type=renderer" in (entry / "cmdline").read_bytes():
                peaks[int(entry.name)] = int(fields["VmHWM"].split()[0]) * 1024

    def ours(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return max((peak for process, peak in peaks.items() if ours(process)), default=0)
