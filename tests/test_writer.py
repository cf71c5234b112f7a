"""`lvc.Writer` and `lvc.encode`: frames of any kind become the file that the command makes of the same frames."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

import lvc
from lvc.files import decode_frames, encode
from lvc.media import Y4mWriter
from lvc.video import writer
from tests.helpers import small_models
from tests.helpers.clips import Clip, Pipe, Read, picture, video_frame

SIZE = 64, 48


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LVC_MODELS", str(small_models.model_file().parent))
        yield


@pytest.fixture(scope="module")
def model() -> Any:
    return lvc.load_model(small_models.model_file())


def pictures(count: int = 12) -> list[np.ndarray]:
    return [picture(n, *SIZE) for n in range(count)]


def planes(number: int) -> tuple[np.ndarray, ...]:
    frame = video_frame(number, *SIZE).to_ndarray()
    y, u, v = frame[:48], frame[48:60].reshape(24, 32), frame[60:].reshape(24, 32)
    return y, u, v


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- the same file as the command's


def test_it_is_the_file_that_the_command_makes_of_a_y4m(tmp_path: Path, model: Any) -> None:
    clip = Clip(size=SIZE, frames=40)
    clip.write(tmp_path / "a.mp4")
    read = Read(tmp_path / "a.mp4")
    with (tmp_path / "a.y4m").open("wb") as file, Y4mWriter(file, read.video) as y4m:
        for frame in read.frames:
            y4m.write(frame)
    again = Read(tmp_path / "a.y4m")
    options: dict[str, Any] = {"quality": 70, "gop": 0.8, "effort": 2, "model": model}
    lvc.encode_file(tmp_path / "a.y4m", tmp_path / "command.lvz", **options)
    video = again.video
    with lvc.Writer(
        tmp_path / "writer.lvz", *SIZE, 25, matrix=video.matrix, color_range=video.color_range, sar=video.sar,
        chroma_location=video.chroma_location, **options,
    ) as writer:  # fmt: skip
        for frame in again.frames:
            writer.write((frame.y, frame.u, frame.v))
    assert (tmp_path / "writer.lvz").read_bytes() == (tmp_path / "command.lvz").read_bytes()
    assert writer.result is not None and writer.result.frames == 40
    assert writer.result.bytes_out == os.path.getsize(tmp_path / "writer.lvz")


def test_it_is_the_file_that_the_command_makes_of_irregular_frames(tmp_path: Path, model: Any) -> None:
    """PyAV's own frames, of a Matroska file with a title and times of a camera."""
    clip = Clip(
        size=SIZE, frames=9, pts=[7, 40, 81, 119, 160, 260, 261, 300, 340], time_base=Fraction(1, 1000),
        container="matroska", colour=(1, 1, 1, 1), tags={"title": "Zwölf"},
    )  # fmt: skip
    clip.write(tmp_path / "a.mkv")
    read = Read(tmp_path / "a.mkv")
    lvc.encode_file(tmp_path / "a.mkv", tmp_path / "command.lvz", model=model)
    with av.open(str(tmp_path / "a.mkv")) as file:
        with lvc.Writer(
            tmp_path / "writer.lvz", *SIZE, read.video.rate, time_base=read.video.time_base, sar=read.video.sar,
            chroma_location=read.video.chroma_location, tags=dict(read.reader.metadata), model=model,
        ) as writer:  # fmt: skip
            for frame, same in zip(file.decode(video=0), read.frames, strict=True):
                writer.write(frame, duration=same.duration)
    found, wanted = lvc.info_file(tmp_path / "writer.lvz").values, lvc.info_file(tmp_path / "command.lvz").values
    found["beside"] = wanted["beside"]  # the disposition of the source's track
    for values in (found, wanted):
        del values["bytes"], values["bpp"], values["bitrate"]
    assert found == wanted
    pairs = zip(decode_frames(tmp_path / "writer.lvz"), decode_frames(tmp_path / "command.lvz"), strict=True)
    for mine, theirs in pairs:
        assert (mine.pts, mine.duration) == (theirs.pts, theirs.duration) and np.array_equal(mine.y, theirs.y)


def test_encode_gives_the_bytes_that_a_writer_writes(tmp_path: Path) -> None:
    data = lvc.encode(pictures(), fps=25, quality=60, tags={"title": "x"})
    with lvc.Writer(tmp_path / "a.lvz", *SIZE, fps=25, quality=60, tags={"title": "x"}) as writer:
        for frame in pictures():
            writer.write(frame)
    assert data == (tmp_path / "a.lvz").read_bytes() and names(tmp_path) == ["a.lvz"]
    assert lvc.open(data).tags == {"title": "x"}


