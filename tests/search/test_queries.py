"""Real clips are found again: excerpts, mirrored, small, at another speed, by one picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from lvc.errors import MediaError, UsageError
from lvc.features import quantise
from lvc.media import Frame, MediaReader, MediaWriter
from lvc.search import Database, Moments, duplicates, index_folders, moments_of, parse_target, query, similar
from lvc.search import sheet as sheets
from lvc.search.align import align, thinned
from lvc.search.database import Collection
from lvc.search.export import check_ending, table_of, write_table
from lvc.search.sheet import sheet, tiles_of, write_png
from lvc.search.sources import QUERY_SPACING
from tests.helpers.clips import CARPHONE, excerpt, real_clip


@pytest.fixture(scope="module")
def collection(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    with Database(tmp_path_factory.mktemp("db"), create=True) as database:
        index_folders([library], database)
        return database.load()


def named(collection: Collection) -> list[str]:
    return [Path(path).name for path in collection.paths]


def test_folders_are_read(collection: Collection) -> None:
    assert named(collection) == ["bikes.mp4", "carphone.mp4", "excerpt.mkv"]
    assert collection.seconds == pytest.approx([10.0, 4.0, 5.0], abs=0.1)


def test_an_excerpt_and_its_place(collection: Collection, bikes: Path, tmp_path: Path) -> None:
    part = excerpt(bikes, tmp_path / "part.mp4", 5.4, 3, crf=36)
    hits = query(collection, moments_of(part, spacing=QUERY_SPACING), 5)
    assert Path(hits[0].path).name == "bikes.mp4" and hits[0].start == pytest.approx(5.4, abs=0.6)
    assert hits[0].end - hits[0].start == pytest.approx(3, abs=0.3) and hits[0].speed == 1
    assert Path(hits[1].path).name == "excerpt.mkv" and hits[1].start == pytest.approx(2.4, abs=0.6)
    assert hits[1].score > 0.6 > 0.5 > hits[2].score


@pytest.mark.slow
def test_twice_as_fast(collection: Collection, bikes: Path, tmp_path: Path) -> None:
    target = tmp_path / "fast.mp4"
    with MediaReader(bikes, start=2, duration=6, audio="none") as reader, MediaWriter(target, reader.video) as writer:
        for number, frame in enumerate(item for item in reader if isinstance(item, Frame)):
            if number % 2 == 0:
                writer.write(replace(frame, pts=frame.pts // 2))
    hit = query(collection, moments_of(target, spacing=QUERY_SPACING), 1)[0]
    assert Path(hit.path).name == "bikes.mp4" and hit.speed == 2
    assert hit.start == pytest.approx(2, abs=1) and hit.end == pytest.approx(8, abs=1)


def test_one_picture(collection: Collection, bikes: Path, tmp_path: Path) -> None:
    with MediaReader(bikes, start=4, duration=0.1, audio="none") as reader:
        frame = next(item for item in list(reader) if isinstance(item, Frame))
    picture = tmp_path / "still.png"
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.y.shape[1], frame.y.shape[0], "rgb24"
    encoder.time_base = reader.video.seconds_per_tick
    planes = np.concatenate([p.ravel() for p in (frame.y, frame.u, frame.v)]).reshape(-1, frame.y.shape[1])
    packets = encoder.encode(av.VideoFrame.from_ndarray(planes, "yuv420p").reformat(format="rgb24"))
    picture.write_bytes(b"".join(bytes(p) for p in packets + encoder.encode(None)))
    hit = query(collection, moments_of(picture), 1)[0]
    assert Path(hit.path).name == "bikes.mp4" and hit.start == pytest.approx(4, abs=1)
    same = query(collection, moments_of(bikes, start=4.0), 1)[0]
    assert same.path == hit.path and same.start == pytest.approx(4, abs=0.6)


def test_duplicates_and_neighbours(collection: Collection, library: Path) -> None:
    groups = duplicates(collection)
    assert [[Path(p).name for p in g.paths] for g in groups] == [["bikes.mp4", "excerpt.mkv"]]
    pair = groups[0].pairs[0]
    assert Path(pair.path).name == "excerpt.mkv" and pair.other_start == pytest.approx(3, abs=1)
    assert pair.seconds == pytest.approx(5, abs=1.1)
    own = str(library / "bikes.mp4")
    hits = similar(collection, moments_of(own), 5, leave_out=own)
    assert [Path(h.path).name for h in hits] == ["excerpt.mkv", "carphone.mp4"]


def boxed(source: Path, target: Path, start: float, size: tuple[int, int], duration: float = 4) -> Path:
    """A part of a clip in the middle of black of twice its width or height: `size`, of which a picture takes a part."""
    with MediaReader(source, start=start, duration=duration, audio="none", resolution="96x64") as reader:
        with MediaWriter(target, replace(reader.video, width=size[0], height=size[1]), crf=28) as writer:
            for frame in (item for item in reader if isinstance(item, Frame)):
                around = [((size[1] - 64) // 2,) * 2, ((size[0] - 96) // 2,) * 2]
                y = np.pad(frame.y, around, constant_values=16)
                u, v = (
                    np.pad(p, [(a // 2, b // 2) for a, b in around], constant_values=128) for p in (frame.u, frame.v)
                )
                writer.write(replace(frame, y=y, u=u, v=v))
    return target


@pytest.mark.slow
def test_bars_neither_make_duplicates_nor_hide_them(bikes: Path, tmp_path: Path) -> None:
    sources = {"bikes": bikes, "carphone": real_clip(CARPHONE)}
    for name, source in sources.items():
        boxed(source, tmp_path / f"{name} pillar.mp4", 0, (240, 64))
        boxed(source, tmp_path / f"{name} letter.mp4", 0, (96, 128))
        boxed(source, tmp_path / f"{name} window.mp4", 0, (160, 96))
        boxed(source, tmp_path / f"{name} plain.mp4", 0, (96, 64))
    with Database(tmp_path / "db", create=True) as database:
        index_folders([tmp_path], database)
        groups = duplicates(database.load())
    kinds = sorted({" ".join(Path(p).stem.split()[:1]) for p in g.paths} for g in groups)
    assert kinds == [{"bikes"}, {"carphone"}] and [len(g.paths) for g in groups] == [4, 4]


def test_still_pictures_have_to_agree_more_than_moving_ones() -> None:
    rng = np.random.default_rng(3)

    def near(vector: np.ndarray, cosine: float) -> np.ndarray:
        other = rng.normal(size=vector.shape)
        other -= vector * (other @ vector)
        return cosine * vector + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)

    def groups(first: np.ndarray, cosine: float, seconds: float = 6) -> int:
        n = len(first)
        parts = [first, np.stack([near(vector, cosine) for vector in first])]
        vectors = np.concatenate([quantise(part.astype(np.float32)) for part in parts])
        times = np.tile(np.arange(n, dtype=np.float32), 2)
        rows = np.array([0, n, 2 * n])
        silent = np.zeros(3, np.int64), np.zeros(0, np.float32), np.zeros((0, 32), np.uint8)
        return len(duplicates(Collection(["a", "b"], np.full(2, seconds), rows, times, vectors, *silent)))

    moving = rng.normal(size=(6, 64))
    moving /= np.linalg.norm(moving, axis=1, keepdims=True)
    still = np.repeat(moving[:1], 6, 0)
    assert groups(moving, 0.76) == 1 and groups(still, 0.76) == 0 and groups(still, 0.86) == 1
    assert groups(still[:1], 0.86, 0.04) == 0 and groups(still[:1], 0.94, 0.04) == 1  # photographs


def test_nothing_shown_is_nothing_found(collection: Collection) -> None:
    nothing = Moments(np.arange(3.0), np.zeros((3, 64), np.int8), 3.0)
    assert query(collection, nothing, 3) == [] and align(thinned(nothing), collection.moments(0)) is None


def test_long_queries_are_thinned_out() -> None:
    vectors = np.random.default_rng(0).integers(-127, 128, (1000, 64)).astype(np.int8)
    vectors[::2] = 0
    kept = thinned(Moments(np.arange(1000.0), vectors, 1000.0))
    assert len(kept.times) == 64 and kept.times[0] == 1 and kept.times[-1] == 999


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.lvz", ("a.lvz", None, None)),
        ("a.lvz@12.5s", ("a.lvz", 12.5, None)),
        ("me@home.mp4@3", ("me@home.mp4", 3.0, None)),
        ("a@b.mp4@3-7.5", ("a@b.mp4", 3.0, 7.5)),
        ("me@home.mp4", ("me@home.mp4", None, None)),
    ],
)
def test_targets(text: str, expected: tuple[str, float | None, float | None]) -> None:
    assert parse_target(text) == expected


def test_targets_that_make_no_sense(bikes: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        parse_target("a.mp4@5-5")
    with pytest.raises(MediaError, match="range starts after"):
        moments_of(bikes, start=99)
    with pytest.raises(MediaError, match="no such file"):
        moments_of("nowhere.mp4")
    with pytest.raises(MediaError, match="is a folder"):
        moments_of(bikes.parent)


@pytest.mark.slow
def test_a_sheet(collection: Collection, bikes: Path, tmp_path: Path) -> None:
    hits = query(collection, moments_of(bikes, start=4.0), 5)
    picture = sheet(tiles_of(str(bikes), 4.0, hits))
    assert picture.shape == (8 + 228, 8 + 248 * 4, 3)
    tile, found = picture[8:188, 8:248].astype(float), picture[8:188, 256:496].astype(float)
    assert np.abs(tile[40:140] - found[40:140]).mean() < 10 < tile[40:140].std()
    assert (tile[:20] == 40).any() and (tile[90:] > 60).any()  # wide: bars above and below
    for left in (8, 256, 504):  # each has two lines of text below it
        caption = picture[188:228, left : left + 240, 0]
        assert all((caption[rows] < 100).sum() > 100 for rows in (slice(0, 20), slice(20, 40)))
    write_png(tmp_path / "sheet.png", picture)
    with av.open(str(tmp_path / "sheet.png")) as container:
        again = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)][0]
    assert np.array_equal(again, picture)


def test_frames_that_are_gone_are_grey(collection: Collection) -> None:
    hits = [replace(hit, path="gone.mp4") for hit in query(collection, moments_of(real_clip(CARPHONE)), 1)]
    picture = sheet(tiles_of("gone too.mp4", 0.0, hits))
    assert picture.shape[1] == 8 + 248 * 2 and (picture[100:180, 8:248] == 40).all()


def test_captions_fit_and_letters_the_font_lacks_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    ascii_only = sheets.ImageFont.load_default(14)
    assert sheets._fitted("0:01.0–0:02.0 Müller.mp4", ascii_only) == "0:01.0-0:02.0 Muller.mp4"
    assert sheets._fitted("東京\n.mp4", ascii_only) == "???.mp4"
    long = sheets._fitted("introduction to linear algebra, lecture 7 of 23, the four subspaces.mp4", ascii_only)
    assert long.startswith("introd") and long.endswith("spaces.mp4") and "…" in long
    assert ascii_only.getlength(long) <= sheets.TILE_WIDTH
    monkeypatch.setattr(sheets, "_FONTS", ("no such font.ttf",))
    sheets._font.cache_clear()
    assert sheets._font().getlength("abc") > 10  # no font is installed: Pillow has one
    sheets._font.cache_clear()


def test_export(collection: Collection, tmp_path: Path) -> None:
    table = table_of([(path, collection.moments(i)) for i, path in enumerate(collection.paths)])
    write_table(table, tmp_path / "a.npz", ".npz")
    with np.load(tmp_path / "a.npz") as data:
        assert data["vector"].shape == (len(collection.vectors), 64)
        assert np.allclose(np.linalg.norm(data["vector"], axis=1), 1, atol=1e-5)
        assert list(data["path"]) == table.path and data["time"][3] == 3.0
        assert str(data["extractor"]).startswith("frame64-2:")
    with pytest.raises(UsageError, match=".npz or .parquet"):
        check_ending("a.csv")
    pyarrow = pytest.importorskip("pyarrow.parquet")
    write_table(table, tmp_path / "a.parquet", ".parquet")
    read = pyarrow.read_table(tmp_path / "a.parquet")
    assert read.column_names == ["path", "time", "vector"] and read.num_rows == len(table.path)
    assert np.allclose(read["vector"][2].as_py(), table.vector[2])
