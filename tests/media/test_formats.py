"""Pixel formats: 4:2:0 of 8 and 10 bits is untouched, everything else is converted with a notice and true tags."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest

from lvc.errors import UsageError
from lvc.media.planes import PlaneMaker
from tests.helpers.clips import BIKES, Clip, Read, picture, planes_of, real_clip

LOSSLESS = Clip(codec="rawvideo", container="nut", frames=3)


def luma_709(image: np.ndarray) -> np.ndarray:
    r, g, b = (image[..., i].astype(np.float64) for i in range(3))
    return 16 + (0.2126 * r + 0.7152 * g + 0.0722 * b) * 219 / 255


@pytest.mark.parametrize("size", [(64, 48), (175, 143), (2, 2), (17, 1), (1, 1)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12"])
def test_420_planes_are_untouched(size: tuple[int, int], pix_fmt: str) -> None:
    clip = replace(LOSSLESS, size=size, pix_fmt=pix_fmt)
    read = Read(clip.bytes())
    assert read.notices == []
    assert len(read.frames) == 3
    width, height = size
    for frame, source in zip(read.frames, clip.av_frames(), strict=True):
        planes = planes_of(source)
        if pix_fmt == "nv12":
            planes = [planes[0], planes[1][:, 0::2], planes[1][:, 1::2]]
        assert frame.y.shape == (height, width)
        assert frame.u.shape == frame.v.shape == ((height + 1) // 2, (width + 1) // 2)
        for got, want in zip((frame.y, frame.u, frame.v), planes, strict=True):
            assert got.dtype == np.uint8
            assert got.flags.c_contiguous
            assert np.array_equal(got, want)


def test_a_real_clip_has_the_planes_that_ffmpeg_decodes() -> None:
    path = real_clip(BIKES)
    read = Read(path, duration=0.4)
    with av.open(str(path)) as container:
        for frame, source in zip(read.frames, container.decode(video=0), strict=False):
            for got, want in zip((frame.y, frame.u, frame.v), planes_of(source), strict=True):
                assert np.array_equal(got, want)
    assert len(read.frames) == 10


def test_full_range_jpeg_video_keeps_samples_and_tag() -> None:
    clip = Clip(codec="mjpeg", container="matroska", pix_fmt="yuvj420p", frames=2, colour=(2, 2, 5, 2))
    data = clip.bytes()
    read = Read(data)
    assert read.video.color_range == 2
    assert read.video.source_pix_fmt == "yuvj420p"
    assert read.notices == []
    with av.open(io.BytesIO(data)) as container:
        want = planes_of(next(container.decode(video=0)))
    for name, plane in zip("yuv", want, strict=True):
        assert np.array_equal(getattr(read.frames[0], name), plane)


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "yuvj422p", "yuvj444p", "yuv410p", "yuyv422"])
def test_other_chroma_keeps_luma_and_range(pix_fmt: str) -> None:
    container, codec = ("matroska", "mjpeg") if "j" in pix_fmt else ("nut", "rawvideo")
    clip = Clip(codec=codec, container=container, pix_fmt=pix_fmt, frames=2)
    data = clip.bytes()
    read = Read(data)
    assert [n for n in read.notices if pix_fmt in n and "4:2:0" in n]
    assert read.video.color_range == (2 if "j" in pix_fmt else 0)
    with av.open(io.BytesIO(data)) as source:
        frame = next(source.decode(video=0))
        luma = frame.reformat(format="gray", src_color_range=2, dst_color_range=2) if pix_fmt == "yuyv422" else frame
        want = planes_of(luma)[0]
    assert np.abs(read.frames[0].y.astype(int) - want.astype(int)).max() <= (2 if pix_fmt == "yuyv422" else 0)


@pytest.mark.parametrize("pix_fmt", ["rgb24", "rgba", "gray", "rgb48be", "ya8", "monob", "gray16be"])
def test_pictures_that_are_not_yuv(pix_fmt: str) -> None:
    clip = Clip(codec="png", container="nut", pix_fmt=pix_fmt, frames=2)
    read = Read(clip.bytes())
    video = read.video
    assert bool(read.notices) == (pix_fmt not in ("gray", "monob"))
    assert video.bit_depth == (10 if pix_fmt in ("rgb48be", "gray16be") else 8)
    levels = 1 << (video.bit_depth - 8)  # to one of 8 bits
    if "rgb" in pix_fmt:
        assert (video.primaries, video.matrix, video.color_range) == (1, 1, 1)
        assert np.abs(read.frames[0].y / levels - luma_709(picture(0, *clip.size))).max() < 2.5
    else:
        assert video.color_range == 2
        assert np.abs(read.frames[0].u / levels - 128).max() <= 1
    if pix_fmt in ("rgba", "ya8"):
        assert "transparency" in read.notices[0]
    if pix_fmt == "gray":
        assert np.array_equal(read.frames[0].y, planes_of(clip.av_frames()[0])[0])


def test_palette_pictures() -> None:
    clip = Clip(codec="gif", container="gif", pix_fmt="rgb8", frames=3, time_base=LOSSLESS.time_base)
    read = Read(clip.bytes())
    assert len(read.frames) == 3
    assert "transparency is dropped" in read.notices[0]
    assert np.abs(read.frames[0].y - luma_709(picture(0, *clip.size))).mean() < 12


def deep(size: tuple[int, int] = (64, 48), pix_fmt: str = "yuv420p10le", colour: tuple[int, ...] | None = None) -> Any:
    """A ramp of 10 bits, two frames as FFV1, and its planes of 4:2:0."""
    width, height = size
    y = (np.add.outer(np.arange(height), np.arange(width)) * 7 + 301).astype(np.uint16) % 1024
    u, v = (y[::2, ::2] ^ k for k in (5, 9))
    frame = av.VideoFrame(width, height, "yuv420p10le")
    for plane, values in zip(frame.planes, (y, u, v), strict=True):
        np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : values.shape[1]] = values
    if colour:
        frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = colour
    data = io.BytesIO()
    with av.open(data, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if colour:
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = colour
        for number in range(2):
            given = frame if pix_fmt == "yuv420p10le" else frame.reformat(format=pix_fmt)
            given.pts = number
            container.mux(stream.encode(given))
        container.mux(stream.encode(None))
    return data.getvalue(), (y, u, v)


@pytest.mark.parametrize("size", [(64, 48), (175, 143), (17, 1)])
def test_ten_bits_are_kept(size: tuple[int, int]) -> None:
    data, planes = deep(size)
    read = Read(data)
    assert read.notices == [] and read.video.bit_depth == 10 and read.video.source_pix_fmt == "yuv420p10le"
    p010 = av.VideoFrame(*size, "p010le")  # what hardware decoders give: samples in the upper bits
    y, u, v = (plane << np.uint16(6) for plane in planes)
    for plane, values in zip(p010.planes, (y, np.stack([u, v], -1).reshape(len(u), -1)), strict=True):
        np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : values.shape[1]] = values
    for found in [*((f.y, f.u, f.v) for f in read.frames), PlaneMaker(*size, depth=10).planes(p010)]:
        for got, want in zip(found, planes, strict=True):
            assert got.dtype == np.uint16 and got.flags.c_contiguous and np.array_equal(got, want)


@pytest.mark.parametrize("pix_fmt", ["yuv422p10le", "yuv444p10le", "yuv420p12le"])
def test_more_than_ten_bits_of_420_become_that(pix_fmt: str) -> None:
    data, (y, _, _) = deep(pix_fmt=pix_fmt)
    read = Read(data)
    lost = "12 bits a sample become 10" if "12" in pix_fmt else "chroma becomes half"
    assert len(read.notices) == 1 and lost in read.notices[0] and read.video.bit_depth == 10
    assert np.abs(read.frames[0].y.astype(int) - y).max() <= 1


def test_ten_bits_become_eight_where_that_is_asked_for() -> None:
    data, (y, _, _) = deep(colour=(9, 16, 9, 1))
    read = Read(data, bit_depth=8)
    assert any("10 bits a sample become 8" in n for n in read.notices) and read.video.bit_depth == 8
    assert (read.video.primaries, read.video.transfer, read.video.matrix, read.video.color_range) == (9, 16, 9, 1)
    assert read.frames[0].y.dtype == np.uint8 and np.abs(read.frames[0].y - y / 4).max() <= 1.01
    assert Read(Clip(frames=1).bytes(), bit_depth=10).frames[0].y.dtype == np.uint16
    with pytest.raises(UsageError, match="bit depth"):
        Read(data, bit_depth=12)


def test_still_picture(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "still.png"
    av.VideoFrame.from_ndarray(picture(0, 33, 21), "rgb24").save(str(path))
    read = Read(path)
    assert len(read.frames) == 1
    assert read.frames[0].y.shape == (21, 33)
    assert read.frames[0].duration > 0


def test_raw_yuv_is_described_by_its_name(tmp_path: object) -> None:
    from pathlib import Path

    from lvc.errors import MediaError

    frames = Clip(frames=4, size=(64, 48)).av_frames()
    data = b"".join(plane.tobytes() for frame in frames for plane in planes_of(frame))
    path = Path(str(tmp_path)) / "cars_64x48_30.yuv"
    path.write_bytes(data)
    read = Read(path)
    assert read.video.frame_rate == (30, 1)
    assert b"".join(p.tobytes() for f in read.frames for p in (f.y, f.u, f.v)) == data
    nameless = path.with_name("cars.yuv")
    nameless.write_bytes(data)
    with pytest.raises(MediaError, match="picture size"):
        Read(nameless)


def test_interlaced_is_named() -> None:
    clip = Clip(options={"x264-params": "tff=1"}, size=(64, 64), frames=3)
    read = Read(clip.bytes())
    assert len(read.frames) == 3
    assert any("interlaced" in n for n in read.notices)
