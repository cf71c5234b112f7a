#!/usr/bin/env python3
"""Prints the manual page of lvc, made from the commands' own help.

python scripts/man_page.py > lvc.1 && man ./lvc.1
python scripts/man_page.py > ~/.local/share/man/man1/lvc.1
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from lvc import __version__, errors
from lvc.cli import app
from lvc.cli.command import help_record


def page() -> str:
    root: Any = typer.main.get_command(app)
    context = root.context_class(root, info_name="lvc")
    lines = [
        f'.TH LVC 1 "" "lvc {__version__}" "User Commands"',
        ".SH NAME",
        f"lvc \\- {_text(root.help or '').rstrip('.').lower()}",
        ".SH SYNOPSIS",
        ".B lvc",
        ".I command\n.RI [ options ]",
        ".SH COMMANDS",
    ]
    for name, command, inner in _commands(root, context, "lvc"):
        lines += _command(name, command, inner)
    lines += [".SH EXIT STATUS", ".nf", *map(_text, _exit_codes()), ".fi"]
    # in roff's own spelling, which needs no locale
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in "\n".join(lines)) + "\n"


def _commands(group: Any, context: Any, before: str) -> Iterator[tuple[str, Any, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.context_class(command, info_name=name, parent=context)
        yield f"{before} {name}", command, inner
        if hasattr(command, "commands"):
            yield from _commands(command, inner, f"{before} {name}")


def _command(name: str, command: Any, context: Any) -> list[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f'.SS "{name} {usage}"'.replace("\\", "")]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        literal = paragraph.startswith("\b")
        body = [_text(line) for line in paragraph.removeprefix("\b\n").splitlines()]
        lines += [".PP", *([".nf", *body, ".fi"] if literal else body)]
    for parameter in command.get_params(context):
        record = help_record(parameter, context)
        if record is not None:
            lines += [".TP", f".B {_text(record[0])}", _text(record[1]) or "\\&"]
    return lines


def _exit_codes() -> list[str]:
    tree = inspect.getdoc(errors) or ""
    rows = [line.lstrip(" │├└─").split(None, 1) for line in tree.splitlines() if "──" in line]
    numbers = [row[1].strip() for row in rows]
    return ["0  done", "1  a bug in lvc", *numbers, "130  interrupted"]


def _text(text: str) -> str:
    """What roff would take for its own is escaped."""
    text = text.replace("\\", "\\e").replace("-", "\\-").rstrip()
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    print(page(), end="")
