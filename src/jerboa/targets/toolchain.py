"""C text in; a host library, a WebAssembly module or a Cortex-M firmware image out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from jerboa.errors import JerboaError
from jerboa.targets.compiler import (
    OPTIMISED,
    STRICT,
    compile_all,
    compiler_version,
    find_compiler,
    host_compiler,
    publish,
    run,
    written,
)
from jerboa.targets.elf import Firmware, defined_symbols, undefined_symbols
from jerboa.targets.target import Target

__all__ = [
    "Firmware",
    "check_fits",
    "compiler_version",
    "find_compiler",
    "firmware",
    "host_library",
    "objects",
    "undefined_symbols",
    "wasm_module",
]

STACK_BYTES = 8192

_FIRMWARE = Path(__file__).with_name("firmware")

# zig's plain cortex_m7 has no FPU and would turn floats into library calls, so the unit is always named.
_ZIG_FPU = {"fpv5-sp-d16": "fp_armv8d16sp", "fpv5-d16": "fp_armv8d16", "fpv4-sp-d16": "vfp4d16sp"}
_ZIG_CORE = {
    "cortex-m7": "cortex_m7",
    "cortex-m4": "cortex_m4",
    "cortex-m33": "cortex_m33+dsp",
    "cortex-m0plus": "cortex_m0plus",
}
_BARE = ("-ffreestanding", "-fno-builtin", "-ffunction-sections", "-fdata-sections", "-fno-unwind-tables", "-g0")
_UNLIMITED = 0x1000_0000


def host_library(sources: dict[str, str], out: Path, flags: Sequence[str] = (), compiler: str = "zig") -> Path:
    """Compile for this machine as a shared library; warnings are errors. Later ``flags`` win over the defaults."""
    command = [*host_compiler(compiler), *STRICT, *OPTIMISED, "-fPIC", "-g0", "-fno-sanitize=undefined", *flags]
    with written(sources) as folder:
        parts = [str(path.relative_to(folder)) for path in compile_all(command, sources, folder)]
        run([*command, "-shared", *parts, "-o", "built"], folder)
        return publish(folder / "built", out)


def wasm_module(sources: dict[str, str], out: Path, exports: Sequence[str]) -> Path:
    """Compile to a WebAssembly module without imports; ``exports`` are functions and data, memory is exported as
    ``memory``.

    Raises:
        JerboaError: the sources do not compile, or an export or a called function is not defined.
    """
    zig = find_compiler("zig")
    command = [*zig, "cc", "-target", "wasm32-freestanding", *STRICT, *OPTIMISED, *_BARE]
    with written(sources) as folder:
        parts = [str(path.relative_to(folder)) for path in compile_all(command, sources, folder)]
        names = [f"--export={name}" for name in exports]
        run([*zig, "wasm-ld", "--no-entry", "--gc-sections", *names, *parts, "-o", "built"], folder)
        return publish(folder / "built", out)


def target_flags(target: Target, compiler: str = "zig") -> list[str]:
    """The compiler's flags for a board: core, FPU, optimisation, freestanding. Raises JerboaError for ``host`` and
    ``wasm``.
    """
    if not target.is_board:
        raise JerboaError(f"firmware cannot be built for '{target.name}'", hint="name a board")
    hard = target.fpu != "none"
    if compiler == "zig":
        cpu = _ZIG_CORE[target.core] + (f"+{_ZIG_FPU[target.fpu]}" if hard else "")
        core = ["-target", f"thumb-freestanding-eabi{'hf' if hard else ''}", f"-mcpu={cpu}"]
    else:
        core = [f"-mcpu={target.core}", "-mthumb", f"-mfloat-abi={'hard' if hard else 'soft'}"]
        core += [f"-mfpu={target.fpu}"] if hard else []
        # GCC turns loops into memset and memcpy even when freestanding.
        core += ["-fno-tree-loop-distribute-patterns"]
    return [*core, *OPTIMISED, *_BARE]


def objects(sources: dict[str, str], target: Target, folder: Path, compiler: str = "zig", flags: Sequence[str] = ()) -> list[Path]:
    """Compile each ``.c`` for a board into ``folder``, warnings as errors; the objects come in the order of their
    names.
    """
    command = [*find_compiler(compiler), *(["cc"] if compiler == "zig" else [])]
    command += [*target_flags(target, compiler), *STRICT, *flags]
    folder.mkdir(parents=True, exist_ok=True)
    with written(sources) as scratch:
        return [publish(path, folder / path.relative_to(scratch)) for path in compile_all(command, sources, scratch)]


def firmware(
    sources: dict[str, str],
    target: Target,
    out: Path,
    compiler: str = "zig",
    flags: Sequence[str] = (),
    keep: Sequence[str] = (),
    stack_bytes: int = STACK_BYTES,
) -> Firmware:
    """Link the sources with start-up code and the board's linker script into ``out``, the map beside it.

    ``keep`` names functions and objects that must survive; other unused sections are dropped. Nothing is linked that
    is not in the sources, except on Armv6-M the 64-bit and division helpers of ``firmware/aeabi.c``.
    ``stack_bytes`` is reserved at the bottom of the RAM, a multiple of 8.

    Raises:
        JerboaError: the sources do not compile, use or keep a symbol that is not defined, or are too large for the
        board.
    """
    if stack_bytes <= 0 or stack_bytes % 8:
        raise JerboaError(f"a stack of {stack_bytes} bytes", allowed="positive multiples of 8")
    parts = {f"jerboa_firmware/{name}": (_FIRMWARE / name).read_text("utf-8") for name in _start_files(target)}
    shown = " ".join([*target_flags(target, compiler), *flags])
    result = Firmware(out, target, compiler_version(compiler), shown)
    with written({}) as folder:
        built = objects({**parts, **sources}, target, folder, compiler, flags)
        _check_symbols(built, folder, keep)
        script = Template((_FIRMWARE / "firmware.ld").read_text("utf-8"))
        layout = {"keep": " ".join(["jerboa_vectors", *keep]), "stack_bytes": stack_bytes}
        layout |= {"flash_base": target.flash.base, "ram_base": target.ram.base}
        limits = {"flash_bytes": target.flash.bytes, "ram_bytes": target.ram.bytes}
        try:
            _link(built, folder, compiler, target, script.substitute(layout, **limits))
        except JerboaError as error:
            if "overflowed by" not in error.what:
                raise
            limits = {"flash_bytes": _UNLIMITED, "ram_bytes": _UNLIMITED}
            _link(built, folder, compiler, target, script.substitute(layout, **limits))
            check_fits(Firmware(folder / "built.elf", target, result.compiler, shown))
            raise
        publish(folder / "built.map", result.map)
        publish(folder / "built.elf", out)
    return result


def check_fits(image: Firmware) -> None:
    """Raises JerboaError that says how many bytes too many an image needs, and of what."""
    target = image.target
    stack = image.sections[".stack"][1]
    needs = {
        "flash": (image.flash_bytes, target.flash.bytes, (".vectors", ".text", ".rodata", ".data")),
        "RAM": (image.ram_bytes + stack, target.ram.bytes, (".stack", ".data", ".bss")),
    }
    words = {".vectors": "code", ".text": "code", ".rodata": "constants", ".stack": "stack"}
    clauses = []
    for what, (needed, available, sections) in needs.items():
        if needed <= available:
            continue
        uses: dict[str, int] = {}
        for name in sections:
            word = words.get(name, "variables")
            uses[word] = uses.get(word, 0) + image.sections.get(name, (0, 0))[1]
        listed = ", ".join(f"{word} {size:,}" for word, size in uses.items() if size)
        clauses.append(
            f"needs {needed - available:,} bytes more {what} than {target.name} has ({available:,}): {listed}; "
            f"largest: {_largest(image, sections)}"
        )
    if clauses:
        raise JerboaError("the program " + "; and ".join(clauses), hint="choose a larger board or a smaller network")


def _start_files(target: Target) -> list[str]:
    return ["startup.c"] + (["aeabi.c"] if target.core == "cortex-m0plus" else [])


def _check_symbols(built: list[Path], folder: Path, keep: Sequence[str]) -> None:
    defined = {"__data_start", "__data_end", "__data_load", "__bss_start", "__bss_end", "__stack_top"}
    defined |= {"__stack_limit"}.union(*(defined_symbols(path) for path in built))
    missing = {name: path.relative_to(folder) for path in built for name in undefined_symbols(path)}
    missing = {name: path for name, path in missing.items() if name not in defined}
    if missing:
        name, path = sorted(missing.items())[0]
        helper = re.fullmatch(r"__aeabi_[fd].*|mem(cpy|set|move|cmp)|__aeabi_mem.*", name)
        reason = " (the compiler calls it by itself)" if helper else ""
        raise JerboaError(
            f"undefined symbols: {', '.join(sorted(missing))}",
            where=path,
            hint=f"the firmware has no C library, so define '{name}'{reason} or do without it",
        )
    unknown = sorted(set(keep) - defined)
    if unknown:
        raise JerboaError(f"no source defines {', '.join(unknown)}, which the firmware is to keep")


def _link(built: list[Path], folder: Path, compiler: str, target: Target, script: str) -> None:
    (folder / "firmware.ld").write_text(script, encoding="utf-8")
    names = [str(path.relative_to(folder)) for path in built]
    command = find_compiler(compiler)
    if compiler == "zig":
        command += ["ld.lld", "-T", "firmware.ld", "--gc-sections", "-z", "max-page-size=4096", "-Map=built.map"]
    else:
        command += [*target_flags(target, compiler), "-nostdlib", "-T", "firmware.ld", "-Wl,--gc-sections"]
        command += ["-Wl,-Map=built.map"]
    run([*command, *names, "-o", "built.elf"], folder)


def _largest(image: Firmware, sections: Sequence[str], count: int = 3) -> str:
    ranges = [image.sections[name] for name in sections if name in image.sections]
    inside = {
        (size, name)
        for name, (address, size) in image.symbols.items()
        if any(start <= address < start + length for start, length in ranges)
    }
    return ", ".join(f"{name} {size:,}" for size, name in sorted(inside, reverse=True)[:count])
