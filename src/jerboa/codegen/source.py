"""Pieces of C text: constant arrays and what a kernel hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ir import Graph, Node, Tensor

Variant = Literal["portable", "dsp"]
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "uint32": "uint32_t"}


@dataclass(frozen=True)
class Constant:
    """A ``static const`` array. ``kind`` says which line of the flash account it is on."""

    name: str
    values: NDArray[Any]
    kind: Literal["weights", "tables"]

    @property
    def declaration(self) -> str:
        ctype = C_TYPES[self.values.dtype.name]
        flat = [_literal(int(value)) for value in self.values.ravel()]
        lines = [", ".join(flat[start : start + 16]) for start in range(0, len(flat), 16)]
        body = ",\n    ".join(lines)
        return f"static const {ctype} {self.name}[{len(flat)}] = {{\n    {body}}};\n"


@dataclass(frozen=True)
class Layer:
    """One node as a kernel sees it: tensors, C names, the variant asked for."""

    graph: Graph
    node: Node
    symbol: str

    @property
    def operator(self) -> Any:
        return self.node.operator

    @property
    def inputs(self) -> list[Tensor]:
        return self.graph.inputs_of(self.node)

    @property
    def output(self) -> Tensor:
        return self.graph.output_of(self.node)


@dataclass(frozen=True)
class Code:
    """A kernel's answer: the body of the layer's function and its constants.

    The body sees ``x`` (and ``x2``), ``y`` and, where scratch was asked for, ``scratch``: int8 pointers into the arena.
    """

    body: str
    constants: list[Constant] = field(default_factory=list)


@dataclass(frozen=True)
class Kernel:
    """A way to compute one operator.

    Args:
        name: operator, then what distinguishes this kernel.
        operator: the operator's name.
        variant: ``portable`` runs anywhere; ``dsp`` needs the Armv7E-M DSP instructions.
        supports: whether the kernel can do this layer.
        scratch: bytes of arena needed while it runs, 4-aligned.
        emit: writes the code.
    """

    name: str
    operator: str
    variant: Variant
    emit: Callable[[Layer], Code]
    supports: Callable[[Layer], bool] = lambda layer: True
    scratch: Callable[[Layer], int] = lambda layer: 0


def requantization_constants(layer: Layer) -> list[Constant]:
    """Bias, multiplier and shift arrays of a layer; a multiplier or shift that is uniform becomes a literal instead."""
    constants = []
    for name in ("bias", "multiplier", "shift"):
        values = getattr(layer.operator, name, None)
        if values is not None and (name == "bias" or not _uniform(values)):
            constants.append(Constant(f"{layer.symbol}_{name}", np.asarray(values), "tables"))
    return constants


def _uniform(values: NDArray[Any]) -> bool:
    return bool((values == values[0]).all())


def _element(layer: Layer, name: str, channel: str) -> str:
    values = getattr(layer.operator, name)
    return str(int(values[0])) if _uniform(values) else f"{layer.symbol}_{name}[{channel}]"


def store(layer: Layer, accumulator: str, channel: str, dsp: bool = False) -> str:
    """C expression: the accumulator of a channel, requantised, offset and clamped, as int8_t."""
    low, high = layer.operator.clamp
    zero = layer.output.quantization.zero_point
    smallest = int(layer.operator.shift.min())
    routine = "requantize_wide" if smallest < 32 else "requantize"
    if dsp and smallest >= 33:
        routine = "requantize_high"
    scaled = f"kws_{routine}({accumulator}, {_element(layer, 'multiplier', channel)}, {_element(layer, 'shift', channel)})"
    return clamped(scaled, zero, (low, high), dsp)


def clamped(value: str, zero_point: int, clamp: tuple[int, int], dsp: bool = False) -> str:
    """C expression: zero point added, clamped, as int8_t; one SSAT where the clamp is the whole range."""
    if dsp and clamp == (-128, 127):
        return f"kws_saturate({value}, {zero_point})"
    return f"kws_clamp({value}, {zero_point}, {clamp[0]}, {clamp[1]})"


def _literal(value: int) -> str:
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)
