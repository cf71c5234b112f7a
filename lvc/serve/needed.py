"""Whether what the server is built on is installed."""

from __future__ import annotations

from importlib.util import find_spec

from lvc.errors import UnsupportedError

_NEEDED = ("starlette", "uvicorn", "jinja2")


def check_installed() -> None:
    """Raises `UnsupportedError`, which names the extra."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UnsupportedError(f"the server needs {', '.join(missing)} — pip install 'lvc[serve]'")
