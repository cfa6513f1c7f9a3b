"""The registered networks with seeded random weights: what they cost does not depend on what they have learned."""

from __future__ import annotations

import torch
from torch import nn

from jerboa.audio.frontend import FrontendSpec
from jerboa.graph import Graph
from jerboa.importers.from_torch import import_program
from jerboa.models.registry import architecture, build
from jerboa.training.quantize import export, quantize

CLIPS = 16


def random_network(name: str, classes: int, **frontend: object) -> Graph:
    """The int8 graph of a registered network on the front end that it declares; ``frontend`` replaces single values of that."""
    spec = FrontendSpec.from_json({**architecture(name).frontend, **frontend})
    torch.manual_seed(0)
    module = build(name, spec.frames, spec.features, classes).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features) * 0.2
            layer.running_var = torch.rand(layer.num_features) * 1.5 + 0.5
    integers = torch.randint(-128, 128, (CLIPS, 1, spec.frames, spec.features))
    features = (integers - spec.zero_point) * spec.scale
    program = export(quantize(module, features, spec.scale, spec.zero_point, "minmax"), features[:1])
    labels = tuple(f"word {index}" for index in range(classes))
    return import_program(program, name, labels, spec.to_json())
