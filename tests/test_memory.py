"""What pictures take is said before any work is done, and refused over a limit."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from lvc.errors import LimitError
from lvc.files import memory


def test_estimates_grow_with_the_picture_and_a_video_takes_more_than_a_still() -> None:
    for job in ("encode", "decode"):
        still, video = (memory.estimate(job, 1920, 1080, frames) for frames in (1, None))  # type: ignore[arg-type]
        large = memory.estimate(job, 8192, 8192, 1)  # type: ignore[arg-type]
        assert memory.BASE < still < video < large
    assert memory.estimate("encode", 1920, 1080, 60) < 2 << 30


def test_a_limit_is_the_users_or_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(memory, "machine_has", lambda: 16 << 30)
    memory.check_memory("encode", (640, 360), None, None, notes.append)
    assert notes == []
    memory.check_memory("encode", (4096, 4096), 300, None, notes.append)
    assert "4096x4096 take about" in notes[0] and "GB to encode" in notes[0]
    for limit in (None, 10e9):
        with pytest.raises(LimitError, match=r"8192x8192.*--max-memory"):
            memory.check_memory("encode", (8192, 8192), None, limit)
    memory.check_memory("encode", (8192, 8192), None, 100e9)
    with pytest.raises(LimitError, match=r"176x144 take about \d+ MB to encode, the limit is 20 MB"):
        memory.check_memory("encode", (176, 144), None, 20e6)
    monkeypatch.setattr(memory, "machine_has", lambda: None)  # nobody tells
    memory.check_memory("encode", (8192, 8192), None)


def test_a_container_may_have_less_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CGROUP", group)
    whole = memory.machine_has()
    group.write_text("max\n")
    assert memory.machine_has() == whole
    group.write_text("4096\n")
    assert memory.machine_has() == (None if whole is None else 4096)


def test_fewer_large_pictures_wait_between_threads() -> None:
    assert memory.frames_ahead(640, 360) == 24 and memory.frames_ahead(8192, 8192) == 2


HEAPS = """
import ctypes, sys, threading
from lvc.files.memory import share_one_heap
if sys.argv[1] == "one":
    share_one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
all_at_once = threading.Barrier(4)
def allocate():
    libc.malloc(100_000)
    all_at_once.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have one heap, or cannot be told")
def test_threads_share_a_heap() -> None:
    def heaps(which: str) -> int:
        done = subprocess.run([sys.executable, "-c", HEAPS, which], capture_output=True, text=True, check=True)
        return done.stdout.count("<heap ")

    assert heaps("one") == 1 < heaps("many")
