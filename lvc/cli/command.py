"""How commands print usage, options and invalid values, in plain words instead of those of a validation library."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand

_RANGE = re.compile(r"(\[|; )(?:([\d.]+)<=x<=([\d.]+)|x>=([\d.]+))(?=\]|;)")
_TYPE = re.compile(r" <(?:list\[)?str\]?>$")  # of an argument, whose name tells enough


class Command(TyperCommand):
    """A command whose usage reads `IN… [OUT]`, without braces around it, and whose errors name the allowed values."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [
            re.sub(r"[{[]([^{}]*…[^{}]*)[]}](\.\.\.)?", r"\1", piece) for piece in super().collect_usage_pieces(ctx)
        ]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _allowed(getattr(error, "param", None)) or error.message
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            found = [help_record(p, ctx) for p in self.get_params(ctx) if p.param_type_name == kind]
            if records := [record for record in found if record is not None]:
                with formatter.section(title):
                    formatter.write_dl(records)


def help_record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """(name, help) of an option or argument, with its range in words, once. None: it is hidden."""
    record = parameter.get_help_record(ctx)
    if record is None:
        return None
    name, text = record
    if parameter.metavar and re.fullmatch(r"[\d.]+-[\d.]+", parameter.metavar):  # then the metavar is the range
        text = re.sub(r"\s*\[\]", "", _RANGE.sub(lambda m: "[" if m[1] == "[" else "", text))
        text = text.replace("[; ", "[")
    name = re.sub(r"<([^<>]+\|[^<>]+)>", r"\1", _TYPE.sub("", name))
    return name, _RANGE.sub(lambda m: m[1] + _between(m[2], m[3], m[4]), text)


def _between(low: str | None, high: str | None, least: str | None) -> str:
    return f"at least {least}" if least is not None else f"{low} to {high}"


def _allowed(parameter: Any) -> str | None:
    """The values that a parameter allows, in words; None if its parser has a message of its own."""
    kind = getattr(parameter, "type_descriptor", None)
    if kind is None:
        return None
    if kind.is_choice:
        return f"must be one of {', '.join(str(getattr(c, 'value', c)) for c in kind.choices)}"
    if kind.annotation not in (int, float):
        return None
    number = "a whole number" if kind.annotation is int else "a number"
    low, high = parameter.min, parameter.max
    if low is None and high is None:
        return f"must be {number}"
    return f"must be {number}{f' of at least {low:g}' if high is None else f' from {low:g} to {high:g}'}"
