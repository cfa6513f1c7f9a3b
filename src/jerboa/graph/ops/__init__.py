"""The operators by name: the one table that serialisation, documentation and kernels look up."""

from jerboa.graph.ops.add import Add
from jerboa.graph.ops.base import Operator
from jerboa.graph.ops.conv import Conv2d
from jerboa.graph.ops.dense import Dense
from jerboa.graph.ops.depthwise import DepthwiseConv2d
from jerboa.graph.ops.normalize import ClipNormalize
from jerboa.graph.ops.pool import AveragePool2d, MaxPool2d
from jerboa.graph.ops.softmax import Softmax

OPERATORS: dict[str, type[Operator]] = {
    operator.name: operator for operator in (Conv2d, DepthwiseConv2d, Dense, AveragePool2d, MaxPool2d, Add, Softmax, ClipNormalize)
}

__all__ = [
    "OPERATORS",
    "Add",
    "AveragePool2d",
    "ClipNormalize",
    "Conv2d",
    "Dense",
    "DepthwiseConv2d",
    "MaxPool2d",
    "Operator",
    "Softmax",
]
