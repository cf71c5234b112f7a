"""The whole run with a stand-in for lvc: x264 in disguise, in this process, so that no model is needed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from rich.console import Console

from lvc.errors import CorruptError, LvcError, MediaError, UnsupportedError, UsageError
from lvc.evaluation import anchors, judge, measure, run, worker
from lvc.evaluation.measure import Workers
from lvc.evaluation.plan import Plan, codecs
from lvc.evaluation.planes import Picture, to_frame
from lvc.evaluation.point import FIELDS, Point
from lvc.evaluation.rawfile import read_pictures, write_picture
from lvc.evaluation.reference import make_reference
from lvc.evaluation.source import ClipFormat, Source
from lvc.evaluation.store import Store
from lvc.evaluation.table import means_table, point_table, verdict_table, write_csv
from lvc.evaluation.timing import Arrivals
from lvc.evaluation.verdicts import verdicts
from lvc.models.store import default_model_path
from lvc.results import Facts

VIDEO = ClipFormat(96, 64, Fraction(1, 25), Fraction(25))


def pictures(count: int = 12, width: int = 96, height: int = 64) -> list[Picture]:
    """A textured ground that moves, with noise."""
    rng = np.random.default_rng(7)
    half = (height + 1) // 2, (width + 1) // 2
    rows, columns = np.ogrid[: height + count, : width + 2 * count]
    ground = 120 + 50 * np.sin(rows / 3 + columns / 17) * np.cos(columns / 5) + 30 * np.sin(columns * rows / 90)
    out = []
    for i in range(count):
        y = ground[i : i + height, 2 * i : 2 * i + width] + rng.normal(0, 2, (height, width))
        out.append(Picture(y.clip(0, 255).astype(np.uint8), *(np.full(half, v, np.uint8) for v in (110, 140)), pts=i))
    return out


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "moving.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for p in pictures():
            frame = to_frame(p)
            frame.pts, frame.time_base = p.pts, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def disguised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Workers run in this process, and lvc's jobs are x264's at CRF 60 - quality / 2. What was done, by name."""
    seen: dict[str, str] = {}
    asked: list[str] = []

    def encode(job: dict[str, Any]) -> dict[str, Any]:
        if job["settings"]["quality"] == 13:
            raise CorruptError("an unlucky number — take another")
        seen[job["dst"]] = job["src"]
        crf = 60 - job["settings"]["quality"] / 2
        return worker.anchor_encode(job | {"codec": "x264:ultrafast", "settings": {"crf": crf}})

    def decode(job: dict[str, Any]) -> dict[str, Any]:
        return worker.anchor_decode(job | {"codec": "x264:ultrafast", "reference": seen[job["src"]]})

    def ask(self: Workers, order: dict[str, Any]) -> tuple[dict[str, Any], float]:
        asked.append(f"{order['codec']} {order['job']}")
        stand_in = {"lvc encode": encode, "lvc decode": decode}.get(asked[-1])
        name = "lvc" if order["codec"] == "lvc" else "anchor"
        return {"rss": 2**20, **(stand_in or worker.JOBS[name, order["job"]])(order)}, 1.2

    monkeypatch.setattr(Workers, "ask", ask)
    monkeypatch.setattr(run, "verify_file", lambda path: Facts({"overhead_bytes": 9}))
    return asked


def all_points(clip: Path, plan: Plan, folder: Path) -> list[Point]:
    return list(run.evaluate({clip: clip.name}, plan, Store(folder)))


