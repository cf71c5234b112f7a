"""The metrics against FFmpeg's own filters, and against what can be worked out by hand."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from lvc.evaluation import perceptual
from lvc.evaluation.metrics import (
    IDENTICAL,
    ClipQuality,
    FrameQuality,
    compare,
    ms_ssim,
    psnr,
    squared_error,
    ssim,
    weighted_611,
)
from lvc.evaluation.planes import Picture, at_depth, from_frame, to_frame
from lvc.media.depth import depth_of
from lvc.media.planes import PIX_FMT

PSNR_TOLERANCE = 0.006  # dB: FFmpeg prints two decimals
SSIM_TOLERANCE = 2e-6  # FFmpeg sums in float32 and prints six decimals


def samples(values: np.ndarray, depth: int) -> np.ndarray:
    """Samples of these values, which are given in 8 bits."""
    return np.clip(values * 2 ** (depth - 8), 0, 2**depth - 1).astype(np.uint8 if depth == 8 else np.uint16)


def picture(rng: np.random.Generator, width: int, height: int, pts: int = 0, depth: int = 8) -> Picture:
    """Smooth ground with an edge and some noise: every term of SSIM matters."""

    def plane(w: int, h: int) -> np.ndarray:
        ramp = np.add.outer(np.linspace(20, 120, h), np.linspace(0, 80, w))
        ramp[h // 3 :, w // 2 :] += 50
        return samples(ramp + rng.normal(0, 6, (h, w)), depth)

    half = (width + 1) // 2, (height + 1) // 2
    return Picture(plane(width, height), plane(*half), plane(*half), pts)


def damaged(rng: np.random.Generator, p: Picture, strength: float) -> Picture:
    depth = depth_of(p.y)
    planes = [samples(x / 2 ** (depth - 8) + rng.normal(1, strength, x.shape), depth) for x in (p.y, p.u, p.v)]
    return Picture(*planes, pts=p.pts)


def ffmpeg_metric(name: str, reference: list[Picture], decoded: list[Picture]) -> list[dict[str, str]]:
    """The metadata that FFmpeg's filter `name` hangs on each frame."""
    height, width = reference[0].y.shape
    graph, form = av.filter.Graph(), av.VideoFormat(PIX_FMT[depth_of(reference[0].y)])
    inputs = [graph.add_buffer(width=width, height=height, format=form, time_base=Fraction(1, 25)) for _ in range(2)]
    metric, sink = graph.add(name), graph.add("buffersink")
    for i, source in enumerate(inputs):
        source.link_to(metric, 0, i)
    metric.link_to(sink)
    graph.configure()
    found = []
    for i, pair in enumerate(zip(decoded, reference, strict=True)):
        for source, p in zip(inputs, pair, strict=True):
            frame = to_frame(p)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            source.push(frame)
    for source in inputs:
        source.push(None)
    while len(found) < len(reference):
        found.append(dict(sink.pull().metadata))
    return found


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(96, 64), (75, 53)])
def test_psnr_and_ssim_agree_with_ffmpeg(size: tuple[int, int], depth: int) -> None:
    if not {"psnr", "ssim"} <= set(av.filter.filters_available):
        pytest.skip("this FFmpeg has no psnr and ssim filters")
    rng = np.random.default_rng(1)
    reference = [picture(rng, *size, pts=i, depth=depth) for i in range(3)]
    decoded = [damaged(rng, p, s) for p, s in zip(reference, (2, 6, 15), strict=True)]
    ours = compare(reference, decoded).frames
    psnrs, ssims = (ffmpeg_metric(name, reference, decoded) for name in ("psnr", "ssim"))
    for mine, p, s in zip(ours, psnrs, ssims, strict=True):
        for channel in "yuv":
            assert getattr(mine, f"psnr_{channel}") == pytest.approx(
                float(p[f"lavfi.psnr.psnr.{channel}"]), abs=PSNR_TOLERANCE
            )
        # FFmpeg's average is that of all samples, as PSNR-YUV
        assert mine.psnr_yuv == pytest.approx(float(p["lavfi.psnr.psnr_avg"]), abs=PSNR_TOLERANCE)
        assert mine.ssim_y == pytest.approx(float(s["lavfi.ssim.Y"]), abs=SSIM_TOLERANCE)
        assert mine.ssim_all == pytest.approx(float(s["lavfi.ssim.All"]), abs=SSIM_TOLERANCE)


def test_ten_bits_are_compared_with_a_peak_of_1023() -> None:
    rng = np.random.default_rng(2)
    a, b = (picture(rng, 192, 180) for _ in range(2))
    fine, coarse = (
        compare([one], [other], ClipQuality(multi_scale=True)).clip()
        for one, other in ((at_depth(a, 10), at_depth(b, 10)), (a, b))
    )
    assert fine.psnr_y == pytest.approx(coarse.psnr_y + 20 * math.log10(1023 / 1020))
    assert fine.psnr_yuv == pytest.approx(coarse.psnr_yuv + 20 * math.log10(1023 / 1020))
    assert fine.ssim_y == pytest.approx(coarse.ssim_y, abs=2e-3)
    assert fine.ms_ssim_y == pytest.approx(coarse.ms_ssim_y, abs=2e-3)


