"""The page: what it holds, and what a person can do with it in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvc.evaluation import pictures
from lvc.evaluation.anchors import Anchor
from lvc.evaluation.measure import Measured
from lvc.evaluation.metrics import FrameQuality
from lvc.evaluation.plan import Plan
from lvc.evaluation.planes import Picture
from lvc.evaluation.point import Point
from lvc.evaluation.report import page
from lvc.evaluation.source import ClipFormat
from lvc.evaluation.store import Store

NASTY = 'a</script><img src=x onerror="boom()">.mp4'
CLIPS = {"sofa.mp4": (320, 180), NASTY: (144, 256)}
GAINS = {"lvc": 0.0, "x264:medium": 1.5, "svtav1:6": 2.5}
OWN = Anchor("svtav1", "6", crfs=(45, 25))  # at qualities 30 and 70; at 50 it meets lvc's size
PLAN = Plan([30, 50, 70], [Anchor("x264", "medium"), OWN], pictures=True, side_by_side=True)


def shaded(width: int, height: int, level: int) -> Picture:
    """A ramp with a bright square, darker by `level`."""
    y = np.add.outer(np.linspace(30, 120, height), np.linspace(0, 80, width)) - level
    y[height // 3 : height // 2, width // 3 : width // 2] = 220 - level
    half = (height + 1) // 2, (width + 1) // 2
    return Picture(y.astype(np.uint8), np.full(half, 120, np.uint8), np.full(half, 140, np.uint8))


def made_up(store: Store) -> list[Point]:
    points = []
    for number, (clip, (width, height)) in enumerate(CLIPS.items()):
        video = ClipFormat(width, height, Fraction(1, 25), Fraction(25))
        for frame in (6, 11):
            pictures.write(shaded(width, height, 0), video, store.picture(pictures.name_of(f"o{number}", frame)))
        for at in PLAN.qualities:
            for rank, (codec, gain) in enumerate(GAINS.items()):
                psnr = 28 + at / 7 + gain - number * (at - 40) ** 2 / 200
                frames = [
                    FrameQuality(psnr + i % 3, psnr, psnr, psnr + i % 3, 0.95, 0.95, None, 80 + i) for i in range(12)
                ]
                own = codec == str(OWN) and at != PLAN.shown
                names = {str(f): pictures.name_of(f"{number}-{codec.replace(':', '')}", f) for f in (6, 11)}
                for name in names.values():
                    pictures.write(shaded(width, height, 5 + 5 * rank), video, store.picture(name))
                points.append(
                    Point(
                        clip,
                        codec,
                        OWN.crfs[at > 50] if own else at,
                        None if own else at,
                        width,
                        height,
                        25,
                        12,
                        int(2000 * 1.03**at * (1.25 if own else 1)),
                        target_bytes=None if own else int(2000 * 1.03**at),
                        quality=frames[0],
                        per_frame=frames,
                        encode=Measured(12, 30 / (rank + 1), 9, 2**28, macs=1e7, cpu_seconds=0.5 if rank else 1.3),
                        model="small abc",
                        decode=Measured(12, 60 * (rank + 1), 20, 2**27, key_frames=1),
                        pictures=names,
                        original=f"o{number}",
                    )  # fmt: skip
                )
    return [*points, Point("absent.mp4", "lvc", 30, 30, error="cannot be opened — give a video file", exit_code=3)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    store = Store(folder / "store")
    path = folder / "report.html"
    path.write_text(page(made_up(store), PLAN, store), encoding="utf-8")
    shutil.rmtree(folder / "store")  # nothing outside the page is needed
    return path


def test_all_is_inside_and_nothing_is_fetched(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    assert [clip["name"] for clip in data["clips"]] == list(CLIPS)
    assert [len(clip["points"]) for clip in data["clips"]] == [9, 9]
    for clip in data["clips"]:
        assert list(clip["pictures"]) == ["6", "11"] and clip["pictures_at"] == 50
        for shown in clip["pictures"].values():
            assert set(shown) == {"original", *GAINS} and all(uri.startswith("data:image/") for uri in shown.values())
    assert data["failed"] == [{"clip": "absent.mp4", "point": "lvc", "error": "cannot be opened — give a video file"}]
    assert "MS-SSIM" not in data["metrics"].values()  # nobody measured it
    assert "default-src 'none'" in text and "<!-- " not in text
    assert not re.search(
        r"(src|href)=\"(?!data:)[^\"]|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text.replace(NASTY, "")
    )


class Tab:
    """A page of the report; closing it fails the test if a script failed or anything was fetched."""

    def __init__(self, browser: Any, report: Path, pictures: bool = True, **options: Any) -> None:
        self.complaints: list[str] = []
        self.page = browser.new_page(**options)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on(
            "request", lambda request: self.complaints.append(request.url) if not_inside(request.url) else None
        )
        self.page.goto(report.as_uri())
        if pictures:
            self.page.wait_for_function("document.querySelector('.layer.left img').naturalWidth > 0")
        self.complaints = [c for c in self.complaints if c != report.as_uri()]

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *error: object) -> None:
        self.page.close()
        if error[0] is None:
            assert self.complaints == []


def not_inside(url: str) -> bool:
    return not url.startswith("data:")


@pytest.mark.slow
def test_clicks_choose_what_is_shown(browser: Any, report: Path) -> None:
    with Tab(browser, report) as tab:
        assert tab.locator("#rd .curve").count() == 3
        assert tab.locator("#failed li").inner_text().startswith("absent.mp4, lvc: cannot be opened")
        assert "Mean of 2 clips" in tab.locator("#clip").inner_text()
        assert tab.locator("#tiles div").count() == 2 and "VMAF: " in tab.locator("#tiles div").first.inner_text()
        assert tab.locator("#metric").input_value() == "psnr_y"
        assert "bits at equal PSNR-Y" in tab.locator("#tiles").inner_text()
        curve = "[...document.querySelectorAll('#rd .curve')].at(-1)?.getAttribute('d')"
        before = tab.evaluate(curve)
        assert before
        tab.select_option("#clip", NASTY)
        assert tab.locator("#clip").input_value() == NASTY
        # what is chosen is drawn in the next frame
        tab.wait_for_function(f"before => {curve} && {curve} !== before", arg=before)
        tab.select_option("#metric", "vmaf")
        shown = "([place, text]) => document.querySelector(place).textContent.includes(text)"
        tab.wait_for_function(shown, arg=["#rd svg[role=img]", "VMAF"])
        assert tab.locator("#bd tbody tr").count() == 2 and "lvc against x264:medium" in tab.locator("#bd").inner_text()
        tab.click("#job >> text=Decoding")
        tab.wait_for_function(shown, arg=["#speed svg[role=img]", "decoding"])
        tab.locator("summary").first.click()
        rows = tab.locator("#tables table").first.locator("tbody tr")
        assert rows.count() == 9
        assert "~15.0" in rows.nth(1).inner_text() and "~" not in rows.nth(0).inner_text()
        assert "busy with other work" not in tab.locator("#speed-note").inner_text()  # encoding was, decoding not
        tab.click("#job >> text=Encoding")
        assert "busy with other work" in tab.locator("#speed-note").inner_text()
        assert "lvc, quality 50: " in tab.locator("#viewer-note").inner_text()
        # means at CRFs and means at lvc's sizes are no one curve; a clip's points are
        points = "[...document.querySelectorAll('#rd .curve')].map((c) => c.getAttribute('d').split('L').length).sort()"
        assert tab.evaluate(points) == [3, 3, 3]
        tab.select_option("#clip", "")
        tab.wait_for_function(f"() => JSON.stringify({points}) === '[2,3,3]'")
        tab.locator("#rd svg[role=img] path[transform]").first.hover(force=True)
        assert "bpp" in tab.locator("#rd .tip").inner_text()


@pytest.mark.slow
def test_one_quality_is_judged_at_equal_size(browser: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    points = [p for p in made_up(store) if p.at == 50 and p.clip == "sofa.mp4"]
    path = tmp_path / "one.html"
    path.write_text(page(points, Plan([50], PLAN.anchors, pictures=True), store), encoding="utf-8")
    with Tab(browser, path) as tab:
        tiles = tab.locator("#tiles div")
        assert [tile.locator("b").inner_text() for tile in tiles.all()] == ["−1.50 dB", "−2.50 dB"]
        assert "PSNR-Y at equal size, lvc against x264:medium" in tiles.first.inner_text()
        assert "VMAF: ±0.00" in tiles.first.inner_text()
        assert "too few" not in tab.locator("body").inner_text()
        assert tab.locator("#bd-title").inner_text() == "Quality at equal size"
        assert "−1.50" in tab.locator("#bd tbody tr").first.inner_text()


@pytest.mark.slow
def test_frames_of_an_anchor_without_that_size_are_the_nearest(browser: Any, report: Path) -> None:
    with Tab(browser, report) as tab:
        note = tab.locator("#time-note")
        assert note.inner_text() == "Anchors at lvc's size."
        tab.select_option("#at", "70")
        assert tab.locator("#time .curve").count() == 3
        sizes = [2000 * 1.03**70 * part / 1000 for part in (1, 1.25)]
        assert f"lvc's size, {sizes[0]:.1f} kB, or at the CRF" in note.inner_text()
        assert note.inner_text().endswith(f"nearest: svtav1:6 {sizes[1]:.1f} kB.")


@pytest.mark.slow
def test_the_anchors_alone_have_curves_and_no_pictures(browser: Any, report: Path, tmp_path: Path) -> None:
    points = [p for p in made_up(Store(tmp_path / "store")) if p.at is None and not p.error]
    path = tmp_path / "alone.html"
    path.write_text(page(points, Plan([], [OWN], pictures=True), Store(tmp_path / "store")), encoding="utf-8")
    with Tab(browser, path, pictures=False) as tab:
        assert tab.locator("#rd .curve").count() == 1 and not tab.locator("#viewer").is_visible()
        assert not tab.locator("#frame-by-frame").is_visible()
        tab.locator("#rd svg[role=img] path[transform]").first.hover(force=True)
        assert "CRF" in tab.locator("#rd .tip").inner_text()


@pytest.mark.slow
def test_the_divider_is_dragged_and_pictures_enlarged(browser: Any, report: Path) -> None:
    with Tab(browser, report, viewport={"width": 1000, "height": 700}) as tab:
        stage, divider = tab.locator("#stage"), tab.locator("#divider")
        stage.scroll_into_view_if_needed()
        assert divider.get_attribute("aria-valuenow") == "50"
        box, grip = stage.bounding_box(), divider.bounding_box()
        tab.mouse.move(grip["x"] + 22, box["y"] + box["height"] / 2)
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40, steps=4)
        tab.mouse.up()
        assert divider.get_attribute("aria-valuenow") == "25"
        divider.press("ArrowRight")
        assert divider.get_attribute("aria-valuenow") == "27"
        assert (
            tab.locator(".tag.left").inner_text() == "lvc" and tab.locator(".tag.right").inner_text() == "x264:medium"
        )
        # left of the divider lvc's picture is seen, right of it the anchor's, which is darker by 5
        tab.locator(".tag.left").evaluate(
            "e => { for (const t of document.querySelectorAll('.tag')) t.hidden = true; }"
        )
        left, right = (brightness(tab, box["x"] + box["width"] * part, box["y"] + 60) for part in (0.26, 0.29))
        assert 2 < left - right < 8
        style = "document.querySelector('.layer.left img').style.transform"
        fitted = tab.evaluate(style)
        tab.click("#zoom >> text=4×")
        assert "scale(4)" in tab.evaluate(style) != fitted
        stage.scroll_into_view_if_needed()
        moved, box = tab.evaluate(style), stage.bounding_box()
        tab.mouse.move(box["x"] + 700, box["y"] + 100)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 640, box["y"] + 90, steps=3)
        tab.mouse.up()
        assert tab.evaluate(style) != moved and divider.get_attribute("aria-valuenow") == "27"
        assert tab.evaluate(style.replace("left", "right")) == tab.evaluate(style)
        tab.locator("#hold").dispatch_event("pointerdown")
        assert tab.locator(".tag.left").text_content() == "original"
        tab.locator("#hold").dispatch_event("pointerup")
        assert tab.locator(".tag.left").text_content() == "lvc"


@pytest.mark.slow
def test_the_difference_is_that_of_the_pictures(browser: Any, report: Path) -> None:
    with Tab(browser, report) as tab:
        tab.select_option("#left", "svtav1:6")
        tab.select_option("#right", "original")
        tab.wait_for_function("[...document.querySelectorAll('.layer img')].every((i) => i.complete)")
        tab.check("#difference")
        tab.fill("#gain", "1")
        tab.wait_for_function("!document.querySelector('#stage canvas').hidden")
        canvas = "document.querySelector('#stage canvas').getContext('2d')"
        code = f"[...{canvas}.getImageData(250, 120, 1, 1).data]"
        red, green, blue, _ = tab.evaluate(code)
        # 15 levels of luma in the narrow range are 17 or 18 of RGB
        assert {red, green, blue} <= {17, 18}
        tab.fill("#gain", "4")
        assert tab.evaluate(code)[0] == 4 * red
        assert not tab.locator("#divider").is_visible()


@pytest.mark.slow
def test_a_run_that_failed_altogether_says_so(browser: Any, tmp_path: Path) -> None:
    points = [Point("absent.mp4", "lvc", 30, 30, error="cannot be opened", exit_code=3)]
    path = tmp_path / "failed.html"
    path.write_text(page(points, PLAN, Store(tmp_path)), encoding="utf-8")
    with Tab(browser, path, pictures=False) as tab:
        assert "Nothing was measured" in tab.locator("#rd").inner_text()
        assert "cannot be opened" in tab.locator("#failed").inner_text() and not tab.locator("#viewer").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(browser: Any, report: Path, scheme: str, tmp_path: Path) -> None:
    with Tab(browser, report, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        ink, ground = (tab.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
        assert contrast(ink, ground) > 7
        assert (luminance(ground) < 0.1) == (scheme == "dark")
        for control in tab.locator("select:visible, button:visible").all():
            assert control.bounding_box()["height"] >= 36
        box = tab.locator("#stage").bounding_box()
        tab.locator("#stage").scroll_into_view_if_needed()
        box = tab.locator("#stage").bounding_box()
        tab.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
        assert tab.locator("#divider").get_attribute("aria-valuenow") == "80"
        tab.screenshot(path=tmp_path / "phone.png", full_page=True)
        assert (tmp_path / "phone.png").stat().st_size > 20_000


def brightness(tab: Any, x: float, y: float) -> float:
    """Mean of 4x4 pixels of the screen there."""
    import io

    import av

    data = tab.screenshot(clip={"x": x - 2, "y": y - 2, "width": 4, "height": 4})
    with av.open(io.BytesIO(data), format="png_pipe") as container:
        return float(next(container.decode(video=0)).to_ndarray(format="rgb24").mean())


def luminance(color: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
