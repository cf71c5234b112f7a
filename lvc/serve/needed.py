"""Checks that the packages of the server are installed."""

from __future__ import annotations

from importlib import import_module

from lvc.errors import UnsupportedError

_NEEDED = ("starlette", "uvicorn", "jinja2")


def check_installed() -> None:
    """Raise `UnsupportedError`, which names the extra, if a package is missing."""
    for name in _NEEDED:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise UnsupportedError(f"the server needs {error.name} — pip install 'lvc[serve]'") from error
