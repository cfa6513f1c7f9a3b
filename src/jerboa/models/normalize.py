"""Mean and standard deviation of a clip removed inside the network, as one operator that ``torch.export`` keeps whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS_PER_DEVIATION = 32
"""int8 steps that the integer graph gives to one standard deviation."""


@torch.library.custom_op("jerboa::clip_normalize", mutates_args=())
def clip_normalize(x: Tensor, eps: float) -> Tensor:
    """(x − mean) / max(std, eps) over all values of each clip; x is (N, …), the deviation is the population's."""
    dims = tuple(range(1, x.ndim))
    centred = x - x.mean(dims, keepdim=True)
    deviation = centred.square().mean(dims, keepdim=True).sqrt()
    return centred / deviation.clamp_min(eps)


@clip_normalize.register_fake
def _(x: Tensor, eps: float) -> Tensor:
    return torch.empty_like(x)


class ClipNormalize(nn.Module):
    """Layer form of :func:`clip_normalize`. It carries no gradient, so it must be the network's first layer."""

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.jerboa.clip_normalize(x, self.eps)
        return y
