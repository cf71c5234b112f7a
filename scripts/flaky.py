#!/usr/bin/env python3
"""Runs tests again and again on a busy machine, to find those that hang on its speed.

    python scripts/flaky.py [--runs 20] [--load 8] [TEST...] [-k EXPRESSION]

TEST and all other options are what pytest takes; by default it is every test that ever was flaky. Busy loops are added
while the load average is below `--load`; what other work there is counts. One pytest runs each test that often, with
this file as its plugin. Prints how often each test passed, and what pytest says goes to `.work/flaky.txt`. Exits with 1
if any failed. Tests wait by `tests/helpers/waiting.py`: for events, with one limit that only what hangs reaches.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = "LVC_FLAKY_RUNS"
RESULT = re.compile(r"(\S+::\w+)\S* (PASSED|FAILED|ERROR|SKIPPED)")
SEEN = [
    "tests/cli/test_exit_codes.py::test_130_leaves_nothing_behind",
    "tests/cli/test_exit_codes.py::test_130_while_waiting_for_a_pipe",
    "tests/cli/test_far_away.py::test_an_interrupt_leaves_nothing_at_the_address",
    "tests/cli/test_folders.py::test_killed_and_resumed",
    "tests/cli/test_jobs.py::test_progress_on_a_terminal",
    "tests/cli/test_jobs.py::test_reader_of_the_pipe_goes_away",
    "tests/cli/test_real_codec.py::test_interrupting_a_live_pipe_ends_at_once",
    "tests/evaluation/test_interrupt.py::test_sigterm_leaves_nothing_behind_but_finished_points",
    "tests/evaluation/test_run.py::test_whole_files_are_compared_with_whole_files",
    "tests/evaluation/test_sampling.py::test_work_and_waiting_are_told_apart",
    "tests/live/test_parts.py::test_a_file_is_followed_as_long_as_it_is_locked",
    "tests/live/test_streams.py::test_following_to_the_end",
    "tests/live/test_streams.py::test_killed_and_followed",
    "tests/live/test_streams.py::test_rtsp",
    "tests/live/test_streams.py::test_tcp_over_an_interruption",
    "tests/live/test_streams.py::test_udp_in_segments",
    "tests/lvz/test_damage.py::test_salvage_of_hostile_input_ends_soon",
    "tests/media/test_writer.py::test_matroska_keeps_a_constant_rate_beside_its_milliseconds",
    "tests/test_pipeline.py::test_chained_stages_end_while_the_first_one_waits",
    "tests/test_pipeline.py::test_groups_are_not_read_far_ahead",
]
"""Tests that once failed on a busy machine, or waited for a time instead of an event."""
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


def pytest_generate_tests(metafunc: Any) -> None:
    """Of pytest: every test that often, one of it after another."""
    metafunc.fixturenames.append("run_of_this_test")
    metafunc.parametrize("run_of_this_test", range(int(os.environ[RUNS])))


def results(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """A test's name without its parameters, and how it went, for each line of pytest that tells one."""
    for line in lines:
        if match := RESULT.match(line):
            yield match[1], match[2].lower()


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs tests again and again on a busy machine.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--load", type=float, default=8)
    parser.add_argument("-k", metavar="EXPRESSION")
    parser.add_argument("tests", nargs="*", metavar="TEST")
    arguments, of_pytest = parser.parse_known_args()
    of_pytest += ["-k", arguments.k] if arguments.k else []
    log = ROOT / ".work" / "flaky.txt"
    log.parent.mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {RUNS: str(arguments.runs), "PYTHONPATH": path}
    command = [sys.executable, "-m", "pytest", "-v", "-p", "flaky", "-p", "no:cacheprovider"]
    failed = 0
    with busy(arguments.load), log.open("w") as kept:
        command += [*(arguments.tests or SEEN), *of_pytest]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            told = (line for line in running.stdout if kept.write(line) and not kept.flush())
            for name, runs in itertools.groupby(results(told), lambda result: result[0]):
                counts = collections.Counter(how for _, how in runs)
                failed += counts["failed"] + counts["error"]
                said = ", ".join(f"{count} {how}" for how, count in counts.items())
                print(f"{name}: {said}, load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{failed} failed — {log}")
    return 1 if failed else min(running.returncode, 1)


if __name__ == "__main__":
    sys.exit(main())