def test_clip_psnr_is_pooled_over_squared_errors_not_over_decibels() -> None:
    black = Picture(*(np.zeros(s, np.uint8) for s in ((16, 16), (8, 8), (8, 8))))
    grey = Picture(*(np.full(s, 10, np.uint8) for s in ((16, 16), (8, 8), (8, 8))))
    quality = compare([black, black], [black, grey])
    clip = quality.clip()
    assert quality.frames[0].psnr_y == IDENTICAL
    assert clip.psnr_y == pytest.approx(10 * math.log10(255**2 / 50))
    assert clip.psnr_611 == pytest.approx(clip.psnr_y)
    assert quality.clip().ms_ssim_y is None


def test_next_to_no_error_in_chroma_moves_611_by_decibels_and_yuv_hardly() -> None:
    """Black-and-white film: both sides of the comparison have all but perfect chroma."""
    film = FrameQuality(38.0, 60.0, 60.0, weighted_611(38, 60, 60))
    other = FrameQuality(38.0, 52.0, 52.0, weighted_611(38, 52, 52))
    assert film.psnr_611 - other.psnr_611 == pytest.approx(2)
    assert 0 < film.psnr_yuv - other.psnr_yuv < 0.1
    assert FrameQuality(IDENTICAL, IDENTICAL, IDENTICAL, IDENTICAL).psnr_yuv == IDENTICAL


def test_squared_error_is_exact_beyond_float32() -> None:
    a, b = np.zeros((1080, 1920), np.uint8), np.full((1080, 1920), 255, np.uint8)
    b[0, 0] = 254
    assert squared_error(a, b) == 255**2 * (1080 * 1920 - 1) + 254**2
    assert psnr(0) == IDENTICAL


def test_ssim_of_equal_and_of_tiny_planes() -> None:
    a = picture(np.random.default_rng(2), 64, 48).y
    assert ssim(a, a) == 1
    assert ssim(a[:4, :4], a[:4, :4]) == 1
    assert ssim(a[:4, :4], a[4:8, :4]) == 0


def test_ms_ssim_of_constant_pictures_is_the_luminance_term_alone() -> None:
    a, b = np.full((176, 192), 100, np.uint8), np.full((176, 192), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ms_ssim(a, b) == pytest.approx(luminance**0.1333, abs=1e-5)
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(a[:170], b[:170]) is None


def test_ms_ssim_agrees_with_a_slow_float64_version() -> None:
    rng = np.random.default_rng(3)
    a = picture(rng, 208, 192)
    b = damaged(rng, a, 9)
    taps = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(taps, taps) / taps.sum() ** 2

    def blur(x: np.ndarray) -> np.ndarray:
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(x, (11, 11)), window)

    x, y, value = a.y.astype(np.float64), b.y.astype(np.float64), 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        c1, c2 = 2.55**2, 7.65**2
        term = (2 * vxy + c2) / (vx + vy + c2)
        if scale == 4:
            term = term * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        value *= term.mean() ** weight
        x, y = (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in (x, y))
        x, y = ((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in (x, y))
    assert ms_ssim(a.y, b.y) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("depth", [8, 10])
def test_planes_go_through_av_frames_unchanged_even_with_odd_sides(depth: int) -> None:
    p = picture(np.random.default_rng(4), 75, 53, depth=depth)
    back = from_frame(to_frame(p), 7)
    assert back.pts == 7
    for name in "yuv":
        np.testing.assert_array_equal(getattr(back, name), getattr(p, name))


def test_one_side_with_more_frames_is_an_error() -> None:
    p = picture(np.random.default_rng(5), 16, 16)
    with pytest.raises(ValueError, match="zip"):
        compare([p, p], [p])


@pytest.mark.slow
def test_psnr_at_480p_is_faster_than_60_fps() -> None:
    rng = np.random.default_rng(6)
    a = picture(rng, 848, 480)
    b = damaged(rng, a, 3)
    quality = ClipQuality(ssim=False)
    best = math.inf
    for _ in range(5):  # the machine may be busy: this thread's own time, and the best of five
        start = time.thread_time()
        quality.add(a, b)
        best = min(best, time.thread_time() - start)
    assert best < 1 / 60


@pytest.mark.slow
def test_st_lpips_of_every_other_frame_grows_with_damage() -> None:
    if perceptual.why_not():
        pytest.skip("the extra lvc[perceptual] is not installed")
    rng = np.random.default_rng(1)
    reference = [picture(rng, 64, 48, pts=i) for i in range(4)]
    decoded = [reference[0], *(damaged(rng, p, s) for p, s in zip(reference[1:], (3, 30, 3), strict=True))]
    measured = ClipQuality(perceptual=perceptual.StLpips(False, 1), perceptual_every=2)
    quality = compare(reference, decoded, measured)
    first, second, third, fourth = (f.st_lpips for f in quality.frames)
    assert first == pytest.approx(0, abs=1e-6) and second is fourth is None
    assert third is not None and third > 0.01 and quality.clip().st_lpips == pytest.approx(third / 2, abs=1e-6)


@pytest.mark.slow
def test_st_lpips_is_what_its_authors_package_gives() -> None:
    """LPIPS(net="alex", variant="shift_tolerant") of stlpips_pytorch 0.0.2 on these two pictures."""
    if perceptual.why_not():
        pytest.skip("the extra lvc[perceptual] is not installed")
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(73.0), indexing="ij")
    one = torch.stack([torch.sin(x / 5), torch.cos(y / 7), torch.sin((x + y) / 9)])[None]
    other = (one + 0.3 * torch.sin(x * y / 11)).clamp(-1, 1)
    found = perceptual.distance(perceptual._loaded(), torch.cat([one, other]))
    assert float(found) == pytest.approx(0.07898560911417007, rel=1e-4)