def test_points_sizes_and_verdicts(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    plan = Plan([30, 50, 70], [anchors.Anchor("x264", "medium", 1)], frames=10, threads=1)
    points = all_points(clip, plan, tmp_path)
    assert [p.codec for p in points] == ["lvc", "x264:medium"] * 3
    assert not [p.error for p in points if p.error]
    assert {(p.frames, p.width, p.height) for p in points} == {(10, 96, 64)}
    for lvc, anchor in zip(points[::2], points[1::2], strict=True):
        assert anchor.target_bytes == lvc.bytes
        # A clip this small: one step of CRF is several per cent.
        assert anchor.size_match is not None and abs(anchor.size_match) < 0.2
        assert lvc.quality and anchor.quality and len(lvc.per_frame) == 10
    found = verdicts(points)
    assert [v.metric for v in found] == ["psnr_611", "psnr_y", "ssim_y"]
    verdict = found[0]
    assert verdict.rate.value is not None and verdict.rate.value > 0  # ultrafast needs more bits than medium
    record = points[0].record(per_frame=True)
    assert set(record) - {"per_frame"} <= set(FIELDS)
    json.dumps(record, allow_nan=False)
    with (tmp_path / "points.csv").open("w+") as file:
        write_csv(file, points)
        file.seek(0)
        assert len(file.readlines()) == 7
    console = Console(width=160, file=(tmp_path / "table.txt").open("w+"))
    console.print(point_table(points), verdict_table(found), means_table(points))
    console.file.seek(0)
    text = console.file.read()
    console.file.close()
    assert "x264:medium" in text and f"{points[0].bpp:.4f}" in text


def test_a_failing_point_or_clip_leaves_the_rest_standing(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    plan = Plan([13, 50], [anchors.Anchor("x264", "nonsense", 1)], frames=4, threads=1)
    clips = {tmp_path / "absent.mp4": "absent.mp4", clip: clip.name}
    missing, bad, good, anchor = run.evaluate(clips, plan, Store(tmp_path))
    assert bad.exit_code == CorruptError.exit_code and "unlucky" in bad.error
    assert good.error == "" and anchor.exit_code == MediaError.exit_code
    assert missing.exit_code == MediaError.exit_code
    assert verdicts([bad, good, anchor, missing]) == []


def test_missing_and_extra_frames_are_errors(
    clip: Path, disguised: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fewer(path: Path, *size: int) -> Iterator[Picture]:
        return iter(list(read_pictures(path, *size))[:-1])

    def more(path: Path, *size: int) -> Iterator[Picture]:
        return iter([*read_pictures(path, *size), *read_pictures(path, *size)])

    for reader, message in ((fewer, "only 3 frames"), (more, "more than 4 frames")):
        monkeypatch.setattr(judge, "read_pictures", reader)
        (point,) = all_points(clip, Plan([50], frames=4, threads=1), tmp_path / message)
        assert message in point.error


def test_finished_points_are_not_measured_again(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    anchor = anchors.Anchor("x264", "ultrafast", 1)
    plan = Plan([30, 60], [anchor], frames=4, threads=1, pictures=True)
    first = all_points(clip, plan, tmp_path)
    assert not [p.error for p in first if p.error] and disguised
    disguised.clear()
    again = all_points(clip, plan, tmp_path)
    assert again == first and disguised == []
    for name in again[0].pictures.values():
        (tmp_path / "pictures" / name).unlink()
    next((tmp_path / "points").glob("*.json")).write_text("{")  # cut off, or another version's
    all_points(clip, plan, tmp_path)
    assert "lvc encode" in disguised
    disguised.clear()
    all_points(clip, replace(plan, qualities=[30, 60, 70]), tmp_path)
    assert disguised[0] == "lvc encode" and disguised.count("lvc encode") == 1
    disguised.clear()
    with clip.open("ab") as file:  # another content is another clip
        file.write(b"more")
    all_points(clip, plan, tmp_path)
    assert disguised.count("lvc encode") == 2


def test_several_jobs_bring_the_same_points(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    plan = Plan([30, 50, 70], [anchors.Anchor("x264", "ultrafast", 1)], frames=4, threads=1)
    other = tmp_path / "other.mkv"
    other.write_bytes(clip.read_bytes())
    clips = {clip: clip.name, other: other.name}
    one = list(run.evaluate(clips, plan, Store(tmp_path / "one")))
    two = list(run.evaluate(clips, replace(plan, jobs=3), Store(tmp_path / "two")))
    ordered = run.in_order(two, clips, plan)
    assert [(p.clip, p.codec, p.at) for p in ordered] == [(p.clip, p.codec, p.at) for p in one]
    lvc = [[(p.bytes, p.quality) for p in points if p.is_lvc] for points in (one, ordered)]
    assert lvc[0] == lvc[1]


def test_leaving_early_ends_the_processes(clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Workers] = []

    def ask(self: Workers, order: dict[str, Any]) -> tuple[dict[str, Any], float]:
        started.append(self)
        while not self._stopped:
            time.sleep(0.01)
        raise RuntimeError("ended")

    def one_of_two(self: Any, quality: float) -> Iterator[Point]:
        if quality == 1:
            yield Point("a", "lvc", 1, 1)
        else:
            yield from original(self, quality)

    original = run._Clip.points
    monkeypatch.setattr(Workers, "ask", ask)
    monkeypatch.setattr(run._Clip, "points", one_of_two)
    running = run.evaluate({clip: "a"}, Plan([1, 2, 3], frames=4, threads=1, jobs=2), Store(tmp_path))
    assert next(running).setting == 1
    running.close()  # would hang if the processes went on
    assert all(w._stopped for w in started)
    with pytest.raises(RuntimeError, match="not begun"):
        stopped = Workers()
        stopped.stop()
        monkeypatch.undo()
        stopped.ask({"codec": "lvc", "job": "encode"})


def test_several_models_are_told_apart(disguised: list[str], clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(default_model_path().read_bytes() + b"\0")  # another hash, and never loaded here
    with pytest.raises(UsageError, match="twice"):
        codecs([str(other), str(other)])
    labels = [c.label for c in codecs([None, str(other)])]
    assert labels == ["lvc:default", "lvc:other"]
    plan = Plan([30], models=[None, str(other)], frames=4, threads=1)
    assert [p.codec for p in all_points(clip, plan, tmp_path / "store")] == labels


@pytest.mark.parametrize("size", [(96, 64), (75, 53)])
@pytest.mark.parametrize("name", ["x264:veryfast", "x265:ultrafast", "svtav1:12", "vvc:faster"])
def test_anchors_write_files_and_read_them_back(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    anchor = anchors.Anchor.parse(name, 1)
    if missing := anchors.why_not(anchor):
        pytest.skip(missing)
    frames = pictures(3, *size)
    video = ClipFormat(*size, Fraction(1, 25), Fraction(25))
    done = anchors.encode(frames, video, anchor, 20, tmp_path / f"a{anchor.family.suffix}")
    assert done.bytes == done.path.stat().st_size > 0 and done.frames == 3
    if hasattr(os, "sched_getscheduler"):  # SVT-AV1 would have made this thread real-time, if root runs the tests
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    decoded, key_frames = zip(*anchors.decode_marked(done.path, anchor, video), strict=True)
    assert len(decoded) == 3 and sum(key_frames) == 1
    assert decoded[0].y.shape == size[::-1] and decoded[0].u.shape == frames[0].u.shape
    assert abs(decoded[2].y.astype(int) - frames[2].y).mean() < 12


def test_at_size_meets_the_size(tmp_path: Path) -> None:
    anchor, frames = anchors.Anchor("x264", "ultrafast", 1), pictures(8)
    sizes: dict[float, int] = {}

    def size_of(crf: float) -> int:
        sizes[crf] = anchors.encode(frames, VIDEO, anchor, crf, tmp_path / "a.h264").bytes
        return sizes[crf]

    target = size_of(23.5)
    sizes.clear()
    best = anchors.at_size(size_of, target, anchor.family, start=40)
    assert abs(sizes[best] / target - 1) < 0.02
    assert len(sizes) <= 12
    known = dict(sizes)
    sizes.clear()
    assert anchors.at_size(size_of, target, anchor.family, known=known) == best and not sizes
    assert anchors.at_size(size_of, 1, anchor.family) == 51  # out of reach: the nearest


def test_unknown_and_unavailable_anchors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vp8"):
        anchors.Anchor.parse("vp8:good")
    assert anchors.why_not(anchors.Anchor("x264", "medium")) is None
    monkeypatch.setattr(anchors.av, "codecs_available", set())
    with pytest.raises(UnsupportedError, match="no libx264"):
        anchors.encode([], VIDEO, anchors.Anchor("x264", "medium"), 20, tmp_path / "a.h264")


def test_reference_is_the_source_unless_it_is_cut_or_scaled(clip: Path, tmp_path: Path) -> None:
    assert make_reference(clip, tmp_path).path == clip
    cut = make_reference(clip, tmp_path, frames=5)
    assert cut.path != clip and cut.format.rate == 25
    for a, b in zip(cut, pictures(5), strict=True):
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.v, b.v)
        assert a.pts * cut.format.time_base == Fraction(b.pts, 25)
    small = make_reference(clip, tmp_path, max_height=32)
    assert (small.format.width, small.format.height) == (48, 32)
    assert next(iter(small)).y.shape == (32, 48)


def test_raw_yuv_gets_its_size_from_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bare_96x64_30.yuv"
    with path.open("wb") as file:
        for p in pictures(3):
            write_picture(file, p)
    source = Source(path)
    assert source.format.rate == 30
    for a, b in zip(source, pictures(3), strict=True):
        np.testing.assert_array_equal(a.y, b.y)
    path.rename(tmp_path / "bare.yuv")
    with pytest.raises(MediaError, match="size in its name"):
        Source(tmp_path / "bare.yuv")


def test_rawfile_round_trip_and_short_file(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    with path.open("wb") as file:
        for p in pictures(2, 75, 53):
            write_picture(file, p)
    for a, b in zip(read_pictures(path, 75, 53), pictures(2, 75, 53), strict=True):
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.v, b.v)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="within picture 1"):
        list(read_pictures(path, 75, 53))


def test_steady_fps_ignores_the_start_and_bursts() -> None:
    arrivals = Arrivals()
    arrivals.times = [3 + 8 * (i // 8 + 1) / 40 for i in range(160)]  # 3 s of loading, clips of 8 at 40 fps
    assert arrivals.steady_fps() == pytest.approx(40, rel=0.01)
    arrivals.times = arrivals.times[:8]
    assert arrivals.steady_fps() is None
    arrivals(20)
    assert len(arrivals.times) == 20


def test_worker_process_answers_with_figures_or_with_the_error(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.h264"
    done = Workers().measure("encode", "x264:ultrafast", clip, out, threads=1, settings={"crf": 30})
    assert done.frames == 12 and done.fps and done.fps_process < done.fps
    assert 10 * 2**20 < done.rss < 2**31
    with pytest.raises(MediaError, match="cannot be opened"):
        Workers().measure("encode", "x264:medium", tmp_path / "absent.mkv", out, threads=1, settings={"crf": 30})


def test_errors_of_workers_keep_their_exit_code() -> None:
    for code in range(1, 10):
        error = measure.error_of(code, "what — do")
        assert str(error) == "what — do"
        assert isinstance(error, LvcError) == (code != 1)
        if 2 <= code <= 7:
            assert isinstance(error, LvcError) and error.exit_code == code


def test_a_worker_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="died with status 1"):
        Workers().measure("encode", "x264:medium", clip, tmp_path / "a.h264", threads=1)


def test_point_without_frames_has_no_size_problem() -> None:
    assert Point("a", "lvc", 50).bpp == 0


@pytest.mark.parametrize("name", ["x264:medium", "x265:ultrafast"])
def test_encoders_are_not_charged_for_writing_about_themselves(name: str, tmp_path: Path) -> None:
    anchor = anchors.Anchor.parse(name, 1)
    if missing := anchors.why_not(anchor):
        pytest.skip(missing)
    done = anchors.encode(pictures(1), VIDEO, anchor, 30, tmp_path / "a")
    assert anchor.name.encode() not in done.path.read_bytes()
