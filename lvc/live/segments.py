"""Names of a recording's segments, by the time at which they begin, and which of them have expired."""

from __future__ import annotations

import contextlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from lvc.errors import UsageError

_DEFAULT = "-%Y%m%dT%H%M%S.%fZ"
# The form of a time in a name, so that other files in the folder are left alone.
_DIRECTIVES = {
    "Y": r"\d{4}", "m": r"\d\d", "d": r"\d\d", "H": r"\d\d", "M": r"\d\d", "S": r"\d\d", "f": r"\d{6}", "j": r"\d{3}",
}  # fmt: skip


class Segments:
    """Names made from `target`: `cam.lvz` gives `cam-20260131T235900.000000Z.lvz`; `%Y-%m-%d/%H%M%S.lvz` is a pattern.

    Times are in UTC. Raises `UsageError` for a pattern whose names would be ambiguous.
    """

    def __init__(self, target: str) -> None:
        target = os.path.normpath(target)
        stem, suffix = os.path.splitext(target)
        self._pattern = target if "%" in target else f"{stem}{_DEFAULT}{suffix}"
        used = re.findall(r"%(.)", self._pattern)
        if unknown := sorted(set(used) - set(_DIRECTIVES)):
            known = " ".join(f"%{name}" for name in _DIRECTIVES)
            raise UsageError(f"%{unknown[0]} is not supported in segment names — use {known}")
        if (
            len(set(used)) != len(used)
            or not {"Y", "H", "M", "S"} <= set(used)
            or not ({"m", "d"} <= set(used) or "j" in used)
        ):
            raise UsageError("segment names need a complete date and time, each part once: %Y%m%d-%H%M%S")
        parts = re.split(r"(%.)", self._pattern)
        self._expression = re.compile("".join(_DIRECTIVES[p[1]] if p[:1] == "%" else re.escape(p) for p in parts))

    def name(self, seconds: float) -> str:
        """Return the path of a segment that begins `seconds` after 1970. Makes its folder."""
        path = datetime.fromtimestamp(seconds, UTC).strftime(self._pattern)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return path

    def older_than(self, seconds: float) -> list[str]:
        """Return the segments that began, by their names, before `seconds` after 1970; oldest first."""
        found = []
        for path in self._candidates():
            if self._expression.fullmatch(path) and os.path.isfile(path):
                with contextlib.suppress(ValueError):  # the 31st of February
                    begun = datetime.strptime(path, self._pattern).replace(tzinfo=UTC).timestamp()
                    if begun < seconds:
                        found.append((begun, path))
        return [path for _, path in sorted(found)]

    def _candidates(self) -> list[str]:
        folder = os.path.dirname(self._pattern)
        if "%" not in folder:
            return [os.path.join(folder, name) for name in os.listdir(folder or ".")]
        root = os.path.dirname(folder.split("%")[0])
        return [os.path.normpath(path) for path in Path(root or ".").rglob("*")]
