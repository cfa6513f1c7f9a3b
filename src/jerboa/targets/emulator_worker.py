# SPDX-License-Identifier: MIT
"""Emulates one Cortex-M core with Unicorn for another process, which speaks to it over stdin and stdout.

A self-contained program: the standard library and ``unicorn`` (GPL-2.0) and nothing else. Messages, both ways: a
little-endian 32-bit length, that many bytes of JSON, then the raw bytes of each length listed under the JSON key
``blobs``. Requests carry ``op``:

``start``   model, regions [[base, bytes, writable]], segments [address] + blobs, fpu, counter (path of the
            compiled emulator_counter.c)
``call``    entry, until, sp, args, writes [address] + blobs, reads [[address, bytes]], limit
            → r0, instructions + blobs
``write``   address + blob · ``read`` address, bytes → blob
``counts``  → instructions, blob of edge rows (``struct row`` of emulator_counter.c) · ``reset``
``fill``    address, bytes, value · ``quit``

An answer with the key ``error`` says why nothing came: ``fault`` (with address, access and registers), ``limit`` or
``failed``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
import threading
import time
from typing import BinaryIO

import unicorn
from unicorn import arm_const

MODELS = {
    "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
}
ACCESS = {
    unicorn.UC_MEM_READ_UNMAPPED: "read from unmapped",
    unicorn.UC_MEM_WRITE_UNMAPPED: "write to unmapped",
    unicorn.UC_MEM_FETCH_UNMAPPED: "jump to unmapped",
    unicorn.UC_MEM_READ_PROT: "read from protected",
    unicorn.UC_MEM_WRITE_PROT: "write to read-only",
    unicorn.UC_MEM_FETCH_PROT: "jump to non-executable",
}
ARGUMENTS = [arm_const.UC_ARM_REG_R0 + i for i in range(4)]
REGISTERS = {f"r{i}": arm_const.UC_ARM_REG_R0 + i for i in range(13)} | {
    "sp": arm_const.UC_ARM_REG_SP,
    "lr": arm_const.UC_ARM_REG_LR,
    "pc": arm_const.UC_ARM_REG_PC,
}
ROW_BYTES = 40
PAGE = 4096


class Core:
    """One emulated core with its memory and its counter."""

    def __init__(self, message: dict, blobs: list[bytes]) -> None:
        # UC_MODE_MCLASS would turn every model into a Cortex-M33.
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
        self.uc.ctl_set_cpu_model(MODELS[message["model"]])
        for base, size, writable in merge_regions(message["regions"]):
            rights = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC | (unicorn.UC_PROT_WRITE if writable else 0)
            self.uc.mem_map(base, size, rights)
        for address, blob in zip(message["segments"], blobs, strict=True):
            self.uc.mem_write(address, blob)
        if message["fpu"]:
            self.uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)
        self._bind(message["counter"])

    def _bind(self, path: str) -> None:
        """Registers the native callbacks. Everything ctypes made must live as long as the engine."""
        engine = unicorn.unicorn_py3.unicorn.uclib
        counter = self.native = ctypes.CDLL(path)
        pointer = ctypes.c_void_p
        counter.counter_new.restype = pointer
        counter.counter_new.argtypes = [pointer, pointer]
        counter.counter_begin.argtypes = [pointer, ctypes.c_uint64]
        counter.counter_reset.argtypes = [pointer]
        counter.counter_reset.restype = None
        counter.counter_begin.restype = None
        for name in ("counter_instructions", "counter_rows"):
            getattr(counter, name).restype = ctypes.c_uint64
            getattr(counter, name).argtypes = [pointer]
        counter.counter_export.argtypes = [pointer, pointer]
        counter.counter_export.restype = None
        counter.counter_fault.argtypes = [pointer, ctypes.POINTER(ctypes.c_uint64)]
        counter.counter_fault.restype = ctypes.c_uint32
        counter.counter_failed.argtypes = [pointer]
        counter.counter_failed.restype = ctypes.c_uint32
        self.counter = counter.counter_new(ctypes.cast(engine.uc_mem_read, pointer), ctypes.cast(engine.uc_emu_stop, pointer))
        if not self.counter:
            raise MemoryError("no memory for the counter")
        self.hooks = []
        add = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, ctypes.c_int, pointer, pointer, ctypes.c_uint64, ctypes.c_uint64)(
            ctypes.cast(engine.uc_hook_add, pointer).value or 0
        )
        for kind, callback in (
            (unicorn.UC_HOOK_BLOCK, counter.counter_block),
            (unicorn.UC_HOOK_MEM_INVALID, counter.counter_invalid),
        ):
            handle = ctypes.c_size_t()
            code = add(self.uc._uch, ctypes.addressof(handle), kind, ctypes.cast(callback, pointer), self.counter, 1, 0)
            if code != 0:
                raise unicorn.UcError(code)
            self.hooks.append((handle, callback))

    def call(self, message: dict, blobs: list[bytes]) -> tuple[dict, list[bytes]]:
        """Runs from ``entry`` until ``until`` is reached, which the link register holds."""
        uc = self.uc
        for address, blob in zip(message["writes"], blobs, strict=True):
            self._write(address, blob)
        args = [value & 0xFFFFFFFF for value in message["args"]]
        extra = args[4:]
        sp = message["sp"] - 4 * (len(extra) + len(extra) % 2)
        if extra:
            uc.mem_write(sp, struct.pack(f"<{len(extra)}I", *extra))
        for register, value in zip(ARGUMENTS, args, strict=False):
            uc.reg_write(register, value)
        uc.reg_write(arm_const.UC_ARM_REG_SP, sp)
        uc.reg_write(arm_const.UC_ARM_REG_LR, message["until"] | 1)
        before = self.native.counter_instructions(self.counter)
        self.native.counter_begin(self.counter, message["limit"])
        problem = None
        try:
            uc.emu_start(message["entry"] | 1, message["until"])
        except unicorn.UcError as error:
            problem = str(error)
        count = self.native.counter_instructions(self.counter) - before
        if self.native.counter_failed(self.counter):
            return {"error": "failed", "what": "the counter could not follow the program"}, []
        if problem is None and count > message["limit"]:
            return {"error": "limit", "registers": self._registers()}, []
        if problem is not None or uc.reg_read(arm_const.UC_ARM_REG_PC) & ~1 != message["until"] & ~1:
            address = ctypes.c_uint64()
            kind = self.native.counter_fault(self.counter, ctypes.byref(address))
            return {
                "error": "fault",
                "what": problem or "the program stopped",
                "access": ACCESS.get(kind),
                "address": address.value,
                "registers": self._registers(),
            }, []
        data = [self._read(address, size) for address, size in message["reads"]]
        return {"r0": uc.reg_read(arm_const.UC_ARM_REG_R0), "instructions": count}, data

    def counts(self) -> tuple[dict, list[bytes]]:
        rows = self.native.counter_rows(self.counter)
        buffer = ctypes.create_string_buffer(max(1, rows * ROW_BYTES))
        self.native.counter_export(self.counter, buffer)
        total = self.native.counter_instructions(self.counter)
        return {"instructions": total}, [buffer.raw[: rows * ROW_BYTES]]

    def _write(self, address: int, blob: bytes) -> None:
        try:
            self.uc.mem_write(address, blob)
        except unicorn.UcError:
            raise ValueError(f"there is no memory for {len(blob)} bytes at {address:#010x}") from None

    def _read(self, address: int, size: int) -> bytes:
        try:
            return bytes(self.uc.mem_read(address, size))
        except unicorn.UcError:
            raise ValueError(f"there is no memory of {size} bytes at {address:#010x}") from None

    def _registers(self) -> dict[str, int]:
        return {name: self.uc.reg_read(register) for name, register in REGISTERS.items()}

    def answer(self, message: dict, blobs: list[bytes]) -> tuple[dict, list[bytes]]:
        op = message["op"]
        try:
            if op == "call":
                return self.call(message, blobs)
            if op == "write":
                self._write(message["address"], blobs[0])
                return {}, []
            if op == "read":
                return {}, [self._read(message["address"], message["bytes"])]
            if op == "fill":
                self._write(message["address"], bytes([message["value"]]) * message["bytes"])
                return {}, []
            if op == "counts":
                return self.counts()
            if op == "reset":
                self.native.counter_reset(self.counter)
                return {}, []
        except (unicorn.UcError, ValueError) as error:
            return {"error": "failed", "what": str(error)}, []
        return {"error": "failed", "what": f"unknown request {op}"}, []


def merge_regions(regions: list[list[int]]) -> list[tuple[int, int, bool]]:
    """Whole pages, with overlapping and adjoining ranges of equal rights made one."""
    merged: list[list[int]] = []
    for base, size, writable in sorted(regions):
        start, end = base // PAGE * PAGE, -(-(base + size) // PAGE) * PAGE
        if merged and start <= merged[-1][1] and bool(writable) == merged[-1][2]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end, bool(writable)])
    return [(start, end - start, bool(writable)) for start, end, writable in merged]


def read_message(stream: BinaryIO) -> tuple[dict, list[bytes]] | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    message = json.loads(stream.read(struct.unpack("<I", head)[0]))
    return message, [stream.read(size) for size in message.get("blobs", [])]


def write_message(stream: BinaryIO, message: dict, blobs: list[bytes]) -> None:
    text = json.dumps(message | {"blobs": [len(blob) for blob in blobs]}).encode()
    stream.write(b"".join([struct.pack("<I", len(text)), text, *blobs]))
    stream.flush()


def end_with_parent() -> None:
    """A run in native code does not see the pipe close, so a thread looks for the parent."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    core: Core | None = None
    while (request := read_message(source)) is not None:
        message, blobs = request
        if message["op"] == "quit":
            break
        if message["op"] == "start":
            try:
                core = Core(message, blobs)
                reply: tuple[dict, list[bytes]] = ({"unicorn": unicorn.__version__}, [])
            except (unicorn.UcError, OSError, MemoryError) as error:
                reply = ({"error": "failed", "what": str(error)}, [])
        elif core is None:
            reply = ({"error": "failed", "what": "not started"}, [])
        else:
            reply = core.answer(message, blobs)
        write_message(sink, *reply)


if __name__ == "__main__":
    main()