# ---------------------------------------------------------------- kinds of frames


def same_file(frames: list[Any], wanted: list[Any], **options: Any) -> bool:
    return lvc.encode(frames, fps=25, **options) == lvc.encode(wanted, fps=25, **options)


def test_rgb_comes_as_array_tensor_picture_or_frame() -> None:
    arrays = pictures(4)
    tensors = [torch.from_numpy(a) for a in arrays]
    assert same_file(tensors, arrays)
    assert same_file([t.permute(2, 0, 1) for t in tensors], arrays)
    assert same_file([av.VideoFrame.from_ndarray(a, "rgb24") for a in arrays], arrays)
    from PIL import Image

    assert same_file([Image.fromarray(a) for a in arrays], arrays)
    (frame,) = lvc.decode(lvc.encode(arrays[:1], fps=25, quality=95))
    assert np.abs(frame.to_rgb().astype(int) - arrays[0]).mean() < 8
    assert (frame.format.matrix, frame.format.color_range, frame.format.source_pix_fmt) == (1, 1, "rgb24")


@pytest.mark.slow
def test_planes_come_as_arrays_tensors_or_frames() -> None:
    arrays = [planes(n) for n in range(4)]
    assert same_file([[torch.from_numpy(p.copy()) for p in a] for a in arrays], arrays)
    assert same_file([[Exported(p.copy()) for p in a] for a in arrays], arrays)
    frames = [video_frame(n, *SIZE) for n in range(4)]
    assert same_file(frames, arrays, matrix=2, color_range=1, primaries=2, transfer=2)
    data = lvc.encode(arrays, fps=25, matrix=9, color_range=2)
    decoded = list(lvc.decode(data))
    assert [f.time for f in decoded] == [0, 0.04, 0.08, 0.12] and decoded[0].format.matrix == 9
    again = list(lvc.decode(lvc.encode(lvc.open(data)[1:], fps=25, quality=90)))
    assert [f.time for f in again] == [0, 0.04, 0.08] and again[0].format.matrix == 9


