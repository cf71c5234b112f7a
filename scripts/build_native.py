#!/usr/bin/env python3
"""Compiles lvc/codec/native.c: a hook of the build (`pip install .`), and a command for a checkout whose C has changed.

    python scripts/build_native.py

`CC` names the compiler. Without one lvc is built all the same, and does in numpy what the library would do.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE, LIBRARY = ROOT / "lvc" / "codec" / "native.c", ROOT / "lvc" / "codec" / "_native.so"
# no contraction: costs are compared, and have to be the same floats everywhere
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC", "-s"]


def build() -> bool:
    """Whether there is a library now. What could not be compiled leaves none behind."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if sys.platform == "win32" or shutil.which(command[0]) is None:
        LIBRARY.unlink(missing_ok=True)
        return False
    with tempfile.TemporaryDirectory(dir=LIBRARY.parent) as folder:
        made = Path(folder) / LIBRARY.name
        done = subprocess.run(
            [*command, *FLAGS, f"-DLVC_SOURCE={zlib.crc32(SOURCE.read_bytes())}u", "-o", str(made), str(SOURCE)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            LIBRARY.unlink(missing_ok=True)
            print(f"lvc is built without its compiled functions:\n{done.stderr[:2000]}", file=sys.stderr)
            return False
        os.replace(made, LIBRARY)
    return True


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    pass
else:

    class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
        """A wheel with the library is one for this platform; for any Python, since nothing of Python's is linked."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if self.target_name == "wheel" and build():
                platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
                build_data["pure_python"], build_data["tag"] = False, f"py3-none-{platform}"
                build_data["artifacts"].append("/lvc/codec/_native.so")


if __name__ == "__main__":
    sys.exit(not build())
