"""How commands print usage, options and invalid values, in plain words instead of those of a validation library, which
is not even loaded where nothing is to be converted."""

from __future__ import annotations

import enum
import re
from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand

_RANGE = re.compile(r"(\[|; )(?:([\d.]+)<=x<=([\d.]+)|x>=([\d.]+))(?=\]|;)")
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_TYPE = re.compile(r" <(?:list\[)?str\]?>$")  # of an argument, whose name tells enough


class Command(TyperCommand):
    """A command whose usage reads `IN… [OUT]`, without braces around it, and whose errors name the allowed values."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [converted_at_need(parameter) for parameter in super().get_params(ctx)]

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


def converted_at_need(parameter: Any) -> Any:
    """The same parameter, whose plain values are converted here. Typer would load pydantic even for those, which takes
    longer than all else of Typer; it still converts all others, and tells what is wrong with them."""
    if "process_value" in vars(parameter):
        return parameter
    convert = parameter.process_value

    def process(ctx: Any, value: Any) -> Any:
        try:
            value = _converted(value, parameter)
        except ValueError:
            return convert(ctx, value)
        return value if parameter.callback is None else parameter.callback(ctx, parameter, value)

    parameter.process_value = process
    return parameter


def _converted(value: Any, parameter: Any) -> Any:
    """Raises `ValueError` for what is not plain."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if value is None and not (parameter.required or parameter.multiple or parameter.nargs == -1):
        return None
    if kind == list[str] and value and all(type(word) is str for word in value):
        return list(value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if isinstance(kind, enum.EnumType):
        return kind(value)
    if kind in (int, float) and isinstance(value, str) and _NUMBER.fullmatch(value):
        value = kind(value)
        if not (value if parameter.min is None else parameter.min) <= value:
            raise ValueError
        if not value <= (value if parameter.max is None else parameter.max):
            raise ValueError
    if type(value) is kind and kind in (bool, int, float, str):
        return value
    raise ValueError


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
