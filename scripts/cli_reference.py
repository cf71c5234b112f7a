#!/usr/bin/env python3
"""Renews the command reference, docs/reference.md, from the commands' own help: python scripts/cli_reference.py

tests/test_docs.py compares the two.
"""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from lvc.cli import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
BEGIN, END = "<!-- reference: scripts/cli_reference.py -->\n", "<!-- end of reference -->\n"


def reference() -> str:
    """The help of every command, as markdown, the same on every terminal."""
    runner = CliRunner(env={"COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"})
    parts = []
    for command in _commands(typer.main.get_command(app)):
        text = runner.invoke(app, [*command.split(), "--help"], prog_name="lvc", terminal_width=110).output
        parts.append(f"## lvc {command}\n\n```text\n{text.strip()}\n```\n")
    return "\n" + "\n".join(parts) + "\n"


def _commands(group: object, before: str = "") -> list[str]:
    """The commands of a group; a group among them is replaced by its own."""
    names = []
    for name, command in getattr(group, "commands", {}).items():
        names += _commands(command, f"{before}{name} ") or [before + name]
    return names


def renewed(page: str) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + reference() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
