"""Calling functions of a library that was compiled for this machine."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from jerboa.errors import JerboaError


class HostLibrary:
    """A shared library, loaded. Calls release Python's lock, so threads run in parallel if the C allows it."""

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path.resolve()))
        except OSError as error:
            raise JerboaError(f"cannot load the library ({error})", where=path) from None
        self.path = path

    def call(self, symbol: str, *args: int | np.ndarray) -> int:
        """Call a function with integers and contiguous arrays (passed as pointers); its result as a signed 32-bit
        integer.
        """
        try:
            function = getattr(self._library, symbol)
        except AttributeError:
            raise JerboaError(f"no function '{symbol}' in the library", where=self.path) from None
        function.restype = ctypes.c_int32
        passed: list[ctypes.c_void_p | ctypes.c_int64] = []
        for arg in args:
            if isinstance(arg, np.ndarray):
                if not arg.flags.c_contiguous:
                    raise ValueError("arrays handed to C must be contiguous")
                passed.append(ctypes.c_void_p(arg.ctypes.data))
            else:
                passed.append(ctypes.c_int64(int(arg)))
        return int(function(*passed))

    def address(self, symbol: str) -> int:
        """Address of a global function or object, to be passed as an argument."""
        try:
            return ctypes.addressof(ctypes.c_byte.in_dll(self._library, symbol))
        except ValueError:
            raise JerboaError(f"no symbol '{symbol}' in the library", where=self.path) from None

    def write(self, place: int | str, data: bytes) -> None:
        """Write bytes at a global object or an address."""
        ctypes.memmove(self.address(place) if isinstance(place, str) else place, data, len(data))

    def read(self, place: int | str, size: int) -> bytes:
        """Read bytes at a global object or an address."""
        return ctypes.string_at(self.address(place) if isinstance(place, str) else place, size)
