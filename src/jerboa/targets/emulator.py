"""Running functions of a firmware image on an emulated core, with exact instruction counts.

The core is emulated by a worker process (``emulator_worker.py``); this module is the client and never imports
unicorn.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import struct
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from jerboa.errors import JerboaError, did_you_mean, missing_extra
from jerboa.targets.compiler import cache_folder, compiler_version
from jerboa.targets.counts import Block, Counts, counts_from_rows
from jerboa.targets.elf import load_segments, read_symbols
from jerboa.targets.target import Target
from jerboa.targets.toolchain import host_library

__all__ = ["Block", "Call", "Counts", "Emulator"]

_PAINT = 0xA5
# The private peripheral bus (system control space), as plain memory: Armv7-M ARM, B3.1.
_PRIVATE_BUS = (0xE000_0000, 0x0010_0000)


@dataclass(frozen=True)
class Call:
    """What one call gave: ``r0`` as a signed 32-bit integer, the memory asked for, and its instructions."""

    r0: int
    data: list[bytes]
    instructions: int


class Emulator:
    """One emulated core with one firmware image, reset and run up to ``main``.

    There are no peripherals and no interrupts: the private peripheral bus is plain memory. Armv6-M faults on unaligned
    accesses as the hardware does; on the other cores an unaligned LDM, STM, LDRD or STRD goes through, which the
    hardware would refuse.

    A context manager; leaving it, a garbage collection or the end of Python ends the worker.

    Raises:
        JerboaError: unicorn is not installed, the image is not for this board, or it faults before ``main``.
    """

    def __init__(self, elf: Path, target: Target) -> None:
        if importlib.util.find_spec("unicorn") is None:
            raise missing_extra("unicorn", "emulate", "running firmware on an emulated core")
        if not target.is_board:
            raise JerboaError(f"'{target.name}' has no core to emulate", hint="name a board")
        self.elf = elf
        self.target = target
        try:
            self.symbols = read_symbols(elf)
            segments = load_segments(elf)
        except Exception as error:
            raise JerboaError(f"not a firmware image ({error})", where=elf) from None
        needed = ("Reset_Handler", "main", "__stack_top", "__stack_limit")
        if not all(name in self.symbols for name in needed):
            raise JerboaError("not a firmware image: it lacks start-up code", where=elf)
        self._stack = (self._address("__stack_limit"), self._address("__stack_top"))
        self._until = self._address("main")
        counter = _counter_library()
        worker = Path(__file__).with_name("emulator_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._finalizer = weakref.finalize(self, _end, self._process)
        try:
            self._start(segments, counter)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the worker. Harmless when repeated."""
        self._finalizer()

    def call(
        self,
        symbol: str,
        args: Sequence[int] = (),
        writes: Sequence[tuple[int | str, bytes]] = (),
        reads: Sequence[tuple[int | str, int]] = (),
        limit: int = 10**9,
    ) -> Call:
        """Write memory, call a function with 32-bit integer arguments, read memory.

        Args:
            symbol: the function's name.
            args: integers or addresses, by the Arm procedure call standard: four in registers, further ones on the
                stack.
            writes: (address or symbol, bytes) before the call.
            reads: (address or symbol, count of bytes) after it; the answer's ``data``, in order.
            limit: instructions after which the call counts as a runaway.

        Raises:
            JerboaError: unknown symbol, a fault (with access, address, place and registers), a runaway, or a dead
            worker.
        """
        message = {
            "op": "call",
            "entry": self._address(symbol),
            "until": self._until,
            "sp": self._stack[1],
            "args": [int(value) for value in args],
            "writes": [self._address(place) for place, _ in writes],
            "reads": [[self._address(place), size] for place, size in reads],
            "limit": int(limit),
        }
        reply, data = self._ask(message, [bytes(blob) for _, blob in writes])
        if "error" in reply:
            raise self._failure(symbol, reply, limit)
        r0 = reply["r0"]
        return Call(r0 - (1 << 32) if r0 >> 31 else r0, data, reply["instructions"])

    def write(self, place: int | str, data: bytes) -> None:
        """Write bytes at an address or a symbol; flash too."""
        self._check(self._ask({"op": "write", "address": self._address(place)}, [bytes(data)])[0], place)

    def read(self, place: int | str, size: int) -> bytes:
        """Read bytes at an address or a symbol."""
        reply, data = self._ask({"op": "read", "address": self._address(place), "bytes": size})
        self._check(reply, place)
        return data[0]

    def counts(self) -> Counts:
        """Counts since the reset of the core or the last :meth:`reset_counts`."""
        reply, (rows,) = self._ask({"op": "counts"})
        return counts_from_rows(reply["instructions"], rows)

    def reset_counts(self) -> None:
        """Set the counts to zero and paint the stack anew."""
        self._ask({"op": "reset"})
        low, high = self._stack
        self._ask({"op": "fill", "address": low, "bytes": high - low, "value": _PAINT})

    def stack_used(self) -> int:
        """Bytes of stack that calls have written since the last :meth:`reset_counts`, by painting.

        Space that a function reserved and never wrote below its last written byte is not seen.
        """
        low, high = self._stack
        stack = self.read(low, high - low)
        return len(stack.lstrip(bytes([_PAINT])))

    def _start(self, segments: list[tuple[int, bytes]], counter: Path) -> None:
        memories = [self.target.flash, self.target.ram, *self.target.regions]
        regions = [[memory.base, memory.bytes, memory.kind != "flash"] for memory in memories]
        message = {
            "op": "start",
            "model": self.target.core,
            "regions": [*regions, [*_PRIVATE_BUS, True]],
            "segments": [address for address, _ in segments],
            "counter": str(counter),
            "fpu": self.target.fpu != "none",
        }
        reply, _ = self._ask(message, [data for _, data in segments])
        self._check(reply, self.elf)
        self.call("Reset_Handler")
        self.reset_counts()

    def _ask(self, message: dict[str, Any], blobs: Sequence[bytes] = ()) -> tuple[dict[str, Any], list[bytes]]:
        if not self._finalizer.alive:
            raise JerboaError("the emulator is closed", where=self.elf)
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None and sink is not None
        text = json.dumps(message | {"blobs": [len(blob) for blob in blobs]}).encode()
        try:
            sink.write(b"".join([struct.pack("<I", len(text)), text, *blobs]))
            sink.flush()
            head = source.read(4)
            if len(head) < 4:
                raise EOFError
            reply: dict[str, Any] = json.loads(source.read(struct.unpack("<I", head)[0]))
            return reply, [source.read(size) for size in reply["blobs"]]
        except (OSError, EOFError, ValueError):
            words = self._last_words()
            self.close()
            raise JerboaError(f"the emulator's process died ({words})", where=self.elf) from None
        except BaseException:
            # An interrupt leaves an answer on its way that nobody will read.
            self.close()
            raise

    def _last_words(self) -> str:
        self._process.kill()
        status = self._process.wait()
        lines = self._process.stderr.read().decode(errors="replace").splitlines() if self._process.stderr else []
        return lines[-1] if lines else f"exit status {status}"

    def _address(self, place: int | str) -> int:
        if not isinstance(place, str):
            return int(place)
        if place not in self.symbols:
            raise JerboaError(f"no symbol '{place}' in the firmware", where=self.elf, hint=_near(place, self.symbols))
        return self.symbols[place][0]

    def _check(self, reply: dict[str, Any], place: object) -> None:
        if "error" in reply:
            shown = hex(place) if isinstance(place, int) else place
            raise JerboaError(f"the emulator refused: {reply['what']}", where=shown)

    def _failure(self, symbol: str, reply: dict[str, Any], limit: int) -> JerboaError:
        if reply["error"] == "failed":
            return JerboaError(reply["what"], where=symbol)
        registers = reply["registers"]
        place = self._name(registers["pc"])
        shown = " ".join(f"{name}={value:#x}" for name, value in registers.items())
        if reply["error"] == "limit":
            return JerboaError(
                f"still running after {limit:,} instructions, at {place}",
                where=symbol,
                hint=f"registers: {shown}",
            )
        if reply["access"] is None:
            what = f"fault at {place}: {reply['what']}"
            if self.target.core == "cortex-m0plus":
                what += " (an unaligned access? this core has none)"
        else:
            what = f"fault at {place}: {reply['access']} address {reply['address']:#010x}"
            if 0 < self._stack[0] - reply["address"] <= 1 << 16:
                what += f" (stack overflow? the stack has {self._stack[1] - self._stack[0]:,} bytes)"
        return JerboaError(what, where=symbol, hint=f"registers: {shown}")

    def _name(self, address: int) -> str:
        below = [(start, name) for name, (start, size) in self.symbols.items() if start <= address and size]
        if not below:
            return hex(address)
        start, name = max(below)
        return f"{name}+{address - start:#x}"


def _near(word: str, symbols: dict[str, tuple[int, int]]) -> str:
    hint = did_you_mean(word, symbols)
    return hint if hint.startswith("did") else "was it kept when the firmware was linked?"


def _counter_library() -> Path:
    """The worker's native counter, compiled once for this machine and kept in the user's cache."""
    source = Path(__file__).with_name("emulator_counter.c").read_text(encoding="utf-8")
    key = hashlib.sha256((source + compiler_version("zig") + sys.platform).encode()).hexdigest()[:16]
    library = cache_folder() / f"emulator-counter-{key}.so"
    if not library.exists():
        host_library({"emulator_counter.c": source}, library, ["-mcpu=baseline"])
    return library


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
