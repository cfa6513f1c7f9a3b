"""A network built for a target: the object that ``jerboa.compile`` returns."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jerboa.codegen.emit import Generated, generate
from jerboa.codegen.source import Variant
from jerboa.errors import JerboaError
from jerboa.executors import Executor, build_firmware, emulated_executor, host_executor, wasm_executor
from jerboa.graph import Graph
from jerboa.graph.execute import trace as reference_trace
from jerboa.report.results import Results
from jerboa.targets.target import Target, load_target
from jerboa.targets.toolchain import Firmware


class Build:
    """Generated C, compiled for a target and run there: on this machine, in WebAssembly, or on an emulated core.

    Attributes:
        graph: the int8 graph.
        target: where it is built for.
        generated: the sources and their sizes.
    """

    def __init__(self, graph: Graph, target: Target, generated: Generated, folder: Path, compiler: str) -> None:
        self.graph = graph
        self.target = target
        self.generated = generated
        self.folder = folder
        self.compiler = compiler

    @property
    def sources(self) -> dict[str, str]:
        """C files by name."""
        return self.generated.files

    @cached_property
    def firmware(self) -> Firmware:
        """The linked image of a board. Raises JerboaError when it does not fit, or for ``host`` and ``wasm``."""
        if not self.target.is_board:
            raise JerboaError(f"there is no firmware for '{self.target.name}'", hint="name a board")
        return build_firmware(self.generated, self.target, self.folder / "firmware.elf", self.compiler)

    def executor(self, trace: bool = False) -> Executor:
        """A fresh executor; use it as a context manager. ``trace`` builds one that can run layer by layer."""
        if self.target.name == "host":
            return host_executor(self.generated, self.folder)
        if self.target.name == "wasm":
            return wasm_executor(self.generated, self.folder)
        if not trace:
            return emulated_executor(self.generated, self.firmware)
        out = self.folder / "trace.elf"
        return emulated_executor(self.generated, build_firmware(self.generated, self.target, out, self.compiler, trace=True))

    def __call__(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Posteriors (clips, classes) of int8 features (clips, height, width, channels), computed on the target."""
        with self.executor() as executor:
            return executor.infer(features)

    def classify(self, clips: NDArray[np.int16]) -> NDArray[np.int8]:
        """Posteriors (clips, classes) of PCM (clips, samples), front end included, computed on the target."""
        if self.graph.frontend is None:
            raise JerboaError("this network has no front end", where=self.graph.name, hint="call the build on features")
        with self.executor() as executor:
            return executor.classify(clips)[0]

    def trace(self, features: NDArray[np.int8]) -> str | None:
        """Name of the first layer whose bytes differ from the NumPy definition for one feature tensor; None when all are equal."""
        expected = reference_trace(self.graph, features.reshape(1, *self.graph.tensors[self.graph.input].shape))
        with self.executor(trace=True) as executor:
            found = executor.layers(features)
        for node in self.graph:
            if not np.array_equal(found[node.output], expected[node.output][0]):
                return node.name
        return None

    def profile(self, clip: NDArray[np.int16] | None = None) -> Results:
        """What the network costs on the board: instructions by layer, flash, RAM, stack."""
        from jerboa.profile import profile

        return profile(self, clip)


def compile(
    graph: Graph,
    target: str = "stm32f746",
    compiler: str = "zig",
    prefix: str = "kws_",
    stride_frames: int = 10,
    folder: Path | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Build:
    """Generate C for a target.

    Args:
        target: a board of ``boards.toml``, ``host`` or ``wasm``.
        folder: where images are written; a temporary folder by default.

    Raises:
        JerboaError: unknown target, or a layer that no kernel supports.
    """
    place = load_target(target)
    variant: Variant = "dsp" if place.dsp else "portable"
    generated = generate(graph, variant, prefix, stride_frames, provenance)
    return Build(graph, place, generated, folder or Path(tempfile.mkdtemp(prefix="jerboa-")), compiler)
