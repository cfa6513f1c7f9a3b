"""One interface over everything that can run a generated network: the host library, WebAssembly, an emulated core."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jerboa.audio.frontend import FrontendSpec
from jerboa.codegen.emit import Generated
from jerboa.errors import JerboaError
from jerboa.runtime import rename, runtime_source
from jerboa.targets.emulator import Emulator
from jerboa.targets.hostlib import HostLibrary
from jerboa.targets.target import Target
from jerboa.targets.toolchain import Firmware, firmware, host_library, wasm_module
from jerboa.targets.wasm import WasmModule


class Executor:
    """A generated network in memory of its own.

    ``machine`` is a HostLibrary, a WasmModule or an Emulator; all that is asked of it is calls by symbol and memory by symbol.
    """

    def __init__(self, name: str, machine: Any, generated: Generated) -> None:
        self.name = name
        self.machine = machine
        self.generated = generated
        self._prefix = generated.prefix
        graph = generated.graph
        self._inputs = graph.tensors[graph.input].size
        self._outputs = graph.tensors[graph.output].size
        self._ring = 0
        if graph.frontend:
            spec = FrontendSpec.from_json(graph.frontend)
            self._hop = spec.hop
            self._ring = 16 + 2 * spec.window

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(self.machine, Emulator):
            self.machine.close()

    def infer(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Posteriors (clips, classes) of feature tensors (clips, …)."""
        rows = []
        for clip in features.reshape(-1, self._inputs):
            self._write(self._ring, clip.tobytes())
            self.call("harness_infer")
            rows.append(self._read(self._ring + self._inputs, self._outputs))
        return np.stack(rows)

    def classify(self, clips: NDArray[np.int16]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """Posteriors (clips, classes) and features (clips, inputs) of PCM (clips, samples), pushed in blocks as audio arrives."""
        posteriors, features = [], []
        for clip in clips:
            self.call("harness_reset")
            decisions = 0
            for start in range(0, len(clip), self._hop):
                block = clip[start : start + self._hop]
                self.machine.write(self._symbol("harness_pcm"), block.tobytes())
                decisions += self.call("harness_push", len(block))
            if decisions != 1:
                raise JerboaError(f"a clip of {len(clip)} samples gave {decisions} decisions", where=self.name)
            features.append(self._read(self._ring, self._inputs))
            posteriors.append(self._read(self._ring + self._inputs, self._outputs))
        return np.stack(posteriors), np.stack(features)

    def layers(self, features: NDArray[np.int8]) -> dict[str, NDArray[np.int8]]:
        """Every tensor a layer writes, by name, for one feature tensor. Needs a build with ``-DKWS_TRACE``."""
        graph, plan = self.generated.graph, self.generated.plan
        arena = self._address("arena")
        self.machine.write(arena + plan.offset(graph.input), features.tobytes())
        values = {}
        for index, node in enumerate(graph):
            self.call("network_layer", index)
            tensor = graph.output_of(node)
            raw = self.machine.read(arena + plan.offset(tensor.name), tensor.size)
            values[tensor.name] = np.frombuffer(raw, np.int8).reshape(tensor.shape)
        return values

    def call(self, symbol: str, *args: int) -> int:
        """Call a function by its name without the prefix."""
        name = self._symbol(symbol)
        if isinstance(self.machine, HostLibrary):
            return self.machine.call(name, *args)
        if isinstance(self.machine, Emulator):
            return self.machine.call(name, args).r0
        return int(self.machine.call(name, args))

    def _symbol(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _address(self, name: str) -> int:
        if isinstance(self.machine, Emulator):
            return self.machine.symbols[self._symbol(name)][0]
        return int(self.machine.address(self._symbol(name)))

    def _write(self, offset: int, data: bytes) -> None:
        self.machine.write(self._address("harness_state") + offset, data)

    def _read(self, offset: int, size: int) -> NDArray[np.int8]:
        return np.frombuffer(self.machine.read(self._address("harness_state") + offset, size), np.int8)


def sources_with_harness(generated: Generated) -> dict[str, str]:
    """The generated files and the application that drives them."""
    name = "harness.c" if generated.graph.frontend else "harness_bare.c"
    return generated.files | {
        rename("kws_harness.c", generated.prefix): rename(runtime_source(name), generated.prefix),
    }


def entry_points(generated: Generated, trace: bool = False) -> list[str]:
    """Symbols an executor needs; all else may be dropped by the linker."""
    names = ["harness_infer", "harness_state", "arena"]
    if generated.graph.frontend:
        names += ["harness_reset", "harness_push", "harness_pcm", "harness_frame"]
    return [f"{generated.prefix}{name}" for name in names + (["network_layer"] if trace else [])]


def trace_macro(generated: Generated) -> str:
    """The macro under which the generated C can run a single layer."""
    return f"{generated.prefix.upper()}TRACE"


def host_executor(generated: Generated, folder: Path) -> Executor:
    """Compile for this machine and load."""
    path = host_library(sources_with_harness(generated), folder / "host.so", [f"-D{trace_macro(generated)}"])
    return Executor("host C", HostLibrary(path), generated)


def wasm_executor(generated: Generated, folder: Path) -> Executor:
    """Compile to WebAssembly and load."""
    define = f"#define {trace_macro(generated)}\n"
    sources = {name: define + text for name, text in sources_with_harness(generated).items()}
    module = wasm_module(sources, folder / "network.wasm", entry_points(generated, trace=True))
    return Executor("WASM", WasmModule(module), generated)


def build_firmware(generated: Generated, target: Target, out: Path, compiler: str = "zig", trace: bool = False) -> Firmware:
    """Compile and link for a board."""
    flags = [f"-D{trace_macro(generated)}"] if trace else []
    return firmware(sources_with_harness(generated), target, out, compiler, flags, entry_points(generated, trace))


def emulated_executor(generated: Generated, image: Firmware) -> Executor:
    """Load a firmware image into an emulated core; use it as a context manager."""
    return Executor(f"emulated {image.target.core}", Emulator(image.elf, image.target), generated)
