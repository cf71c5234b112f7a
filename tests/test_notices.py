"""Notices go one way; with `strict` one of a loss is an error."""

from __future__ import annotations

import pytest

from lvc.errors import LossError
from lvc.notices import Loss, Notices, each_once


def test_each_is_told_once_while_lists_grow() -> None:
    told: list[str] = []
    first, second = [Loss("a")], ["b"]
    notices = Notices(told.append)
    notices.new(first, second)
    first.append(Loss("c"))
    notices.new(first, second)
    assert told == ["a", "b", "c"]


def test_strict_stops_at_a_loss_and_only_there() -> None:
    told: list[str] = []
    notices = Notices(told.append, strict=True)
    notices.new(["by the way"])
    with pytest.raises(LossError, match="sound is dropped — ") as caught:
        notices.new(["by the way"], [Loss("sound is dropped")])
    assert told == ["by the way", "by the way"] and caught.value.exit_code == 9


def test_many_passes_over_one_source_say_it_once() -> None:
    told: list[str] = []
    say = each_once(told.append)
    for text in ("a", "b", "a"):
        say(text)
    assert told == ["a", "b"]
    each_once(None)("nobody listens")
