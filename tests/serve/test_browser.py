"""The pages in headless Chromium: what people see and what is read to them, keys, playing, ways around a player."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.server import ODD, Server, Starter, picture_at, start

playwright = pytest.importorskip("playwright.sync_api")
PATIENCE = 240.0  # seconds; a loaded machine draws slowly
pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
NO_SIMD = "const whole = WebAssembly.validate; WebAssembly.validate = (bytes) => bytes.length > 1000 && whole(bytes);"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, silent: Path, sounding: Path) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "inner").mkdir()
    shutil.copy(sounding, folder / "bunny.lvz")
    shutil.copy(silent, folder / "carphone.lvz")
    shutil.copy(silent, folder / "inner" / ODD)
    shutil.copy(silent, folder / "<img src=x onerror='document.title=1'>.lvz".replace("/", ""))
    return folder


@pytest.fixture(scope="module")
def site(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database = tmp_path_factory.mktemp("database")
    command = [sys.executable, "-m", "lvc", "search", "index", str(films), "--db", str(database)]
    subprocess.run(command, check=True, capture_output=True)
    with start(films, "--db", database) as running:
        yield running


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that must not complain."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(PATIENCE * 1000)
    yield page
    context.close()
    assert not wrong


def until(page: Any, script: str) -> Any:
    """The value of a script once it is true; without the page's leave to evaluate text, which its policy forbids."""
    for _ in range(int(PATIENCE * 5)):
        with contextlib.suppress(playwright.Error):  # the page has just gone to another
            if value := page.evaluate(script):
                return value
        time.sleep(0.2)
    pytest.fail(f"never came true: {script}; the page says {page.evaluate('document.body.innerText')[:500]}")


def open_page(page: Any, server: Server, path: str) -> None:
    page.goto(server.address.rstrip("/") + path)


PLAYER = "document.querySelector('lvz-player')"
VIDEO = "document.querySelector('video')"


def test_the_gallery(page: Any, site: Server) -> None:
    open_page(page, site, "/")
    until(page, "[...document.querySelectorAll('.thumb img')].every((image) => image.naturalWidth > 0)")
    assert page.evaluate("crossOriginIsolated")
    read = page.locator("body").aria_snapshot()
    for text in ('heading "films', 'link "bunny', 'searchbox "Find by name"', 'navigation "Order"', "5 seconds"):
        assert text in read, read
    page.keyboard.press("/")
    page.keyboard.type("bun")
    page.keyboard.press("Enter")
    until(page, "location.search === '?q=bun' && document.querySelectorAll('.card').length === 1")


def test_by_keyboard_alone(page: Any, site: Server) -> None:
    open_page(page, site, "/?sort=large")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.evaluate("[document.activeElement.localName, document.activeElement.getAttribute('href')]")
        seen.append(focus[1])
        if focus[1] == "/watch/bunny.lvz":
            break
    assert seen[0] == "#main" and seen[-1] == "/watch/bunny.lvz"
    page.keyboard.press("Enter")
    until(page, "location.pathname === '/watch/bunny.lvz'")


def test_playing(page: Any, site: Server) -> None:
    open_page(page, site, "/watch/bunny.lvz#t=1.5")
    until(page, f"{PLAYER}?.readyState >= 2")
    assert abs(page.evaluate(f"{PLAYER}.currentTime") - 1.5) < 0.1
    assert abs(page.evaluate(f"{PLAYER}.duration") - 5.28) < 0.01
    page.keyboard.press(" ")
    until(page, f"{PLAYER}.currentTime > 1.8")
    page.keyboard.press(" ")
    until(page, f"{PLAYER}.paused && location.hash.startsWith('#t=')")
    at, hashed = page.evaluate(f"[{PLAYER}.currentTime, Number(location.hash.slice(3))]")
    assert abs(at - hashed) < 0.1 and at > 1.8
    page.evaluate("location.hash = '#t=0:04'")
    until(page, f"Math.abs({PLAYER}.currentTime - 4) < 0.1 && !{PLAYER}.seeking")


