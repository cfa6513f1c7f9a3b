"""The typed int8 graph: tensors, operators with their integer definition, and the memory plan."""

from jerboa.graph.ir import Graph, Node, Quantization, Tensor

__all__ = ["Graph", "Node", "Quantization", "Tensor"]
