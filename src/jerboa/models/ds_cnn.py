"""MLPerf Tiny's keyword-spotting network."""

from __future__ import annotations

from torch import Tensor, nn

from jerboa.models.registry import register

FRONTEND = {
    "kind": "mfcc",
    "window": 480,
    "hop": 320,
    "fft": 512,
    "bands": 40,
    "coefficients": 10,
    "low_hz": 20.0,
    "high_hz": 4000.0,
}


@register("ds_cnn", frontend=FRONTEND)
class DsCnn(nn.Module):
    """MLPerf Tiny's DS-CNN on MFCCs: one convolution and four depthwise-separable blocks of 64 channels.

    After Zhang et al., "Hello Edge" (arXiv 1711.07128), in the size that MLPerf Tiny 1.0 took for its keyword-spotting
    benchmark (arXiv 2106.07597), with that benchmark's dropout.
    """

    def __init__(self, frames: int, features: int, classes: int, channels: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, channels, (10, 4), stride=2, padding=(5, 1), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(0.2),
        ]
        for _ in range(4):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Dropout(0.4))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(x).mean((2, 3)))
