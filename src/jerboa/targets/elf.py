"""Sizes and symbols of a linked firmware image and of object files, read from the ELF itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

from jerboa.targets.target import Target


@dataclass
class Firmware:
    """A linked image: ``elf`` and, beside it, the linker's ``map``; ``flags`` as shown to a user."""

    elf: Path
    target: Target
    compiler: str
    flags: str

    @property
    def map(self) -> Path:
        """The linker's map file."""
        return self.elf.with_suffix(".map")

    @cached_property
    def symbols(self) -> dict[str, tuple[int, int]]:
        """Functions and objects, static ones too: name → (address without the Thumb bit, size in bytes)."""
        return read_symbols(self.elf)

    @cached_property
    def sections(self) -> dict[str, tuple[int, int]]:
        """Allocated sections: name → (address, size in bytes)."""
        with self.elf.open("rb") as file:
            return {
                section.name: (section["sh_addr"], section["sh_size"])
                for section in ELFFile(file).iter_sections()
                if section["sh_flags"] & 2 and section["sh_size"]
            }

    @cached_property
    def flash_bytes(self) -> int:
        """Bytes of flash from its base to the end of the image, initial values of data and padding included."""
        return max(address + len(data) for address, data in load_segments(self.elf)) - self.target.flash.base

    @cached_property
    def ram_bytes(self) -> int:
        """Bytes of static RAM (data, zeroed data and padding), without the stack region."""
        return self.symbols["__bss_end"][0] - self.symbols["__stack_top"][0]

    def size_of(self, *names: str) -> int:
        """Bytes of all symbols whose name matches one of the names or shell-style patterns; aliases count once."""
        found = {place for name, place in self.symbols.items() if any(fnmatchcase(name, pattern) for pattern in names)}
        return sum(size for _, size in found)

    def flash_breakdown(self, weights: Sequence[str]) -> dict[str, int]:
        """Flash by purpose; ``weights`` are patterns of symbol names.

        Returns:
            Bytes under ``code`` (vectors and text), ``weights`` (matching constants), ``tables`` (all other
            constants, initial values and padding) and ``total``, which is :attr:`flash_bytes` and the sum of the
            others.
        """
        code = sum(self.sections.get(name, (0, 0))[1] for name in (".vectors", ".text"))
        start, size = self.sections.get(".rodata", (0, 0))
        matching = {
            place
            for name, place in self.symbols.items()
            if start <= place[0] < start + size and any(fnmatchcase(name, pattern) for pattern in weights)
        }
        weight_bytes = sum(bytes_ for _, bytes_ in matching)
        total = self.flash_bytes
        tables = total - code - weight_bytes
        return {"code": code, "weights": weight_bytes, "tables": tables, "total": total}


def read_symbols(elf: Path) -> dict[str, tuple[int, int]]:
    """Name → (address, size) of every defined, named symbol; section and mapping symbols (``$t``) are left out."""
    symbols: dict[str, tuple[int, int]] = {}
    with elf.open("rb") as file:
        for symbol in _table(file):
            kind = symbol["st_info"]["type"]
            defined = symbol["st_shndx"] != "SHN_UNDEF"
            if not defined or not symbol.name or symbol.name.startswith("$"):
                continue
            if kind in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE"):
                address = symbol["st_value"] & ~1 if kind == "STT_FUNC" else symbol["st_value"]
                symbols[symbol.name] = (address, symbol["st_size"])
    return symbols


def load_segments(elf: Path) -> list[tuple[int, bytes]]:
    """(load address, bytes) of what a programmer would write to flash."""
    with elf.open("rb") as file:
        return [
            (segment["p_paddr"], segment.data())
            for segment in ELFFile(file).iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
        ]


def undefined_symbols(obj: Path) -> list[str]:
    """Names that an object file uses and does not define, sorted."""
    with obj.open("rb") as file:
        return sorted(
            {
                symbol.name
                for symbol in _table(file)
                if symbol["st_shndx"] == "SHN_UNDEF"
                and symbol.name
                and symbol["st_info"]["bind"] != "STB_WEAK"
                # Unwind-table personality markers are discarded with the tables.
                and not symbol.name.startswith("__aeabi_unwind_cpp_pr")
            }
        )


def defined_symbols(obj: Path) -> set[str]:
    """Global names that an object file defines."""
    with obj.open("rb") as file:
        return {
            symbol.name for symbol in _table(file) if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
        }


def _table(file: BinaryIO) -> Iterator[Symbol]:
    for section in ELFFile(file).iter_sections("SHT_SYMTAB"):
        assert isinstance(section, SymbolTableSection)
        yield from section.iter_symbols()
