"""The network of "Keyword spotting on a Cortex-M7" (arXiv 2208.02765), after Sainath and Parada's one-fstride4."""

from __future__ import annotations

from torch import Tensor, nn

from jerboa.models.normalize import ClipNormalize
from jerboa.models.registry import register

FRONTEND = {"kind": "logmel", "window": 1024, "hop": 512, "fft": 1024, "bands": 40, "low_hz": 0.0, "high_hz": 8000.0}


@register("one_fstride4", frontend=FRONTEND)
class OneFstride4(nn.Module):
    """one-fstride4: a single convolution over all frames, stride 4 over mel bands, then four dense layers.

    With the paper's front end (30 frames of 40 bands) and six classes: 119,936 parameters, 476,576 MAC. The features are
    normalised to mean 0 and deviation 1 per clip in the network's first layer.

    Args:
        frames, features, classes: shape of the input and number of logits.
        filters: output channels of the convolution.
    """

    def __init__(self, frames: int, features: int, classes: int, filters: int = 186) -> None:
        super().__init__()
        if features < 8:
            raise ValueError("the kernel spans 8 features")
        self.normalize = ClipNormalize()
        self.convolution = nn.Conv2d(1, filters, (frames, 8), stride=(1, 4))
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(filters * ((features - 8) // 4 + 1), 32),
            nn.ReLU(),
            nn.Linear(32, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(self.convolution(self.normalize(x)))
        return y
