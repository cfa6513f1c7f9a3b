"""The kernels in order of preference: a layer takes the first one that its variant allows and that supports it."""

from __future__ import annotations

from jerboa.codegen.kernels import add, conv_dsp, conv_portable, depthwise, normalize, pool, softmax
from jerboa.codegen.source import Kernel, Layer, Variant
from jerboa.errors import JerboaError

KERNELS: tuple[Kernel, ...] = (
    *conv_dsp.KERNELS,
    *conv_portable.KERNELS,
    *depthwise.KERNELS,
    *pool.KERNELS,
    *add.KERNELS,
    *softmax.KERNELS,
    *normalize.KERNELS,
)


def choose(layer: Layer, variant: Variant) -> Kernel:
    """The kernel for a layer. Raises JerboaError when none supports it."""
    for kernel in KERNELS:
        if kernel.operator == layer.operator.name and kernel.variant in ("portable", variant) and kernel.supports(layer):
            return kernel
    raise JerboaError(f"no kernel computes the operator '{layer.operator.name}'", where=f"layer '{layer.node.name}'")
