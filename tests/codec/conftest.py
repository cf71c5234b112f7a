"""Lets the tests here import the helpers in `tests/` (pytest runs with `--import-mode=importlib`)."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lvc.codec.native import library

sys.path.insert(0, str(Path(__file__).parent.parent))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are fastest on one thread; what a test sets is undone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["numpy", "native"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Motion as installations without a compiler do it, and as the others do."""
    if request.param == "numpy":
        for room in ("compensate", "motion_choice", "motion_decision"):
            monkeypatch.setattr(f"lvc.codec.{room}.library", lambda: None)
    elif library() is None:
        pytest.skip("lvc was built without a compiler")
