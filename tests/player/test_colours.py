"""Pictures are drawn as swscale turns them into RGB, mirrored and turned as the file says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from tests.helpers.player_site import Site, Tab, until

SIDE = 8  # patches in a row
PATCH = 16


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    with Tab(browser, f"{site.address}/colours.html") as page:
        until(page, "window.ready")
        yield page


def video(**own: Any) -> dict[str, Any]:
    plain = {
        "width": SIDE * PATCH, "height": SIDE * PATCH, "depth": 8, "matrix": 1, "range": 1, "sar": [1, 1],
        "rotation": 0, "mirrored": False, "chromaLocation": 0,
    }  # fmt: skip
    return plain | own


def patches(limited: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours that exist in RGB, one for each patch, as Y, U and V of its samples."""
    rng = np.random.default_rng(5)
    low, high = (16, 235) if limited else (0, 255)
    y = rng.integers(low + 40, high - 40, (SIDE, SIDE))
    u, v = rng.integers(108, 148, (2, SIDE, SIDE))
    return y.astype(np.uint8), u.astype(np.uint8), v.astype(np.uint8)


def by_the_standard(yuv: np.ndarray, matrix: int, full: bool) -> np.ndarray:
    """R, G and B in 0 … 255 by the equations of ITU-T H.273."""
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    y, u, v = np.moveaxis(yuv, -1, 0)
    luma, blue, red = (
        (y, u - 128, v - 128) if full else ((y - 16) * 255 / 219, *((c - 128) * 255 / 224 for c in (u, v)))
    )
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    return np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], -1)


@pytest.mark.slow
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_swscales(page: Any, matrix: int, full: bool) -> None:
    y, u, v = patches(not full)
    planes = [
        np.kron(y, np.ones((PATCH, PATCH), np.uint8)),
        *(np.kron(p, np.ones((PATCH // 2,) * 2, np.uint8)) for p in (u, v)),
    ]
    frame = av.VideoFrame.from_ndarray(np.concatenate([p.reshape(-1, SIDE * PATCH) for p in planes]), "yuv420p")
    spaces = {1: Colorspace.ITU709, 6: Colorspace.ITU601, 9: 9}
    rgb = frame.reformat(
        format="rgb24", src_colorspace=spaces[matrix], dst_colorspace=spaces[matrix],
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG, dst_color_range=ColorRange.JPEG,
    ).to_ndarray()  # fmt: skip
    shown = page.evaluate(
        "([v, p]) => draw(v, p)",
        [video(matrix=matrix, range=2 if full else 1), [int(s) for p in planes for s in p.flat]],
    )
    drawn = np.array(shown["rgb"]).reshape(rgb.shape)
    middle = slice(PATCH // 2, None, PATCH)  # away from the patches' edges, where chroma is filtered
    exact = by_the_standard(np.stack([y, u, v], -1).astype(float), matrix, full)
    assert np.abs(drawn[middle, middle] - exact).max() <= 1
    assert np.abs(drawn[middle, middle] - rgb[middle, middle].astype(int)).max() <= 3  # swscale rounds down


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
def test_ten_bits_are_drawn_as_eight(page: Any, full: bool) -> None:
    y, u, v = patches(not full)
    planes = [
        np.kron(y, np.ones((PATCH, PATCH), np.uint8)),
        *(np.kron(p, np.ones((PATCH // 2,) * 2, np.uint8)) for p in (u, v)),
    ]
    eight = [int(s) for p in planes for s in p.flat]
    first, second = (
        page.evaluate("([v, p]) => draw(v, p)", [video(depth=d, range=1 + full), [s << (d - 8) for s in eight]])["rgb"]
        for d in (8, 10)
    )
    # 255 of full range is 1020 of 1023
    assert np.abs(np.array(first) - np.array(second)).max() <= full


@pytest.mark.slow
def test_no_level_is_left_out_of_a_ramp_of_ten_bits(page: Any) -> None:
    """From 8 bits of limited range, 36 of the 256 levels of RGB cannot come."""
    ramp = np.arange(64, 941).astype(int)
    planes = [*ramp, *ramp, *[512] * (-(-len(ramp) // 2) * 2)]
    shown = page.evaluate(
        "([v, p]) => draw(v, p)", [video(width=len(ramp), height=2, depth=10), [int(s) for s in planes]]
    )
    drawn = np.array(shown["rgb"]).reshape(2, len(ramp), 3)
    assert sorted(set(drawn[0, :, 0].tolist())) == list(range(256))
    assert np.abs(drawn[0] - ((ramp - 64) * 255 / 876)[:, None]).max() <= 0.51


@pytest.mark.slow
def test_pictures_are_mirrored_then_turned_clockwise(page: Any) -> None:
    width, height = 24, 16
    y = np.full((height, width), 60, np.uint8)
    y[:4, :4] = 230  # the upper left corner
    planes = [*map(int, y.flat), *[128] * (width * height // 2)]

    def brightest(**own: Any) -> tuple[tuple[int, int], tuple[bool, bool]]:
        shown = page.evaluate("([v, p]) => draw(v, p)", [video(width=width, height=height, **own), planes])
        grey = np.array(shown["rgb"]).reshape(shown["height"], shown["width"], 3)[..., 0]
        row, column = np.unravel_index(grey.argmax(), grey.shape)
        return (shown["width"], shown["height"]), (bool(row < shown["height"] / 2), bool(column < shown["width"] / 2))

    assert brightest() == ((24, 16), (True, True))
    assert brightest(rotation=90) == ((16, 24), (True, False))
    assert brightest(rotation=180) == ((24, 16), (False, False))
    assert brightest(rotation=270) == ((16, 24), (False, True))
    assert brightest(mirrored=True) == ((24, 16), (True, False))
    assert brightest(mirrored=True, rotation=90) == ((16, 24), (False, False))
    assert brightest(sar=[4, 3]) == ((32, 16), (True, True))
