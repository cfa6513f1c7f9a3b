"""One integer definition: NumPy, host C, WebAssembly and emulated Cortex-M give equal bytes for every layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import random_graph

from jerboa.codegen.emit import Generated, generate
from jerboa.executors import Executor, entry_points, sources_with_harness, trace_macro
from jerboa.graph.execute import trace
from jerboa.targets.emulator import Emulator
from jerboa.targets.hostlib import HostLibrary
from jerboa.targets.target import load_target
from jerboa.targets.toolchain import firmware, host_library, wasm_module
from jerboa.targets.wasm import WasmModule

SEEDS = range(120)
INPUTS = 3
SANITIZED = ["-fsanitize=undefined", "-fno-sanitize-recover=all", "-fsanitize-trap=undefined"]


def _sources(variant: str) -> tuple[dict[str, str], list[Generated]]:
    sources: dict[str, str] = {}
    generated = []
    for seed in SEEDS:
        one = generate(random_graph(seed), variant, f"g{seed}_")
        sources |= sources_with_harness(one)
        generated.append(one)
    return sources, generated


def _check(executor: Executor, seed: int) -> None:
    graph = executor.generated.graph
    shape = graph.tensors[graph.input].shape
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-128, 128, (INPUTS, *shape), dtype=np.int8)
    inputs[0] = rng.choice(np.array([-128, 127], np.int8), shape)
    expected = trace(graph, inputs)
    whole = executor.infer(inputs)
    np.testing.assert_array_equal(whole, expected[graph.output].reshape(INPUTS, -1))
    for index, clip in enumerate(inputs):
        found = executor.layers(clip)
        for node in graph:
            message = f"seed {seed}, layer {node.name} ({executor.generated.kernels[node.name]}), {executor.name}"
            np.testing.assert_array_equal(found[node.output], expected[node.output][index], err_msg=message)


def test_host_c_equals_the_definition(tmp_path: Path) -> None:
    sources, generated = _sources("portable")
    library = HostLibrary(host_library(sources, tmp_path / "host.so", [*_traced(generated), *SANITIZED]))
    for seed, one in zip(SEEDS, generated):
        _check(Executor("host", library, one), seed)


def test_wasm_equals_the_definition(tmp_path: Path) -> None:
    sources, generated = _sources("portable")
    defines = "".join(f"#define {trace_macro(one)}\n" for one in generated)
    sources = {name: defines + text for name, text in sources.items()}
    exports = [name for one in generated for name in entry_points(one, trace=True)]
    module = WasmModule(wasm_module(sources, tmp_path / "graphs.wasm", exports))
    for seed, one in zip(SEEDS, generated):
        _check(Executor("wasm", module, one), seed)


@pytest.mark.parametrize("board", ["stm32f746", "stm32l4r5", "stm32g0b1"])
def test_emulated_core_equals_the_definition(board: str, tmp_path: Path) -> None:
    target = load_target(board)
    sources, generated = _sources("dsp" if target.dsp else "portable")
    room = len(SEEDS) if target.ram.bytes > 200_000 else 30
    generated = generated[:room]
    sources = {name: text for name, text in sources.items() if _number(name) < room}
    keep = [name for one in generated for name in entry_points(one, trace=True)]
    image = firmware(sources, target, tmp_path / "graphs.elf", "zig", _traced(generated), keep)
    with Emulator(image.elf, target) as emulator:
        for seed, one in zip(SEEDS, generated):
            _check(Executor(board, emulator, one), seed)


def test_sources_are_the_same_bytes_every_time() -> None:
    first, second = (generate(random_graph(7), "dsp", "same_") for _ in range(2))
    assert first.files == second.files
    assert generate(random_graph(8), "dsp", "same_").digest != first.digest


def _traced(generated: list[Generated]) -> list[str]:
    return [f"-D{trace_macro(one)}" for one in generated]


def _number(name: str) -> int:
    """The seed in a file name such as g12_network.c or g12.h."""
    return int(name[1:].replace(".", "_").split("_")[0])
