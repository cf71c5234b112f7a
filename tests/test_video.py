"""`lvc.open`: the frames of a full decode, by number and by time, wherever the file is and whoever asks."""

from __future__ import annotations

import io
import pickle
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lvc
from lvc.files import decode_frames
from lvc.video import Frame, Video
from lvc.video.opened import Kept
from tests.helpers import small_models
from tests.helpers.clips import Clip, Pipe
from tests.helpers.far_site import Site, serving

TIMES = [1.93, 0.0, 0.51, 1.0, 0.51, 0.99, 0.04]


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LVC_MODELS", str(small_models.model_file().parent))
        patch.setenv("LVC_CACHE", "off")
        patch.setenv("no_proxy", "*")
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 frames of 64x48, two seconds that begin at 0.4 s, in four GOPs."""
    folder = tmp_path_factory.mktemp("video")
    source = Clip(size=(64, 48), frames=50, pts=range(10, 60), container="matroska", tags={"title": "Zwölf"})
    source.write(folder / "a.mkv")
    model = str(small_models.model_file())
    lvc.encode_file(folder / "a.mkv", folder / "a.lvz", model=model, gop=0.5, threads=1)
    return folder / "a.lvz"


@pytest.fixture(scope="module")
def full(file: Path) -> list[Any]:
    """Every frame, by the ordinary way of decoding."""
    return list(decode_frames(file, threads=1))


@pytest.fixture
def site(file: Path) -> Iterator[Site]:
    with serving() as site:
        site.put(file.read_bytes())
        yield site


def shown(full: list[Any], time: float) -> Any:
    """The frame of `full` that is shown at a time."""
    return [frame for frame in full if (frame.pts - full[0].pts) / 1000 <= time + 1e-6][-1]


def same(found: Frame, frame: Any, full: list[Any]) -> bool:
    planes = zip((found.y, found.u, found.v), (frame.y, frame.u, frame.v), strict=True)
    return all(np.array_equal(a, b) for a, b in planes) and abs(found.time - (frame.pts - full[0].pts) / 1000) < 1e-9


def test_what_it_says_of_a_file(file: Path) -> None:
    with lvc.open(file) as video:
        assert (video.width, video.height, video.frame_count, len(video), video.fps) == (64, 48, 50, 50, 25)
        assert video.duration == pytest.approx(2) and video.tags["title"] == "Zwölf"
        assert repr(video) == f"lvc.open({str(file)!r})"


def test_all_frames(file: Path, full: list[Any]) -> None:
    found = list(lvc.open(file))
    assert len(found) == len(full) == 50
    assert all(same(a, b, full) for a, b in zip(found, full, strict=True))


@pytest.mark.parametrize(
    ("start", "stop"), [(0.5, 1.0), (0.51, 0.53), (0.44, 0.6), (1.9, None), (None, 0.1), (-0.3, None), (0.2, -1.5)]
)
def test_a_range_is_that_part_of_all(file: Path, full: list[Any], start: float | None, stop: float | None) -> None:
    found = list(lvc.open(file).between(start, stop))
    begin = 0 if start is None else start + 2 * (start < 0)
    end = 2 if stop is None else stop + 2 * (stop < 0)
    wanted = [f for f in full if begin - 1e-9 <= (f.pts - full[0].pts) / 1000 < end - 1e-9]
    assert wanted and all(same(a, b, full) for a, b in zip(found, wanted, strict=True))


def test_times_in_any_order(file: Path, full: list[Any]) -> None:
    video = lvc.open(file)
    for time, found in zip(TIMES, video.at(iter(TIMES)), strict=True):
        assert same(found, shown(full, time), full)
    assert video.at(np.float32(1.3)).time == next(video.at(np.array([1.3]))).time == video.at(1.3).time
    assert same(video.at(1.3), shown(full, 1.3), full) and same(video.at(-0.01), full[-1], full)
    times = [round(frame.time, 6) for frame in video.at(np.arange(0.1, 0.9, 0.25))]
    assert times == [0.08, 0.32, 0.6, 0.84]


def test_a_frames_own_time_finds_it(file: Path) -> None:
    video = lvc.open(file)
    times = [frame.time for frame in video]
    assert [frame.time for frame in video.at(times)] == times


@pytest.mark.parametrize("number", [0, 10, 49, -1, -50, np.int64(13)])
def test_a_frame_by_its_number(file: Path, full: list[Any], number: int) -> None:
    assert same(lvc.open(file)[number], full[number], full)


@pytest.mark.parametrize(
    "which",
    [
        slice(None),
        slice(10, 20),
        slice(None, None, 7),
        slice(3, 47, 5),
        slice(-5, None),
        slice(None, None, -3),
        slice(30, 10),
    ],
)
def test_a_slice_is_that_of_a_list(file: Path, full: list[Any], which: slice) -> None:
    found, wanted = list(lvc.open(file)[which]), full[which]
    assert all(same(a, b, full) for a, b in zip(found, wanted, strict=True))


def test_numbers_in_any_order(file: Path, full: list[Any]) -> None:
    numbers = [40, 3, -1, 3, 17]
    found = list(lvc.open(file)[numbers])
    assert all(same(a, full[n], full) for a, n in zip(found, numbers, strict=True))


@pytest.mark.parametrize("number", [50, -51, 10**9])
def test_no_such_number(file: Path, number: int) -> None:
    with pytest.raises(IndexError, match="has 50") as caught:
        lvc.open(file)[number]
    assert isinstance(caught.value, lvc.NoFrameError) and isinstance(caught.value, lvc.UsageError)


def test_bytes_and_file_objects_are_files(file: Path, full: list[Any]) -> None:
    with file.open("rb") as opened:
        opened.seek(7)
        for source in (file.read_bytes(), bytearray(file.read_bytes()), io.BytesIO(file.read_bytes()), opened):
            with lvc.open(source) as video:
                assert same(video[31], full[31], full) and same(video.at(0.3), shown(full, 0.3), full)
                assert len(list(video)) == 50
        assert not opened.closed
    with pytest.raises(lvc.UsageError, match="lvc.decode"):
        len(lvc.open(Pipe(file.read_bytes())))  # type: ignore[arg-type]


def test_decode_takes_whatever_holds_the_bytes(file: Path, full: list[Any]) -> None:
    data = file.read_bytes()
    for source in (data, file, str(file), io.BytesIO(data), Pipe(data)):
        found = list(lvc.decode(source, threads=1))  # type: ignore[arg-type]
        assert len(found) == 50 and same(found[20], full[20], full)
    assert [f.time for f in lvc.decode(data, start=0.5, end=0.7, every=2)] == pytest.approx([0.56, 0.64])
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 255
    with pytest.raises(lvc.CorruptError):
        list(lvc.decode(damaged))
    assert 0 < len(list(lvc.decode(damaged, salvage=True))) < 50
    with pytest.raises(lvc.LimitError):
        next(lvc.decode(data, max_memory=1000))
    with pytest.raises(lvc.UsageError):
        next(lvc.decode(data, follow=True))
    with pytest.raises(lvc.CorruptError) as caught:
        next(lvc.decode(b"no video"))
    assert caught.value.subject == "8 bytes"  # type: ignore[attr-defined]


def test_each_group_is_decoded_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lvc import codec

    decoded, real = [], codec.decode

    def counted(clips: Any, *args: Any, **kwargs: Any) -> Any:
        for frame in real(clips, *args, **kwargs):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(codec, "decode", counted)
    assert len(list(lvc.open(file).at([1.2, 0.3, 1.1, 0.2, 1.2]))) == 5
    assert len(decoded) == len(set(decoded)) == 4, "no frame twice, and none that was not asked for"


def test_frames_asked_for_one_by_one_are_decoded_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lvc import codec

    decoded, real = [], codec.decode

    def counted(clips: Any, *args: Any, **kwargs: Any) -> Any:
        for frame in real(clips, *args, **kwargs):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(codec, "decode", counted)
    expected = [frame.y for frame in lvc.open(file)]
    decoded.clear()
    video = lvc.open(file)
    for number in random.Random(1).choices(range(len(expected)), k=60):
        assert np.array_equal(video[number].y, expected[number])
        assert np.array_equal(video.at(video[number].time).y, expected[number])
    assert len(decoded) <= len(expected), "a clip is decoded once"


@pytest.mark.slow
def test_what_is_kept_is_bounded(file: Path) -> None:
    video = lvc.open(file)
    size = video[0].y.nbytes * 3 // 2
    opened = video._state()
    opened.kept = Kept(10 * size)
    for number in random.Random(1).choices(range(len(video)), k=30):
        assert video[number].pts == list(lvc.open(file)[[number]])[0].pts
        assert sum(f.y.nbytes + f.u.nbytes + f.v.nbytes for f in opened.kept._frames.values()) <= 10 * size


def test_memory_is_bounded_by_batches(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvc.video.video._BATCH_BYTES", 1)
    taken: list[float] = []

    def times() -> Iterator[float]:
        for number in range(40):
            taken.append(number)
            yield number / 25

    frames = lvc.open(file).at(times())
    assert next(frames).time == 0 and len(taken) == 16
    assert len(list(frames)) == 39


@pytest.mark.parametrize("when", [2.0, 99.0])
def test_behind_the_end(file: Path, when: float) -> None:
    with pytest.raises(lvc.NoFrameError, match="2 s"):
        lvc.open(file).at(when)
    with pytest.raises(lvc.UsageError, match="range"):
        list(lvc.open(file).between(when))


def test_arguments_are_checked(file: Path) -> None:
    video = lvc.open(file)
    for time in (float("nan"), float("inf")):
        with pytest.raises(lvc.UsageError):
            video.at(time)
    with pytest.raises(lvc.UsageError, match=r"video.at\(1.2\)"):
        video[1.2]  # type: ignore[call-overload]
    for which in (slice(0.5, 1.0), slice(0, 4, 0)):
        with pytest.raises(lvc.UsageError):
            video[which]
    with pytest.raises(FileNotFoundError):
        lvc.open(file.parent / "nothing.lvz").duration  # noqa: B018


def test_arrays_of_a_frame(file: Path) -> None:
    frame = lvc.open(file)[12]
    rgb = frame.to_rgb()
    assert rgb.shape == (48, 64, 3) and rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    luma = rgb.astype(float) @ (0.299, 0.587, 0.114)
    assert abs(luma - (frame.y.astype(float) - 16) * 255 / 219).mean() < 3
    assert np.array_equal(frame.to_ndarray(), rgb) and np.array_equal(frame.to_ndarray("bgr24"), rgb[:, :, ::-1])
    assert np.array_equal(frame.to_ndarray("gray"), frame.y)
    layered = frame.to_ndarray("yuv420p")
    assert layered.shape == (72, 64) and np.array_equal(layered[48:60].ravel(), frame.u.ravel())
    assert np.array_equal(np.asarray(frame.to_image()), rgb)
    planes = [torch.from_dlpack(plane) for plane in (frame.y, frame.u, frame.v)]
    assert [tuple(plane.shape) for plane in planes] == [(48, 64), (24, 32), (24, 32)]
    planes[0][0, 0] = 77
    assert frame.y[0, 0] == 77, "no copy"
    with pytest.raises(lvc.UsageError, match="rgb24"):
        frame.to_ndarray("cmyk")
    assert repr(frame) == "<lvc.Frame 64x48 at 0.480 s>"


def test_a_turned_video_is_shown_upright() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:, 24:] = 255
    with lvc.open(lvc.encode([picture], fps=1, rotation=90, quality=90)) as video:
        assert (video.width, video.height) == (32, 48) and video.format.width == 48
        rgb = video[0].to_rgb()
        assert rgb.shape == (48, 32, 3) and rgb[40, 16].min() > 200 and rgb[8, 16].max() < 50
        assert video[0].y.shape == (32, 48)


def test_a_file_without_its_end(file: Path, full: list[Any], tmp_path: Path) -> None:
    data = file.read_bytes()
    (tmp_path / "cut.lvz").write_bytes(data[: data.rindex(b"INDX")])
    video = lvc.open(tmp_path / "cut.lvz")
    assert video.duration is None and video.frame_count is None
    assert all(same(f, shown(full, t), full) for t, f in zip([0.5, 0.1], video.at([0.5, 0.1]), strict=True))
    assert (
        same(video[30], full[30], full)
        and [same(f, full[20 + n], full) for n, f in enumerate(video[20:23])] == [True] * 3
    )
    for wanted in (lambda: video.at(-1.0), lambda: video[-1], lambda: len(video), lambda: video[1:-1]):
        with pytest.raises(lvc.UsageError, match="lost its end"):
            wanted()
    with pytest.raises(lvc.NoFrameError):
        video[60]


def test_from_far_away(site: Site, full: list[Any]) -> None:
    video = lvc.open(site.address + "/a.lvz")
    assert site.requests == []
    assert all(same(a, shown(full, t), full) for t, a in zip(TIMES, video.at(TIMES), strict=True))
    assert len(list(video.between(0.5, 1.0))) == 12
    assert site.connections == 1
    video.close()
    assert video.frame_count == 50 and site.connections == 2
    video.close()


def test_a_server_without_ranges_gives_a_copy(site: Site, full: list[Any]) -> None:
    site.ranges = False
    video = lvc.open(site.address + "/a.lvz")
    with pytest.warns(UserWarning, match="temporary file"):
        assert same(video.at(1.3), shown(full, 1.3), full)
    assert len(list(video)) == 50 and len(site.requests) == 1
    copy = video._state()._source
    assert isinstance(copy, str) and Path(copy).exists()
    video.close()
    assert not Path(copy).exists()


def test_threads_share_one(file: Path, full: list[Any]) -> None:
    video = lvc.open(file, threads=1)
    right: list[bool] = []

    def work(times: list[float]) -> None:
        found = list(video.at(times))
        right.extend(same(a, shown(full, t), full) for t, a in zip(times, found, strict=True))

    threads = [threading.Thread(target=work, args=([t, 1.9 - t],)) for t in (0.1, 0.7, 1.2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 6


def test_a_copy_by_pickle_opens_anew(site: Site, full: list[Any]) -> None:
    video = lvc.open(site.address + "/a.lvz")
    assert video.frame_count == 50
    copy = pickle.loads(pickle.dumps(video))
    assert len(site.requests) == 1 and isinstance(copy, Video)
    assert same(copy.at(0.7), shown(full, 0.7), full) and site.connections == 2
    for one in (video, copy):
        one.close()


class Frames(torch.utils.data.Dataset[Any]):
    def __init__(self, video: Video, times: list[float]) -> None:
        self.video, self.times = video, times

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, number: int) -> tuple[float, Any]:
        frame = self.video.at(self.times[number])
        return frame.time, frame.to_rgb()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning", "ignore:This DataLoader:UserWarning")
def test_in_the_workers_of_a_data_loader(site: Site, full: list[Any], method: str) -> None:
    video = lvc.open(site.address + "/a.lvz")
    assert video.at(0.2).y.shape == (48, 64)  # opened and used in this process before the others begin
    times = [0.1 * n for n in range(8)]
    loader = torch.utils.data.DataLoader(
        Frames(video, times), batch_size=4, num_workers=2, multiprocessing_context=method, timeout=60
    )
    batches = list(loader)
    assert [tuple(images.shape) for _, images in batches] == [(4, 48, 64, 3)] * 2
    found = torch.cat([images for _, images in batches])
    wanted = torch.stack([torch.from_numpy(frame.to_rgb()) for frame in video.at(times)])
    assert torch.equal(found, wanted)
    expected = [(shown(full, time).pts - full[0].pts) / 1000 for time in times]
    assert torch.cat([moments for moments, _ in batches]).tolist() == pytest.approx(expected)
    assert site.connections == 3
    video.close()


def test_search_looks_at_addresses_as_at_files(site: Site, file: Path) -> None:
    from lvc.search import moments_of

    here, there = moments_of(file, 0.5, 1.5, threads=1), moments_of(site.address + "/a.lvz", 0.5, 1.5, threads=1)
    assert len(here.times) and np.array_equal(here.times, there.times) and np.array_equal(here.vectors, there.vectors)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """As in a program that has set torch's threads for itself, and to a number that lvc would not."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("three_threads")
