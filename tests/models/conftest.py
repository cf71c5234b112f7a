"""Lets the tests here import the helpers in `tests/` (pytest runs with `--import-mode=importlib`)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))


@pytest.fixture(autouse=True)
def every_test_on_one_thread(one_thread: None) -> None:
    """As `tests/conftest.py` says."""
