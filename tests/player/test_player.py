"""The element in a real browser: it plays, seeks, listens to the keyboard, and says what is wrong with a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvc.files import encode_file
from lvc.lvz import LvzReader
from tests.helpers.player_site import Site, Tab, until


@pytest.fixture
def page(browser: Any, site: Site, film: Path) -> Iterator[Any]:
    site.files["/film.lvz"] = film
    with Tab(browser, f"{site.address}/play.html", viewport={"width": 640, "height": 420}) as page:
        until(page, "window.film?.play !== undefined")
        page.evaluate("film.src = 'film.lvz'")
        until(page, "film.readyState === 4 || film.error !== null")
        assert page.evaluate("film.error") is None
        yield page


@pytest.mark.slow
def test_it_plays_to_the_end_with_sound(page: Any) -> None:
    assert page.evaluate("[film.duration, film.videoWidth, film.videoHeight, film.hasSound, film.hasSubtitles]") == [
        4,
        200,
        90,
        True,
        True,
    ]
    page.evaluate("film.play()")
    until(page, "film.ended")
    events = page.evaluate("events.filter((name) => name !== 'timeupdate' && name !== 'waiting' && name !== 'playing')")
    assert events == ["loadstart", "durationchange", "loadedmetadata", "canplay", "play", "pause", "ended"]
    assert page.evaluate("[film.currentTime, film.paused, film.captureFrame().number]") == [4, True, 99]
    assert page.evaluate("film.audio.error") is None and page.evaluate("film.audio.currentTime") > 3.5
    assert page.evaluate("worst") <= 0.06


@pytest.mark.slow
def test_seeks_show_the_frame_of_their_time(page: Any) -> None:
    for time, number in ((2.5, 62), (0.02, 0), (3.99, 99), (1.0, 25), (100, 99), (0, 0)):
        page.evaluate(f"film.currentTime = {time}")
        until(page, "!film.seeking")
        assert page.evaluate("film.captureFrame().number") == number
    page.evaluate("film.currentTime = 1")
    until(page, "!film.seeking")
    for by, number in ((1, 26), (1, 27), (-1, 26), (-1, 25), (-1, 24), (-1, 23)):
        page.evaluate(f"film.step({by})")
        until(page, "!film.seeking")
        assert page.evaluate("film.captureFrame().number") == number
    assert page.evaluate("events.includes('seeking') && events.includes('seeked') && film.paused")


@pytest.mark.slow
def test_a_step_back_finds_a_frame_that_is_not_decoded(page: Any) -> None:
    """Once the first picture is there, and nothing else, the beginning of the second GOP is sought: the frame before
    it has still to come, and the first picture is not that frame."""
    page.evaluate(
        "film.addEventListener('canplay', () => (film.currentTime = 1), { once: true }); film.src = 'film.lvz?again'"
    )
    until(page, "film.currentTime === 1 && !film.seeking")
    for number in (24, 23):
        page.evaluate("film.step(-1)")
        until(page, "!film.seeking")
        assert page.evaluate("film.captureFrame().number") == number


@pytest.mark.slow
def test_a_seek_fetches_its_groups_and_little_else(browser: Any, site: Site, carphone: Path, tmp_path: Path) -> None:
    """Counted from the first visit on: the index, the groups that are decoded, and 64 KiB."""
    path = tmp_path / "film.lvz"
    encode_file(str(carphone), str(path), effort=0, gop=0.5, quality=95)
    with path.open("rb") as file:
        index = LvzReader(file).index
        assert index is not None
        gops, end = [entry.offset for entry in index.gops], path.stat().st_size
    site.files["/film.lvz"] = path
    with Tab(browser, f"{site.address}/play.html") as page:
        until(page, "window.film?.play !== undefined")
        page.evaluate("film.setAttribute('start', '3.6'); film.src = 'film.lvz'")
        until(page, "film.readyState === 4")
    ranges = [asked.removeprefix("bytes=").split("-") for path, asked in site.requests if path == "/film.lvz" and asked]
    fetched = {number for first, last in ranges for number in range(int(first), min(int(last) + 1, end))}
    assert sum(min(int(last) + 1, end) - int(first) for first, last in ranges) == len(fetched)  # nothing twice
    groups = end - gops[int(3.6 / 0.5)]  # to the last one, and the index behind it
    assert len(fetched) <= groups + 65536 < end
    assert set(range(gops[-1], end)) <= fetched


SLOW = """
const { get, set } = Object.getOwnPropertyDescriptor(Worker.prototype, 'onmessage');
window.slow = true; // what follows the 20th frame never comes
Object.defineProperty(Worker.prototype, 'onmessage', {
  get, set(act) {
    set.call(this, act && ((event) => slow && (event.data.number ?? event.data.first) >= 20 || act(event)));
  },
});
"""


@pytest.mark.slow
def test_seeks_find_pictures_that_are_left_out(browser: Any, site: Site, film: Path) -> None:
    """On a machine too slow to show every picture, a picture that stands is still the one that was asked for."""
    site.files["/film.lvz"] = film
    with Tab(browser, f"{site.address}/play.html") as page:
        page.add_init_script(SLOW)
        page.reload()
        until(page, "window.film?.play !== undefined")
        page.evaluate("film.src = 'film.lvz'")
        until(page, "film.readyState === 4")
        page.evaluate("film.play()")
        until(page, "film.note.textContent.includes('every 2nd picture') && events.includes('waiting')")
        page.evaluate("slow = false")
        for number in (40, 41):
            page.evaluate(f"film.currentTime = {(number + 0.5) / 25}")
            until(page, "!film.seeking && film.captureFrame() !== null")
            assert page.evaluate("film.captureFrame().number") >= number
        page.evaluate("film.pause()")
        for number in (80, 81, 82, 83, 47, 46):
            page.evaluate(f"film.currentTime = {(number + 0.5) / 25}")
            until(page, "!film.seeking")
            assert page.evaluate("film.captureFrame().number") == number


SPIED = """async () => {
  const { Session } = await import("/player/session.js");
  const take = Session.prototype.take;
  Session.prototype.take = function (message) {
    window.session = this;
    if (message.op === "expected") came.push(message.number);
    return take.call(this, message);
  };
  window.came = [];
  film.src = "film.lvz";
}"""


@pytest.mark.slow
def test_a_seek_that_was_expected_does_not_wait(browser: Any, site: Site, film: Path) -> None:
    """To pictures between anchors, to the last one, which is an anchor, and to a key frame."""
    site.files["/film.lvz"] = film
    with Tab(browser, f"{site.address}/play.html") as page:
        until(page, "window.film?.play !== undefined")
        page.evaluate(SPIED)
        until(page, "film.readyState === 4 && session.ended")
        page.evaluate("session.frames.clear()")  # as if it were too long to be decoded ahead
        for number in (62, 99, 13, 0):
            page.evaluate(f"film.expect({number / 25})")
            until(page, f"came.includes({number})")
            page.evaluate(f"film.currentTime = {number / 25}")
            assert page.evaluate("[film.seeking, film.captureFrame()?.number]") == [False, number]
            page.evaluate("session.frames.clear()")
        assert page.evaluate("came") == [62, 99, 13, 0]


@pytest.mark.slow
def test_the_keyboard_is_enough(page: Any) -> None:
    page.focus("#film")
    states = "[film.muted, film.volume, film.playbackRate]"
    for key, state in (
        ("m", [True, 1, 1]), ("m", [False, 1, 1]), ("ArrowDown", [False, 0.95, 1]), (">", [False, 0.95, 1.25]),
        ("<", [False, 0.95, 1]),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(states) == state
    for key, time in (("5", 2), ("0", 0), ("ArrowRight", 4), ("Home", 0)):
        page.keyboard.press(key)
        assert page.evaluate("film.currentTime") == time
    until(page, "!film.seeking")
    page.keyboard.press(".")
    until(page, "!film.seeking && film.captureFrame().number === 1")
    page.keyboard.press("Space")
    assert not page.evaluate("film.paused")
    page.keyboard.press("k")
    assert page.evaluate("film.paused")
    page.keyboard.press("c")
    page.evaluate("film.currentTime = 2.4")
    until(page, "film.text.textContent === 'Another line'")


@pytest.mark.slow
def test_every_control_has_a_name(page: Any) -> None:
    for role, name in (
        ("button", "Play"), ("button", "Sound off"), ("slider", "Volume"), ("slider", "Time"), ("combobox", "Speed"),
        ("button", "Subtitles"), ("button", "Full screen"), ("region", "Video player"), ("group", "Video controls"),
    ):  # fmt: skip
        assert page.get_by_role(role, name=name, exact=True).count() == 1, name
    page.get_by_role("button", name="Play", exact=True).click()
    assert not page.evaluate("film.paused")
    page.get_by_role("combobox", name="Speed").select_option("2")
    assert page.evaluate("film.playbackRate") == 2


@pytest.mark.slow
def test_the_seek_bar_shows_pictures(page: Any) -> None:
    bar = page.get_by_role("slider", name="Time")
    box = bar.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] / 2)
    until(page, "film.shadowRoot.querySelector('.preview canvas') !== null")
    assert page.evaluate("film.shadowRoot.querySelector('.preview').textContent") == "0:02"


@pytest.mark.slow
def test_what_is_wrong_is_said(browser: Any, site: Site, film: Path) -> None:
    data = film.read_bytes()
    broken = bytearray(data)
    broken[len(data) // 3] ^= 255
    site.files |= {"/broken.lvz": bytes(broken), "/text.lvz": b"no video at all", "/film.lvz": film, "/empty.lvz": b""}
    cases = [
        ("missing.lvz", "/models/", "NetworkError", "answers 404"),
        ("text.lvz", "/models/", "CorruptError", "no .lvz"),
        ("empty.lvz", "/models/", "NetworkError", "empty"),
        ("film.lvz", "/elsewhere/", "UnsupportedError", "the model"),
        ("broken.lvz", "/models/", "CorruptError", "checksum"),
    ]
    with Tab(browser, f"{site.address}/play.html", expected=("404", "416")) as page:
        until(page, "window.film?.play !== undefined")
        for address, models, name, words in cases:
            page.evaluate(
                "([src, models]) => { events = []; film.setAttribute('models', models); film.src = src; }",
                [address, models],
            )
            until(page, f"film.src === '{address}' && film.error !== null")
            error = page.evaluate("film.error")
            assert error["name"] == name and words in error["message"], error
            assert error["message"] in page.evaluate("film.words.textContent")
            assert page.evaluate("events.includes('error')")
        page.evaluate("film.setAttribute('models', '/models/'); film.src = 'film.lvz'")  # and it goes on with the next
        until(page, "film.readyState === 4 && film.error === null")
