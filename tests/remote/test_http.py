"""Over HTTP: few requests, few bytes, and what a network can do to them."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest

from lvc.errors import MediaError
from lvc.lvz import LvzReader, Record
from lvc.remote.open import NO_RANGES, open_remote
from lvc.remote.retry import ATTEMPTS
from lvc.remote.store import END_BYTES, HEAD_BYTES, RangeFile
from tests.helpers.far_site import Site
from tests.helpers.lvz_files import gop_bytes, index_bytes, lvz

DATA = lvz()


def local(start: float = 0, end: float | None = None, data: bytes = DATA) -> list[Record]:
    return list(LvzReader(io.BytesIO(data)).records_from(start, end))


def remote(address: str, start: float = 0, end: float | None = None, **options: Any) -> list[Record]:
    with open_remote(address, options=options) as file:
        return list(LvzReader(file).records_from(start, end))


def test_header_and_index_take_two_requests(site: Site) -> None:
    with open_remote(site.put(DATA)) as file:
        reader = LvzReader(file)
        assert reader.frame_count == 1500 and reader.index is not None and len(reader.index.gops) == 30
        assert reader.metadata.tags == {} and reader.size == len(DATA)
    size = len(DATA)
    assert site.asked == [f"bytes=0-{HEAD_BYTES - 1}", f"bytes={size - END_BYTES}-{size - 1}"]
    assert site.connections == 1


@pytest.mark.parametrize(("start", "end"), [(12.5, 14.5), (0, 2), (57.9, 59.9), (30, 32)])
def test_a_range_costs_its_gops(site: Site, start: float, end: float) -> None:
    assert remote(site.put(DATA), start, end) == local(start, end)
    assert site.sent <= index_bytes(DATA) + gop_bytes(DATA, start, end) + (64 << 10)
    assert site.sent < len(DATA) / 5 and len(site.requests) <= 8


def test_without_packets_a_range_is_one_request_more(site: Site) -> None:
    with open_remote(site.put(DATA)) as file:
        records = list(LvzReader(file).records_from(20, 22, packets=False))
    assert [r.first_frame for r in records] == [500, 525]  # type: ignore[union-attr]
    assert len(site.requests) == 3


def test_the_whole_file_comes_in_growing_requests(site: Site) -> None:
    with open_remote(site.put(DATA)) as file:
        assert LvzReader(file).verify().frames == 1500
    assert site.sent == len(DATA) and len(site.requests) < 8
    assert site.asked[1] == f"bytes={HEAD_BYTES}-{(256 << 10) - 1}"


@pytest.mark.slow
def test_an_index_longer_than_what_is_asked_for_at_first(site: Site) -> None:
    data = lvz(30, 20_000, sound=False)
    assert index_bytes(data) > END_BYTES
    with open_remote(site.put(data)) as file:
        assert LvzReader(file).frame_count == 20_000 * 25
    assert len(site.requests) == 3 and site.sent <= index_bytes(data) + HEAD_BYTES


@pytest.mark.parametrize("size", [0, 1, 83, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, END_BYTES + 5, 3 * END_BYTES])
def test_any_reads_give_the_files_bytes(site: Site, size: int) -> None:
    dice = random.Random(size)
    data = dice.randbytes(size)
    with open_remote(site.put(data)) as file:
        assert isinstance(file, RangeFile) and file.size == size
        for _ in range(60):
            if dice.random() < 0.2:
                spans = sorted(dice.sample(range(size + 1), 4)) if size > 4 else [0, size]
                file.will_read(list(zip(spans[::2], spans[1::2], strict=True)))
            at, count = dice.randint(0, size), dice.randint(0, size // 2 + 1)
            file.seek(at)
            part = b""
            while len(part) < count and (more := file.read(count - len(part))):
                part += more
            assert part == data[at : at + count]
    assert site.sent <= size


@pytest.mark.parametrize("fault", [500, 503, 429, 408, "drop", "cut", "other range"])
def test_what_may_go_better_is_tried_again(site: Site, fault: int | str) -> None:
    site.faults = [fault, fault, "", fault, "", fault]
    if fault == "other range":
        site.faults[:2] = []  # the first answer has to begin at the beginning
    assert remote(site.put(DATA), 12.5, 14.5) == local(12.5, 14.5)


def test_it_is_not_tried_for_ever(site: Site) -> None:
    site.faults = [503] * 99
    with pytest.raises(MediaError, match=r"503.*5 times"):
        remote(site.put(DATA))
    assert len(site.requests) == ATTEMPTS


def test_pauses_grow_and_the_servers_wish_is_heard(site: Site, pauses: list[float]) -> None:
    site.faults = [503, 503, 503]
    remote(site.put(DATA), 0, 1)
    assert len(pauses) == 3 and pauses[0] < pauses[2] < 1
    site.faults, site.headers = [429], {"Retry-After": "7"}
    remote(site.put(DATA), 0, 1)
    assert pauses[3] == 7


def test_a_server_that_says_nothing_is_left(site: Site) -> None:
    site.faults = ["stall"] * 99
    with pytest.raises(MediaError, match="timed out"):
        remote(site.put(DATA), timeout=0.05)


def test_nobody_there() -> None:
    with pytest.raises(MediaError, match=r"does not answer.*refused"):
        open_remote("http://127.0.0.1:9/a.lvz")


def test_an_end_that_cannot_be_fetched_is_not_a_missing_index(site: Site) -> None:
    with open_remote(site.put(DATA)) as file:
        reader = LvzReader(file)
        site.faults = [503] * 99
        with pytest.raises(MediaError):
            _ = reader.index


def test_salvage_takes_no_network_fault_for_damage(site: Site) -> None:
    with open_remote(site.put(DATA)) as file:
        reader = LvzReader(file, salvage=True)
        site.faults = [404] * 99
        with pytest.raises(MediaError):
            list(reader.records())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_final(site: Site, status: int) -> None:
    site.faults = [status]
    with pytest.raises(MediaError, match=str(status)):
        remote(site.put(DATA))
    assert len(site.requests) == 1


def test_a_file_that_changes_meanwhile(site: Site) -> None:
    with open_remote(site.put(DATA)) as file:
        reader = LvzReader(file)
        assert reader.index is not None
        site.version = 2
        with pytest.raises(MediaError, match="changed"):
            list(reader.records_from(20, 22))


@pytest.mark.parametrize("length", [True, False])
def test_a_server_without_ranges_is_read_from_the_front(site: Site, length: bool) -> None:
    site.ranges, site.length = False, length
    notices: list[str] = []
    with open_remote(site.put(DATA), notices.append) as file:
        assert not file.seekable()
        reader = LvzReader(file)
        assert reader.index is None and notices == [NO_RANGES]
        assert list(reader.records_from(12.5, 14.5)) == local(12.5, 14.5)
    assert len(site.requests) == 1


def test_a_stream_that_breaks_off_is_said_to(site: Site) -> None:
    site.ranges, site.faults = False, ["cut"]
    with open_remote(site.put(DATA)) as file, pytest.raises(MediaError, match="connection was lost"):
        list(LvzReader(file).records())


def test_what_is_compressed_on_the_way_is_refused(site: Site) -> None:
    site.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(MediaError, match="gzip"):
        remote(site.put(DATA))


def test_redirects(site: Site, another_site: Site) -> None:
    another_site.put(DATA)
    site.redirects = {"/old.lvz": "/new/old.lvz", "/new/old.lvz": another_site.address + "/a.lvz", "/round": "/round"}
    address = site.address.replace("//", "//user:secret@") + "/old.lvz"
    assert remote(address, 12.5, 14.5, headers={"X-Key": "1"}) == local(12.5, 14.5)
    assert {s.get("Authorization") for s in site.seen} == {"Basic dXNlcjpzZWNyZXQ="}
    assert {s.get("X-Key") for s in site.seen} == {"1"}
    assert not [s for s in another_site.seen if "Authorization" in s or "X-Key" in s]
    with pytest.raises(MediaError, match="too many redirects"):
        open_remote(site.address + "/round")


def test_a_proxy_of_the_environment_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", site.address)
    site.files["http://far.example/a.lvz?x=1"] = DATA
    assert remote("http://far.example/a.lvz?x=1", 12.5, 14.5) == local(12.5, 14.5)


def test_names_are_sent_as_they_are_meant(site: Site) -> None:
    site.files["/f%C3%BCr%20dich%2B.lvz?a=b%20c"] = DATA
    assert remote(f"{site.address}/für dich%2B.lvz?a=b c#top", 12.5, 14.5) == local(12.5, 14.5)


@pytest.mark.parametrize("address", ["http://", "http://host:port/a", "https:///a.lvz"])
def test_no_address(address: str) -> None:
    with pytest.raises(MediaError, match="URL"):
        open_remote(address)
