"""Finding and running a compiler: clang from the ``ziglang`` wheel, or GCC on the PATH."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from jerboa.errors import JerboaError, did_you_mean, missing_extra
from jerboa.files import replacing

COMPILERS = ("zig", "gcc")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
OPTIMISED = ("-O3", "-fomit-frame-pointer")


def cache_folder() -> Path:
    """The user's cache folder of Jerboa."""
    return Path(user_cache_path("jerboa"))


def find_compiler(compiler: str) -> list[str]:
    """The command of a compiler for Cortex-M: ``["…/zig"]`` or ``["…/arm-none-eabi-gcc"]``.

    Raises:
        JerboaError: unknown name, ``ziglang`` not installed, or no GCC on the PATH.
    """
    if compiler == "zig":
        spec = importlib.util.find_spec("ziglang")
        if spec is None or not spec.submodule_search_locations:
            raise missing_extra("ziglang", "compile", "compiling C")
        folder = Path(next(iter(spec.submodule_search_locations)))
        return [str(folder / ("zig.exe" if os.name == "nt" else "zig"))]
    if compiler == "gcc":
        return _on_path("arm-none-eabi-gcc", "for example the package gcc-arm-none-eabi of Debian and Ubuntu")
    raise JerboaError(f"unknown compiler '{compiler}'", hint=did_you_mean(compiler, COMPILERS))


def host_compiler(compiler: str) -> list[str]:
    """The command that compiles C for this machine: ``zig cc``, or the system's GCC."""
    if compiler == "gcc":
        return _on_path("gcc", "or use the compiler zig")
    return [*find_compiler(compiler), "cc"]


@cache
def compiler_version(compiler: str) -> str:
    """For example ``"zig 0.17.0 (clang 22.1.8)"`` or ``"arm-none-eabi-gcc 12.2.1"``."""
    command = find_compiler(compiler)
    if compiler == "gcc":
        return f"arm-none-eabi-gcc {run([*command, '-dumpfullversion'])}"
    clang = run([*command, "cc", "--version"]).split("clang version ", 1)[-1].split()[0]
    return f"zig {run([*command, 'version'])} (clang {clang})"


def run(command: Sequence[str], folder: Path | None = None) -> str:
    """Standard output of a compiler command. Raises JerboaError with the compiler's own words when it fails."""
    scratch = cache_folder() / "zig"
    if not scratch.exists() and Path(command[0]).stem == "zig":
        print("preparing the compiler (only once) …", file=sys.stderr)
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(scratch), "ZIG_LOCAL_CACHE_DIR": str(scratch)} | os.environ
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise JerboaError(f"cannot run the compiler ({error})", where=command[0]) from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        text = "\n".join(lines[:20]) or f"exit status {done.returncode}"
        raise JerboaError(f"the compiler failed:\n{text}", where=Path(command[0]).name)
    return done.stdout.strip()


@contextmanager
def written(sources: dict[str, str]) -> Iterator[Path]:
    """A temporary folder that holds the sources under their own names."""
    with tempfile.TemporaryDirectory(prefix="jerboa-") as name:
        folder = Path(name)
        try:
            for path, text in sources.items():
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, encoding="utf-8")
        except OSError as error:
            raise JerboaError(f"cannot write the sources ({error})", where=folder) from None
        yield folder


def compile_all(command: Sequence[str], sources: dict[str, str], folder: Path) -> list[Path]:
    """One object beside each ``.c`` of the sources in ``folder``, two at a time or more."""
    units = sorted(name for name in sources if name.endswith(".c"))
    if not units:
        raise JerboaError("there is no C file to compile", where=", ".join(sorted(sources)) or "sources")

    def compile_one(name: str) -> Path:
        run([*command, "-I.", "-c", name, "-o", f"{name[:-2]}.o"], folder)
        return folder / f"{name[:-2]}.o"

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(compile_one, units))


def publish(built: Path, out: Path) -> Path:
    """Move a built file to its place in one step, so that nobody sees half of it."""
    with replacing(out) as temporary:
        shutil.copy(built, temporary)
    return out


def _on_path(program: str, hint: str) -> list[str]:
    found = shutil.which(program)
    if found is None:
        raise JerboaError(f"{program} is not on the PATH", hint=f"install it ({hint})")
    return [found]
