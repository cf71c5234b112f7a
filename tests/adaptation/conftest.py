"""Lets the tests here import the helpers in `tests/` (pytest runs with `--import-mode=importlib`)."""

import pytest


@pytest.fixture(autouse=True)
def every_test_on_one_thread(one_thread: None) -> None:
    """As `tests/conftest.py` says."""
