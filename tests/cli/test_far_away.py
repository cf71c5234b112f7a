"""`lvc` on addresses, as processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from tests.helpers.far_site import Site, serving
from tests.helpers.waiting import PATIENCE, Turns, wait_for

ENV = {"LVC_CACHE": "off", "no_proxy": "*"}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def site(encoded: Path, with_sound: Path) -> Iterator[Site]:
    with serving() as site:
        site.put(encoded.read_bytes(), "/carphone.lvz")
        site.put(with_sound.read_bytes(), "/bunny.lvz")
        yield site


@pytest.mark.slow
def test_info(fake: Any, site: Site, encoded: Path) -> None:
    here = fake("info", "--json", encoded).events[-1]
    done = fake("info", "--json", site.address + "/carphone.lvz")
    assert done.code == 0, done.err
    there = done.events[-1]
    unread = dict.fromkeys(("file", "video_bytes", "audio_bytes", "search_vectors"))  # these would take many requests
    assert {**there, **unread} == {**here, **unread} and len(site.requests) == 2
    assert here["video_bytes"] > 0 and there["video_bytes"] is None


@pytest.mark.slow
def test_a_range_is_decoded_as_from_a_file(fake: Any, site: Site, with_sound: Path) -> None:
    options = ["--start", "2.2", "--end", "3.1", "--codec", "ffv1"]
    assert fake("decode", with_sound, "here.mkv", *options).code == 0
    done = fake("decode", site.address + "/bunny.lvz", "there.mkv", *options, "--json")
    assert done.code == 0 and done.events[-1]["bytes_in"] == with_sound.stat().st_size
    assert packets(fake.folder / "here.mkv") == packets(fake.folder / "there.mkv")
    assert site.sent < with_sound.stat().st_size


def packets(path: Path) -> list[tuple[int, int | None, bytes]]:
    with av.open(str(path)) as file:
        return [(packet.stream_index, packet.pts, bytes(packet)) for packet in file.demux() if packet.size]


@pytest.mark.slow
def test_the_outputs_name_comes_from_the_address(fake: Any, site: Site) -> None:
    assert fake("decode", site.address + "/carphone.lvz?key=secret").code == 3
    site.files["/carphone.lvz?key=secret"] = site.files["/carphone.lvz"]
    assert fake("decode", site.address + "/carphone.lvz?key=secret").code == 0
    assert os.listdir(fake.folder) == ["carphone.mp4"]


@pytest.mark.slow
def test_a_server_without_ranges_is_named(fake: Any, site: Site, encoded: Path) -> None:
    site.ranges = False
    address = site.address + "/carphone.lvz"
    part = ("--start", "2.1", "--end", "2.6")
    done = fake("decode", address, "part.y4m", *part)
    assert done.code == 0 and "sends no parts of files" in done.err and len(site.requests) == 1
    assert fake("decode", encoded, "here.y4m", *part).code == 0
    assert (fake.folder / "part.y4m").read_bytes() == (fake.folder / "here.y4m").read_bytes()
    info = fake("info", address)
    assert info.code == 0 and "sends no parts of files" in info.err and "unknown" in info.text


@pytest.mark.slow
@pytest.mark.parametrize("ranges", [True, False])
def test_search(fake: Any, site: Site, ranges: bool) -> None:
    """Without ranges the end cannot be read first: the video is decoded."""
    site.ranges = ranges
    address = site.address + "/carphone.lvz"
    done = fake("search", "index", address, "--db", "db", "--json")
    assert done.code == 0, done.err
    assert done.events[-1]["stored"] == ranges and (site.sent < len(site.files["/carphone.lvz"]) / 5) is ranges
    asked = fake("search", "query", f"{address}@2.1", "--db", "db", "--json", "--contact-sheet", "sheet.png")
    hits = [event for event in asked.events if event["event"] == "hit"]
    assert [(hit["path"], hit["start"]) for hit in hits] == [(address, pytest.approx(2, abs=0.3))]
    assert (fake.folder / "sheet.png").stat().st_size > 20_000  # frames, and not two grey tiles


@pytest.mark.slow
@pytest.mark.parametrize(("faults", "code", "says"), [([404], 3, "404"), ([503] * 9, 3, "503"), ([503], 0, "")])
def test_faults(fake: Any, site: Site, faults: list[int | str], code: int, says: str) -> None:
    site.faults = faults
    done = fake("info", site.address + "/carphone.lvz")
    assert done.code == code and says in done.err and len(done.err.splitlines()) == (code != 0)


@pytest.mark.slow
def test_verify(fake: Any, site: Site) -> None:
    done = fake("verify", "--full", site.address + "/carphone.lvz")
    assert done.code == 0 and "120 frames" in done.text
    data = bytearray(site.files["/carphone.lvz"])
    data[len(data) // 2] ^= 1
    site.put(bytes(data), "/bad.lvz")
    assert fake("verify", site.address + "/bad.lvz").code == 4


@pytest.mark.slow
def test_encoding_to_an_address_streams_the_same_bytes(fake: Any, carphone: Path) -> None:
    pytest.importorskip("fsspec")
    target = f"file://{fake.folder}/there.lvz"
    assert fake("encode", carphone, "here.lvz", "--packing", "zstd").code == 0
    done = fake("encode", carphone, "-o", target, "--packing", "zstd", "--json")
    assert done.code == 0, done.err
    here, there = (fake.folder / name for name in ("here.lvz", "there.lvz"))
    assert there.read_bytes() == here.read_bytes() and done.events[-1]["bytes_out"] == here.stat().st_size
    assert fake("encode", carphone, target, "--packing", "zstd").code == 6
    assert fake("encode", carphone, target, "--packing", "zstd", "--force", "--verify").code == 2
    assert fake("encode", carphone, "b.lvz", "-o", target, "--force").code == 2
    assert fake("encode", carphone, "https://far.example/a.lvz").code == 2
    assert fake("encode", carphone, "what://far/a.lvz").code == 2


@pytest.mark.slow
def test_there_and_back_between_addresses(fake: Any, carphone: Path) -> None:
    pytest.importorskip("fsspec")
    (fake.folder / "a.mp4").write_bytes(carphone.read_bytes())
    folder = f"file://{fake.folder}"
    chained = f"simplecache::{folder}/a.mp4"  # FFmpeg knows nothing of that
    assert fake("encode", chained, f"{folder}/a.lvz", "--packing", "zstd").code == 0
    done = fake("decode", f"{folder}/a.lvz", f"{folder}/b.mkv", "--codec", "ffv1")
    assert done.code == 0, done.err
    with av.open(str(fake.folder / "b.mkv")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 120
    assert sorted(os.listdir(fake.folder)) == ["a.lvz", "a.mp4", "b.mkv"]


@pytest.mark.slow
def test_an_interrupt_leaves_nothing_at_the_address(fake: Any, carphone: Path, turns: Turns) -> None:
    pytest.importorskip("fsspec")
    with fake.start(
        "encode", carphone, f"file://{fake.folder}/a.lvz", "--packing", "zstd", "--json", env=turns.env
    ) as process:
        wait_for(turns.reached, process)
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and os.listdir(fake.folder) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("carphone", ("info", "--json")), ("carphone", ("decode", "x.mkv", "-v")), ("carphone", ("decode", "--json")),
        ("carphone", ("decode", "x.mkv", "too", "many")), ("carphone", ("nonsense",)),
        ("carphone", ("encode", "x.lvz")),
        ("carphone", ("decode", "/no/where/x.mkv", "-vv")), ("carphone", ("search", "index", "--db", "films.db")),
        ("carphone", ("features", "-o", "x.npz")), ("carphone", ("decode", "--start", "https://a:hunter2@x/")),
        ("carphone", ("eval",)), ("none", ("info",)), ("none", ("verify", "-vv")), ("none", ("encode", "--json")),
    ],
)  # fmt: skip
def test_secrets_in_addresses_are_not_said(fake: Any, site: Site, path: str, arguments: tuple[str, ...]) -> None:
    site.files["/carphone.lvz?token=s3cr3t"] = site.files["/carphone.lvz"]
    address = site.address.replace("//", "//bob:hunter2@") + f"/{path}.lvz?token=s3cr3t#fr4g"
    command = 2 if arguments[0] == "search" else 1
    done = fake(*arguments[:command], address, *arguments[command:])
    for word in ("hunter2", "bob", "s3cr3t", "fr4g"):
        assert word not in done.err and word.encode() not in done.out
    written = [p for p in fake.folder.rglob("*") if p.is_file()]
    assert not [p for p in written if "s3cr3t" in p.name or "hunter2" in p.name or b"hunter2" in p.read_bytes()]
