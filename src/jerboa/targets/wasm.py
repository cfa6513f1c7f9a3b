"""Calling functions of a WebAssembly module, by wasmtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jerboa.errors import JerboaError, missing_extra


class WasmModule:
    """A module without imports, instantiated; addresses are offsets in its memory.

    Raises:
        JerboaError: wasmtime is not installed, or the file is no such module.
    """

    def __init__(self, path: Path) -> None:
        try:
            import wasmtime
        except ImportError:
            raise missing_extra("wasmtime", "wasm", "running WebAssembly") from None
        self.path = path
        self._store = wasmtime.Store()
        try:
            module = wasmtime.Module.from_file(self._store.engine, str(path))
            exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        except (OSError, wasmtime.WasmtimeError) as error:
            raise JerboaError(f"cannot load the module ({error})", where=path) from None
        self._trap = (wasmtime.Trap, wasmtime.WasmtimeError)
        self._exports: dict[str, Any] = {export.name: exports[export.name] for export in module.exports}

    def call(self, symbol: str, args: Sequence[int] = ()) -> int:
        """Call an exported function with 32-bit integers and addresses; its result as a signed integer, 0 for
        ``void``.
        """
        try:
            result = self._find(symbol)(self._store, *(_signed(value) for value in args))
        except self._trap as error:
            raise JerboaError(f"trapped: {str(error).splitlines()[-1].strip()}", where=symbol) from None
        return 0 if result is None else int(result)

    def address(self, symbol: str) -> int:
        """Address of an exported object."""
        return int(self._find(symbol).value(self._store))

    def write(self, place: int | str, data: bytes) -> None:
        """Write bytes at an exported object or an address."""
        start = self.address(place) if isinstance(place, str) else place
        self._find("memory").write(self._store, data, start)

    def read(self, place: int | str, size: int) -> bytes:
        """Read bytes at an exported object or an address."""
        start = self.address(place) if isinstance(place, str) else place
        return bytes(self._find("memory").read(self._store, start, start + size))

    def _find(self, symbol: str) -> Any:
        if symbol not in self._exports:
            raise JerboaError(f"the module does not export '{symbol}'", where=self.path)
        return self._exports[symbol]


def _signed(value: int) -> int:
    value = int(value) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
