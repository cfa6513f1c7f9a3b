"""The registered networks from torch to the chip: torch's int8 simulation, and equal bytes on every executor from PCM to class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import NAMES, Network, network, real_clips, synthetic_clips
from torch import fx

from jerboa.build import compile as build_for
from jerboa.graph import Graph
from jerboa.graph.execute import run, trace


@pytest.fixture(scope="module", params=NAMES)
def built(request: pytest.FixtureRequest) -> Network:
    return network(request.param, synthetic_clips(24))


def test_each_layer_is_within_one_step_of_torch(built: Network) -> None:
    """Every integer layer, given torch's own rounded input, is at most one step from torch's rounded output."""
    values = _torch_values(built)
    for node in built.graph.nodes[:-1]:
        inputs, output = built.graph.inputs_of(node), built.graph.output_of(node)
        found = node.operator.evaluate([values[name] for name in node.inputs], inputs, output)
        difference = np.abs(found.astype(int) - values[node.output].astype(int))
        assert difference.max() <= 1, node.name
        assert np.mean(difference > 0) < 0.01, node.name


def test_the_class_is_torchs_class(built: Network) -> None:
    with torch.no_grad():
        logits = built.frozen(built.real).numpy()
    last = built.graph.tensors[built.graph.nodes[-1].inputs[0]]
    integer = trace(built.graph, built.features[..., None])[last.name].reshape(logits.shape)
    order = np.sort(logits, axis=1)
    clear = order[:, -1] - order[:, -2] > 2.5 * last.quantization.scale
    assert clear.sum() >= 5
    np.testing.assert_array_equal(integer.argmax(1)[clear], logits.argmax(1)[clear])


@pytest.mark.parametrize("place", ["host", "wasm", "stm32f746", "stm32l4r5", "stm32g0b1"])
def test_pcm_to_class_is_equal_everywhere(built: Network, place: str, tmp_path: Path) -> None:
    if place == "stm32g0b1" and built.graph.name != "temporal":
        pytest.skip("one network is enough for the portable kernels on Armv6-M")
    build = build_for(built.graph, place, folder=tmp_path)
    clips = built.pcm[-6:]
    with build.executor() as executor:
        posteriors, features = executor.classify(clips)
        whole = executor.infer(features)
    np.testing.assert_array_equal(features.reshape(built.features[-6:].shape), built.features[-6:])
    expected = run(built.graph, built.features[-6:, ..., None])
    np.testing.assert_array_equal(posteriors, expected)
    np.testing.assert_array_equal(whole, expected)


@pytest.mark.parametrize("place", ["host", "wasm", "stm32f746", "stm32l4r5"])
def test_every_layer_on_real_clips(place: str, tmp_path: Path) -> None:
    clips = real_clips(200)
    assert len(clips) == 200
    built = network("temporal", clips)
    expected = trace(built.graph, built.features[..., None])
    build = build_for(built.graph, place, folder=tmp_path)
    with build.executor(trace=True) as executor:
        for index, features in enumerate(built.features):
            found = executor.layers(features)
            for node in built.graph:
                np.testing.assert_array_equal(found[node.output], expected[node.output][index], err_msg=node.name)
        posteriors, chip_features = executor.classify(clips)
    np.testing.assert_array_equal(chip_features.reshape(built.features.shape), built.features)
    np.testing.assert_array_equal(posteriors, expected[built.graph.output].reshape(len(clips), -1))


def test_trace_names_the_first_layer_that_differs(built: Network, tmp_path: Path) -> None:
    build = build_for(built.graph, "host", folder=tmp_path)
    assert build.trace(built.features[0]) is None
    node = built.graph.nodes[1]
    broken = _with_bias_changed(built.graph, node.name)
    build.graph = broken
    assert build.trace(built.features[0]) == node.name


def _with_bias_changed(graph: Graph, name: str) -> Graph:
    from dataclasses import replace

    def change(node):
        operator = replace(node.operator, bias=node.operator.bias + 100_000) if node.name == name else node.operator
        return replace(node, operator=operator)

    return replace(graph, nodes=tuple(change(node) for node in graph))


def _torch_values(built: Network) -> dict[str, np.ndarray]:
    """int8 values of torch's simulation by the graph's tensor names; both are in order of execution."""
    found: list[np.ndarray] = []

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node):
            value = super().run_node(n)
            if n.op == "call_function" and n.target is torch.fake_quantize_per_tensor_affine:
                steps = (value / n.args[1]).round() + n.args[2]
                steps = steps.permute(0, 2, 3, 1) if steps.ndim == 4 else steps[:, None, None]
                found.append(steps.numpy().astype(np.int8))
            return value

    with torch.no_grad():
        Watch(built.frozen).run(built.real)
    graph = built.graph
    names = [graph.input, *(node.output for node in graph.nodes[:-1])]
    return {name: value.reshape(-1, *graph.tensors[name].shape) for name, value in zip(names, found, strict=True)}