class Exported:
    """What another library has: DLPack and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


def test_frames_of_other_pixel_formats_are_converted() -> None:
    for name in ("yuv444p", "nv12", "gray", "yuv420p10le", "rgba"):
        frames = [video_frame(n, *SIZE, name) for n in range(2)]
        with lvc.open(lvc.encode(frames, fps=25)) as video:
            assert len(video) == 2 and video.format.source_pix_fmt == name


def test_odd_sizes() -> None:
    rgb = np.full((31, 45, 3), 90, np.uint8)
    (frame,) = lvc.decode(lvc.encode([rgb], fps=1))
    assert frame.y.shape == (31, 45) and frame.u.shape == frame.v.shape == (16, 23)
    with pytest.raises(lvc.UsageError, match="planes"):
        frame.to_ndarray("yuv420p")


def test_an_array_may_be_used_again_at_once() -> None:
    buffer = np.empty((48, 64, 3), np.uint8)

    def filled() -> Iterator[np.ndarray]:
        for frame in pictures():
            buffer[:] = frame
            yield buffer

    assert lvc.encode(filled(), fps=25) == lvc.encode(pictures(), fps=25)
    held = [p.copy() for p in planes(0)]

    def refilled() -> Iterator[list[np.ndarray]]:
        for number in range(6):
            for target, plane in zip(held, planes(number), strict=True):
                target[:] = plane
            yield held

    assert lvc.encode(refilled(), fps=25) == lvc.encode([planes(n) for n in range(6)], fps=25)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.zeros((48, 64, 3), np.float32), "float32"),
        (np.zeros((48, 64), np.uint8), "is not a picture"),
        (np.zeros((48, 64, 4), np.uint8), "is not a picture"),
        (np.zeros((40, 64, 3), np.uint8), "64x40 in a video of 64x48"),
        ((np.zeros((48, 64), np.uint8),) * 3, "not 4:2:0"),
        ((np.zeros((48, 64), np.uint8),) * 2, "three arrays"),
        (planes(0), "RGB and YUV"),
        ("frame.png", "str is not a picture"),
        (None, "NoneType is not a picture"),
    ],
)
def test_what_is_no_frame_is_refused_and_nothing_is_left(frame: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(lvc.UsageError, match=says):
        with lvc.Writer(tmp_path / "a.lvz", *SIZE, fps=25) as writer:
            writer.write(picture(0, *SIZE))
            writer.write(frame)
    assert names(tmp_path) == []


# ---------------------------------------------------------------- times


def times_of(data: bytes) -> list[float]:
    return [round(frame.time, 6) for frame in lvc.decode(data)]


def written(times: list[dict[str, Any]], fps: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with lvc.Writer(buffer, *SIZE, fps, **options) as writer:
        for number, time in enumerate(times):
            writer.write(picture(number, *SIZE), **time)
    return buffer.getvalue()


def test_times_of_frames() -> None:
    assert times_of(written([{}] * 4, "30000/1001")) == [round(n * 1001 / 30000, 6) for n in range(4)]
    assert times_of(written([{}] * 4, 29.97, time_base=(1, 1000))) == [0, 0.033, 0.067, 0.1]
    assert times_of(written([{"pts": 5}, {}, {"pts": 9}, {}], 25)) == [0, 0.04, 0.16, 0.2]
    assert times_of(written([{"time": t} for t in (1, 1.5, 1.501)], None)) == [0, 0.5, 0.501]
    with lvc.open(written([{"pts": 0}, {"pts": 4, "duration": 6}], 25)) as video:
        assert video.duration == pytest.approx(0.4) and video.fps == 25
    with lvc.open(written([{"time": 0.5}], None)) as video:
        assert video.fps is None and video.format.time_base == (1, 90000)


@pytest.mark.parametrize(
    ("times", "fps", "says"),
    [
        ([{"pts": 3}, {"pts": 3}], 25, "not later"),
        ([{"time": 0.48}, {"time": 0.49}], 25, "finer time_base"),
        ([{}], None, "pts or its time"),
        ([{"pts": 1, "time": 2.0}], 25, "not both"),
        ([{"pts": 1.5}], 25, "whole number"),
    ],
)
def test_times_that_make_no_sense(times: list[dict[str, Any]], fps: float | None, says: str) -> None:
    with pytest.raises(lvc.UsageError, match=says):
        written(times, fps)


# ---------------------------------------------------------------- targets


def test_an_exception_that_passes_through_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.lvz").write_bytes(lvc.encode(pictures(1), fps=1))
    before = (tmp_path / "old.lvz").read_bytes()
    for name in ("new.lvz", "old.lvz"):
        with pytest.raises(KeyboardInterrupt):
            with lvc.Writer(tmp_path / name, *SIZE, fps=25, force=True) as writer:
                for frame in pictures(40):
                    writer.write(frame)
                raise KeyboardInterrupt
        assert writer.result is None
        with pytest.raises(lvc.UsageError, match="closed"):
            writer.write(picture(0, *SIZE))
        with pytest.raises(lvc.UsageError, match="aborted"):
            writer.close()
    assert names(tmp_path) == ["old.lvz"] and (tmp_path / "old.lvz").read_bytes() == before
    assert not [thread.name for thread in threading.enumerate() if thread.name == "lvc-writer"]


def test_a_file_object_has_what_it_had_if_something_fails() -> None:
    buffer = io.BytesIO(b"before")
    buffer.seek(0, 2)
    with pytest.raises(ZeroDivisionError):
        with lvc.Writer(buffer, *SIZE, fps=25, low_delay=True) as writer:
            for number, frame in enumerate(pictures(60)):
                writer.write(frame)
                1 / (50 - number)
    assert buffer.getvalue() == b"before"


def test_a_pipe_is_written_front_to_back() -> None:
    pipe = Pipe()
    with lvc.Writer(pipe, *SIZE, fps=25) as writer:  # type: ignore[arg-type]
        for frame in pictures():
            writer.write(frame)
    assert pipe.taken.getvalue() == lvc.encode(pictures(), fps=25)
    assert not pipe.closed


def test_low_delay_passes_on_what_is_coded() -> None:
    """A reader that follows has clips while the writer waits for its next frame."""
    pipe = Pipe()
    with lvc.Writer(pipe, *SIZE, fps=25, low_delay=True) as writer:  # type: ignore[arg-type]
        for number in range(2000):
            writer.write(picture(number % 50, *SIZE))
            if pipe.taken.getvalue().count(b"CLIP") > 1:
                break
        assert writer.result is None and pipe.taken.getvalue().count(b"CLIP") > 1
        writer.abort()


class Full(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        raise OSError(28, "No space left on device")


def test_what_fails_behind_the_scenes_is_raised() -> None:
    with pytest.raises(OSError, match="No space left"):
        with lvc.Writer(Full(), *SIZE, fps=25) as writer:  # type: ignore[arg-type]
            for frame in pictures(200):
                writer.write(frame)
    assert writer.result is None


def test_existing_files_and_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "a.lvz").write_bytes(lvc.encode(pictures(1), fps=1))
    (tmp_path / "b.lvz").write_bytes(b"something else")
    with pytest.raises(lvc.OutputExistsError):
        lvc.Writer(tmp_path / "a.lvz", *SIZE, fps=25)
    with pytest.raises(lvc.OutputExistsError):
        lvc.Writer(tmp_path / "b.lvz", *SIZE, fps=25, force=True)
    wrong: list[dict[str, Any]] = [
        {"quality": 101}, {"effort": 10}, {"gop": 0}, {"packing": "zip"}, {"tune": "vmaf"}, {"rotation": 45},
        {"color_range": 3}, {"matrix": 300}, {"sar": (1, 0)}, {"time_base": "x"}, {"time_base": Fraction(-1, 2)},
        {"target_bitrate": 1e5, "target_psnr": 40}, {"target_psnr": -1}, {"chroma_location": 7}, {"duration": -1},
    ]  # fmt: skip
    for arguments in wrong:
        with pytest.raises(lvc.UsageError):
            lvc.Writer(tmp_path / "c.lvz", *SIZE, fps=25, **arguments)
    for size in ((0, 48), (64, -1), (64.5, 48)):
        with pytest.raises(lvc.UsageError):
            lvc.Writer(tmp_path / "c.lvz", *size, fps=25)  # type: ignore[arg-type]
    for arguments in ({"width": 100_000}, {"max_memory": 1000}):
        with pytest.raises(lvc.LimitError):
            lvc.Writer(tmp_path / "c.lvz", **{"width": 64, "height": 48, "fps": 25, **arguments})
    for fps in ("fast", 0, -1, 1e9):
        with pytest.raises(lvc.UsageError):
            lvc.encode(pictures(1), fps=fps)
    with pytest.raises(lvc.UsageError, match="one at least"):
        lvc.encode([], fps=25)
    with pytest.raises(lvc.UsageError, match="one at least"):
        with lvc.Writer(tmp_path / "c.lvz", *SIZE, fps=25):
            pass
    for arguments in ({"matrix": 9}, {"color_range": 2}):
        with pytest.raises(lvc.UsageError, match="BT.709|limited"):
            lvc.encode(pictures(1), fps=25, **arguments)
    with pytest.raises(lvc.UsageError, match="no such model"):
        lvc.encode(pictures(1), fps=25, model="nothing")
    assert names(tmp_path) == ["a.lvz", "b.lvz"]


def test_verify_progress_and_targets(tmp_path: Path) -> None:
    told: list[tuple[int, int, int, int | None]] = []
    said: list[str] = []
    with lvc.Writer(
        tmp_path / "a.lvz", *SIZE, fps=25, verify=True, target_bitrate=1e9, duration=0.48,
        progress=lambda *counts: told.append(counts), notice=said.append,
    ) as writer:  # fmt: skip
        for frame in pictures():
            writer.write(frame)
    assert writer.close().verified and told[-1][0] == 12 and "kbit/s" in said[-1]
    with pytest.raises(lvc.UsageError, match="verify|stream"):
        lvc.Writer(io.BytesIO(), *SIZE, fps=25, verify=True)


@pytest.mark.parametrize("change", ["another video", "a damaged byte"])
def test_what_a_disk_does_not_keep_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, change: str
) -> None:
    """`verify` reads back what is on the disk: valid files with other content are noticed like damaged ones."""
    source, target = tmp_path / "a.mkv", tmp_path / "a.lvz"
    Clip(size=SIZE, frames=3, codec="ffv1", container="matroska").write(source)
    target.write_bytes(lvc.encode(pictures(3), fps=25, model=model, effort=0))
    before, verify = target.read_bytes(), encode.verify_written

    def elsewhere(path: Path, *more: Any) -> None:
        data = bytearray(before if change == "another video" else path.read_bytes())
        data[len(data) // 2] ^= change == "a damaged byte"
        path.write_bytes(data)
        verify(path, *more)

    for module in (encode, writer):
        monkeypatch.setattr(module, "verify_written", elsewhere)
    with pytest.raises(lvc.CorruptError):
        lvc.encode_file(source, target, model=model, effort=0, verify=True, force=True)
    with pytest.raises(lvc.CorruptError):
        with lvc.Writer(target, *SIZE, fps=25, model=model, effort=0, verify=True, force=True) as out:
            out.write(pictures(1)[0])
    assert names(tmp_path) == ["a.lvz", "a.mkv"] and target.read_bytes() == before


WITHOUT = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise AssertionError("torch is imported")

sys.meta_path.insert(0, NoTorch())
import numpy as np
import lvc
data = lvc.encode((np.full((48, 64, 3), n * 20, np.uint8) for n in range(5)), fps=25)
print([frame.to_rgb().shape for frame in lvc.open(data)])
"""


@pytest.mark.slow
def test_no_torch_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([(48, 64, 3)] * 5)
