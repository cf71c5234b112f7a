"""User, password, query and fragment of an address: sent to its server, and nowhere else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from lvc.remote.addresses import Hiding, hidden, remember, without_secrets
from lvc.search.database import FILE, Database, Known
from lvc.search.indexing import index_folders
from tests.helpers.far_site import Site
from tests.helpers.lvz_files import lvz


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:pass@host/a.lvz?sig=1#top", "https://host/a.lvz"),
        ("https://host:8080/a.lvz#top", "https://host:8080/a.lvz"),
        ("https://host/a.lvz?b@c", "https://host/a.lvz"),
        ("https://host/photo@2x.png", "https://host/photo@2x.png"),
        ("https://us@er:pa@ss@host/a", "https://host/a"),
        ("https://user:pa/ss@host/a", "https://host/a"),
        ("https://user:pa?ss@host/a", "https://host/a"),
        ("https://user:pa#ss@host/a?x", "https://host/a"),
        ("https://user@[::1]:80/a", "https://[::1]:80/a"),
        ("https://[::1]/a@b", "https://[::1]/a@b"),
        ("rtsp://admin:1234@camera.example/1", "rtsp://camera.example/1"),
        ("simplecache::s3://key:secret@bucket/a?versionId=1", "simplecache::s3://bucket/a"),
        ("HTTPS://User:Pass@Host/a b?sig=x y", "HTTPS://Host/a b"),
        ("what? a file @home#1.mp4", "what? a file @home#1.mp4"),
        ("-", "-"),
    ],
)
def test_what_is_shown_of_an_address(address: str, shown: str) -> None:
    assert without_secrets(address) == shown == without_secrets(shown)
    assert hidden(f"lvc: error: {shown}: x") == f"lvc: error: {shown}: x"


def test_addresses_within_a_text_are_hidden() -> None:
    text = "cannot open 'https://u:p@h/a?sig=1' (https://h/b#c), nor s3://k:s@bucket/x: 3 times"
    assert hidden(text) == "cannot open 'https://h/a' (https://h/b nor s3://bucket/x: 3 times"


def test_an_argument_with_spaces_is_known_by_heart() -> None:
    assert (
        remember("--output=https://u:p@h/a b?sig=se cret") and not remember("https://h/plain") and not remember("a.mp4")
    )
    out = io.StringIO()
    file: Any = Hiding(out)
    print(json.dumps({"file": "https://u:p@h/a b?sig=se cret"}), "https:/u:p@h/a b?sig=se cret", file=file)
    assert out.getvalue() == '{"file": "https://h/a b"} https://h/a b\n'


def test_the_database_of_the_search_does_not_hold_them(site: Site, tmp_path: Path) -> None:
    secret = site.put(lvz(2, 1)).replace("//", "//bob:hunter2@") + "?token=s3cr3t#frag"
    missing = site.address.replace("//", "//bob:hunter2@") + "/none.lvz?token=s3cr3t"
    site.files["/broken.lvz"] = b"\x89LVZ no"
    site.files["/broken.lvz?token=s3cr3t"] = b"\x89LVZ no"
    site.files["/a.lvz?token=s3cr3t"] = site.files["/a.lvz"]
    broken = missing.replace("none", "broken")
    told: list[str] = []
    with Database(tmp_path, create=True) as database:
        index_folders([secret, missing, broken], database, seen=lambda path, what, error: told.append(path))
        assert site.address + "/broken.lvz" in database.known()
        again = index_folders([secret, broken], database)
    assert again.added == 0 and all(text.startswith(site.address) for text in told)
    stored = (tmp_path / FILE).read_bytes()
    assert not any(word in stored or word.decode() in str(told) for word in (b"hunter2", b"bob", b"s3cr3t", b"frag"))
    assert {s.get("Authorization") for s in site.seen} == {"Basic Ym9iOmh1bnRlcjI="}


def test_what_an_earlier_version_kept_leaves_the_database(tmp_path: Path) -> None:
    with Database(tmp_path, create=True) as database:
        for path in ("https://u:p@h/a", "https://h/a", "/a?b", "s3://k:s@bucket/x"):
            database.put(path, Known(1, 1, "x"), None)
    with Database(tmp_path, create=True) as database:
        assert set(database.known()) == {"https://h/a", "/a?b"}


def test_two_addresses_that_would_be_one_name_are_refused(site: Site, tmp_path: Path) -> None:
    from lvc.errors import UsageError

    with Database(tmp_path, create=True) as database, pytest.raises(UsageError, match="only in its query"):
        index_folders([f"{site.address}/get?id=1", f"{site.address}/get?id=2"], database)
