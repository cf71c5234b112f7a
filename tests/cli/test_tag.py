"""`lvc tag` as a process, on .lvz (of the codec of a few lines) and other videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.clips import BIKES, real_clip
from tests.helpers.command import FAKE, Lvc, names

BLOCKED = "import sys; sys.modules['torch'] = None; from lvc.cli import main; main()"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, carphone: Path) -> Lvc:
    """carphone as .lvz and bikes, labelled, a database of both, and tags learnt from it. Torch cannot be imported."""
    folder = tmp_path_factory.mktemp("tags")
    assert Lvc([str(FAKE)], folder)("encode", carphone, "carphone.lvz", "--packing", "zstd").code == 0
    (folder / "videos").mkdir()
    (folder / "carphone.lvz").rename(folder / "videos" / "carphone.lvz")
    (folder / "videos" / "bikes.mp4").symlink_to(real_clip(BIKES))
    (folder / "labels.csv").write_text(
        "file,label,start,end\nvideos/carphone.lvz,man\nvideos/bikes.mp4,street,0,0:06\n"
    )
    lvc = Lvc(["-c", BLOCKED], folder)
    done = lvc("search", "index", "videos", "--db", "db")
    assert done.code == 0, done.err
    done = lvc("tag", "fit", "labels.csv", "--db", "db", "--json")
    assert done.code == 0, done.err
    last = done.events[-1]
    assert last["tags"] == ["man", "street"] and (last["files"], last["moments"]) == (2, 14)
    assert [event["moments"] for event in done.events[:-1]] == [4, 10]
    return lvc


@pytest.mark.slow
def test_files(archive: Lvc, carphone: Path) -> None:
    done = archive("tag", carphone, "--json")  # the video that the .lvz was made of, decoded
    assert done.code == 0, done.err
    tag, last = done.events
    assert (tag["path"], tag["tag"], tag["start"]) == (str(carphone), "man", 0) and tag["score"] > 0.7
    assert tag["end"] == pytest.approx(4, abs=0.1) and (last["files"], last["ranges"]) == (1, 1)
    lines = archive("tag", carphone).text.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"{carphone}:") and lines[1].endswith("0:00.0–0:04.0 man")
    assert archive("tag", carphone, "--threshold", "1").text.split(":")[-1].strip() == "no tags"
    text = archive("tag", "apply", "videos", "--threshold", "0.6").text
    assert "bikes.mp4\n" in text and "0:00.0–0:04.0 man" in text and "street" in text


@pytest.mark.slow
def test_a_database(archive: Lvc) -> None:
    done = archive("tag", "--db", "db", "--threshold", "0.6", "--json")
    assert done.code == 0, done.err
    found = {(Path(event["path"]).name, event["tag"]) for event in done.events[:-1]}
    assert found == {("carphone.lvz", "man"), ("bikes.mp4", "street")}
    again = archive("tag", "videos/carphone.lvz", "--db", "db", "--json")
    assert [Path(event["path"]).name for event in again.events if event["event"] == "tag"] == ["carphone.lvz"]
    listed = archive("search", "tags", "--db", "db").text
    assert "man     1 file, 4.0 s" in listed and "street  1 file" in listed
    one = archive("search", "tags", "--db", "db", "--tag", "man", "--json").events
    assert [event["event"] for event in one] == ["tag", "done"] and one[0]["tag"] == "man"
    hits = archive("search", "query", "videos/bikes.mp4@1-3", "--db", "db", "--tag", "man", "--json").events
    assert [Path(event["path"]).name for event in hits if event["event"] == "hit"] == ["carphone.lvz"]
    hits = archive("search", "similar", "videos/carphone.lvz", "--db", "db", "--tag", "man", "--json").events
    assert [event["event"] for event in hits] == ["done"]  # it is the only one, and itself left out
    absent = archive("search", "query", "videos/bikes.mp4@1-3", "--db", "db", "--tag", "night")
    assert absent.code == 2 and "no video in the database has the tag 'night'" in absent.err


@pytest.mark.slow
def test_one_bad_file_does_not_stop_the_others(archive: Lvc) -> None:
    (archive.folder / "broken.mp4").write_bytes(b"no video")
    done = archive("tag", "broken.mp4", "videos/carphone.lvz")
    assert done.code == 3 and "broken.mp4" in done.err and "0:00.0–0:04.0 man" in done.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("fit", "labels.csv"), 6, "tags.safetensors: exists already"),
        (("fit", "labels.csv", "-o", "new.mp4"), 2, "has the name of"),
        (("fit", "absent.csv", "-o", "new.safetensors"), 3, "absent.csv: no such file"),
        (("fit", "typo.csv", "-o", "new.safetensors"), 2, "typo.csv: line 3:"),
        (("fit", "gone.csv", "-o", "new.safetensors"), 3, "videos/gone.mp4: no such file"),
        (("fit", "one.csv", "-o", "new.safetensors"), 2, "one.csv: everything has the tag 'man'"),
        (("videos/bikes.mp4", "--model", "absent.safetensors"), 3, "absent.safetensors: no such file"),
        (("videos/bikes.mp4", "--model", "labels.csv"), 4, "labels.csv: is damaged"),
        (("apply",), 2, "give files to tag"),
        (("videos/bikes.mp4", "--threshold", "2"), 2, "0 to 1"),
        (("--db", "nowhere"), 2, "is not a database"),
    ],
)
def test_errors(archive: Lvc, arguments: tuple[str, ...], code: int, said: str) -> None:
    (archive.folder / "typo.csv").write_text("file,label,start\nvideos/bikes.mp4,street\nvideos/bikes.mp4,day,noon\n")
    (archive.folder / "gone.csv").write_text("file,label\nvideos/gone.mp4,street\n")
    (archive.folder / "one.csv").write_text("file,label\nvideos/carphone.lvz,man\n")
    before = names(archive.folder)
    done = archive("tag", *arguments)
    assert done.code == code and said in done.err, done.err
    assert names(archive.folder) == before
