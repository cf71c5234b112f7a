"""Addresses of fsspec: parts are read, wholes are written or nothing is."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvc.errors import MediaError, OutputExistsError, UnsupportedError, UsageError
from lvc.lvz import LvzReader
from lvc.output import check_output, opened_input
from lvc.place import Place
from lvc.remote import filesystems
from lvc.remote.addresses import is_stored, protocol_of
from lvc.remote.open import open_remote
from lvc.remote.store import RangeFile
from lvc.remote.upload import upload
from tests.helpers.lvz_files import lvz

fsspec = pytest.importorskip("fsspec")
DATA = lvz()


@pytest.fixture(params=["memory", "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a file that is not there yet."""
    if request.param == "file":
        yield f"file://{tmp_path}/a.lvz"
        return
    folder = f"memory://{uuid.uuid4().hex}"
    yield f"{folder}/a.lvz"
    fsspec.filesystem("memory").store.clear()


def content(address: str) -> bytes:
    fs, path = fsspec.core.url_to_fs(address)
    return bytes(fs.cat_file(path))


def test_a_range_is_read_by_its_parts(address: str) -> None:
    with upload(address) as out:
        out.write(DATA)
    with open_remote(address) as file:
        assert isinstance(file, RangeFile)
        records = list(LvzReader(file).records_from(12.5, 14.5))
        assert file.shared.fetched_bytes < len(DATA) / 5
    assert records == list(LvzReader(io.BytesIO(DATA)).records_from(12.5, 14.5))


def test_what_is_written_appears_at_its_end(address: str) -> None:
    fs, path = fsspec.core.url_to_fs(address)
    with upload(address) as out:
        assert not out.seekable()
        for part in (b"one ", memoryview(b"two")):
            out.write(part)
        assert not fs.exists(path)
    assert content(address) == b"one two"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_nothing(address: str, error: type[BaseException]) -> None:
    fs, path = fsspec.core.url_to_fs(address)
    with pytest.raises(error), upload(address) as out:
        out.write(b"half of it")
        raise error
    assert not fs.exists(path)


def test_nothing_is_overwritten_by_accident(address: str) -> None:
    with upload(address) as out:
        out.write(b"first")
    with pytest.raises(OutputExistsError, match="--force"):
        check_output("in.mp4", address)
    with pytest.raises(OutputExistsError), upload(address) as out:
        out.write(b"second")
    assert content(address) == b"first"
    check_output("in.mp4", address, force=True)
    with upload(address, force=True) as out:
        out.write(b"third")
    assert content(address) == b"third"
    with pytest.raises(UsageError, match="same file"):
        check_output(address, address, force=True)


def test_two_uploads_at_a_time(address: str) -> None:
    with upload(address) as one:
        one.write(b"one")
        with pytest.raises(ValueError, match="other"), upload(address + ".other") as other:
            other.write(b"other")
            raise ValueError("the other one fails")
    assert content(address) == b"one"


def test_what_is_missing(address: str) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        open_remote(address)
    with pytest.raises(MediaError, match="folder"):
        open_remote(address.rpartition("/")[0] or address) if address.startswith("file") else _folder(address)


def _folder(address: str) -> None:
    with upload(address) as out:
        out.write(b"x")
    open_remote(address.rpartition("/")[0])


def test_faults_are_tried_again_and_then_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with upload(address) as out:
        out.write(DATA)
    fs, _ = fsspec.core.url_to_fs(address)
    faults: list[Exception] = [OSError("reset"), TimeoutError("slow"), OSError("again")]
    real = type(fs).cat_file

    def flaky(self: Any, *args: Any, **kwargs: Any) -> bytes:
        if faults:
            raise faults.pop()
        return bytes(real(self, *args, **kwargs))

    monkeypatch.setattr(type(fs), "cat_file", flaky)
    with open_remote(address) as file:
        reader = LvzReader(file)
        assert reader.frame_count == 1500
        faults = [OSError("gone")] * 9
        with pytest.raises(MediaError, match=r"gone.*5 times"):
            list(reader.records_from(20, 22))
        faults = [PermissionError(13, "Permission denied")]
        with pytest.raises(MediaError, match="Permission denied"):
            list(reader.records_from(20, 22))


@pytest.mark.parametrize("address", ["nothing-of-this-kind://a/b.lvz"])
def test_unknown_addresses(address: str) -> None:
    with pytest.raises(UsageError, match="nothing-of-this-kind://"), opened_input(address):
        pass


def test_a_file_system_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def url_to_fs(address: str, **options: Any) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(filesystems.fsspec_core(), "url_to_fs", url_to_fs)
    with pytest.raises(UnsupportedError, match=r"s3fs.*pip install"):
        open_remote("s3://bucket/a.lvz")


def test_a_web_server_takes_nothing() -> None:
    with pytest.raises(UsageError, match="web server"):
        check_output("in.mp4", "https://far.example/a.lvz")


def test_what_is_an_address() -> None:
    for name in ("s3://b/k", "https://h/a", "simplecache::s3://b/k", "zip://a.lvz::file:///b.zip", "HTTP://h/a"):
        assert Place(name).is_url, name
    for name in ("a.lvz", "/a/b.lvz", "c:\\a.lvz", "c:/a.lvz", "a::b.lvz", "-", "https:a", "a b://c", "://x"):
        assert not Place(name).is_url, name
    assert protocol_of("simplecache::S3://b/k") == "simplecache::s3"
    assert is_stored("s3://b/k") and is_stored("memory://a")
    assert not is_stored("rtsp://camera") and not is_stored("https://h/a.mp4") and not is_stored("a.mp4")
