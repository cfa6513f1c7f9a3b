"""Function-preserving changes to a trained network before it is quantised: batch norms folded, channels equalised."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from jerboa.errors import JerboaError
from jerboa.models.normalize import ClipNormalize


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, ClipNormalize) or super().is_leaf_module(m, module_qualified_name)


def trace(module: nn.Module) -> fx.GraphModule:
    """The network as an fx graph, a copy in evaluation mode without dropout.

    Raises:
        JerboaError: its forward depends on the values it computes.
    """
    try:
        graph = _Tracer().trace(module.eval())
    except fx.proxy.TraceError as error:
        raise JerboaError(f"the network's forward() cannot be traced: {error}", where=type(module).__name__) from None
    traced = _copy(fx.GraphModule(module, graph))
    for node in list(traced.graph.nodes):
        if isinstance(called(traced, node), nn.Dropout | nn.Identity):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    return _clean(traced)


def called(module: fx.GraphModule, node: Any) -> nn.Module | None:
    """The submodule that a node calls, if it calls one."""
    is_call = isinstance(node, fx.Node) and node.op == "call_module"
    return module.get_submodule(str(node.target)) if is_call else None


def is_add(node: fx.Node) -> bool:
    """Whether a node adds two tensors."""
    return (node.op == "call_function" and node.target in (operator.add, operator.iadd, torch.add)) or (
        node.op == "call_method" and node.target in ("add", "add_")
    )


def is_relu(module: fx.GraphModule, node: fx.Node, six: bool = True) -> bool:
    """Whether a node is a ReLU, or with ``six`` also a ReLU6."""
    functions = {torch.relu, torch.relu_, nn.functional.relu} | ({nn.functional.relu6} if six else set())
    kinds = (nn.ReLU, nn.ReLU6) if six else (nn.ReLU,)
    return (
        isinstance(called(module, node), kinds)
        or (node.op == "call_function" and node.target in functions)
        or (node.op == "call_method" and node.target in ("relu", "relu_"))
    )


def fold_batch_norms(module: fx.GraphModule) -> fx.GraphModule:
    """Merge every batch norm into the convolution before it.

    Raises:
        JerboaError: a batch norm that does not directly follow a convolution of its own.
    """
    for node in list(module.graph.nodes):
        norm = called(module, node)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        source = node.args[0]
        convolution = called(module, source)
        if not isinstance(convolution, nn.Conv2d) or len(source.users) != 1:
            raise JerboaError(
                "a batch norm can be folded only into a convolution directly before it", where=f"layer '{node.target}'"
            )
        _replace(module, str(source.target), fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(source)
        module.graph.erase_node(node)
    return _clean(module)


@torch.no_grad()
def equalize(module: fx.GraphModule, features: Tensor) -> fx.GraphModule:
    """Even out the channel ranges between two convolutions that a ReLU joins, so that one int8 scale serves all channels.

    Without it, channels of very different ranges under one scale ruin depthwise networks. ReLU(s·x) = s·ReLU(x) for
    s > 0, so a factor can move from a layer's output channel to the next layer's input channel. After Nagel et al.,
    "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721), with the calibration
    clips' activations in place of the first layer's weights, since weights here have a scale per output channel.

    Args:
        module: a network without batch norms, changed in place.
        features: calibration clips (N, 1, T, F).
    """
    pairs = {relu: pair for relu, pair in ((node, _pair_around(module, node)) for node in module.graph.nodes) if pair}
    peaks = _channel_peaks(module, features, set(pairs))
    for relu, (first, second) in pairs.items():
        peak = peaks[relu.name]
        # A channel that the calibration clips hardly excite gets what its weights let expect.
        reach = first.weight.flatten(1).abs().sum(1)
        live = (peak > 0) & (reach > 0)
        if not live.any():
            continue
        peak = torch.maximum(peak, 0.1 * reach * (peak[live] / reach[live]).median())
        if second.groups == 1:
            weight = second.weight.flatten(2).abs().amax(2)
            need = (weight / weight.amax(1, keepdim=True).clamp_min(1e-12)).amax(0)
            factor = (peak / need.clamp_min(1e-6)).sqrt()
        else:
            factor = peak
        live = factor > 0
        factor = torch.where(live, factor / factor[live].log().mean().exp(), torch.ones_like(factor))
        first.weight /= factor.reshape(-1, 1, 1, 1)
        if first.bias is not None:
            first.bias /= factor
        second.weight *= factor.reshape(-1, 1, 1, 1) if second.groups > 1 else factor.reshape(1, -1, 1, 1)
    return module


def _pair_around(module: fx.GraphModule, relu: fx.Node) -> tuple[nn.Conv2d, nn.Conv2d] | None:
    if not is_relu(module, relu, six=False) or len(relu.users) != 1:
        return None
    source = relu.args[0]
    first, second = called(module, source), called(module, next(iter(relu.users)))
    if not isinstance(source, fx.Node) or not isinstance(first, nn.Conv2d) or not isinstance(second, nn.Conv2d):
        return None
    fits = second.groups in (1, second.in_channels) and second.out_channels % second.groups == 0
    plain = second.groups == 1 or second.out_channels == second.in_channels
    return (first, second) if fits and plain and len(source.users) == 1 else None


def _channel_peaks(module: fx.GraphModule, features: Tensor, wanted: set[fx.Node]) -> dict[str, Tensor]:
    peaks: dict[str, Tensor] = {}

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in wanted:
                peak = value.abs().amax((0, 2, 3))
                peaks[n.name] = torch.maximum(peaks[n.name], peak) if n.name in peaks else peak
            return value

    for batch in features.split(64):
        Watch(module).run(batch)
    return peaks


def _copy(module: fx.GraphModule) -> fx.GraphModule:
    from copy import deepcopy

    return deepcopy(module)


def _replace(module: fx.GraphModule, target: str, new: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(module.get_submodule(parent), name, new)


def _clean(module: fx.GraphModule) -> fx.GraphModule:
    module.delete_all_unused_submodules()
    module.graph.lint()
    module.recompile()
    return module