def test_a_browser_without_simd_gets_converted_video(page: Any, site: Server) -> None:
    page.add_init_script(NO_SIMD)
    open_page(page, site, "/watch/bunny.lvz#t=2")
    until(page, f"{VIDEO}?.readyState >= 2")
    assert "Converted by the server" in page.locator("#notice").inner_text()
    assert abs(page.evaluate(f"{VIDEO}.duration") - 5.28) < 0.05
    assert abs(page.evaluate(f"{VIDEO}.currentTime") - 2) < 0.1
    page.keyboard.press("k")
    until(page, f"{VIDEO}.currentTime > 2.3")
    page.keyboard.press("k")
    page.evaluate(f"{VIDEO}.currentTime = 4.6")
    until(page, f"!{VIDEO}.seeking && {VIDEO}.readyState >= 2 && {VIDEO}.currentTime > 4.5")


def test_converted_from_the_start_if_asked(page: Any, started: Starter, films: Path) -> None:
    server = started(films, "--transcode")
    open_page(page, server, "/watch/carphone.lvz")
    until(page, f"{VIDEO}?.readyState >= 2")
    assert page.locator("#notice").is_hidden()
    assert page.evaluate(f"[{VIDEO}.videoWidth, {VIDEO}.videoHeight]")[1] == 144


def test_names_run_nothing(page: Any, site: Server) -> None:
    for path in ("/", "/browse/inner", "/?q=img"):
        open_page(page, site, path)
        until(page, "document.readyState === 'complete'")
        assert (
            page.title().endswith("lvc")
            and page.evaluate("document.querySelectorAll('main b, img[src=x]').length") == 0
        )


def test_search(page: Any, site: Server, films: Path, tmp_path: Path) -> None:
    Image.fromarray(picture_at(films / "bunny.lvz", 3.0)).save(tmp_path / "asked.png")
    open_page(page, site, "/")
    page.get_by_role("link", name="Search by picture or sound").click()
    page.locator("#file").set_input_files(tmp_path / "asked.png")
    until(page, "location.search.startsWith('?found=')")
    until(page, "document.querySelector('#results .thumb img')?.naturalWidth > 0")
    first = page.locator("#results .card a").first.get_attribute("href")
    assert first.startswith("/watch/bunny.lvz#t=")
    page.locator("#results .card a").first.click()
    until(page, f"location.pathname === '/watch/bunny.lvz' && {PLAYER}?.readyState >= 2")
    assert abs(page.evaluate(f"{PLAYER}.currentTime") - float(first.partition("=")[2])) < 0.2
    page.locator("#similar").click()
    until(page, "document.querySelectorAll('#results .card').length")
    assert "Looking for the moment" in page.locator(".asked").inner_text()


@pytest.fixture(scope="module")
def axe() -> str:
    """The rules of axe-core, where `npm install -g axe-core` or LVC_AXE has put them."""
    place = os.environ.get("LVC_AXE")
    if place is None and shutil.which("npm") is not None:
        root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True).stdout.strip()
        place = os.path.join(root, "axe-core", "axe.min.js")
    if place is None or not os.path.isfile(place):
        pytest.skip("axe-core is not installed: npm install -g axe-core")
    return Path(place).read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["/", "/browse/inner", "/?q=nothing-like-it", "/search", "/watch/bunny.lvz", "/nowhere"]
)
def test_axe_finds_nothing(browser: Any, site: Server, axe: str, path: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 844}, bypass_csp=True)
    page = context.new_page()
    page.goto(site.address.rstrip("/") + path)
    until(page, "document.readyState === 'complete'")
    if path.startswith("/watch"):
        until(page, f"{PLAYER}?.readyState >= 2")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)")
    context.close()
    assert not [(v["id"], v["impact"], [n["html"][:200] for n in v["nodes"]]) for v in found]
