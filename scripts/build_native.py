#!/usr/bin/env python3
"""Compiles the C of lvc: a hook of the build (`pip install .`), and a command for a checkout whose C has changed.

    python scripts/build_native.py

makes the engine of lvc/engine/*.c, without which lvc does not run. `CC` names the compiler and `CFLAGS` more of its
options. Where there is no compiler, the wheel `ziglang` is one; pip fetches it.

    python scripts/build_native.py --target aarch64-linux-gnu.2.17 --output FILE

makes the engine for another machine, by ziglang. So does the hook where `LVC_WHEEL` is a name in `WHEELS`
(scripts/build_wheels).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "lvc" / "engine"
ENGINE_LIBRARY = ENGINE / "_engine.so"
# no contraction: costs are compared, and have to be the same floats everywhere
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fPIC"]
ENGINE_FLAGS = [*FLAGS, "-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra", "-pthread"]
NOT_ON_WINDOWS = {"-fPIC", "-fvisibility=hidden", "-pthread"}
# Files of the engine for one instruction set carry its name at the end; only they are compiled for it, so that nothing
# else uses instructions that a processor may lack.
X86 = {
    "_avx2": ["-mavx2"],
    "_avxvnni": ["-mavx2", "-mavxvnni"],
    "_evexvnni": ["-mavx2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"],
    "_avx512vnni": [
        *("-mavx2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"),
        "-mprefer-vector-width=512",
    ],
}
ARM = {"_neon": ["-march=armv8.2-a+dotprod"]}
ARM_OF_ZIG = {"_neon": ["-mcpu=generic+v8_2a+dotprod"]}
BROWSERS = {"_wasm": None}  # scripts/build_player compiles them
ZIG = "ziglang>=0.13"
WHEELS = {
    "linux-x86_64": ("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "linux-aarch64": ("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    "macos-x86_64": ("x86_64-macos.11.0-none", "macosx_11_0_x86_64"),
    "macos-arm64": ("aarch64-macos.11.0-none", "macosx_11_0_arm64"),
    "windows-x86_64": ("x86_64-windows-gnu", "win_amd64"),
}
"""Zig's triple, with the oldest version of the C library or the system, and the platform in the wheel's name."""


class BuildError(Exception):
    """No compiler, or one that failed."""


def compiler() -> list[str]:
    """Raises `BuildError` where there is none."""
    if wanted := shlex.split(os.environ.get("CC", "")):
        if shutil.which(wanted[0]) is None:
            raise BuildError(f"CC names {wanted[0]!r}, which is not here — name a C compiler, or unset CC")
        return wanted
    if sys.platform != "win32" and shutil.which("cc"):
        return ["cc"]
    return [*zig(), "-mcpu=baseline"]  # not the CPU at hand, its default


def zig() -> list[str]:
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("lvc needs a C compiler to be built — install one, or `pip install ziglang`")
    return [sys.executable, "-m", "ziglang", "cc"]


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"the C compiler failed: {shlex.join(command)}\n{done.stderr[:4000]}")


def own_flags(source: Path, machine: str, zig: bool) -> list[str] | None:
    """More options for a file of one instruction set; None where it is another processor's."""
    arm = ARM_OF_ZIG if zig else ARM
    here = X86 if machine in ("x86_64", "amd64") else arm if machine in ("aarch64", "arm64") else {}
    for suffix in X86 | ARM | BROWSERS:
        if source.stem.endswith(suffix):
            return here.get(suffix)
    return []


def engine_checksum() -> int:
    """As `lvc.engine.library.checksum`."""
    crc = 0
    for path in sorted([*ENGINE.glob("*.c"), *ENGINE.glob("*.h")], key=lambda p: p.name):
        crc = zlib.crc32(path.read_bytes(), zlib.crc32(path.name.encode(), crc))
    return crc


def compile_engine(command: list[str], output: Path, machine: str, program: Path | None = None) -> None:
    """Every file on its own, with its own options, then one library, or with the `program` whose `main` is in that file
    a static program. Raises `BuildError`."""
    windows = "windows" in "".join(command) or sys.platform == "win32"
    own_way = [flag for flag in ENGINE_FLAGS if not windows or flag not in NOT_ON_WINDOWS]
    flags = [*own_way, f"-DLVC_SOURCE={engine_checksum()}u", *shlex.split(os.environ.get("CFLAGS", ""))]
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        jobs, objects = [], []
        for source in [*sorted(ENGINE.glob("*.c")), *([program] if program else [])]:
            if (own := own_flags(source, machine, "ziglang" in command)) is None:
                continue
            objects.append(str(Path(folder) / f"{source.stem}.o"))
            jobs.append([*command, *flags, *own, f"-I{ENGINE}", "-c", "-o", objects[-1], str(source)])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(run, jobs))
        made = Path(folder) / output.name
        run([*command, *flags, "-static" if program else "-shared", "-o", str(made), *objects, "-lm"])
        os.replace(made, output)


def build_engine() -> None:
    """The library of this machine. The one that is there serves until the new one takes its place; of other sources, it
    is refused by its checksum."""
    compile_engine(compiler(), ENGINE_LIBRARY, platform.machine().lower())


def cross_compile(triple: str, output: Path) -> None:
    compile_engine([*zig(), "-target", triple], output, triple.split("-")[0])


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    pass
else:

    class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
        """A wheel is one for this platform; for any Python, since nothing of Python's is linked."""

        def dependencies(self) -> list[str]:
            if self.target_name != "wheel":
                return []
            if os.environ.get("LVC_WHEEL"):
                return [ZIG]
            try:
                compiler()
            except BuildError:
                return [] if os.environ.get("CC") else [ZIG]
            return []

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if self.target_name != "wheel":
                return
            build_data["pure_python"] = False
            name = os.environ.get("LVC_WHEEL")
            try:
                if name:
                    self._cross_compiled(name, build_data)
                    return
                build_engine()
            except BuildError as e:
                self.app.abort(str(e))
            platform_tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform_tag}"
            build_data["artifacts"].append("/lvc/engine/_engine.so")

        def _cross_compiled(self, name: str, build_data: dict[str, Any]) -> None:
            """The engine alone, made beside the one of this machine."""
            if name not in WHEELS:
                raise BuildError(f"LVC_WHEEL: {name!r} is none of {', '.join(WHEELS)}")
            triple, tag = WHEELS[name]
            self._folder = tempfile.TemporaryDirectory()
            made = Path(self._folder.name) / ENGINE_LIBRARY.name
            cross_compile(triple, made)
            build_data["tag"] = f"py3-none-{tag}"
            build_data["force_include"][str(made)] = f"lvc/engine/{made.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the C of lvc.")
    parser.add_argument("--target", help="a triple of zig's: make the engine for this machine instead")
    parser.add_argument("--output", type=Path, help="where to write that engine")
    options = parser.parse_args()
    if (options.target is None) != (options.output is None):
        parser.error("--target and --output go together")
    try:
        if options.target is None:
            build_engine()
        else:
            cross_compile(options.target, options.output.resolve())
    except BuildError as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
