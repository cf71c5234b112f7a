"""S3 against a real server on this machine."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from lvc.errors import MediaError, OutputExistsError
from lvc.lvz import LvzReader
from lvc.output import check_output
from lvc.remote.open import open_remote
from lvc.remote.store import RangeFile
from lvc.remote.upload import upload
from tests.helpers.command import FAKE, Lvc
from tests.helpers.lvz_files import lvz

s3fs = pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")

DATA = lvz()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment:
        server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            for name, value in {
                "AWS_ENDPOINT_URL": f"http://{host}:{port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "no_proxy": "*",
            }.items():
                environment.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir("films")
            yield "s3://films"
        finally:
            server.stop()


@pytest.mark.parametrize("size", [len(DATA), 11 << 20])
def test_there_and_back(bucket: str, size: int) -> None:
    """The larger one goes up in several parts."""
    data = (DATA * (size // len(DATA) + 1))[:size]
    address = f"{bucket}/{size}.lvz"
    with upload(address) as out:
        for start in range(0, size, 100_000):
            out.write(data[start : start + 100_000])
    with open_remote(address) as file:
        assert isinstance(file, RangeFile) and file.size == size
        file.seek(size - 1000)
        assert file.read(1000) == data[-1000:]
    with pytest.raises(OutputExistsError):
        check_output("in.mp4", address)


def test_a_range(bucket: str) -> None:
    with upload(f"{bucket}/range.lvz") as out:
        out.write(DATA)
    with open_remote(f"{bucket}/range.lvz") as file:
        assert list(LvzReader(file).records_from(12.5, 14.5)) == list(
            LvzReader(io.BytesIO(DATA)).records_from(12.5, 14.5)
        )


@pytest.mark.parametrize("size", [1000, 11 << 20])
def test_an_error_leaves_nothing(bucket: str, size: int) -> None:
    with pytest.raises(ValueError, match="enough"), upload(f"{bucket}/half.lvz") as out:
        out.write(bytes(size))
        raise ValueError("enough")
    fs = s3fs.S3FileSystem()
    assert not fs.exists(f"{bucket}/half.lvz") and fs.list_multipart_uploads("films") == []


def test_what_is_missing(bucket: str) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        open_remote(f"{bucket}/nothing.lvz")
    with pytest.raises(MediaError), upload("s3://no-such-bucket/a.lvz", force=True) as out:
        out.write(b"x")


@pytest.mark.slow
def test_commands(bucket: str, tmp_path: Path, carphone: Path) -> None:
    """As processes, which know of the store what stands in the environment."""
    fake = Lvc([str(FAKE)], tmp_path)
    shelf = f"{bucket}/shelf"
    film = f"{shelf}/carphone.lvz"
    done = fake("encode", carphone, "-o", film, "--packing", "zstd", "--gop", "1", "--json")
    assert done.code == 0, done.err
    store = s3fs.S3FileSystem()
    store.invalidate_cache()
    size = store.size("films/shelf/carphone.lvz")
    assert done.events[-1]["bytes_out"] == size and fake("encode", carphone, film).code == 6
    part = fake("decode", film, "part.mkv", "--start", "1", "--end", "2", "--codec", "ffv1")
    assert part.code == 0, part.err
    with av.open(str(tmp_path / "part.mkv")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 30
    found = fake("search", "index", shelf, "--db", "db", "--json")
    assert [e["path"] for e in found.events if e["event"] == "added"] == [film] and found.events[-1]["stored"] == 1
    assert "1 unchanged" in fake("search", "index", shelf, "--db", "db").err
