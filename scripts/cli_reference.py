#!/usr/bin/env python3
"""Renews the command reference, docs/reference.md, from the commands' own help: python scripts/cli_reference.py

tests/test_docs.py compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from lvc.cli import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
BEGIN, END = "<!-- reference: scripts/cli_reference.py -->\n", "<!-- end of reference -->\n"


def reference() -> str:
    """The help of every command, as markdown, the same on every terminal."""
    runner = CliRunner(env={"COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"})
    parts = []
    root: Any = typer.main.get_command(app)
    for command in _commands(root, root.context_class(root, info_name="lvc")):
        text = runner.invoke(app, [*command.split(), "--help"], prog_name="lvc", terminal_width=110).output
        parts.append(f"## lvc {command}\n\n```text\n{text.strip()}\n```\n")
    return "\n" + "\n".join(parts) + "\n"


def _commands(group: Any, context: Any, before: str = "") -> list[str]:
    """The commands of a group; a group among them is replaced by its own."""
    names = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = _commands(command, context, f"{before}{name} ") if hasattr(command, "commands") else []
        names += inner or [before + name]
    return names


def renewed(page: str) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + reference() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
