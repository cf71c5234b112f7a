"""A folder job on a real Ray cluster of two nodes on this machine, one of which is killed midway."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.clips import Clip
from tests.helpers.command import FAKE, Lvc
from tests.helpers.waiting import wait_for

pytest.importorskip("ray", reason="Ray is not installed: pip install lvc[ray]")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# what workers on a node start with: the codec of a few lines, made slow
CUSTOM = "from tests.helpers import fakecodec\nfakecodec.install()\n"
RAY = Path(sys.executable).with_name("ray")
FILES = 10


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


class Node:
    """`ray start --block`: its processes are below this one, and end with it."""

    def __init__(self, site: Path, *args: str) -> None:
        env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "FAKE_DELAY": "0.7"}
        env["PYTHONPATH"] = os.pathsep.join([str(site), str(ROOT)])
        # a loaded machine takes its time
        env |= {"RAY_agent_register_timeout_ms": "300000", "RAY_worker_register_timeout_seconds": "300"}
        common = ["--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=100000000", "--block"]
        self.process = subprocess.Popen(
            [RAY, "start", *args, *common], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def has(self, name: bytes) -> bool:
        """Whether a process of this name is below it: `ray::lvc` is one that works on a file of ours."""
        return any(name in _command(p) for p in descendants(self.process.pid))

    def kill(self) -> None:
        """As a power cut does it: all at once."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def nodes() -> Iterator[tuple[str, Node, Node]]:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="lvc-ray-") as folder:  # sockets need a short path
        (site := Path(folder) / "site").mkdir()
        (site / "sitecustomize.py").write_text(CUSTOM)
        head = Node(site, "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
        wait_for(lambda: _answers(port))
        second = Node(site, f"--address={address}")
        try:
            wait_for(lambda: head.has(b"RuntimeEnvAgent") and second.has(b"RuntimeEnvAgent"))
            yield address, head, second
        finally:
            second.kill()
            head.kill()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tree(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())} if folder.is_dir() else {}


def finished(folder: Path) -> dict[str, int]:
    found = folder.glob("*.lvz") if folder.is_dir() else []
    return {p.name: p.stat().st_mtime_ns for p in found if not p.name.startswith(".")}


def test_a_node_that_dies_costs_only_its_running_file(tmp_path: Path, nodes: tuple[str, Node, Node]) -> None:
    address, _, second = nodes
    lvc = Lvc([str(FAKE)], tmp_path)
    common = ("--packing", "zstd", "--no-features", "--threads", 1)
    Clip(frames=24).write(tmp_path / "clip.mp4")
    data = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "in").mkdir()
    for number in range(FILES):
        (tmp_path / "in" / f"{number}.mp4").write_bytes(data + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    assert lvc("encode", "in", "-o", "here", "--jobs", 1, *common).code == 0

    out = tmp_path / "out"
    begun: set[str] = set()  # a name for each time that a file was written

    def look() -> int:
        """How many files are being written right now."""
        now = {path.name for path in out.glob(".*.part.lvz")}
        begun.update(now)
        return len(now)

    args = ("encode", "in", "-o", f"file://{out}", "--engine", "ray", "--address", address, *common, "--json")
    with lvc.start(*args) as job:

        def midway() -> bool:
            both_write = look() == 2
            assert job.poll() is None, job.communicate()
            return len(finished(out)) >= 2 and second.has(b"ray::lvc") and both_write

        wait_for(midway)
        before = finished(out)
        second.kill()
        while job.poll() is None:
            look()
            time.sleep(0.05)
        stdout, stderr = job.communicate()
    assert job.returncode == 0, stderr
    summary = json.loads(stdout.decode().splitlines()[-1])
    assert summary["done"] + summary["skipped"] == FILES and summary["failed"] == []
    assert tree(out) == tree(tmp_path / "here")
    assert before.items() <= finished(out).items()  # what was finished was not made again
    again = len(begun) - FILES
    print(f"{len(before)} of {FILES} files finished at the kill, {again} begun again")
    assert again == 1  # what ran on the node: it has one CPU


def test_no_cluster_is_a_clear_error(tmp_path: Path) -> None:
    lvc = Lvc(["-m", "lvc"], tmp_path)
    (tmp_path / "in").mkdir()
    done = lvc("encode", "in", "-o", "out", "--address", "127.0.0.1:1")
    assert done.code == 2 and "--engine ray" in done.err
