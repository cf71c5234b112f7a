"""Folder jobs as real processes: trees, odd names, failures, resuming, kills, two runs at once, watching."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lvc.lvz import LvzReader
from lvc.media import Frame, MediaReader
from tests.helpers.clips import Clip
from tests.helpers.command import Done, Lvc
from tests.helpers.waiting import PATIENCE, Turns, wait_for

QUICK = ("--packing", "zstd", "--threads", "2")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames, 64x48."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    Clip(frames=24).write(path)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones too, by its path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fill(folder: Path, clip: Path, count: int) -> Path:
    """`count` files that differ in their last bytes."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.mp4").write_bytes(clip.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    return folder


def summary(done: Done) -> dict[str, Any]:
    last = done.events[-1]
    assert last["event"] == "summary"
    return last


def by_status(done: Done) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in done.events:
        if event["event"] in ("done", "error"):
            found.setdefault(event.get("status", "failed"), []).append(os.path.basename(event["file"]))
    return found


@pytest.mark.slow
def test_a_tree_is_mirrored_and_one_bad_file_stops_nothing(fake: Lvc, clip: Path) -> None:
    source = fake.folder / "in"
    (source / "sub" / "deep").mkdir(parents=True)
    long = "n" * 251
    good = ["a.mp4", "sub/b.bin", "sub/deep/c\nd.mp4", os.fsdecode(b"sub/x\xff\xfe.mp4"), f"sub/{long}.mp4"]
    good += ["sub/" + "é" * 127, "sub/deep/e.mov", "sub/deep/e.mkv"]
    for name in good:
        shutil.copy(clip, source / name)
    (source / "bad.mp4").write_text("this is no video")
    (source / "notes.txt").write_text("nor is this " * 500)
    (source / ".hidden.mp4").write_bytes(clip.read_bytes())
    os.symlink("..", source / "sub" / "loop")
    os.symlink("../a.mp4", source / "sub" / "link.mp4")
    os.mkfifo(source / "pipe.mp4")

    done = fake("encode", "in", "--output-dir", "out", "--jobs", 2, *QUICK, "--json")
    assert done.code == 3 and by_status(done)["failed"] == ["bad.mp4"]
    assert summary(done) | {"done": 9, "skipped": 0, "others": 1, "files": 10, "frames": 9 * 24} == summary(done)
    found = tree(fake.folder / "out")
    expected = {"a.lvz", "sub/b.lvz", "sub/deep/c\nd.lvz", os.fsdecode(b"sub/x\xff\xfe.lvz"), f"sub/{long}.lvz"}
    expected |= {"sub/deep/e.mov.lvz", "sub/deep/e.mkv.lvz", "sub/link.lvz"}
    assert expected < set(found) and len(found) == 9
    assert all(len(os.fsencode(os.path.basename(name))) <= 255 for name in found)

    people = fake("encode", "in", "--output-dir", "again", *QUICK)
    assert people.code == 3 and "9 done, 0 skipped, 1 failed" in people.err and "failed: in/bad.mp4" in people.err
    assert tree(fake.folder / "again") == found
    assert fake("verify", "out", "--jobs", 2).code == 0


@pytest.mark.slow
def test_back_again(fake: Lvc, clip: Path) -> None:
    fill(fake.folder / "in", clip, 3)
    assert fake("encode", "in", "-o", "out", *QUICK).code == 0
    (fake.folder / "out" / "readme").write_text("no .lvz")
    done = fake("decode", "out", "-o", "back", "--container", "mkv", "--codec", "ffv1", "--json")
    assert done.code == 0 and summary(done)["done"] == 3
    assert sorted(tree(fake.folder / "back")) == ["00.mkv", "01.mkv", "02.mkv"]
    with MediaReader(fake.folder / "back" / "01.mkv") as video:
        assert sum(isinstance(item, Frame) for item in video) == 24
    again = fake("decode", "out", "-o", "back", "--container", "mkv", "--codec", "ffv1", "--resume", "--json")
    assert again.code == 0 and summary(again)["skipped"] == 3
    data = bytearray((fake.folder / "out" / "01.lvz").read_bytes())
    data[len(data) // 2] ^= 1
    (fake.folder / "out" / "01.lvz").write_bytes(data)
    for checked in (fake("verify", "out", "--json"), fake("verify", "out", "--full", "--json")):
        assert checked.code == 4 and by_status(checked) == {"done": ["00.lvz", "02.lvz"], "failed": ["01.lvz"]}


@pytest.mark.slow
def test_resume_redoes_what_is_not_the_same(fake: Lvc, clip: Path) -> None:
    source, out = fill(fake.folder / "in", clip, 6), fake.folder / "out"
    assert fake("encode", "in", "-o", "out", *QUICK).code == 0
    first = tree(out)
    refused = fake("encode", "in", "-o", "out", *QUICK, "--json")
    assert refused.code == 6 and len(by_status(refused)["failed"]) == 6

    with (out / "00.lvz").open("rb") as file:
        origin = LvzReader(file).origin
    assert origin is not None and origin.source_bytes == (source / "00.mp4").stat().st_size
    assert origin.settings["gop"] == "10" and "threads" not in origin.settings

    os.utime(source / "00.mp4", (1, 1))  # times mean nothing
    (source / "01.mp4").write_bytes((source / "01.mp4").read_bytes()[:-1] + b"!")
    (out / "02.lvz").unlink()
    damaged = bytearray(first["03.lvz"])
    damaged[-200] ^= 255
    (out / "03.lvz").write_bytes(damaged)
    (out / "04.lvz").write_text("something else of the same name")
    planned = fake("encode", "in", "-o", "out", *QUICK, "--resume", "--dry-run", "--json")
    plan = {"planned": ["01.mp4", "02.mp4", "03.mp4"], "skipped": ["00.mp4", "05.mp4"], "failed": ["04.mp4"]}
    assert by_status(planned) == plan and not (out / "02.lvz").exists()
    done = fake("encode", "in", "-o", "out", *QUICK, "--resume", "--json")
    assert done.code == 6
    assert by_status(done) == {"done": plan["planned"], "skipped": plan["skipped"], "failed": plan["failed"]}
    now = tree(out)
    assert {name for name in first if now[name] != first[name]} == {"01.lvz", "04.lvz"}
    other = fake("encode", "in", "-o", "out", *QUICK, "--resume", "--gop", "1", "--json")
    assert len(by_status(other)["done"]) == 5
    forced = fake("encode", "in", "-o", "out", *QUICK, "--force", "--json")
    assert forced.code == 6 and len(by_status(forced)["done"]) == 5 and by_status(forced)["failed"] == ["04.mp4"]
    assert tree(out)["04.lvz"] == b"something else of the same name"


def test_dry_run_writes_nothing(fake: Lvc, clip: Path) -> None:
    fill(fake.folder / "in", clip, 2)
    done = fake("encode", "in", "-o", "out", *QUICK, "--dry-run")
    assert done.code == 0 and "2 to encode" in done.err and "in/00.mp4: planned: → out/00.lvz" in done.err
    assert not (fake.folder / "out").exists()


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(pid: int) -> list[int]:
    return [p for p in children(pid) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("*.lvz") if not p.name.startswith(".")) if folder.is_dir() else []


@pytest.mark.slow
def test_killed_and_resumed(fake: Lvc, clip: Path, turns: Turns) -> None:
    fill(fake.folder / "in", clip, 8)
    assert fake("encode", "in", "-o", "calm", *QUICK).code == 0
    out = fake.folder / "out"
    kept: set[str] = set()
    for _ in range(2):
        args = ("encode", "in", "-o", "out", "--jobs", 2, *QUICK, "--resume")
        turns.give(2)
        enough = len(kept) + 2
        with fake.start(*args, env=turns.env, stdin=subprocess.DEVNULL) as process:
            wait_for(lambda enough=enough: len(visible(out)) == enough, process)
            pids = workers(process.pid)
            assert len(pids) == 2
            process.kill()
        wait_for(lambda pids=pids: not any(map(alive, pids)))
        assert kept <= set(visible(out))
        kept = set(visible(out))
        times = {name: (out / name).stat().st_mtime_ns for name in kept}
    done = fake("encode", "in", "-o", "out", "--jobs", 2, *QUICK, "--resume", "--json")
    assert done.code == 0 and {name.replace("mp4", "lvz") for name in by_status(done)["skipped"]} == kept
    assert tree(out) == tree(fake.folder / "calm")
    assert times == {name: (out / name).stat().st_mtime_ns for name in kept}


def alive(pid: int) -> bool:
    """Whether the process still runs: one that has ended may wait as a zombie for whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_two_runs_share_the_work(fake: Lvc, clip: Path, turns: Turns) -> None:
    fill(fake.folder / "in", clip, 8)
    args, out = ("encode", "in", "-o", "out", "--jobs", 2, *QUICK, "--json"), fake.folder / "out"
    with fake.start(*args, env=turns.env) as one, fake.start(*args, env=turns.env) as two:
        wait_for(lambda: len(list(out.glob(".*.part.lvz"))) == 4, one, two)  # both are at work
        turns.give(8)
        results = [p.communicate(timeout=PATIENCE) for p in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), results
    events = [json.loads(line) for out, _ in results for line in out.decode().splitlines()]
    done = [e["file"] for e in events if e["event"] == "done" and e["status"] == "done"]
    skipped = [e["file"] for e in events if e["event"] == "done" and e["status"] == "skipped"]
    assert sorted(done) == sorted(skipped) == [f"in/{i:02}.mp4" for i in range(8)]
    assert len(tree(out)) == 8


@pytest.mark.slow
def test_interrupt_leaves_nothing_half_written(fake: Lvc, clip: Path, turns: Turns) -> None:
    fill(fake.folder / "in", clip, 6)
    out = fake.folder / "out"
    turns.give(1)
    with fake.start("encode", "in", "-o", "out", "--jobs", 2, *QUICK, env=turns.env) as process:
        wait_for(lambda: visible(out) and len(list(out.glob(".*.part.lvz"))) == 2, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 130
    assert all(not name.startswith(".") for name in tree(out))


@pytest.mark.slow
def test_a_worker_that_dies_costs_one_file(fake: Lvc, clip: Path, turns: Turns) -> None:
    fill(fake.folder / "in", clip, 4)
    args = ("encode", "in", "-o", "out", "--jobs", 1, *QUICK, "--json")
    turns.give(1)
    with fake.start(*args, env=turns.env) as process:
        folder = fake.folder / "out"
        wait_for(lambda: visible(folder) and list(folder.glob(".*.part.lvz")), process)  # it is at its second file
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        turns.give(2)
        out, err = process.communicate(timeout=PATIENCE)
    done = Done(process.returncode, out, err.decode())
    failed = [e for e in done.events if e["event"] == "error"]
    assert done.code == 3 and len(failed) == 1 and "SIGKILL" in failed[0]["message"]
    assert summary(done)["done"] == 3


@pytest.mark.slow
def test_watching(fake: Lvc, clip: Path) -> None:
    source, out = fill(fake.folder / "in", clip, 1), fake.folder / "out"
    with fake.start("encode", "in", "-o", "out", *QUICK, "--watch") as process:
        wait_for(lambda: visible(out) == ["00.lvz"], process)
        shutil.copy(clip, source / "late.mp4")  # one that grows is for tests/jobs/test_watch.py
        wait_for(lambda: visible(out) == ["00.lvz", "late.lvz"], process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130
    assert len(tree(out)) == 2


@pytest.mark.slow
def test_what_makes_no_sense(fake: Lvc, clip: Path) -> None:
    fill(fake.folder / "in", clip, 1)
    for args in (
        ("encode", "in"), ("encode", "in", "out"), ("encode", clip, "--resume"),
        ("encode", clip, "--jobs", "2"),
        ("encode", "in", "-o", "out", "--resume", "--force"), ("decode", "in", "-o", "out", "--watch", "--dry-run"),
    ):  # fmt: skip
        done = fake(*args)
        assert done.code == 2 and done.err.count("\n") == 1, (args, done.err)
    assert fake("encode", "in", "-o", "in", *QUICK).code == 0  # beside the sources
    assert sorted(tree(fake.folder / "in")) == ["00.lvz", "00.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_the_summary_counts_once_and_in_good_english(fake: Lvc, clip: Path, count: int) -> None:
    for number in range(count):
        shutil.copy(clip, fake.folder / f"{number}.mp4")
    files = "1 file" if count == 1 else "2 files"
    inputs = [f"{number}.mp4" for number in range(count)]
    for options in ((), ("--resume",), ("--resume", "--dry-run")):
        done = fake("encode", *inputs, "--output-dir", "out", *QUICK, *options)
        assert done.code == 0
        last = done.err.splitlines()[-1]
        assert last.startswith(f"{files}: ") and last.count("file") == 1, done.err
    Clip(frames=1).write(fake.folder / "still.mp4")
    done = fake("encode", "still.mp4", "still.lvz", *QUICK)
    assert ": 1 frame 64x48" in done.err
    assert "1 frame in 1 clip, 1 group of clips" in fake("info", "still.lvz").text
