"""Tags: labels, the classifier, its file, and that stranger's files are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lvc.engine import safetensors_file
from lvc.errors import CorruptError, LimitError, LvcError, MediaError, UnsupportedError, UsageError
from lvc.features import default_extractor, quantise
from lvc.search import Database, Moments, SearchIndex, index_folders, moments_of, query
from lvc.search.database import Known
from lvc.search.labels import Label, read_labels
from lvc.search.sources import QUERY_SPACING
from lvc.search.tagging import (
    NEAREST,
    STRENGTH,
    NearestTags,
    Tagged,
    TagModel,
    balanced,
    examples,
    fit_tags,
    load_tags,
    regression,
)
from tests.helpers.clips import CARPHONE, excerpt, real_clip


def moments(vectors: np.ndarray) -> Moments:
    return Moments(np.arange(len(vectors), dtype=float), quantise(vectors.astype(np.float32)), float(len(vectors)))


def cloud(direction: int, count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around an axis."""
    x = np.random.default_rng(seed).normal(scale=0.05, size=(count, 64))
    x[:, direction] += 1
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(params=["linear", "knn"])
def model(request: pytest.FixtureRequest) -> TagModel:
    """`a` lies along axis 0, `b` along axis 1; both together can be tagged too."""
    videos = {"a": moments(cloud(0, 6)), "b": moments(cloud(1, 4, 1)), "none": moments(cloud(2, 5, 2))}
    rows = [Label(2, "a", "a"), Label(3, "b", "b"), Label(4, "none", "")]
    return fit_tags(examples(rows, videos.__getitem__), request.param)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_rows(write: Callable[[str], Path], tmp_path: Path) -> None:
    path = write('\ufefffile,label,start,end\na.mp4,road,1:30,\n"b, c.mp4",people\n\nhttps://example.org/d.mp4,,,\n')
    assert read_labels(path) == [
        Label(2, str(tmp_path / "a.mp4"), "road", 90.0, None),
        Label(3, str(tmp_path / "b, c.mp4"), "people"),
        Label(5, "https://example.org/d.mp4", ""),
    ]
    assert read_labels(write("label,file\nx,a.mp4\n"))[0].tag == "x"  # any order


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the header is ''"),
        ("a.mp4,road\n", "line 1: the header"),
        ("file,label,begin\n", "line 1: the header"),
        ("file,label\n", "has no labels"),
        ("file,label\na.mp4,\n", "has no labels"),
        ("file,label\na.mp4,x\n,road\n", "line 3: no file"),
        ("file,label\na.mp4,x,y\n", "line 2: 3 cells"),
        ("file,label,start\na.mp4,x,-1\n", "line 2: '-1' is not a time"),
        ("file,label,start,end\na.mp4,x,5,5\n", "line 2: the range is empty"),
        ("file,label,start\na.mp4,,5\n", "line 2: a range needs a label"),
        (f"file,label\na.mp4,{'x' * 101}\n", "line 2: the label is too long"),
        ("file,label\na.mp4,x\x1b[2J\n", "line 2: the label"),
        ('file,label\na.mp4,"x\n', "line 2:"),
    ],
)
def test_rows_that_make_no_sense(write: Callable[[str], Path], text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_labels(write(text))
    assert str(raised.value).startswith(said)


def test_files_that_are_no_labels(write: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"file,label\na.mp4,Stra\xdfe\n")
    with pytest.raises(UsageError, match="UTF-8"):
        read_labels(tmp_path / "latin.csv")
    with pytest.raises(MediaError, match="no such file"):
        read_labels(tmp_path / "absent.csv")
    with pytest.raises(LimitError, match="1001 different tags"):
        read_labels(write("file,label\n" + "".join(f"a.mp4,{n}\n" for n in range(1001))))


def test_regression_is_at_the_minimum() -> None:
    """The gradient of the loss vanishes, also where the classes can be told apart without any error."""
    random = np.random.default_rng(0)
    for shift in (0.0, 0.3, 5.0):
        truth = random.random(200) < 0.2
        x = random.normal(size=(200, 8)) + shift * truth[:, None]
        each = balanced(truth, random.random(200) + 0.1)
        assert each[truth].sum() == pytest.approx(100) and each[~truth].sum() == pytest.approx(100)
        weights, bias = regression(x, truth, each)
        error = each * (1 / (1 + np.exp(-(x @ weights + bias))) - truth)
        assert np.abs(x.T @ error + weights / STRENGTH).max() < 1e-4 and abs(error.sum()) < 1e-4


def test_ranges(model: TagModel) -> None:
    seen = moments(np.concatenate([cloud(0, 3, 5), cloud(2, 2, 6), cloud(1, 2, 7), cloud(0, 1, 8)]))
    seen = replace(seen, times=seen.times + 0.25, seconds=8.5)
    found = model.tag(seen)
    assert [(t.tag, t.start, t.end) for t in found] == [("a", 0.25, 3.25), ("a", 7.25, 8.5), ("b", 5.25, 7.25)]
    assert all(0.5 <= t.score <= 1 for t in found)
    assert model.tag(seen, 1.0) == []
    dark = Moments(np.arange(3.0), np.zeros((3, 64), np.int8), 3.0)
    assert not model.scores(dark.vectors).any() and model.tag(dark) == []
    assert model.tag(Moments(np.zeros(0), np.zeros((0, 64), np.int8), 0.0)) == []


def test_one_video_with_several_tags_and_parts() -> None:
    videos = {"x": moments(np.concatenate([cloud(0, 4), cloud(1, 4)]))}
    rows = [Label(2, "x", "all", 0, 6), Label(3, "x", "late", 4)]
    found = examples(rows, videos.__getitem__)
    assert found.tags == ("all", "late") and found.truth.sum(0).tolist() == [6, 4]
    with pytest.raises(UsageError, match=r"line 9: x \(8.0 s\) has no moment from 8 s to its end"):
        examples([Label(9, "x", "late", 8)], videos.__getitem__)


def test_tags_need_examples_of_both_kinds() -> None:
    videos = {"x": moments(cloud(0, 4)), "dark": Moments(np.arange(2.0), np.zeros((2, 64), np.int8), 2.0)}
    with pytest.raises(UsageError, match="everything has the tag 'x'"):
        fit_tags(examples([Label(2, "x", "x")], videos.__getitem__))
    with pytest.raises(UsageError, match="no video shows anything with the tag 'y'"):
        rows = [Label(2, "x", "x", 0, 2), Label(3, "dark", "y")]
        fit_tags(examples(rows, videos.__getitem__))


def test_the_file(model: TagModel, tmp_path: Path) -> None:
    model.save(tmp_path / "a.safetensors")
    model.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = load_tags(tmp_path / "a.safetensors")
    vectors = quantise(cloud(0, 5).astype(np.float32))
    assert again.tags == ("a", "b") and np.array_equal(again.scores(vectors), model.scores(vectors))


def _said(**changes: object) -> dict[str, str]:
    said = {"version": 2, "classifier": "linear", "extractor": default_extractor().id, "tags": ["a", "b"], **changes}
    return {"lvc.tags": json.dumps(said)}


def _near(**changes: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {"vectors": np.ones((3, 64)), "truth": np.eye(3, 2), "file": np.arange(3)} | changes
    kinds = {"vectors": np.int8, "truth": np.uint8, "file": np.int32}
    return {name: array.astype(kinds[name]) for name, array in arrays.items()}


@pytest.mark.parametrize(
    ("arrays", "text", "error"),
    [
        ({}, {}, CorruptError),
        ({}, {"lvc.tags": "[]"}, CorruptError),
        ({}, {"lvc.tags": "[" * 100_000}, CorruptError),
        ({}, _said(tags=[]), CorruptError),
        ({}, _said(tags=["a", "a"]), CorruptError),
        ({}, _said(tags=["a", 5]), CorruptError),
        ({}, _said(tags=["a", "b\n"]), CorruptError),
        ({}, _said(tags=["a", "b" * 101]), CorruptError),
        ({}, _said(tags=["a"]), CorruptError),
        ({}, _said(tags=[str(n) for n in range(1001)]), CorruptError),
        ({"bias": np.zeros(3, np.float32)}, _said(), CorruptError),
        ({"bias": np.zeros(2, np.int32)}, _said(), CorruptError),
        ({"mean": np.full(64, np.nan, np.float32)}, _said(), CorruptError),
        ({"weights": np.full((2, 64), np.inf, np.float32)}, _said(), CorruptError),
        ({"other": np.zeros(1 << 24, np.float32)}, _said(), LimitError),
        ({}, _said(version=1), UnsupportedError),
        ({}, _said(classifier="forest"), UnsupportedError),
        ({}, _said(classifier=["knn"]), UnsupportedError),
        ({}, _said(classifier="knn"), CorruptError),
        (_near(), _said(classifier="knn", tags=["a"]), CorruptError),
        (_near(file=np.array([0, 2, 2])), _said(classifier="knn"), CorruptError),
        (_near(file=np.array([1, 1, 2])), _said(classifier="knn"), CorruptError),
        (_near(file=np.array([0, 1, 0])), _said(classifier="knn"), CorruptError),
        (_near(file=np.array([-(2**31), 0, 1])), _said(classifier="knn"), CorruptError),
        (_near(truth=np.full((3, 2), 2)), _said(classifier="knn"), CorruptError),
        (_near(vectors=np.zeros((3, 63))), _said(classifier="knn"), CorruptError),
        (
            _near(vectors=np.zeros((0, 64)), truth=np.zeros((0, 2)), file=np.zeros(0)),
            _said(classifier="knn"),
            CorruptError,
        ),
        ({}, _said(extractor="frame64-1:0000"), UnsupportedError),
        ({}, _said(extractor=5), UnsupportedError),
    ],
)
def test_files_of_strangers(
    tmp_path: Path, arrays: dict[str, np.ndarray], text: dict[str, str], error: type[LvcError]
) -> None:
    good = {"weights": np.zeros((2, 64), np.float32), "bias": np.zeros(2, np.float32), "mean": np.zeros(64, np.float32)}
    path = tmp_path / "tags.safetensors"
    safetensors_file.save(path, {name: (a.dtype.name, a) for name, a in (good | arrays).items()}, text)
    with pytest.raises(error):
        load_tags(path)


def test_the_nearest_videos_have_a_say() -> None:
    """Not the nearest moments: one long video does not outvote others, and a rare tag can be found."""
    videos = {f"v{n}": moments(cloud(n // 3, 60 if n == 0 else 2, n)) for n in range(9)}
    rows = [Label(n + 2, f"v{n}", {0: "a", 1: "a", 4: "b"}.get(n, "")) for n in range(9)]
    model = fit_tags(examples(rows, videos.__getitem__), "knn")
    assert isinstance(model, NearestTags) and NEAREST == 5 and len(np.unique(model.file)) == 9
    near = {axis: model.scores(quantise(cloud(axis, 1, 50).astype(np.float32)))[0] for axis in range(3)}
    # two of the three along axis 0 have a; one of the three along axis 1 has b; nothing else has any
    assert near[0][0] > 0.8 and near[0][1] < 0.05
    assert near[1][0] < 0.05 and 0.5 < near[1][1] < near[0][0]
    assert near[2].max() < 0.05
    assert np.array_equal(model.scores(np.zeros((1, 64), np.int8)), np.zeros((1, 2), np.float32))


def test_files_that_are_cut_off_or_something_else(model: TagModel, tmp_path: Path) -> None:
    path = tmp_path / "tags.safetensors"
    with pytest.raises(MediaError, match="lvc tag fit"):
        load_tags(path)
    model.save(path)
    data = path.read_bytes()
    for part in (b"", data[:7], data[:100], data[:-1], b"\xff" * 8 + data[8:], b"RIFF" + data):
        path.write_bytes(part)
        with pytest.raises(CorruptError):
            load_tags(path)


@pytest.mark.slow
def test_real_clips(bikes: Path, tmp_path: Path) -> None:
    """Which of two clips an excerpt is from: learnt on one half, asked of the other, small and badly coded."""
    carphone = real_clip(CARPHONE)
    rows = [Label(2, str(bikes), "street", 0, 5), Label(3, str(carphone), "talk", 0, 2)]
    parts = {str(bikes): moments_of(bikes).between(0, 5), str(carphone): moments_of(carphone).between(0, 2)}
    model = fit_tags(examples(rows, parts.__getitem__))
    street = model.tag(moments_of(excerpt(bikes, tmp_path / "street.mp4", 6, 3, crf=36)))
    talk = model.tag(moments_of(excerpt(carphone, tmp_path / "talk.mp4", 2.2, 1.6, crf=36, mirrored=True)))
    assert {t.tag for t in street} == {"street"} and sum(t.end - t.start for t in street) > 2
    assert {t.tag for t in talk} == {"talk"} and sum(t.end - t.start for t in talk) > 1


@pytest.mark.slow
def test_in_the_database(library: Path, tmp_path: Path, model: TagModel) -> None:
    """Tags are kept with their file, replaced by name, gone with the file, and narrow a query."""
    bikes, excerpt = str(library / "bikes.mp4"), str(library / "more" / "excerpt.mkv")
    with Database(tmp_path / "db", create=True) as database:
        index_folders([library], database)
        database.put_tags(bikes, ["street"], [Tagged("street", 0, 2, 0.9), Tagged("street", 8, 10, 0.8)])
        database.put_tags(excerpt, ["street"], [Tagged("street", 0, 5, 0.7)])
        database.put_tags(bikes, ["day"], [Tagged("day", 0, 10, 1.0)])
        database.put_tags("/nowhere.mp4", ["day"], [Tagged("day", 0, 10, 1.0)])
        assert {path: len(found) for path, found in database.tags().items()} == {bikes: 3, excerpt: 1}
        database.put_tags(bikes, ["street"], [Tagged("street", 0, 2, 0.9)])
        street = database.tags("street")
        assert street == {bikes: [Tagged("street", 0, 2, 0.9)], excerpt: [Tagged("street", 0, 5, 0.7)]}
        with pytest.raises(UsageError, match="no video in the database has the tag 'night'"):
            database.tags("night")
        asked = moments_of(bikes, 4.0, 7.0, QUERY_SPACING)
        assert Path(query(database.load(), asked, 5)[0].path).name == "bikes.mp4"
        hits = query(database.load(street), asked, 5, tagged=street)
        assert [Path(hit.path).name for hit in hits] == ["excerpt.mkv"]  # bikes is no street from 4 to 7 s
        with SearchIndex(tmp_path / "db", create=False) as index:
            assert [hit.path for hit in index.find(bikes, 4.0, 7.0, tag="street")] == [excerpt]
            assert [hit.path for hit in index.similar(excerpt, tag="street")] == [bikes]
            assert [hit.path for hit in index.similar(excerpt, tag="day")] == [bikes]
            with pytest.raises(UsageError, match="night"):
                index.find(bikes, 4.0, tag="night")
        database.put(bikes, Known(1, 1, "unreadable"), None)
        assert set(database.tags()) == {excerpt}
        database.remove([excerpt])
        assert database.tags() == {}
