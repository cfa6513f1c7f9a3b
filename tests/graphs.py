"""Random int8 graphs: the case table that drives every executor."""

from __future__ import annotations

import numpy as np

from jerboa.graph import Graph, Node, Quantization, Tensor
from jerboa.graph.ir import verify
from jerboa.graph.ops import Add, AveragePool2d, ClipNormalize, Conv2d, Dense, DepthwiseConv2d, MaxPool2d, Softmax
from jerboa.graph.ops.add import quantize_multipliers as add_multipliers
from jerboa.graph.ops.requantize import quantize_multipliers
from jerboa.graph.ops.softmax import exponential_table


class Builder:
    """Adds layers to a graph one after the other, with random weights and scales."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> None:
        self.rng = rng
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.last = self._tensor("input", shape, Quantization(self._scale(), self._zero()))

    def graph(self) -> Graph:
        return verify(Graph("random", dict(self.tensors), tuple(self.nodes), "input", self.last.name))

    def conv(self, outputs: int, kernel=(1, 1), stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), **extreme) -> None:
        taps = kernel[0] * kernel[1] * self.last.shape[2]
        weights = self._weights((outputs, *kernel, self.last.shape[2]))
        operator = Conv2d(weights, *self._constants(outputs, taps, **extreme), stride, dilation, padding, clamp=self._clamp())
        self._append(operator)

    def depthwise(self, kernel=(3, 3), stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), clamp=None, **extreme) -> None:
        channels = self.last.shape[2]
        weights = self._weights((*kernel, channels))
        constants = self._constants(channels, kernel[0] * kernel[1], **extreme)
        self._append(DepthwiseConv2d(weights, *constants, stride, dilation, padding, clamp=clamp or self._clamp()))

    def dense(self, outputs: int, **extreme) -> None:
        weights = self._weights((outputs, self.last.size))
        self._append(Dense(weights, *self._constants(outputs, self.last.size, **extreme), clamp=self._clamp()))

    def average_pool(self, kernel, stride) -> None:
        multiplier, shift = quantize_multipliers(np.array([self.rng.uniform(0.3, 2.5) / (kernel[0] * kernel[1])]))
        self._append(AveragePool2d(kernel, stride, multiplier, shift, self._clamp()))

    def max_pool(self, kernel, stride, padding=(0, 0, 0, 0)) -> None:
        self._append(MaxPool2d(kernel, stride, padding), self.last.quantization)

    def add(self, other: Tensor) -> None:
        ratios = self.rng.uniform(0.02, 3.0, 2)
        operator = Add(*add_multipliers(float(ratios[0]), float(ratios[1])), self._clamp())
        self._append(operator, inputs=(self.last.name, other.name))

    def normalize(self) -> None:
        self._append(ClipNormalize(8192), Quantization(1 / 32, self._zero()))

    def softmax(self) -> None:
        self._append(Softmax(exponential_table(float(self.rng.uniform(0.001, 3.0)))), Quantization(1 / 256, -128))

    def _append(self, operator, quantization: Quantization | None = None, inputs: tuple[str, ...] | None = None) -> None:
        inputs = inputs or (self.last.name,)
        shape = operator.infer([self.tensors[name].shape for name in inputs])
        quantization = quantization or Quantization(self._scale(), self._zero())
        name = f"{operator.name}_{len(self.nodes)}"
        self.last = self._tensor(f"t{len(self.nodes)}", shape, quantization)
        self.nodes.append(Node(name, operator, inputs, self.last.name))

    def _tensor(self, name: str, shape, quantization: Quantization) -> Tensor:
        self.tensors[name] = Tensor(name, shape, quantization)
        return self.tensors[name]

    def _weights(self, shape) -> np.ndarray:
        if self.rng.random() < 0.2:
            return self.rng.choice(np.array([-127, 127], np.int8), shape)
        return self.rng.integers(-127, 128, shape, dtype=np.int8)

    def _constants(self, outputs: int, taps: int, gain: float | None = None):
        """Bias, multiplier, shift: outputs spread over the int8 range, or saturating for a large gain."""
        spread = 74.0 * 74.0 * np.sqrt(taps)
        gain = gain if gain is not None else float(self.rng.choice([0.01, 0.5, 1.0, 4.0]))
        reals = gain * 60.0 / spread * self.rng.uniform(0.3, 3.0, outputs)
        bias = self.rng.integers(-int(spread), int(spread) + 1, outputs).astype(np.int32)
        return bias, *quantize_multipliers(reals)

    def _clamp(self) -> tuple[int, int]:
        low, high = sorted(int(value) for value in self.rng.integers(-128, 128, 2))
        return (-128, 127) if self.rng.random() < 0.6 else (low, high)

    def _zero(self) -> int:
        return int(self.rng.choice([-128, 127, 0, int(self.rng.integers(-128, 128))]))

    def _scale(self) -> float:
        return float(self.rng.uniform(0.01, 0.2))


def random_graph(seed: int) -> Graph:
    """A small network with one to six layers of any kind, odd sizes and channel counts included."""
    rng = np.random.default_rng(seed)

    def pick(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    shape = (pick(1, 9), pick(1, 7), pick(1, 9)) if rng.random() < 0.7 else (pick(4, 20), 1, 4 * pick(1, 4))
    builder = Builder(rng, shape)
    if rng.random() < 0.15:
        builder.normalize()
    for _ in range(pick(1, 5)):
        height, width, _ = builder.last.shape
        kernel = (pick(1, min(height, 5)), pick(1, min(width, 4)))
        dilation = (pick(1, 3) if rng.random() < 0.3 else 1, pick(1, 2) if rng.random() < 0.3 else 1)
        reach = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
        padding = (pick(0, reach[0] - 1), pick(0, reach[0] - 1), pick(0, reach[1] - 1), pick(0, reach[1] - 1))
        if reach[0] > height + padding[0] + padding[1] or reach[1] > width + padding[2] + padding[3]:
            dilation, padding = (1, 1), (0, 0, 0, 0)
        stride = (pick(1, 3), pick(1, 2))
        gain = float(rng.choice([1.0, 50.0, 3e4])) if rng.random() < 0.2 else None
        kind = rng.choice(
            ["conv", "pointwise", "depthwise", "average", "max", "add", "dense"],
            p=[0.2, 0.2, 0.2, 0.1, 0.1, 0.15, 0.05],
        )
        if kind == "conv":
            builder.conv(pick(1, 9), kernel, stride, dilation, padding, gain=gain)
        elif kind == "pointwise":
            builder.conv(pick(1, 12), gain=gain)
        elif kind == "depthwise":
            builder.depthwise(kernel, stride, dilation, padding, gain=gain)
        elif kind == "average":
            builder.average_pool(kernel, stride)
        elif kind == "max":
            padding = (pick(0, kernel[0] - 1), pick(0, kernel[0] - 1), pick(0, kernel[1] - 1), pick(0, kernel[1] - 1))
            builder.max_pool(kernel, stride, padding)
        elif kind == "add":
            skip = builder.last
            builder.conv(skip.shape[2])
            builder.add(skip)
        else:
            builder.dense(pick(1, 9), gain=gain)
    if rng.random() < 0.3:
        builder.softmax()
    return builder.graph()
