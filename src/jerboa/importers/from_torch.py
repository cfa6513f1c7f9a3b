"""An exported torch program whose fake-quantise nodes state every scale → an int8 graph.

The program (``torch.export``) must quantise its input, every weight (``fake_quantize_per_channel_affine``, narrow range) and
every activation that a layer reads (``fake_quantize_per_tensor_affine``). Activations are NCHW there and (height, width, channels)
here; the importer reorders weights, also those of a dense layer behind a flatten. A softmax over the outputs is appended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jerboa.errors import JerboaError
from jerboa.graph import Graph, Node, Quantization, Tensor
from jerboa.graph.ir import verify
from jerboa.graph.ops import Add, AveragePool2d, ClipNormalize, Conv2d, Dense, DepthwiseConv2d, MaxPool2d, Operator, Softmax
from jerboa.graph.ops import add as add_op
from jerboa.graph.ops import softmax as softmax_op
from jerboa.graph.ops.requantize import quantize_multipliers

Finish = Callable[[Quantization, tuple[int, int]], Operator]


@dataclass(frozen=True)
class _Input:
    """The program's input before it is quantised."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Weight:
    """int8 values in torch's order and one scale per output channel."""

    values: NDArray[np.int8]
    scales: NDArray[np.float64]
    name: str


@dataclass(frozen=True)
class _Activation:
    """A tensor of the graph; ``chw`` is set behind a flatten: the (channels, height, width) that torch flattened."""

    tensor: Tensor
    chw: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class _Pending:
    """A layer whose output scale is not known yet: the next fake-quantise node brings it."""

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, int, int]
    finish: Finish
    bounds: tuple[float, float] = (-math.inf, math.inf)


def import_program(
    program: torch.export.ExportedProgram,
    name: str = "network",
    labels: tuple[str, ...] = (),
    frontend: dict[str, Any] | None = None,
) -> Graph:
    """The int8 graph of an exported program.

    Raises:
        JerboaError: an operator without a definition, an activation or weight without a scale, or a layer that breaks a constraint;
            the node is named.
    """
    return _Importer(program).run(name, labels, frontend)


