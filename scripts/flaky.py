#!/usr/bin/env python3
"""Runs tests again and again on a busy machine, to find those that hang on its speed.

    python scripts/flaky.py [--runs 20] [--load 8] [TEST...]

TEST is what pytest takes, such as `tests/live`; by default it is every test that waits for processes, threads or real
time. Busy loops are added while the load average is below `--load`; what other work there is counts. Each run is a
pytest of its own. Prints how often each test failed, and what pytest said of it goes to `.work/flaky/`. Exits with 1 if
any failed. Tests wait by `tests/helpers/waiting.py`: for events, with one limit that only what hangs reaches.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WAITING = [
    "tests/live", "tests/jobs", "tests/remote", "tests/test_pipeline.py", "tests/cli/test_folders.py",
    "tests/cli/test_exit_codes.py", "tests/cli/test_jobs.py", "tests/cli/test_far_away.py", "tests/cli/test_train.py",
    "tests/cli/test_real_codec.py", "tests/evaluation/test_interrupt.py", "tests/evaluation/test_sampling.py",
    "tests/lvz/test_damage.py", "tests/media/test_writer.py",
]  # fmt: skip
LOOP = "import os\nwhile os.getppid() == {parent}:\n    for _ in range(1000000): pass"


@contextlib.contextmanager
def busy(load: float) -> Iterator[None]:
    """Starts one loop every few seconds as long as the load average is too low, and ends them all."""
    ended, loops = threading.Event(), list[subprocess.Popen[bytes]]()

    def keep() -> None:
        while not ended.wait(5):
            if os.getloadavg()[0] < load and len(loops) < load:
                loops.append(subprocess.Popen([sys.executable, "-c", LOOP.format(parent=os.getpid())]))

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs tests again and again on a busy machine.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--load", type=float, default=8)
    parser.add_argument("tests", nargs="*", metavar="TEST")
    arguments = parser.parse_args()
    folder = ROOT / ".work" / "flaky"
    folder.mkdir(parents=True, exist_ok=True)
    failed, passed = collections.Counter[str](), 0
    with busy(arguments.load):
        for run in range(1, arguments.runs + 1):
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(arguments.tests or WAITING)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            found = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
            failed.update(found)
            passed += int((re.search(r"(\d+) passed", done.stdout) or [0, 0])[1])
            if done.returncode:
                (folder / f"run-{run}.txt").write_text(done.stdout + done.stderr)
            last = (done.stdout.strip().splitlines() or ["nothing was said"])[-1]
            print(f"run {run}, load {os.getloadavg()[0]:.1f}: {last}", flush=True)
            if done.returncode not in (0, 1):
                print(done.stderr, file=sys.stderr)
                return done.returncode
    for test, times in failed.most_common():
        print(f"{test}: failed in {times} of {arguments.runs} runs")
    print(f"{passed} passed, {sum(failed.values())} failed in {arguments.runs} runs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
