"""Results are published whole or not at all, and never over a file by accident."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lvc import output
from lvc.errors import OutputExistsError, UsageError
from lvc.output import about, check_output, discard_unfinished, lock, publish, publish_file, subject, sweep, workspace


def test_published_on_success_with_ordinary_permissions(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with publish(str(target)) as path:
        assert path.parent == target.parent and path.suffix == ".bin"
        path.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert [p.name for p in tmp_path.iterdir()] == ["out.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_left_behind(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), publish(str(tmp_path / "out.bin")) as path:
        path.write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_old_file_survives_a_failed_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(ValueError), publish(str(target), force=True) as path:
        path.write_bytes(b"half")
        raise ValueError
    assert target.read_bytes() == b"old"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with pytest.raises(OutputExistsError), publish(str(target)) as path:
        path.write_bytes(b"mine")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("real.bin")
    with publish(str(tmp_path / "link.bin"), force=True) as path:
        path.write_bytes(b"new")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"new"


def test_device_is_written_directly() -> None:
    with publish(os.devnull) as path:
        assert path == Path(os.path.realpath(os.devnull))
    assert Path(os.devnull).exists()


def test_check_output(tmp_path: Path) -> None:
    source, other = tmp_path / "a.mp4", tmp_path / "b.lvz"
    source.write_bytes(b"x")
    other.write_bytes(b"y")
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    with pytest.raises(OutputExistsError) as caught:
        check_output(str(source), str(other))
    assert subject(caught.value) == str(other)
    check_output(str(source), str(other), force=True)
    check_output(str(source), str(tmp_path / "new.lvz"))
    for same in (source, tmp_path / "soft", tmp_path / "hard"):
        with pytest.raises(UsageError, match="same file"):
            check_output(str(source), str(same), force=True)
    with pytest.raises(UsageError, match="folder"):
        check_output(str(source), str(tmp_path), force=True)
    with pytest.raises(UsageError, match="folder"):
        check_output(str(source), str(tmp_path / "none" / "b.lvz"))


def test_only_what_the_command_writes_is_overwritten(tmp_path: Path) -> None:
    mine, theirs, odd, empty = (tmp_path / name for name in ("a.lvz", "b.lvz", "c.lvz", "d.lvz"))
    mine.write_bytes(b"\x89LVZ\r\n\x1a\nrest")
    theirs.write_bytes(b"\0\0\0\x20ftypisom")
    odd.write_bytes(b"a diary")
    empty.touch()
    check_output("in.mp4", str(mine), force=True, writes=["lvz"])
    check_output("in.mp4", str(empty), force=True, writes=["lvz"])
    for other, named in ((theirs, "MP4"), (odd, "does not write")):
        with pytest.raises(OutputExistsError, match=named):
            check_output("in.mp4", str(other), force=True, writes=["lvz"])
    with pytest.raises(UsageError, match=r"MP4.*\.lvz"):
        check_output("in.mp4", str(tmp_path / "new.mp4"), writes=["lvz"])
    with pytest.raises(UsageError, match="same file"):
        check_output(["in.mp4", str(mine)], str(mine), force=True, writes=["lvz"])


def test_about_names_the_file_once() -> None:
    with pytest.raises(UsageError) as caught, about("outer"), about("inner"):
        raise UsageError("what — do")
    assert subject(caught.value) == "inner"
    with pytest.raises(OSError) as full, about("disk"):
        raise OSError(28, "No space left on device")
    assert subject(full.value) == "disk"


def test_what_a_killed_process_left_is_told_from_what_is_written(tmp_path: Path) -> None:
    with publish(str(tmp_path / "a.lvz")) as path, workspace(str(tmp_path / "a.lvz")) as folder:
        (folder / "trial.lvz").write_bytes(b"x")
        left = path.with_name(path.name.replace(".a.", ".b."))
        left.touch()
        killed = tmp_path / ".01234567.lvc-work"
        killed.mkdir()
        (killed / "best.lvz").touch()
        others = [".b.0123.part.lvz", "b.01234567.part.lvz", ".b.01234567.lvz", ".lvc-work"]
        for other in others:
            (tmp_path / other).touch()
        assert sweep(tmp_path) == 2
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, path.name, folder.name])
        assert sweep(tmp_path) == 0
    assert not folder.exists()


def test_what_is_held_is_never_removed_by_another_process(tmp_path: Path) -> None:
    left = tmp_path / ".b.01234567.part.lvz"
    left.touch()
    with left.open("rb") as file:
        assert lock(file.fileno())
        code = "import sys; from pathlib import Path; from lvc.output import sweep; print(sweep(Path(sys.argv[1])))"
        said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert said.stdout == "0\n" and left.exists()
    assert sweep(tmp_path) == 1


def test_what_a_sweeper_took_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may find a new temporary file before it is locked, and remove it as one that was left behind."""
    taken: list[str] = []

    def swept_first(handle: int, *, unsure: bool = True) -> bool:
        if len(taken) < 2:
            (left,) = (p for p in tmp_path.iterdir() if p.name not in taken)
            taken.append(left.name)
            left.rmdir() if left.is_dir() else left.unlink()
            return len(taken) == 2  # locked too late, or not at all
        return lock(handle, unsure=unsure)

    sweep(tmp_path)
    monkeypatch.setattr(output, "lock", swept_first)
    with publish(str(tmp_path / "a.lvz")) as path:
        path.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.lvz"] and len(set(taken)) == 2
    taken.clear()
    (tmp_path / "a.lvz").unlink()
    with workspace(str(tmp_path / "a.lvz")) as folder:
        (folder / "trial.lvz").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == [] and len(taken) == 2


def test_where_there_are_no_locks_work_goes_on_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".b.01234567.part.lvz"
    left.write_bytes(b"perhaps in use")

    def unknown(handle: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(output.fcntl, "flock", unknown)
    assert sweep(tmp_path) == 0 and left.exists()
    with publish(str(tmp_path / "a.lvz")) as path:
        path.write_bytes(b"whole")
    assert (tmp_path / "a.lvz").read_bytes() == b"whole"
    monkeypatch.setattr(output, "fcntl", None)  # as on Windows
    assert sweep(tmp_path) == 0 and left.exists()


def test_a_second_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    with publish(str(tmp_path / "a.lvz"), force=True) as path, workspace(str(tmp_path / "b.lvz")) as folder:
        path.write_bytes(b"half")
        (folder / "trial.lvz").write_bytes(b"x")
        discard_unfinished()
        assert list(tmp_path.iterdir()) == []
        path.write_bytes(b"whole")  # so that the block can end


def test_a_finished_file_goes_into_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    with workspace(str(tmp_path / "a.lvz")) as folder:
        (folder / "best").write_bytes(b"new" * 1000)
        reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
        reader.start()
        publish_file(folder / "best", str(pipe))
        reader.join()
    assert got == [b"new" * 1000] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_of_a_workspace_becomes_the_target(tmp_path: Path) -> None:
    target = tmp_path / "a.lvz"
    target.write_bytes(b"old")
    with workspace(str(target)) as folder:
        (folder / "best").write_bytes(b"new")
        with pytest.raises(OutputExistsError):
            publish_file(folder / "best", str(target))
        assert target.read_bytes() == b"old"
        publish_file(folder / "best", str(target), force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.lvz"] and target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["é" * 125 + ".lvz", "n" * 255, "a." + "x" * 250, "日" * 83 + ".mp4"])
def test_long_names(tmp_path: Path, name: str) -> None:
    with publish(str(tmp_path / name)) as path:
        path.write_bytes(b"x")
    assert [p.name for p in tmp_path.iterdir()] == [name]
