"""`lvc search` and `lvc features` as processes, on .lvz (of the codec of a few lines) and other videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clips import tune, write_sound
from tests.helpers.command import FAKE, Lvc


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, carphone: Path) -> tuple[Lvc, Path]:
    """A folder with carphone as it is, as .lvz with and without features, and a database of it."""
    folder = tmp_path_factory.mktemp("archive")
    lvc = Lvc([str(FAKE)], folder)
    (folder / "videos").mkdir()
    (folder / "videos" / "a.mp4").symlink_to(carphone)
    assert lvc("encode", carphone, "videos/b.lvz").code == 0
    assert lvc("encode", carphone, "videos/c.lvz", "--no-features", "--duration", "2").code == 0
    (folder / "videos" / "d.mp4").write_bytes(b"no video")
    done = lvc("search", "index", "videos", "--db", "db", "--json")
    assert done.code == 3, done.err  # of d.mp4
    assert [(e["event"], Path(e["path"]).name) for e in done.events if "path" in e] == [
        ("added", "a.mp4"), ("added", "b.lvz"), ("added", "c.lvz"), ("failed", "d.mp4"),
    ]  # fmt: skip
    assert [(e["number"], e["files"]) for e in done.events if "path" in e] == [(n, 4) for n in (1, 2, 3, 4)]
    last = done.events[-1]
    assert (last["event"], last["added"], last["failed"], last["stored"]) == ("done", 3, 1, 1)
    return lvc, folder


@pytest.mark.slow
def test_again_nothing_is_to_do(archive: tuple[Lvc, Path]) -> None:
    done = archive[0]("search", "index", "videos", "--db", "db")
    assert done.code == 0 and "4 unchanged" in done.err and "0 added" in done.err


@pytest.mark.slow
def test_features_cost_little(archive: tuple[Lvc, Path], carphone: Path) -> None:
    lvc, folder = archive
    assert lvc("encode", carphone, "without.lvz", "--no-features").code == 0
    extra = (folder / "videos" / "b.lvz").stat().st_size - (folder / "without.lvz").stat().st_size
    assert 200 < extra and 8 * extra / 4.0 < 1000  # bit/s


@pytest.mark.slow
def test_query(archive: tuple[Lvc, Path]) -> None:
    lvc, folder = archive
    done = lvc("search", "query", "videos/b.lvz@2.1s", "--db", "db", "--json", "--contact-sheet", "sheet.png")
    hits = [e for e in done.events if e["event"] == "hit"]
    assert done.code == 0 and done.events[-1]["hits"] == 3
    assert {Path(h["path"]).name for h in hits[:2]} == {"a.mp4", "b.lvz"} and hits[0]["score"] > 0.99
    assert hits[0]["start"] == pytest.approx(2, abs=0.3)
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")
    again = lvc("search", "query", "videos/a.mp4@1-3", "--db", "db", "--contact-sheet", "sheet.png")
    assert again.code == 6 and "exists already" in again.err
    plain = lvc("search", "query", "videos/a.mp4@1-3", "--db", "db", "--top", "2")
    assert plain.code == 0 and len(plain.text.strip().splitlines()) == 3 and "videos/a.mp4" in plain.text


@pytest.mark.slow
def test_by_sound(archive: tuple[Lvc, Path]) -> None:
    """Sound is described while a video is encoded, and found by a sound file, beside other pictures, and by both."""
    lvc, folder = archive
    (folder / "heard").mkdir()
    for number in (1, 2):
        write_sound(folder / f"{number}.mp4", tune(number, 8), number=number)
        assert lvc("encode", f"{number}.mp4", f"heard/{number}.lvz").code == 0
    assert lvc("encode", "1.mp4", "heard/plain.lvz", "--no-features", "--duration", "4").code == 0
    assert lvc("encode", "2.mp4", "heard/silent.lvz", "--audio", "none").code == 0
    said = {name: lvc("info", f"heard/{name}.lvz", "--json").events[-1]["search_vectors"] for name in ("1", "silent")}
    assert said == {"1": {"picture": 8, "sound": 6}, "silent": {"picture": 8, "sound": 0}}
    assert "no vectors" in lvc("info", "heard/plain.lvz").text
    done = lvc("search", "index", "heard", "--db", "heard.db", "--json").events[-1]
    assert (done["added"], done["stored"], done["heard"]) == (4, 3, 3)

    write_sound(folder / "part.mp3", tune(2, 8)[2 * 16_000 : 6 * 16_000], "libmp3lame", 64_000)
    done = lvc("search", "query", "part.mp3", "--db", "heard.db", "--json", "--contact-sheet", "heard.png")
    hits = [e for e in done.events if e["event"] == "hit"]
    assert done.code == 0 and Path(hits[0]["path"]).name == "2.lvz" and hits[0]["by"] == "sound"
    assert hits[0]["start"] == pytest.approx(2, abs=0.2) and (folder / "heard.png").exists()
    write_sound(folder / "mixed.mp4", tune(1, 8)[: 4 * 16_000], number=2)
    done = lvc("search", "query", "mixed.mp4", "--by", "both", "--db", "heard.db", "--json")
    ways = {Path(e["path"]).stem: e["by"] for e in done.events if e["event"] == "hit"}
    assert ways["silent"] == "picture" and ways["plain"] == "sound"
    text = lvc("search", "query", "mixed.mp4", "--by", "both", "--db", "heard.db").text
    assert "(seen)" in text and "(heard)" in text

    done = lvc("search", "query", "heard/silent.lvz", "--by", "sound", "--db", "heard.db")
    assert done.code == 3 and "has no sound" in done.err
    done = lvc("search", "query", "part.mp3", "--db", "db")
    assert done.code == 2 and "no video in the database has sound" in done.err
    done = lvc("search", "query", "1.mp4@3", "--by", "sound", "--db", "heard.db")
    assert done.code == 2 and "give a range" in done.err


@pytest.mark.slow
def test_duplicates_and_neighbours(archive: tuple[Lvc, Path]) -> None:
    lvc, _ = archive
    done = lvc("search", "duplicates", "videos", "--json")
    assert done.code == 3  # d.mp4 again: without --db nothing is remembered
    groups = [e for e in done.events if e["event"] == "group"]
    assert [[Path(p).name for p in g["paths"]] for g in groups] == [["a.mp4", "b.lvz", "c.lvz"]]
    assert "1 group in 3 files" in lvc("search", "duplicates", "--db", "db").text
    hits = lvc("search", "similar", "videos/a.mp4", "--db", "db", "--json").events
    assert [Path(e["path"]).name for e in hits if e["event"] == "hit"] == ["b.lvz", "c.lvz"]


@pytest.mark.slow
def test_vectors_for_other_tools(archive: tuple[Lvc, Path]) -> None:
    lvc, folder = archive
    assert lvc("features", "videos/a.mp4", "videos/b.lvz", "-o", "all.npz").code == 0
    with np.load(folder / "all.npz") as data:
        assert data["vector"].shape == (8, 64) and data["time"][-1] == pytest.approx(3, abs=0.01)
        assert np.array_equal(data["vector"][:4], data["vector"][4:])  # the codec of a few lines loses nothing
    assert lvc("features", "videos/a.mp4", "-o", "fine.npz", "--every", "0.5").code == 0
    with np.load(folder / "fine.npz") as data:
        assert len(data["time"]) == 8
    assert lvc("features", "videos/a.mp4", "-o", "all.csv").code == 2
    assert lvc("features", "videos/a.mp4", "-o", "all.npz").code == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("query", "videos/a.mp4", "--db", "none"), 2, "is not a database"),
        (("query", "none.mp4", "--db", "db"), 3, "no such file"),
        (("query", "videos/a.mp4@9", "--db", "db"), 3, "range starts after"),
        (("query", "videos/b.lvz@9", "--db", "db"), 3, "is after the end"),
        (("query", "videos/d.mp4", "--db", "db"), 3, "not a video"),
        (("index", "none", "--db", "db"), 3, "no such file or folder"),
        (("duplicates",), 2, "give folders"),
    ],
)
def test_errors(archive: tuple[Lvc, Path], arguments: tuple[str, ...], code: int, said: str) -> None:
    done = archive[0]("search", *arguments)
    assert done.code == code and said in done.err and len(done.err.strip().splitlines()) == 1
