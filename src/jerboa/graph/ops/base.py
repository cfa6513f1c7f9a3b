"""What every operator states about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor

Shape = tuple[int, int, int]
Constraint = Callable[[Any, Sequence["Tensor"], "Tensor"], bool]


class Operator:
    """Base of the operators, each a frozen dataclass of attributes and constant arrays.

    Arrays carry a leading batch axis in ``evaluate``: (clips, height, width, channels).
    """

    name: ClassVar[str]
    in_place: ClassVar[tuple[int, ...]] = ()
    """Inputs whose memory the output may take: every value is read before its place is written."""

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        """The output's shape from the inputs' shapes."""
        raise NotImplementedError

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        """The integer definition."""
        raise NotImplementedError

    def macs(self, inputs: Sequence[Tensor], output: Tensor) -> int:
        """Multiply-accumulates of one inference, padding taps counted, as published figures count them."""
        return 0

    def constraints(self) -> tuple[Constraint, ...]:
        """Predicates whose docstring is the rule: it is the documentation and the error text."""
        return ()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The constant arrays by attribute name."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}

    def parameters(self) -> int:
        """Trained values: weights and biases."""
        return sum(array.size for name, array in self.arrays().items() if name in ("weights", "bias"))