def test_torchs_threads_stay_the_callers(file: Path, tmp_path: Path) -> None:
    """Between frames too: a training that reads its data by lvc goes on with the threads that it had."""
    model = str(small_models.model_file())
    source = file.with_name("a.mkv")
    jobs = {
        "encode": lambda: lvc.encode_file(source, tmp_path / "a.lvz", model=model, threads=1, verify=True),
        "decode": lambda: lvc.decode_file(file, tmp_path / "a.mp4", threads=1),
        "interpolate": lambda: lvc.interpolate_file(source, tmp_path / "b.mp4", end=0.2, threads=1),
    }
    for name, job in jobs.items():
        job()
        assert torch.get_num_threads() == 3, name
    video = lvc.open(file, threads=1)
    frames = {
        "decode": lvc.decode(file, threads=1), "range": video.between(0.1, 0.9), "times": video.at([0.1, 1.2, 0.3]),
        "numbers": video[::7],
    }  # fmt: skip
    for name, some in frames.items():
        for _ in some:
            assert torch.get_num_threads() == 3, name
    some = lvc.decode(file, threads=1)
    next(some)
    some.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_work_goes_on_with_its_own_threads() -> None:
    from lvc.threads import with_own_threads

    seen: list[int] = []

    def work() -> Iterator[int]:
        torch.set_num_threads(2)
        for number in range(3):
            seen.append(torch.get_num_threads())
            yield number

    assert [(number, torch.get_num_threads()) for number in with_own_threads(work())] == [(0, 3), (1, 3), (2, 3)]
    assert seen == [2, 2, 2]
