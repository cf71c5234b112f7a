"""The whole run with a stand-in for lvc: x264 in disguise, in this process, so that no model is needed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvc.errors import CorruptError, MediaError, UsageError
from lvc.evaluation import anchors, judge, run, worker
from lvc.evaluation.measure import Measured, Workers
from lvc.evaluation.metrics import FrameQuality, compare
from lvc.evaluation.plan import Plan, codecs
from lvc.evaluation.planes import Picture
from lvc.evaluation.point import FIELDS, Point
from lvc.evaluation.rawfile import read_pictures
from lvc.evaluation.source import Source
from lvc.evaluation.store import CODEC_ROOMS, PACKAGE, Store, hash_of_codec, hash_of_measuring
from lvc.evaluation.table import means_table, point_table, verdict_table, write_csv
from lvc.evaluation.verdicts import dataset_means, verdicts
from lvc.models.store import default_model_path
from tests.helpers.small_models import model_file


def all_points(clip: Path, plan: Plan, folder: Path) -> list[Point]:
    return list(run.evaluate({clip: clip.name}, plan, Store(folder)))


@pytest.mark.slow
def test_what_runs_is_told_while_it_runs(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    told: list[str] = []
    plan = Plan([50], [anchors.Anchor("x264", "ultrafast", 1)], frames=4, threads=1)
    points = run.evaluate({clip: "a.mkv"}, plan, Store(tmp_path), lambda name, what: told.append(f"{name}: {what}"))
    next(points)
    lvc = [f"a.mkv: lvc at 50: {what}" for what in ("encoding", "decoding", "comparing")]
    assert told[:4] == ["a.mkv: opening", *lvc]
    next(points)
    assert told[4].startswith("a.mkv: x264:ultrafast CRF ") and told[4].endswith(": encoding")
    assert told[-2].endswith(": decoding") and told[-1].endswith(": comparing")
    points.close()


def test_points_sizes_and_verdicts(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    plan = Plan([30, 50, 70], [anchors.Anchor("x264", "medium", 1)], frames=10, threads=1)
    points = all_points(clip, plan, tmp_path)
    assert [p.codec for p in points] == ["lvc", "x264:medium"] * 3
    assert not [p.error for p in points if p.error]
    assert {(p.frames, p.width, p.height) for p in points} == {(10, 96, 64)}
    for lvc, anchor in zip(points[::2], points[1::2], strict=True):
        assert anchor.target_bytes == lvc.bytes == lvc.file_bytes - 9 and anchor.bytes == anchor.file_bytes
        # A clip this small: one step of CRF is several per cent.
        assert anchor.size_match is not None and abs(anchor.size_match) < 0.2
        assert lvc.quality and anchor.quality and len(lvc.per_frame) == 10
    found = verdicts(points)
    assert [v.metric for v in found] == ["psnr_y", "ssim_y", "psnr_yuv", "psnr_611"]
    verdict = found[0]
    assert verdict.rate.value is not None and verdict.rate.value > 0  # ultrafast needs more bits than medium
    record = points[0].record(per_frame=True)
    assert set(record) - {"per_frame"} <= set(FIELDS)
    json.dumps(record, allow_nan=False)
    with (tmp_path / "points.csv").open("w+") as file:
        write_csv(file, points)
        file.seek(0)
        assert len(file.readlines()) == 7
    text = "".join(grid.text(160).plain for grid in (point_table(points), verdict_table(found), means_table(points)))
    assert "x264:medium" in text and f"{points[0].bpp:.4f}" in text


def test_ten_bits_are_compared_in_ten_bits(deep_clip: Path, disguised: list[str], tmp_path: Path) -> None:
    plan = Plan([50], [anchors.Anchor("x264", "ultrafast", 1)], frames=4, threads=1)
    points = all_points(deep_clip, plan, tmp_path)
    assert not [p.error for p in points if p.error]
    assert {p.record()["bit_depth"] for p in points} == {10}
    assert "deep.mkv (10 bits)" in point_table(points).text(160).plain


@pytest.mark.slow
def test_lvc_codes_and_decodes_at_the_sources_depth(clip: Path, deep_clip: Path, tmp_path: Path) -> None:
    for source, depth in ((clip, 8), (deep_clip, 10)):
        job = {"threads": 1, "settings": {"model": str(model_file()), "quality": 60, "features": False}}
        coded, raw = tmp_path / f"{depth}.lvz", tmp_path / f"{depth}.raw"
        worker.lvc_encode(job | {"src": str(source), "dst": str(coded)})
        told = worker.lvc_decode(job | {"src": str(coded), "dst": str(raw), "reference": str(source)})
        decoded = read_pictures(raw, 96, 64, depth)
        assert told["size"] == (64, 96) and compare(Source(source), decoded).clip().psnr_y > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x264:medium", "vvc:faster"])
def test_whole_files_are_compared_with_whole_files(clip: Path, disguised: list[str], name: str, tmp_path: Path) -> None:
    """Video bytes on both sides, or files on both sides: then the anchor's container counts too."""
    anchor = anchors.Anchor.parse(f"{name}@30", 1)
    if missing := anchors.why_not(anchor):
        pytest.skip(missing)
    video = Plan([50], [anchor], frames=8, threads=1, side_by_side=True)
    store = Store(tmp_path)  # what was stored in one way is not taken for the other
    (a, same, bare), (b, same_file, mp4) = (
        list(run.evaluate({clip: "a"}, plan, store)) for plan in (video, replace(video, whole_files=True))
    )
    assert not [p.error for p in (a, same, bare, b, same_file, mp4) if p.error]
    assert a.bytes == a.file_bytes - 9 and b.bytes == b.file_bytes == a.file_bytes
    assert same.target_bytes == a.bytes and same_file.target_bytes == b.bytes
    assert same_file.bytes == same_file.file_bytes
    assert bare.quality == mp4.quality and bare.decode and mp4.decode
    assert bare.decode.key_frames == mp4.decode.key_frames
    assert 500 < mp4.bytes - bare.bytes < 3000 and mp4.bytes == mp4.file_bytes  # an MP4's boxes
    assert {p.record()["file_bytes"] for p in (b, mp4)} == {b.bytes, mp4.bytes}


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_leaving_early_ends_the_processes(clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Workers] = []

    def ask(self: Workers, order: dict[str, Any]) -> tuple[dict[str, Any], float]:
        started.append(self)
        while not self._stopped:
            time.sleep(0.01)
        raise RuntimeError("ended")

    def one_of_two(self: Any, quality: float) -> Iterator[Point]:
        if quality == 1:
            while not started:  # a process of the second job runs when the first point comes
                time.sleep(0.01)
            yield Point("a", "lvc", 1, 1)
        else:
            yield from original(self, quality)

    original = run._Clip.points
    monkeypatch.setattr(Workers, "ask", ask)
    monkeypatch.setattr(run._Clip, "points", one_of_two)
    running = run.evaluate({clip: "a"}, Plan([1, 2, 3], frames=4, threads=1, jobs=2), Store(tmp_path))
    assert next(running).setting == 1
    running.close()  # would hang if the processes went on
    assert started and all(w._stopped for w in started)
    with pytest.raises(RuntimeError, match="not begun"):
        stopped = Workers()
        stopped.stop()
        monkeypatch.undo()
        stopped.ask({"codec": "lvc", "job": "encode"})


