#!/usr/bin/env python3
"""Prints the share of lvc's lines that tests executed, by package, and the modules with the lowest shares.

    COVERAGE_FILE=.work/coverage/data python scripts/coverage_table.py [--least 15]

`scripts/test --coverage` calls it. Data files of all processes, and of earlier runs, are combined first; remove
`.work/coverage` to start again. Lines that only other platforms, extras or GPUs execute count as missed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections import defaultdict
from pathlib import Path

import coverage
from coverage.exceptions import NoDataError

PACKAGE = Path(__file__).resolve().parents[1] / "lvc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--least", type=int, default=15, help="how many modules to list, of those of 20 lines or more")
    args = parser.parse_args()
    measured = coverage.Coverage()
    file = Path(os.environ.get("COVERAGE_FILE", ".coverage"))
    measured.load()  # earlier runs, if there were any
    with contextlib.suppress(NoDataError):  # raised where nothing is new
        measured.combine([str(file.parent)])
    measured.save()
    modules: list[tuple[float, int, int, str]] = []
    packages: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in sorted(PACKAGE.rglob("*.py")):
        _, lines, _, missing, _ = measured.analysis2(str(path))
        if not lines:
            continue
        name = path.relative_to(PACKAGE)
        modules.append((1 - len(missing) / len(lines), len(missing), len(lines), str(name)))
        for key in (name.parts[0] if len(name.parts) > 1 else "lvc/*.py", "all"):
            packages[key][0] += len(lines)
            packages[key][1] += len(missing)
    print(f"{'package':<14}{'lines':>8}{'missed':>8}{'share':>9}")
    for key, (lines, missed) in sorted(packages.items(), key=lambda item: (item[0] == "all", item[0])):
        print(f"{key:<14}{lines:>8}{missed:>8}{100 * (1 - missed / lines):>8.1f}%")
    print(f"\n{'least covered':<38}{'lines':>8}{'missed':>8}{'share':>9}")
    for share, missed, lines, name in sorted(m for m in modules if m[2] >= 20)[: args.least]:
        print(f"{name:<38}{lines:>8}{missed:>8}{100 * share:>8.1f}%")


if __name__ == "__main__":
    main()
