"""The integer definitions against exact or naive arithmetic: any shape, stride, dilation, padding, zero point and scale."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from graphs import random_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from jerboa.errors import JerboaError
from jerboa.graph import Graph, Node, Quantization, Tensor, serialize
from jerboa.graph.execute import run
from jerboa.graph.ir import verify
from jerboa.graph.memory import plan
from jerboa.graph.ops import Add, AveragePool2d, ClipNormalize, Conv2d, Dense, DepthwiseConv2d, Softmax
from jerboa.graph.ops.add import quantize_multipliers as add_multipliers
from jerboa.graph.ops.requantize import quantize_multiplier, quantize_multipliers, requantize
from jerboa.graph.ops.softmax import exponential_table

int8s = st.integers(-128, 127)
seeds = st.integers(0, 2**32 - 1)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-12, 1.0), int8s)
def test_requantize_rounds_once(accumulator: int, real: float, zero_point: int) -> None:
    multiplier, shift = quantize_multiplier(real)
    exact = floor(Fraction(accumulator * multiplier, 2**shift) + Fraction(1, 2)) + zero_point
    found = requantize(np.array([accumulator]), np.array([multiplier], np.int32), np.array([shift], np.int8), zero_point)
    assert found[0] == min(max(exact, -128), 127)


@given(st.floats(1e-9, 2**29))
def test_multiplier_is_the_nearest(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier, 2**shift) - Fraction(real)) <= Fraction(1, 2 ** (shift + 1))


def test_multiplier_too_small_gives_the_zero_point() -> None:
    multiplier, shift = quantize_multiplier(1e-25)
    found = requantize(np.array([2**31 - 1]), np.array([multiplier], np.int32), np.array([shift], np.int8), 5)
    assert found[0] == 5
    with pytest.raises(ValueError):
        quantize_multiplier(-1.0)


def _tensor(name: str, shape: tuple[int, int, int], zero_point: int) -> Tensor:
    return Tensor(name, shape, Quantization(0.1, zero_point))


@st.composite
def window_cases(draw: st.DrawFn) -> tuple:
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    kernel = draw(st.integers(1, min(3, height))), draw(st.integers(1, min(3, width)))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    padding = tuple(draw(st.integers(0, reach[axis] - 1)) for axis in (0, 0, 1, 1))
    if reach[0] > height + padding[0] + padding[1] or reach[1] > width + padding[2] + padding[3]:
        dilation, padding = (1, 1), (0, 0, 0, 0)
    return (height, width, draw(st.integers(1, 5))), kernel, stride, dilation, padding


@settings(deadline=None, max_examples=60)
@given(window_cases(), seeds, int8s, int8s, st.booleans())
def test_convolutions_equal_the_naive_loops(case: tuple, seed: int, zero_in: int, zero_out: int, depthwise: bool) -> None:
    shape, kernel, stride, dilation, padding = case
    rng = np.random.default_rng(seed)
    outputs = shape[2] if depthwise else int(rng.integers(1, 5))
    weights = rng.integers(-127, 128, (*kernel, shape[2]) if depthwise else (outputs, *kernel, shape[2]), dtype=np.int8)
    bias = rng.integers(-5000, 5000, outputs).astype(np.int32)
    multiplier, shift = quantize_multipliers(rng.uniform(1e-5, 1e-2, outputs))
    clamp = tuple(sorted(int(v) for v in rng.integers(-128, 128, 2)))
    operator = (DepthwiseConv2d if depthwise else Conv2d)(weights, bias, multiplier, shift, stride, dilation, padding, clamp=clamp)
    source = _tensor("x", shape, zero_in)
    target = _tensor("y", operator.infer([shape]), zero_out)
    x = rng.integers(-128, 128, (2, *shape), dtype=np.int8)
    found = operator.evaluate([x], [source], target)
    assert found.shape == (2, *target.shape)
    for clip, oy, ox, o in itertools.product(range(2), *map(range, target.shape)):
        total = int(bias[o])
        for ky, kx in itertools.product(*map(range, kernel)):
            iy, ix = oy * stride[0] + ky * dilation[0] - padding[0], ox * stride[1] + kx * dilation[1] - padding[2]
            if 0 <= iy < shape[0] and 0 <= ix < shape[1]:
                channels = [o] if depthwise else range(shape[2])
                for c in channels:
                    weight = weights[ky, kx, c] if depthwise else weights[o, ky, kx, c]
                    total += (int(x[clip, iy, ix, c]) - zero_in) * int(weight)
        exact = floor(Fraction(total * int(multiplier[o]), 2 ** int(shift[o])) + Fraction(1, 2)) + zero_out
        assert found[clip, oy, ox, o] == min(max(exact, clamp[0]), clamp[1])


@settings(deadline=None)
@given(seeds, int8s, int8s, int8s, st.floats(1e-3, 50), st.floats(1e-3, 50))
def test_add_is_within_rounding_of_the_real_sum(seed: int, za: int, zb: int, zo: int, first: float, second: float) -> None:
    multipliers, shift = add_multipliers(first, second)
    operator = Add(multipliers, shift)
    shape = (1, 1, 64)
    rng = np.random.default_rng(seed)
    a, b = (rng.choice(np.array([-128, 127, 3], np.int8), (1, *shape)) for _ in range(2))
    found = operator.evaluate([a, b], [_tensor("a", shape, za), _tensor("b", shape, zb)], _tensor("y", shape, zo))
    real = (a.astype(int) - za) * first + (b.astype(int) - zb) * second + zo
    assert np.abs(found - np.clip(real, -128, 127)).max() <= 0.5 + 1e-3 + 255 * 2.0 ** -(shift - 1)


@given(seeds, st.floats(1e-3, 4))
def test_softmax_is_within_one_step(seed: int, scale: float) -> None:
    logits = np.random.default_rng(seed).integers(-128, 128, (4, 1, 1, 12), dtype=np.int8)
    shape = (1, 1, 12)
    output = Tensor("y", shape, Quantization(1 / 256, -128))
    found = Softmax(exponential_table(scale)).evaluate([logits], [_tensor("x", shape, 0)], output)
    real = np.exp(scale * (logits.astype(float) - logits.max(axis=-1, keepdims=True)))
    real = np.minimum(256 * real / real.sum(axis=-1, keepdims=True), 255) - 128
    assert np.abs(found - real).max() <= 1.0


@given(seeds, int8s, st.sampled_from([0, 1, 5, 40]))
def test_normalised_clips_have_mean_zero_and_deviation_one(seed: int, centre: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.clip(np.rint(rng.normal(centre, spread, (1, 30, 40, 1))), -128, 127).astype(np.int8)
    shape = (30, 40, 1)
    found = ClipNormalize(8192).evaluate([x], [_tensor("x", shape, 3)], Tensor("y", shape, Quantization(1 / 32, 0)))
    deviation = x.std()
    if deviation == 0:
        assert (found == 0).all()
    else:
        real = np.clip(32 * (x.astype(float) - x.mean()) / deviation, -128, 127)
        # The square root is cut to an integer, and it is the count times the deviation.
        assert np.abs(found - real).max() <= 0.51 + 128 / (x.size * deviation)


@given(seeds, int8s, st.integers(1, 6), st.integers(1, 6))
def test_average_pool_is_the_rounded_mean(seed: int, zero: int, height: int, width: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (2, height, width, 3), dtype=np.int8)
    multiplier, shift = quantize_multipliers(np.array([1 / (height * width)]))
    operator = AveragePool2d((height, width), (1, 1), multiplier, shift)
    found = operator.evaluate([x], [_tensor("x", (height, width, 3), zero)], _tensor("y", (1, 1, 3), zero))
    assert np.abs(found[:, 0, 0] - x.mean(axis=(1, 2))).max() <= 0.5 + 1e-6


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6))
def test_no_two_living_buffers_overlap(seed: int) -> None:
    graph = random_graph(seed)
    scratch = {node.name: int(size) for node, size in zip(graph, np.random.default_rng(seed).integers(0, 300, len(graph.nodes)))}
    found = plan(graph, scratch, minimum=seed % 500)
    places = list(found.placements.values())
    assert found.arena_bytes >= found.lower_bound >= seed % 500
    in_place = {frozenset((node.output, node.inputs[index])) for node in graph for index in node.operator.in_place}
    for place in places:
        assert place.offset % 4 == 0 and place.offset + place.bytes <= found.arena_bytes
    for one, other in itertools.combinations(places, 2):
        share_time = one.first <= other.last and other.first <= one.last
        share_place = one.offset < other.offset + other.bytes and other.offset < one.offset + one.bytes
        if share_time and share_place:
            assert frozenset((one.name, other.name)) in in_place and one.offset == other.offset
            assert min(one.last, other.last) == max(one.first, other.first)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_a_graph_survives_its_file(seed: int) -> None:
    graph = random_graph(seed)
    again = serialize.from_json(serialize.to_json(graph))
    x = np.random.default_rng(seed).integers(-128, 128, (2, *graph.tensors[graph.input].shape), dtype=np.int8)
    np.testing.assert_array_equal(run(again, x), run(graph, x))
    assert serialize.fingerprint(again) == serialize.fingerprint(graph)


def _dense(**changes: object) -> Graph:
    values = {
        "weights": np.ones((2, 4), np.int8),
        "bias": np.zeros(2, np.int32),
        "multiplier": np.full(2, 2**30, np.int32),
        "shift": np.full(2, 35, np.int8),
    }
    operator = Dense(**(values | changes))  # type: ignore[arg-type]
    tensors = {"x": _tensor("x", (1, 1, 4), 0), "y": _tensor("y", (1, 1, len(operator.weights)), 0)}
    return Graph("bad", tensors, (Node("fc", operator, ("x",), "y"),), "x", "y")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"weights": np.full((2, 4), -128, np.int8)}, "narrow range"),
        ({"weights": np.ones((2, 5), np.int8)}, "as many inputs as the input tensor has values"),
        ({"shift": np.array([0, 3], np.int8)}, "shifts within 1…62"),
        ({"clamp": (5, -5)}, "lower bound first"),
        ({"bias": np.full(2, 2**31 - 1, np.int32)}, "fits 32 bits"),
    ],
)
def test_the_verifier_names_layer_and_rule(changes: dict[str, object], rule: str) -> None:
    verify(_dense())
    with pytest.raises(JerboaError, match=r"layer 'fc' \(dense\).*" + rule):
        verify(_dense(**changes))
