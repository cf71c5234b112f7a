"""What tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lvc.engine import nets


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    nets.set_threads(request.param)
    yield
    nets.set_threads(1)
