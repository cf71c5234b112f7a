"""Every exit code in docs/reference.md, by real processes, and that nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.command import Lvc, names
from tests.helpers.waiting import PATIENCE, Turns, wait_for


def test_0_and_the_default_name(fake: Lvc, carphone: Path) -> None:
    shutil.copy(carphone, fake.folder / "a.mp4")
    done = fake("encode", "a.mp4", "--packing", "zstd")
    assert (done.code, done.out) == (0, b"")
    assert names(fake.folder) == ["a.lvz", "a.mp4"]
    assert "120 frames" in done.err and "bpp" in done.err


@pytest.mark.slow
def test_1_is_a_bug_and_vv_shows_where(fake: Lvc, carphone: Path) -> None:
    done = fake("encode", carphone, "a.lvz", env={"FAKE_DELAY": "not a number"})
    assert done.code == 1 and "internal error: ValueError" in done.err and "Traceback" not in done.err
    assert "Traceback" in fake("encode", carphone, "a.lvz", "-vv", env={"FAKE_DELAY": "not a number"}).err
    assert names(fake.folder) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ["encode"],
        ["encode", "a.mp4", "--quality", "101"],
        ["encode", "a.mp4", "--packing", "zip"],
        ["encode", "a.mp4", "--start", "yesterday"],
        ["encode", "a.mp4", "--no-such-option"],
        ["decode", "a.lvz", "--end", "2", "--duration", "1"],
        ["nonsense"],
    ],
)
def test_2_for_what_cannot_be_parsed(lvc: Lvc, args: list[str]) -> None:
    assert lvc(*args).code == 2


@pytest.mark.slow
def test_2_for_what_makes_no_sense(fake: Lvc, carphone: Path, encoded: Path) -> None:
    assert fake("encode", carphone, "none/a.lvz").code == 2
    assert fake("encode", carphone, ".").code == 2
    assert fake("encode", carphone, "-", "--verify").code == 2
    assert fake("encode", carphone, "a.lvz", "--resolution", "big").code == 2
    assert fake("decode", encoded, "a.txt").code == 2
    assert fake("decode", encoded, "a.mp4", "--start", "100").code == 2
    assert fake("decode", encoded, "a.mp4", "--start", "2", "--end", "1").code == 2
    assert names(fake.folder) == []


@pytest.mark.slow
def test_3_for_what_is_no_video(fake: Lvc) -> None:
    (fake.folder / "a.mp4").write_bytes(b"not a video at all")
    for name in ("a.mp4", "missing.mp4"):
        done = fake("encode", name, "a.lvz")
        assert done.code == 3 and done.err.startswith(f"lvc: error: {name}: ") and "—" in done.err
    assert fake("info", "missing.lvz").code == 3
    assert names(fake.folder) == ["a.mp4"]


@pytest.mark.slow
def test_4_for_what_is_damaged(fake: Lvc, encoded: Path) -> None:
    data = bytearray(encoded.read_bytes())
    (fake.folder / "cut.lvz").write_bytes(data[: len(data) // 2])
    data[len(data) // 2] ^= 1
    (fake.folder / "flipped.lvz").write_bytes(data)
    for name in ("cut.lvz", "flipped.lvz"):
        assert fake("verify", name).code == 4
        done = fake("decode", name, "a.mkv")
        error = done.err.splitlines()[-1]
        assert done.code == 4 and error.startswith(f"lvc: error: {name}: ") and "--salvage" in error
    assert fake("verify", encoded, "--full").code == 0
    assert names(fake.folder) == ["cut.lvz", "flipped.lvz"]


@pytest.mark.slow
def test_5_for_a_model_that_nobody_knows(lvc: Lvc, encoded: Path) -> None:
    done = lvc("decode", encoded, "a.mkv")
    assert done.code == 5 and "fake" in done.err
    assert names(lvc.folder) == []


@pytest.mark.slow
def test_6_before_torch_is_loaded(lvc: Lvc, carphone: Path) -> None:
    (lvc.folder / "a.lvz").write_bytes(b"precious")
    done = lvc("encode", carphone, "a.lvz")
    assert done.code == 6 and "--force" in done.err and done.err.startswith("lvc: error: a.lvz: ")
    imported = lvc("encode", carphone, "a.lvz", env={"PYTHONPROFILEIMPORTTIME": "1"}).err
    assert "| lvc.cli" in imported.replace("|   ", "| ") and not re.search(r"\| +(torch|av|numpy|pydantic)\n", imported)
    assert (lvc.folder / "a.lvz").read_bytes() == b"precious"


@pytest.mark.slow
def test_force_replaces_but_never_the_input(fake: Lvc, carphone: Path) -> None:
    shutil.copy(carphone, fake.folder / "a.mp4")
    (fake.folder / "link.lvz").symlink_to("a.mp4")
    os.link(fake.folder / "a.mp4", fake.folder / "hard.lvz")
    (fake.folder / "old.lvz").write_bytes(b"\x89LVZ of old")
    for target in ("a.mp4", "link.lvz", "hard.lvz"):
        assert fake("encode", "a.mp4", target, "--force").code == 2
    assert (fake.folder / "a.mp4").read_bytes() == carphone.read_bytes()
    assert fake("encode", "a.mp4", "old.lvz", "--force", "--packing", "zstd").code == 0
    assert (fake.folder / "old.lvz").read_bytes()[:8] == b"\x89LVZ\r\n\x1a\n"


@pytest.mark.slow
def test_7_over_a_limit(fake: Lvc, carphone: Path) -> None:
    assert fake("encode", carphone, "a.lvz", "--resolution", "16000x16000").code == 7
    assert names(fake.folder) == []


@pytest.fixture
def not_ignored(number: int) -> Iterator[None]:
    """Under nohup and in the background of a shell, signals are ignored, by processes that tests start too."""
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.mark.slow
@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_130_leaves_nothing_behind(
    fake: Lvc, bunny: Path, with_sound: Path, turns: Turns, command: str, number: int
) -> None:
    args = ["encode", bunny, "a.lvz", "--packing", "zstd"] if command == "encode" else ["decode", with_sound, "a.mp4"]
    with fake.start(*args, env=turns.env) as process:
        wait_for(lambda: names(fake.folder), process)
        assert names(fake.folder)[0].startswith("."), "the result is written under a hidden name"
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, b"interrupted" in err, b"Traceback" in err) == (130, True, False), err.decode()
    assert names(fake.folder) == []


@pytest.mark.parametrize("opens", ["publish", "workspace"])
def test_130_in_the_moment_an_output_is_made_leaves_nothing_behind(tmp_path: Path, opens: str) -> None:
    code = (
        "import signal, os, lvc.cli, lvc.output\n"
        "lvc.output.lock = lambda handle, **_: os.kill(os.getpid(), signal.SIGTERM)\n"  # made, and not yet held
        f"lvc.cli.app = lambda **_: lvc.output.{opens}({str(tmp_path / 'a.mp4')!r}).__enter__()\n"
        "lvc.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, names(tmp_path)) == (130, "lvc: error: interrupted\n", [])


@pytest.mark.slow
@pytest.mark.parametrize("target", [[], ["--target-size", "10M"]])
def test_what_a_killed_run_left_is_removed_by_the_next(fake: Lvc, bunny: Path, turns: Turns, target: list[str]) -> None:
    with fake.start("encode", bunny, "a.lvz", "--packing", "zstd", *target, env=turns.env) as process:
        wait_for(lambda: names(fake.folder), process)
        process.kill()
        process.communicate()
    left = names(fake.folder)
    assert len(left) == 1 and left[0].startswith(".")
    assert fake("encode", bunny, "b.lvz", "--packing", "zstd", "--duration", "0.2", "--resolution", "64x36").code == 0
    assert names(fake.folder) == ["b.lvz"]


@pytest.mark.slow
@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_before_the_command_line_is_loaded(number: int) -> None:
    code = (
        "import os, sys, lvc.__main__\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'typer': os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Slow())\n"
        "lvc.__main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "lvc: error: interrupted\n")


@pytest.mark.slow
def test_ctrl_c_in_an_import_waits_for_its_end(tmp_path: Path) -> None:
    """torch's C++ ends the process with an abort where an exception comes out of Python."""
    (tmp_path / "fragile.py").write_text(
        "import os, signal\n"
        "try: os.kill(os.getpid(), signal.SIGINT); sum(range(1000))\n"
        "except KeyboardInterrupt: os.abort()\n"
    )
    code = (
        "import time, lvc.cli\n"
        "def work(**_):\n"
        "    import fragile\n"
        f"    time.sleep({PATIENCE})\n"
        "lvc.cli.app = work\n"
        "lvc.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "lvc: error: interrupted\n")


@pytest.mark.slow
@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_after_the_end_changes_nothing(number: int) -> None:
    code = f"import atexit, os, lvc.cli; atexit.register(os.kill, os.getpid(), {int(number)}); lvc.cli.main()"
    done = subprocess.run([sys.executable, "-c", code, "-V"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("lvc ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["--help"], ["info", "{}"], ["info", "{}", "--json"], ["verify", "{}", "--json"]]
)
def test_3_where_what_is_said_has_no_room(fake: Lvc, encoded: Path, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*fake.program, *(argument.format(encoded) for argument in arguments)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3 and "standard output: No space left" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_130_while_waiting_for_a_pipe(fake: Lvc) -> None:
    with fake.start("encode", "-", "a.lvz", stdin=-1) as process:
        process.stdin.write(b"YUV4MPEG2 ")
        process.stdin.flush()
        # until it has read that, and waits for more
        wait_for(lambda: struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))) == (0,), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130
    assert names(fake.folder) == []


@pytest.mark.slow
def test_disk_full_is_an_error_about_the_output(fake: Lvc, carphone: Path) -> None:
    done = fake("encode", carphone, "/dev/full", "--packing", "zstd")
    assert done.code == 3 and "/dev/full" in done.err and "No space left" in done.err


@pytest.mark.slow
def test_many_files_go_on_and_the_first_failure_decides(fake: Lvc, encoded: Path) -> None:
    (fake.folder / "bad.lvz").write_bytes(b"bad")
    done = fake("verify", "missing.lvz", "bad.lvz", encoded)
    assert done.code == 3 and done.err.count("lvc: error:") == 2 and "ok, 120 frames" in done.text


@pytest.mark.slow
@pytest.mark.parametrize("size", ["640x368", "16x16"])
def test_pictures_that_take_too_much_memory_are_refused_before_any_work(fake: Lvc, size: str) -> None:
    width, height = map(int, size.split("x"))
    frame = b"FRAME\n" + bytes(width * height * 3 // 2)
    (fake.folder / "a.y4m").write_bytes(f"YUV4MPEG2 W{width} H{height} F25:1 C420\n".encode() + frame * 2)
    done = fake("encode", "a.y4m", "a.lvz", "--max-memory", "430M")
    assert done.code == (7 if size == "640x368" else 0), done.err
    assert ("MB to encode, the limit is 430 MB" in done.err) == (done.code == 7)
    made = fake("encode", "a.y4m", "b.lvz")
    assert made.code == 0
    assert fake("decode", "b.lvz", "b.mkv", env={"LVC_MAX_MEMORY": "430M"}).code == (7 if size == "640x368" else 0)
