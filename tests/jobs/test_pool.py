"""Workers of a folder's job end properly however often they are told to."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import multiprocessing, os, signal, time
from lvc.jobs import pool

def told():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0)  # the handler runs between instructions

class Busy:
    def __init__(self, *_): pass
    def do(self, *_):
        try:
            told()
        finally:
            told()
            os.write(1, b"tidied")

pool.Worker = Busy
mine, theirs = multiprocessing.Pipe()
mine.send("task")
pool._main(theirs, None, 1)
"""


def test_a_worker_that_is_told_twice_to_end_tidies_up() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "tidied", "")
