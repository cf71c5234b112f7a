"""Jobs at addresses: a store in memory, with the codec of a few lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.clips import Clip
from tests.helpers.waiting import PATIENCE

pytest.importorskip("fsspec", reason="addresses of stores: pip install lvc[remote]")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import fsspec
from tests.helpers import fakecodec
fakecodec.install()
from lvc.cli.folders import HowToRun
from lvc.jobs import tree
from lvc.jobs.task import Job, Status
from lvc.jobs.work import Worker
from lvc.options import DecodeOptions, EncodeOptions, VerifyOptions
from lvc.place import Place

store = fsspec.filesystem("memory")
data = open({clip!r}, "rb").read()
for name in ("a.mp4", "sub/b.bin", "sub/.hidden.mp4"):
    store.pipe("/in/" + name, data)
store.pipe("/in/notes.txt", b"no video " * 100)
coding = EncodeOptions(packing="zstd", features=False)
options = {{"encode": coding, "decode": DecodeOptions(), "verify": VerifyOptions()}}

def run(command, root, out, suffix, **kinds):
    found = tree.find(root, command)
    tasks = tree.tasks(root, out, found.files, suffix)
    worker = Worker(Job(options[command], **kinds), 1)
    return found, [worker.do(task) for task in tasks]

found, outcomes = run("encode", "memory://in", "memory://out", ".lvz")
targets = [o.task.target for o in outcomes]
assert found.others == 1 and targets == ["memory://out/a.lvz", "memory://out/sub/b.lvz"], found
assert [o.status for o in outcomes] == [Status.done] * 2, outcomes
assert sorted(store.find("/out")) == ["/out/a.lvz", "/out/sub/b.lvz"]
first = store.cat("/out/a.lvz")
_, outcomes = run("encode", "memory://in", "memory://out", ".lvz")
assert [o.exit_code for o in outcomes] == [6, 6], outcomes
store.pipe("/in/a.mp4", data + b"\\0\\0\\0\\x08free")
_, outcomes = run("encode", "memory://in", "memory://out", ".lvz", resume=True)
assert [o.status for o in outcomes] == [Status.done, Status.skipped], outcomes
assert store.cat("/out/a.lvz") != first
_, outcomes = run("decode", "memory://out", {back!r}, ".mkv")
assert [o.status for o in outcomes] == [Status.done] * 2, outcomes
_, outcomes = run("encode", {folder!r}, "memory://there", ".lvz")
assert [o.status for o in outcomes] == [Status.done], outcomes
assert Place("memory://there").is_folder() and not Place("memory://there/clip.lvz").is_folder()
assert HowToRun().place("file:///a/b%20c") == "/a/b c"
"""


@pytest.mark.slow
def test_a_store_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    Clip(frames=8).write(tmp_path / "here" / "clip.mp4")
    code = PROGRAM.format(
        clip=str(tmp_path / "here" / "clip.mp4"), back=str(tmp_path / "back"), folder=str(tmp_path / "here")
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "back").rglob("*.mkv")) == ["a.mkv", "b.mkv"]