class _Importer:
    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.program = program
        self.values: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.input = ""

    def run(self, name: str, labels: tuple[str, ...], frontend: dict[str, Any] | None) -> Graph:
        signature = self.program.graph_signature
        constants = {**self.program.state_dict, **self.program.constants}
        sources = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        output: Any = None
        for node in self.program.graph_module.graph.nodes:
            if node.op == "placeholder" and node.name in sources:
                source = sources[node.name]
                self.values[node.name] = _Constant(constants[source].detach().cpu().numpy(), source)
            elif node.op == "placeholder":
                self.values[node.name] = _Input(tuple(node.meta["val"].shape))
            elif node.op == "call_function":
                self.values[node.name] = self._call(node)
            elif node.op == "output":
                output = self._value(node.args[0][0])
        if not isinstance(output, _Activation):
            raise JerboaError("the network's output is not quantised", where=name, hint="quantize() it before export")
        last = self._softmax(output.tensor)
        return verify(Graph(name, self.tensors, tuple(self.nodes), self.input, last.name, labels, frontend))

    def _call(self, node: torch.fx.Node) -> Any:
        target = str(getattr(node.target, "overloadpacket", node.target)).replace("aten::", "aten.")
        handler = HANDLERS.get(target)
        if handler is None:
            raise JerboaError(
                f"operator '{target}' has no integer definition",
                where=f"node '{node.name}'",
                allowed=", ".join(sorted(key.removeprefix("aten.") for key in HANDLERS)),
            )
        arguments = [self._value(argument) for argument in node.args]
        return handler(self, node, arguments, dict(node.kwargs))

    def _value(self, argument: Any) -> Any:
        if isinstance(argument, torch.fx.Node):
            return self.values[argument.name]
        return argument

    def _activation(self, value: Any, node: torch.fx.Node) -> _Activation:
        if not isinstance(value, _Activation):
            raise JerboaError(
                "reads an activation that no fake-quantise node gave a scale",
                where=f"node '{node.name}'",
                hint="quantise the output of the layer before it",
            )
        return value

    def _append(self, name: str, operator: Operator, inputs: tuple[str, ...], shape: Any, quantization: Quantization) -> Tensor:
        taken = {node.name for node in self.nodes}
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        tensor = Tensor(f"{unique}:out", shape, quantization)
        self.tensors[tensor.name] = tensor
        self.nodes.append(Node(unique, operator, inputs, tensor.name))
        return tensor

    def _softmax(self, logits: Tensor) -> Tensor:
        operator = Softmax(softmax_op.exponential_table(logits.quantization.scale))
        quantization = Quantization(softmax_op.SCALE, softmax_op.ZERO_POINT)
        return self._append("softmax", operator, (logits.name,), logits.shape, quantization)

    def quantize_activation(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> Any:
        """The scale and zero point of the activation; not a layer of its own."""
        value, scale, zero_point, low, high = arguments
        quantization = Quantization(_number(scale), int(_number(zero_point)))
        if (low, high) != (-128, 127):
            raise JerboaError(f"activations are quantised to {low}…{high}", where=f"node '{node.name}'", allowed="-128…127")
        if isinstance(value, _Input):
            tensor = Tensor("input", _hwc(value.shape), quantization)
            self.tensors[tensor.name] = tensor
            self.input = tensor.name
            return _Activation(tensor)
        if isinstance(value, _Pending):
            clamp = _clamp(value.bounds, quantization)
            operator = value.finish(quantization, clamp)
            return _Activation(self._append(value.name, operator, value.inputs, value.shape, quantization))
        if isinstance(value, _Activation) and value.tensor.quantization == quantization:
            return value
        raise JerboaError("a quantised activation is quantised again with another scale", where=f"node '{node.name}'")

    def quantize_weight(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Weight:
        """The int8 weights and their scales, one per output channel."""
        weight, scale, _, axis, low, high = arguments
        if axis != 0 or low < -127 or high > 127:
            raise JerboaError(
                f"weights are quantised to {low}…{high} along axis {axis}",
                where=f"node '{node.name}'",
                allowed="-127…127 along axis 0",
            )
        values = np.asarray(weight.values, np.float32)
        scales = np.asarray(scale.values, np.float32)
        if not np.isfinite(values).all():
            raise JerboaError("weights hold values that are not numbers", where=f"'{weight.name}'")
        # torch multiplies by the reciprocal in float32; dividing would round some ties the other way.
        inverse = (np.float32(1) / scales).reshape(-1, *[1] * (values.ndim - 1))
        integers = np.clip(np.rint(values * inverse), low, high).astype(np.int8)
        return _Weight(integers, scales.astype(np.float64), weight.name)

    def convolution(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """`conv2d` with one group, `depthwise_conv2d` with one group per channel and as many outputs as inputs."""
        value, weight, bias, stride, padding, dilation, groups = [*arguments, *_CONVOLUTION_DEFAULTS[len(arguments) :]]
        source = self._activation(value, node)
        self._check_weight(weight, node)
        kernel = weight.values.shape[2:]
        stride, dilation = _pair(stride), _pair(dilation)
        pads = _padding(padding, kernel, dilation)
        channels = source.tensor.shape[2]
        depthwise = groups == channels and weight.values.shape[0] == channels and channels > 1
        if groups != 1 and not depthwise:
            raise JerboaError(
                f"convolution with {groups} groups from {channels} to {weight.values.shape[0]} channels",
                where=f"node '{node.name}'",
                allowed="1 group, or depthwise with as many outputs as inputs",
            )
        values = weight.values[:, 0].transpose(1, 2, 0) if depthwise else weight.values.transpose(0, 2, 3, 1)
        operator_type = DepthwiseConv2d if depthwise else Conv2d
        bias_values, multiplier_of = self._requantization(source.tensor, weight, bias)

        def finish(quantization: Quantization, clamp: tuple[int, int]) -> Operator:
            multiplier, shift = multiplier_of(quantization)
            contiguous = np.ascontiguousarray(values)
            return operator_type(contiguous, bias_values, multiplier, shift, stride, dilation, pads, clamp=clamp)

        shape = operator_type(values, bias_values, _NONE, _NO_SHIFT, stride, dilation, pads).infer([source.tensor.shape])
        return _Pending(_layer_name(weight.name, node), (source.tensor.name,), shape, finish)

    def dense(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """`dense`; behind a flatten its weights are reordered to (height, width, channel)."""
        value, weight, bias = [*arguments, None][:3]
        source = self._activation(value, node)
        self._check_weight(weight, node)
        values = weight.values
        if source.chw is not None:
            values = values.reshape(-1, *source.chw).transpose(0, 2, 3, 1).reshape(len(values), -1)
        bias_values, multiplier_of = self._requantization(source.tensor, weight, bias)

        def finish(quantization: Quantization, clamp: tuple[int, int]) -> Operator:
            multiplier, shift = multiplier_of(quantization)
            return Dense(np.ascontiguousarray(values), bias_values, multiplier, shift, clamp=clamp)

        return _Pending(_layer_name(weight.name, node), (source.tensor.name,), (1, 1, len(values)), finish)

    def add(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """`add` of two activations of one shape."""
        if options.get("alpha", 1) != 1:
            raise JerboaError("a sum with a factor", where=f"node '{node.name}'", allowed="a + b")
        tensors = [self._activation(value, node).tensor for value in arguments[:2]]

        def finish(quantization: Quantization, clamp: tuple[int, int]) -> Operator:
            ratios = [tensor.quantization.scale / quantization.scale for tensor in tensors]
            return Add(*add_op.quantize_multipliers(*ratios), clamp)

        return _Pending(node.name, tuple(tensor.name for tensor in tensors), tensors[0].shape, finish)

    def mean(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """`average_pool2d` over the whole map."""
        source = self._activation(arguments[0], node)
        axes = {axis % 4 for axis in arguments[1]} if len(arguments) > 1 and arguments[1] else set()
        height, width, _ = source.tensor.shape
        needed = {axis for axis, size in ((2, height), (3, width)) if size > 1}
        if not needed <= axes <= {2, 3}:
            raise JerboaError(f"mean over axes {sorted(axes)}", where=f"node '{node.name}'", allowed="the mean over the map")
        return self._average(node, source.tensor, (height, width), (1, 1))

    def adaptive_average(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """`average_pool2d` over the whole map; the output size is 1 × 1."""
        source = self._activation(arguments[0], node)
        if list(_pair(arguments[1])) != [1, 1]:
            raise JerboaError(f"adaptive pooling to {arguments[1]}", where=f"node '{node.name}'", allowed="1 × 1")
        return self._average(node, source.tensor, source.tensor.shape[:2], (1, 1))

    def average_pool(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """`average_pool2d` without padding."""
        defaults: list[Any] = [None, None, [], 0, False, True, None]
        value, kernel, stride, padding, ceil, _, divisor = [*arguments, *defaults[len(arguments) :]]
        if any(_pair(padding)) or ceil or divisor is not None:
            raise JerboaError("average pooling with padding", where=f"node '{node.name}'", allowed="windows inside the map")
        return self._average(node, self._activation(value, node).tensor, _pair(kernel), _pair(stride or kernel))

    def max_pool(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Activation:
        """`max_pool2d` without dilation."""
        defaults: list[Any] = [None, None, [], 0, 1, False]
        value, kernel, stride, padding, dilation, ceil = [*arguments, *defaults[len(arguments) :]]
        if _pair(dilation) != (1, 1) or ceil:
            raise JerboaError("maximum pooling with dilation or ceil mode", where=f"node '{node.name}'", allowed="neither")
        source = self._activation(value, node).tensor
        vertical, horizontal = _pair(padding)
        operator = MaxPool2d(_pair(kernel), _pair(stride or kernel), (vertical, vertical, horizontal, horizontal))
        shape = operator.infer([source.shape])
        return _Activation(self._append(node.name, operator, (source.name,), shape, source.quantization))

    def clip_normalize(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """`clip_normalize`, the operator that `jerboa.models.normalize` registers."""
        source = self._activation(arguments[0], node).tensor

        def finish(quantization: Quantization, clamp: tuple[int, int]) -> Operator:
            return ClipNormalize(round(256 / quantization.scale))

        return _Pending(node.name, (source.name,), source.shape, finish)

    def bounded(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> _Pending:
        """The clamp of the layer before it; costs nothing."""
        low, high = _bounds(node, arguments, options)
        if not isinstance(arguments[0], _Pending):
            raise JerboaError("an activation function behind a quantisation", where=f"node '{node.name}'", hint="quantise after it")
        pending = arguments[0]
        return replace(pending, bounds=(max(low, pending.bounds[0]), min(high, pending.bounds[1])))

    def flatten(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Removed; a dense layer behind it gets its weights in another order."""
        value = arguments[0]
        out = tuple(node.meta["val"].shape)
        if isinstance(value, _Pending) and value.shape[:2] == (1, 1) and math.prod(out) == value.shape[2]:
            return value
        source = self._activation(value, node)
        height, width, channels = source.tensor.shape
        if math.prod(out[1:]) != source.tensor.size or len(out) != 2:
            raise JerboaError(f"reshape to {out}", where=f"node '{node.name}'", allowed="flatten to (clips, values)")
        return replace(source, chw=(channels, height, width))

    def identity(self, node: torch.fx.Node, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Removed."""
        return arguments[0]

    def _average(self, node: torch.fx.Node, source: Tensor, kernel: Any, stride: tuple[int, int]) -> _Pending:
        def finish(quantization: Quantization, clamp: tuple[int, int]) -> Operator:
            real = source.quantization.scale / (quantization.scale * kernel[0] * kernel[1])
            return AveragePool2d(tuple(kernel), stride, *quantize_multipliers(np.array([real])), clamp)

        shape = AveragePool2d(tuple(kernel), stride, _NONE, _NO_SHIFT).infer([source.shape])
        return _Pending(node.name, (source.name,), shape, finish)

    def _check_weight(self, weight: Any, node: torch.fx.Node) -> None:
        if not isinstance(weight, _Weight):
            raise JerboaError(
                "its weights are not quantised", where=f"node '{node.name}'", hint="quantize() the module before export"
            )

    def _requantization(self, source: Tensor, weight: _Weight, bias: Any) -> tuple[NDArray[np.int32], Callable[..., Any]]:
        scales = np.float64(source.quantization.scale) * weight.scales
        floats = np.zeros(len(scales)) if bias is None else np.asarray(bias.values, np.float64)
        integers = np.floor(floats / scales + 0.5)
        if not (np.abs(integers) < 2**31).all():
            raise JerboaError("a bias does not fit 32 bits in steps of its scales", where=f"'{weight.name}'")

        def multipliers(quantization: Quantization) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
            return quantize_multipliers(scales / np.float64(quantization.scale))

        return integers.astype(np.int32), multipliers


@dataclass(frozen=True)
class _Constant:
    """A parameter, a buffer or a lifted tensor of the program."""

    values: NDArray[Any]
    name: str


_NONE, _NO_SHIFT = np.zeros(0, np.int32), np.zeros(0, np.int8)
_CONVOLUTION_DEFAULTS: list[Any] = [None, None, None, [1, 1], [0, 0], [1, 1], 1]
HANDLERS: dict[str, Callable[[_Importer, torch.fx.Node, list[Any], dict[str, Any]], Any]] = {
    "aten.fake_quantize_per_tensor_affine": _Importer.quantize_activation,
    "aten.fake_quantize_per_channel_affine": _Importer.quantize_weight,
    "aten.conv2d": _Importer.convolution,
    "aten.linear": _Importer.dense,
    "aten.add": _Importer.add,
    "aten.mean": _Importer.mean,
    "aten.adaptive_avg_pool2d": _Importer.adaptive_average,
    "aten.avg_pool2d": _Importer.average_pool,
    "aten.max_pool2d": _Importer.max_pool,
    "aten.relu": _Importer.bounded,
    "aten.relu_": _Importer.bounded,
    "aten.relu6": _Importer.bounded,
    "aten.hardtanh": _Importer.bounded,
    "aten.hardtanh_": _Importer.bounded,
    "aten.clamp": _Importer.bounded,
    "aten.flatten": _Importer.flatten,
    "aten.view": _Importer.flatten,
    "aten.reshape": _Importer.flatten,
    "aten.squeeze": _Importer.flatten,
    "aten.dropout": _Importer.identity,
    "aten.dropout_": _Importer.identity,
    "aten.contiguous": _Importer.identity,
    "jerboa.clip_normalize": _Importer.clip_normalize,
}


def _bounds(node: torch.fx.Node, arguments: Sequence[Any], options: dict[str, Any]) -> tuple[float, float]:
    target = str(node.target)
    if "relu6" in target:
        return 0.0, 6.0
    if "relu" in target:
        return 0.0, math.inf
    default = (-1.0, 1.0) if "hardtanh" in target else (None, None)
    low = arguments[1] if len(arguments) > 1 else options.get("min", default[0])
    high = arguments[2] if len(arguments) > 2 else options.get("max", default[1])
    return (-math.inf if low is None else float(low), math.inf if high is None else float(high))


def _clamp(bounds: tuple[float, float], quantization: Quantization) -> tuple[int, int]:
    """The int8 clamp of real bounds, rounded to the nearest step."""

    def step(value: float) -> int:
        return int(min(max(math.floor(value / quantization.scale + 0.5) + quantization.zero_point, -128), 127))

    low, high = bounds
    return (-128 if low == -math.inf else step(low), 127 if high == math.inf else step(high))


def _hwc(shape: Sequence[int]) -> tuple[int, int, int]:
    """(1, C, H, W) or (1, values) as (height, width, channels)."""
    if len(shape) == 4:
        return (int(shape[2]), int(shape[3]), int(shape[1]))
    return (1, 1, int(shape[-1]))


def _pair(value: Any) -> tuple[int, int]:
    items = list(value) if isinstance(value, list | tuple) else [value]
    return (int(items[0]), int(items[-1]))


def _padding(padding: Any, kernel: Sequence[int], dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        total = [(size - 1) * step for size, step in zip(kernel, dilation)]
        return (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    vertical, horizontal = _pair(padding)
    return (vertical, vertical, horizontal, horizontal)


def _number(value: Any) -> float:
    return float(value.values) if isinstance(value, _Constant) else float(value)


def _layer_name(parameter: str, node: torch.fx.Node) -> str:
    name = parameter.removesuffix(".weight").replace(".weight", "").replace(".", "_")
    return name or node.name
