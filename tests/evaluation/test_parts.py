"""The parts of a run: sources, anchors with their files, worker processes, speeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lvc.errors import LvcError, MediaError, UnsupportedError, UsageError
from lvc.evaluation import anchors, measure
from lvc.evaluation.measure import Workers
from lvc.evaluation.metrics import squared_error
from lvc.evaluation.planes import Picture
from lvc.evaluation.point import Point
from lvc.evaluation.rawfile import read_pictures
from lvc.evaluation.reference import make_reference
from lvc.evaluation.source import ClipFormat, Source
from lvc.evaluation.timing import Arrivals
from lvc.media.ffmpeg import write_picture

VIDEO = ClipFormat(96, 64, Fraction(1, 25), Fraction(25))

Make = Callable[..., list[Picture]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "size", "depth"),
    [("", (96, 64), 8), ("", (75, 53), 8), (".mp4", (96, 64), 8), (".mp4", (75, 53), 8), ("", (75, 53), 10)],
)
@pytest.mark.parametrize("name", ["x264:veryfast", "x265:ultrafast", "svtav1:12", "vvc:faster"])
def test_anchors_write_files_and_read_them_back(
    pictures: Make, name: str, suffix: str, size: tuple[int, int], depth: int, tmp_path: Path
) -> None:
    anchor = anchors.Anchor.parse(name, 1)
    if missing := anchors.why_not(anchor):
        pytest.skip(missing)
    frames = pictures(3, *size, depth=depth)
    video = ClipFormat(*size, Fraction(1, 25), Fraction(25), bit_depth=depth)
    done = anchors.encode(frames, video, anchor, 20, tmp_path / f"a{suffix or anchor.family.suffix}")
    assert done.bytes == done.path.stat().st_size > 0 and done.frames == 3
    if hasattr(os, "sched_getscheduler"):  # SVT-AV1 would have made this thread real-time, if root runs the tests
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    decoded, key_frames = zip(*anchors.decode_marked(done.path, anchor, video), strict=True)
    assert (b"ftyp" in done.path.read_bytes()[:8]) == (suffix == ".mp4")
    assert len(decoded) == 3 and sum(key_frames) == 1
    assert decoded[0].y.shape == size[::-1] and decoded[0].u.shape == frames[0].u.shape
    assert abs(decoded[2].y.astype(int) - frames[2].y).mean() < 12 * 2 ** (depth - 8)
    assert decoded[0].y.dtype == frames[0].y.dtype and (depth == 8 or (decoded[0].y & 3).any())


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_x264_codes_whole_pictures_with_any_number_of_threads(pictures: Make, threads: int, tmp_path: Path) -> None:
    """As x264 does by itself: a picture cut into slices, one for each thread, takes more bits."""
    video = ClipFormat(96, 288, Fraction(1, 25), Fraction(25))  # pictures of few rows are never cut
    anchor = anchors.Anchor.parse("x264:medium", threads)
    done = anchors.encode(pictures(8, 96, 288), video, anchor, 30, tmp_path / "a.h264")
    stream = done.path.read_bytes()
    kinds = [unit[0] & 31 for unit in stream.split(b"\0\0\1")[1:]]
    assert sum(kind in (1, 5) for kind in kinds) == 8


def test_x264s_file_does_not_depend_on_what_memory_held(pictures: Make, tmp_path: Path) -> None:
    """x264's macroblock tree in AVX-512 reads beyond what it wrote. glibc fills memory with `MALLOC_PERTURB_`."""
    raw = tmp_path / "moving_96x64_25.yuv"
    with raw.open("wb") as file:
        for picture in pictures(8):
            write_picture(file, picture)
    order = {"job": "encode", "codec": "x264:medium", "src": str(raw), "threads": 1, "settings": {"crf": 30}}
    files = []
    for filling in ("1", "254"):
        path = tmp_path / f"{filling}.h264"
        subprocess.run(
            [sys.executable, "-m", "lvc.evaluation.worker", json.dumps(order | {"dst": str(path)})],
            env=os.environ | {"MALLOC_PERTURB_": filling}, check=True,
        )  # fmt: skip
        files.append(path.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_a_tune_is_part_of_the_name_and_reaches_the_encoder(pictures: Make, name: str, tmp_path: Path) -> None:
    plain, tuned = (anchors.Anchor.parse(f"{name}:faster{tune}@30", 1) for tune in ("", ":psnr"))
    if missing := anchors.why_not(plain):
        pytest.skip(missing)
    assert (str(plain), str(tuned)) == (f"{name}:faster", f"{name}:faster:psnr") and tuned.crfs == (30,)
    assert anchors.Anchor.parse(str(tuned)).tune == "psnr"  # so a worker is told of it
    files, errors = [], []
    for anchor in (plain, tuned):
        done = anchors.encode(pictures(8), VIDEO, anchor, 30, tmp_path / str(anchor))
        files.append(done.path.read_bytes())
        decoded = anchors.decode(done.path, anchor, VIDEO)
        errors.append(sum(squared_error(a.y, b.y) for a, b in zip(pictures(8), decoded, strict=True)) * len(files[-1]))
    assert files[0] != files[1]
    with pytest.raises(UsageError, match=f"write {name}:faster:psnr or"):
        anchors.Anchor.parse(f"{name}:faster:nonsense")


def test_at_size_meets_the_size(pictures: Make, tmp_path: Path) -> None:
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


def test_reference_is_the_source_unless_it_is_cut_or_scaled(pictures: Make, clip: Path, tmp_path: Path) -> None:
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


def test_a_source_keeps_its_ten_bits(pictures: Make, deep_clip: Path, tmp_path: Path) -> None:
    assert make_reference(deep_clip, tmp_path).path == deep_clip
    cut = make_reference(deep_clip, tmp_path, frames=5)
    assert cut.path != deep_clip and cut.format.bit_depth == 10
    for a, b in zip(cut, pictures(5, depth=10), strict=True):
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.v, b.v)
    small = next(iter(make_reference(deep_clip, tmp_path, max_height=32)))
    assert small.y.shape == (32, 48) and small.y.dtype == np.uint16 and small.y.max() > 255


def test_raw_yuv_gets_its_size_from_its_name(pictures: Make, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("depth", [8, 10])
def test_rawfile_round_trip_and_short_file(pictures: Make, depth: int, tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    with path.open("wb") as file:
        for p in pictures(2, 75, 53, depth=depth):
            write_picture(file, p)
    for a, b in zip(read_pictures(path, 75, 53, depth), pictures(2, 75, 53, depth=depth), strict=True):
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.v, b.v)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="within picture 1"):
        list(read_pictures(path, 75, 53, depth))


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


@pytest.mark.slow
def test_a_worker_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="died with status 1"):
        Workers().measure("encode", "x264:medium", clip, tmp_path / "a.h264", threads=1)


def test_point_without_frames_has_no_size_problem() -> None:
    assert Point("a", "lvc", 50).bpp == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x264:medium", "x265:ultrafast"])
def test_encoders_are_not_charged_for_writing_about_themselves(pictures: Make, name: str, tmp_path: Path) -> None:
    anchor = anchors.Anchor.parse(name, 1)
    if missing := anchors.why_not(anchor):
        pytest.skip(missing)
    done = anchors.encode(pictures(1), VIDEO, anchor, 30, tmp_path / "a")
    assert anchor.name.encode() not in done.path.read_bytes()
