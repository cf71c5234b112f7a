"""`lvc.open`: the frames of a full decode, by time, wherever the file is and whoever asks."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "remote")]
import small_models  # noqa: E402
from clips import Clip  # noqa: E402
from far_site import Site, serving  # noqa: E402

import lvc  # noqa: E402
from lvc.video import Planes, Video, VideoFrame  # noqa: E402

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
    return list(lvc.decode_frames(file, threads=1))


@pytest.fixture
def site(file: Path) -> Iterator[Site]:
    with serving() as site:
        site.put(file.read_bytes())
        yield site


def shown(full: list[Any], time: float) -> Any:
    """The frame of `full` that is shown at a time."""
    return [frame for frame in full if (frame.pts - full[0].pts) / 1000 <= time + 1e-6][-1]


def same(found: VideoFrame, frame: Any, full: list[Any]) -> bool:
    image: Planes = found.image
    planes = zip(image, (frame.y, frame.u, frame.v), strict=True)
    return all(np.array_equal(a, b) for a, b in planes) and abs(found.time - (frame.pts - full[0].pts) / 1000) < 1e-9


def test_what_it_says_of_a_file(file: Path) -> None:
    with lvc.open(file) as video:
        assert (video.width, video.height, video.frame_count, video.fps) == (64, 48, 50, 25)
        assert video.duration == pytest.approx(2) and video.tags["title"] == "Zwölf"
        assert repr(video) == f"lvc.open({str(file)!r})"


def test_all_frames(file: Path, full: list[Any]) -> None:
    found = list(lvc.open(file, pixels="yuv"))
    assert len(found) == len(full) == 50
    assert all(same(a, b, full) for a, b in zip(found, full, strict=True))


@pytest.mark.parametrize(
    ("start", "stop"), [(0.5, 1.0), (0.51, 0.53), (0.44, 0.6), (1.9, None), (None, 0.1), (-0.3, None), (0.2, -1.5)]
)
def test_a_range_is_that_part_of_all(file: Path, full: list[Any], start: float | None, stop: float | None) -> None:
    found = list(lvc.open(file, pixels="yuv")[start:stop])
    begin = 0 if start is None else start + 2 * (start < 0)
    end = 2 if stop is None else stop + 2 * (stop < 0)
    wanted = [f for f in full if begin - 1e-9 <= (f.pts - full[0].pts) / 1000 < end - 1e-9]
    assert wanted and all(same(a, b, full) for a, b in zip(found, wanted, strict=True))


def test_single_frames_in_any_order(file: Path, full: list[Any]) -> None:
    video = lvc.open(file, pixels="yuv")
    for time, found in zip(TIMES, video.frames(at=iter(TIMES)), strict=True):
        assert same(found, shown(full, time), full)
    assert video[np.float32(1.3)].time == next(video.frames(at=np.array([1.3]))).time == video[1.3].time
    assert same(video[1.3], shown(full, 1.3), full) and same(video[-0.01], full[-1], full)
    times = [round(frame.time, 6) for frame in video[0.1:0.9:0.25]]
    assert times == [0.08, 0.32, 0.6, 0.84]


def test_a_frames_own_time_finds_it(file: Path) -> None:
    video = lvc.open(file)
    times = [frame.time for frame in video]
    assert [frame.time for frame in video.frames(at=times)] == times


def test_each_group_is_decoded_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lvc import codec

    decoded, real = [], codec.decode

    def counted(clips: Any, *args: Any, **kwargs: Any) -> Any:
        for frame in real(clips, *args, **kwargs):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(codec, "decode", counted)
    assert len(list(lvc.open(file).frames(at=[1.2, 0.3, 1.1, 0.2, 1.2]))) == 5
    assert len(decoded) == len(set(decoded)) == 4, "no frame twice, and none that was not asked for"


def test_memory_is_bounded_by_batches(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvc.video.frames._BATCH_BYTES", 1)
    taken: list[float] = []

    def times() -> Iterator[float]:
        for number in range(40):
            taken.append(number)
            yield number / 25

    frames = lvc.open(file).frames(at=times())
    assert next(frames).time == 0 and len(taken) == 16
    assert len(list(frames)) == 39


@pytest.mark.parametrize("when", [2.0, 99.0])
def test_behind_the_end(file: Path, when: float) -> None:
    with pytest.raises(lvc.UsageError, match="2 s"):
        lvc.open(file)[when]
    with pytest.raises(lvc.UsageError, match="range"):
        list(lvc.open(file)[when:])


def test_arguments_are_checked(file: Path) -> None:
    for wrong in ({"output": "tensorflow"}, {"pixels": "cmyk"}):
        with pytest.raises(lvc.UsageError):
            lvc.open(file, **wrong)  # type: ignore[arg-type]
    for when in (slice(0, 1, -1), float("nan"), float("inf")):
        with pytest.raises(lvc.UsageError):
            lvc.open(file)[when]
    with pytest.raises(FileNotFoundError):
        lvc.open(file.parent / "nothing.lvz").duration  # noqa: B018


def test_rgb_and_torch(file: Path) -> None:
    array = lvc.open(file)[0.5].image
    tensor = lvc.open(file, output="torch")[0.5].image
    planes = lvc.open(file, output="torch", pixels="yuv")[0.5].image
    assert array.shape == (48, 64, 3) and array.dtype == np.uint8 and array.flags.c_contiguous
    assert tensor.shape == (3, 48, 64) and tensor.dtype == torch.uint8 and tensor.is_contiguous()
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), array)
    luma = array.astype(float) @ (0.299, 0.587, 0.114)
    assert abs(luma - (planes.y.numpy().astype(float) - 16) * 255 / 219).mean() < 3


def test_a_file_without_its_end(file: Path, full: list[Any], tmp_path: Path) -> None:
    data = file.read_bytes()
    (tmp_path / "cut.lvz").write_bytes(data[: data.rindex(b"INDX")])
    video = lvc.open(tmp_path / "cut.lvz", pixels="yuv")
    assert video.duration is None and video.frame_count is None
    assert [same(f, shown(full, t), full) for t, f in zip([0.5, 0.1], video.frames(at=[0.5, 0.1]), strict=True)]
    with pytest.raises(lvc.UsageError, match="lacks its end"):
        video[-1.0]


def test_from_far_away(site: Site, full: list[Any]) -> None:
    video = lvc.open(site.address + "/a.lvz", pixels="yuv")
    assert site.requests == []
    assert all(same(a, shown(full, t), full) for t, a in zip(TIMES, video.frames(at=TIMES), strict=True))
    assert len(list(video[0.5:1.0])) == 12
    assert site.connections == 1
    video.close()
    assert video.frame_count == 50 and site.connections == 2
    video.close()


def test_a_server_without_ranges_gives_a_copy(site: Site, full: list[Any]) -> None:
    site.ranges = False
    video = lvc.open(site.address + "/a.lvz", pixels="yuv")
    with pytest.warns(UserWarning, match="temporary file"):
        assert same(video[1.3], shown(full, 1.3), full)
    assert len(list(video)) == 50 and len(site.requests) == 1
    copy = video._state()._path
    assert copy is not None and Path(copy).exists()
    video.close()
    assert not Path(copy).exists()


def test_threads_share_one(file: Path, full: list[Any]) -> None:
    video = lvc.open(file, pixels="yuv", threads=1)
    right: list[bool] = []

    def work(times: list[float]) -> None:
        found = list(video.frames(at=times))
        right.extend(same(a, shown(full, t), full) for t, a in zip(times, found, strict=True))

    threads = [threading.Thread(target=work, args=([t, 1.9 - t],)) for t in (0.1, 0.7, 1.2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 6


def test_a_copy_by_pickle_opens_anew(site: Site, full: list[Any]) -> None:
    video = lvc.open(site.address + "/a.lvz", pixels="yuv")
    assert video.frame_count == 50
    copy = pickle.loads(pickle.dumps(video))
    assert len(site.requests) == 1 and isinstance(copy, Video)
    assert same(copy[0.7], shown(full, 0.7), full) and site.connections == 2
    for one in (video, copy):
        one.close()


class Frames(torch.utils.data.Dataset[Any]):
    def __init__(self, video: Video, times: list[float]) -> None:
        self.video, self.times = video, times

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, number: int) -> VideoFrame:
        return self.video[self.times[number]]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning", "ignore:This DataLoader:UserWarning")
def test_in_the_workers_of_a_data_loader(site: Site, full: list[Any], method: str) -> None:
    video = lvc.open(site.address + "/a.lvz", output="torch", threads=None)
    assert video[0.2].image.shape == (3, 48, 64)  # opened and used in this process before the others begin
    times = [0.1 * n for n in range(8)]
    loader = torch.utils.data.DataLoader(
        Frames(video, times), batch_size=4, num_workers=2, multiprocessing_context=method, timeout=60
    )
    batches = list(loader)
    assert [tuple(batch.image.shape) for batch in batches] == [(4, 3, 48, 64)] * 2
    found = torch.cat([batch.image for batch in batches])
    wanted = torch.stack([frame.image for frame in video.frames(at=times)])
    assert torch.equal(found, wanted)
    expected = [(shown(full, time).pts - full[0].pts) / 1000 for time in times]
    assert torch.cat([batch.time for batch in batches]).tolist() == pytest.approx(expected)
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
        "decode_frames": lvc.decode_frames(file, threads=1), "range": iter(video[0.1:0.9]),
        "times": video.frames(at=[0.1, 1.2, 0.3]),
    }  # fmt: skip
    for name, some in frames.items():
        for _ in some:
            assert torch.get_num_threads() == 3, name
    some = lvc.decode_frames(file, threads=1)
    next(some)
    some.close()
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
