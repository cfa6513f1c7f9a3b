"""From a trained float network to one whose fake-quantise nodes state every int8 scale, and on to ``torch.export``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from jerboa.models.normalize import STEPS_PER_DEVIATION, ClipNormalize
from jerboa.training.fold import called, equalize, fold_batch_norms, is_add, is_relu, trace
from jerboa.training.ranges import Method, affine, choose_range

_POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_POOL_FUNCTIONS = (torch.mean, nn.functional.avg_pool2d, nn.functional.adaptive_avg_pool2d)
_LARGEST_BIAS = 2**29
_SAMPLE = 1 << 16


class ActivationQuantizer(nn.Module):
    """int8 rounding of an activation with a scale that training may move (LSQ, Esser et al., arXiv 1902.08153).

    Args:
        scale, zero_point: real = scale · (q − zero_point).
        learned: False keeps the scale as it is, as the network's input needs it.
    """

    log_scale: Tensor

    def __init__(self, scale: float, zero_point: int, learned: bool = True) -> None:
        super().__init__()
        self.zero_point = zero_point
        self.learned = learned
        self.fixed = scale
        if learned:
            self.log_scale = nn.Parameter(torch.tensor(float(np.log(scale))))

    @property
    def scale(self) -> float:
        """The scale as a number that float32 holds exactly."""
        return float(self.log_scale.detach().exp()) if self.learned else float(np.float32(self.fixed))

    def forward(self, x: Tensor) -> Tensor:
        if not (self.learned and self.training):
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, -128, 127)
        scale = self.log_scale.exp()
        steps = (x / scale).clamp(-128 - self.zero_point, 127 - self.zero_point)
        return (steps + (steps.round() - steps).detach()) * scale


class QuantizedConv2d(nn.Conv2d):
    """A convolution whose weights are rounded to int8 with one symmetric scale per output channel.

    ``weight_scale`` is None while it follows the weights, and a constant once the network is frozen.
    """

    weight_scale: Tensor | None
    weight_zero_point: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, _round_weight(self), self.bias)


class QuantizedLinear(nn.Linear):
    """The same for a dense layer."""

    weight_scale: Tensor | None
    weight_zero_point: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, _round_weight(self), self.bias)


def quantize(
    module: nn.Module, features: Tensor, input_scale: float, input_zero_point: int, method: Method = "mse"
) -> fx.GraphModule:
    """The network with int8 rounding after its input and after every layer; it can be trained further.

    Batch norms are folded and channels equalised first. Layers with a following ReLU are rounded behind it; maximum
    pooling and flatten keep the grid of their input.

    Args:
        module: a trained float network; it is not changed.
        features: calibration clips, dequantised, (N, 1, T, F).
        input_scale, input_zero_point: the front end's grid.
        method: how activation ranges are chosen.

    Raises:
        JerboaError: a network that cannot be traced or whose batch norms cannot be folded.
    """
    folded = equalize(fold_batch_norms(trace(module)), features)
    points = _points(folded)
    ranges = _observe(folded, features, points)
    for node in points:
        if node.op == "placeholder":
            quantizer = ActivationQuantizer(input_scale, input_zero_point, learned=False)
        elif isinstance(called(folded, node), ClipNormalize):
            quantizer = ActivationQuantizer(1 / STEPS_PER_DEVIATION, 0, learned=False)
        else:
            quantizer = ActivationQuantizer(*affine(*choose_range(*ranges[node.name], method)))
        name = f"quantize_{node.name}"
        folded.add_submodule(name, quantizer)
        with folded.graph.inserting_after(node):
            rounded = folded.graph.call_module(name, (node,))
        node.replace_all_uses_with(rounded)
        rounded.args = (node,)
    for layer in folded.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.__class__ = QuantizedConv2d if isinstance(layer, nn.Conv2d) else QuantizedLinear
            layer.register_buffer("weight_scale", None)
            layer.register_buffer("weight_zero_point", torch.zeros(len(layer.weight), dtype=torch.int32))
    folded.graph.lint()
    folded.recompile()
    return folded


def freeze(module: fx.GraphModule) -> fx.GraphModule:
    """The quantised network with every scale a constant: what is exported, and what int8 accuracy is measured on.

    Args:
        module: what :func:`quantize` gave, trained further or not; it is not changed.
    """
    from copy import deepcopy

    frozen: fx.GraphModule = deepcopy(module).eval()
    grid: dict[fx.Node, float] = {}
    for node in list(frozen.graph.nodes):
        layer = called(frozen, node)
        source = node.args[0] if node.args else None
        if isinstance(source, fx.Node) and source in grid:
            grid[node] = grid[source]
        if isinstance(layer, ActivationQuantizer):
            arguments = (source, layer.scale, layer.zero_point, -128, 127)
            with frozen.graph.inserting_after(node):
                constant = frozen.graph.call_function(torch.fake_quantize_per_tensor_affine, arguments)
            node.replace_all_uses_with(constant)
            frozen.graph.erase_node(node)
            grid[constant] = layer.scale
        elif isinstance(layer, QuantizedConv2d | QuantizedLinear):
            layer.weight_scale = _weight_scale(layer.weight)
            if layer.bias is not None and isinstance(source, fx.Node):
                # A channel of nearly zero weights would otherwise need more than 32 bits for its bias.
                least = layer.bias.detach().abs() / (grid[source] * _LARGEST_BIAS)
                layer.weight_scale = torch.maximum(layer.weight_scale, least)
    frozen.delete_all_unused_submodules()
    frozen.graph.lint()
    frozen.recompile()
    return frozen.requires_grad_(False)


def export(module: fx.GraphModule, example: Tensor) -> torch.export.ExportedProgram:
    """The frozen network as an exported program for ``importers.from_torch``; ``example`` is one clip (1, 1, T, F)."""
    return torch.export.export(freeze(module), (example,))


def _weight_scale(weight: Tensor) -> Tensor:
    return (weight.detach().flatten(1).abs().amax(1) / 127).clamp_min(1e-12)


def _round_weight(layer: QuantizedConv2d | QuantizedLinear) -> Tensor:
    scale = _weight_scale(layer.weight) if layer.weight_scale is None else layer.weight_scale
    return torch.fake_quantize_per_channel_affine(layer.weight, scale, layer.weight_zero_point, 0, -127, 127)


def _points(module: fx.GraphModule) -> list[fx.Node]:
    """The nodes whose output is rounded: input, convolution, dense, sum and average, each behind its ReLU if it has one."""
    found = []
    for node in module.graph.nodes:
        layer = called(module, node)
        average = (
            isinstance(layer, _POOLS)
            or (node.op == "call_function" and node.target in _POOL_FUNCTIONS)
            or (node.op == "call_method" and node.target == "mean")
        )
        if node.op == "placeholder" or isinstance(layer, ClipNormalize):
            found.append(node)
        elif isinstance(layer, nn.Conv2d | nn.Linear) or average or is_add(node):
            users = list(node.users)
            found.append(users[0] if len(users) == 1 and is_relu(module, users[0]) else node)
    return found


def _observe(
    module: fx.GraphModule, features: Tensor, points: list[fx.Node]
) -> dict[str, tuple[np.ndarray[Any, np.dtype[np.float32]], float, float]]:
    """Of each point: a seeded sample of its values, their minimum and their maximum."""
    wanted = set(points)
    batches = features.split(64)
    each = max(1, _SAMPLE // len(batches))
    samples: dict[str, list[Tensor]] = {}
    extremes: dict[str, tuple[float, float]] = {}
    generator = torch.Generator().manual_seed(0)

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in wanted:
                flat = value.flatten()
                index = torch.randint(len(flat), (each,), generator=generator)
                samples.setdefault(n.name, []).append(flat[index.to(flat.device)].cpu())
                low, high = extremes.get(n.name, (0.0, 0.0))
                extremes[n.name] = (min(low, float(flat.min())), max(high, float(flat.max())))
            return value

    with torch.no_grad():
        for batch in batches:
            Watch(module).run(batch)
    return {name: (torch.cat(parts).numpy(), *extremes[name]) for name, parts in samples.items()}
