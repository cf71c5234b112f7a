"""Tests of what is far away have a web server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvc.remote import retry
from tests.helpers.far_site import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def another_site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache unless a test wants one, no proxy, and short pauses."""
    monkeypatch.setenv("LVC_CACHE", "off")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.005)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LVC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between attempts; nobody really waits."""
    waited: list[float] = []
    note: Callable[[float], None] = waited.append
    monkeypatch.setattr(retry, "_sleep", note)
    return waited