@pytest.mark.slow
def test_several_models_are_told_apart(disguised: list[str], clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(default_model_path().read_bytes() + b"\0")  # another hash, and never loaded here
    with pytest.raises(UsageError, match="twice"):
        codecs([str(other), str(other)])
    labels = [c.label for c in codecs([None, str(other)])]
    assert labels == ["lvc:default", "lvc:other"]
    plan = Plan([30], models=[None, str(other)], frames=4, threads=1)
    assert [p.codec for p in all_points(clip, plan, tmp_path / "store")] == labels


@pytest.mark.slow
def test_anchors_at_crfs_of_their_own(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    fixed, matched = anchors.Anchor("x264", "medium", 1, (20, 35)), anchors.Anchor("x264", "veryfast", 1)
    plan = Plan([30, 50, 70], [fixed, matched], frames=4, threads=1)
    points = all_points(clip, plan, tmp_path / "a")
    assert len(points) == plan.points_per_clip == 8
    assert [(p.codec, p.setting) for p in points[6:]] == [("x264:medium", 20), ("x264:medium", 35)]
    assert all(p.at is None and p.target_bytes is None and p.size_match is None for p in points[6:])
    assert points[6].bytes > 2 * points[7].bytes and points[6].quality and points[7].quality
    assert points[6].quality.psnr_y > points[7].quality.psnr_y + 3
    assert run.in_order(points[::-1], {clip: clip.name}, plan)[6:] == points[6:]
    rows = dataset_means(points)
    assert [(r["codec"], r["at"], r["crf"]) for r in rows][-2:] == [
        ("x264:medium", None, 20),
        ("x264:medium", None, 35),
    ]
    beside = replace(plan, side_by_side=True)
    points = all_points(clip, beside, tmp_path / "a")
    assert len(points) == beside.points_per_clip == 9
    (same_size,) = [p for p in points if p.codec == "x264:medium" and p.at is not None]
    assert same_size.at == beside.shown == 50 and same_size.target_bytes == points[2].bytes


@pytest.mark.slow
def test_the_anchors_alone(clip: Path, disguised: list[str], tmp_path: Path) -> None:
    plan = Plan([], [anchors.Anchor("x264", "medium", 1, (20, 30, 40))], frames=4, threads=1)
    absent = tmp_path / "absent.mp4"
    points = list(run.evaluate({absent: "absent.mp4", clip: clip.name}, plan, Store(tmp_path)))
    assert [(p.codec, p.setting, bool(p.error)) for p in points] == [
        ("x264:medium", 0, True), ("x264:medium", 20, False), ("x264:medium", 30, False), ("x264:medium", 40, False)
    ]  # fmt: skip
    assert "lvc encode" not in disguised and verdicts(points) == []
    assert run.in_order(points[::-1], {absent: "absent.mp4", clip: clip.name}, plan)[0].told == "x264:medium"


@pytest.mark.slow
def test_points_of_anchors_outlive_lvc_and_not_what_they_are_made_of(
    clip: Path, disguised: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "lvc"
    for room in (*CODEC_ROOMS, "cli", "evaluation", "training"):
        shutil.copytree(PACKAGE / room, package / room, ignore=shutil.ignore_patterns("__pycache__", "page"))
    monkeypatch.setattr(run, "hash_of_codec", lambda: hash_of_codec.__wrapped__(package))
    monkeypatch.setattr(run, "hash_of_measuring", lambda: hash_of_measuring.__wrapped__(package))
    plan = Plan([50], [anchors.Anchor("x264", "medium", 1, (20, 35))], frames=4, threads=1, side_by_side=True)

    def asked() -> set[str]:
        """Which codecs had to be encoded."""
        disguised.clear()
        points = all_points(clip, plan, tmp_path / "store")
        assert len(points) == 4 and not [p.error for p in points if p.error]
        return {order.split()[0] for order in disguised if "encode" in order}

    def change(name: str, text: str = "\nCHANGED = 1\n") -> None:
        path = package / name
        path.write_text(path.read_text() + text)

    assert asked() == {"lvc", "x264:medium"} and asked() == set()
    for room in CODEC_ROOMS:
        change(f"{room}/__init__.py")
        assert asked() == {"lvc"}, room
    for name in ("cli/eval", "evaluation/report", "evaluation/run", "training/__init__"):
        change(f"{name}.py")
    change("evaluation/metrics.py", '\n# nothing but a comment\n"""and a docstring"""\n')
    assert asked() == set()
    change("evaluation/metrics.py")
    assert asked() == {"lvc", "x264:medium"}
    monkeypatch.setattr(run, "encoder_version", lambda anchor: "libx264 of tomorrow")
    assert asked() == {"x264:medium"}
    monkeypatch.setattr(run, "decoders", lambda metrics: ["PyAV of tomorrow"])
    assert asked() == {"lvc", "x264:medium"}
    plan = replace(plan, threads=2)
    assert asked() == {"lvc", "x264:medium"}


@pytest.mark.slow
def test_steady_speeds_are_means_over_clips_where_everybody_has_one() -> None:
    def point(clip: str, codec: str, steady: float | None, whole: float) -> Point:
        quality, speed = FrameQuality(40, 40, 40, 40), Measured(60, steady, whole, 1)
        return Point(clip, codec, 30, 30, 96, 64, 25, 60, 1000, quality=quality, encode=speed, decode=speed)

    points = [
        point("long", "lvc", 20, 10), point("long", "x264:medium", 80, 40),
        point("short", "lvc", None, 6), point("short", "x264:medium", 200, 60),
    ]  # fmt: skip
    rows = {row["codec"]: row for row in dataset_means(points)}
    assert rows["lvc"]["encode_fps"] == 20 and rows["x264:medium"]["encode_fps"] == 80
    assert rows["lvc"]["encode_fps_process"] == 8 and rows["x264:medium"]["encode_fps_process"] == 50
    assert dataset_means(points[2:])[1]["encode_fps"] is None
