"""The default network: a small two-dimensional stem over mel bands, then depthwise-separable blocks over time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from jerboa.models.registry import register

FRONTEND = {"kind": "logmel", "window": 480, "hop": 320, "fft": 512, "bands": 40, "low_hz": 20.0, "high_hz": 7600.0}


class Separable(nn.Module):
    """Depthwise convolution, batch norm, ReLU, 1×1 convolution, batch norm, and ReLU after a residual where shapes allow.

    Args:
        inputs, outputs: channels.
        kernel: (time, frequency), odd; padding keeps the time axis as long as it is.
        frequency_stride: stride over frequency.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], frequency_stride: int = 1) -> None:
        super().__init__()
        self.residual = inputs == outputs and frequency_stride == 1
        self.depthwise = nn.Conv2d(
            inputs,
            inputs,
            kernel,
            stride=(1, frequency_stride),
            padding=(kernel[0] // 2, kernel[1] // 2),
            groups=inputs,
            bias=False,
        )
        self.depthwise_norm = nn.BatchNorm2d(inputs)
        self.depthwise_relu = nn.ReLU()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise_relu(self.depthwise_norm(self.depthwise(x)))
        y = self.pointwise_norm(self.pointwise(y))
        return self.relu(y + x if self.residual else y)


@register("temporal", frontend=FRONTEND)
class Temporal(nn.Module):
    """2-D stem over mel bands, then depthwise-separable blocks over time (the default; made to be streamed).

    The stem halves time once and frequency three times; a convolution as high as what is left of the frequency axis
    collapses it; from there on every layer is a convolution over time, then the mean over time and a dense layer.

    Args:
        frames, features, classes: shape of the input and number of logits.
        stem: channels of the three stages of the stem.
        channels: channels of the temporal blocks.
        kernels: kernel length of each temporal block, in steps of two frames.
    """

    def __init__(
        self,
        frames: int,
        features: int,
        classes: int,
        stem: Sequence[int] = (24, 24, 32),
        channels: int = 64,
        kernels: Sequence[int] = (9, 9, 11, 13, 15),
    ) -> None:
        super().__init__()
        if len(stem) != 3:
            raise ValueError(f"stem has {len(stem)} stages and needs 3")
        if any(kernel % 2 == 0 for kernel in kernels):
            raise ValueError("kernels must be odd")
        first, second, third = stem
        height = ((features + 1) // 2 + 1) // 2
        height = (height + 1) // 2
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            Separable(first, first, (3, 3)),
            Separable(first, second, (3, 3), frequency_stride=2),
            Separable(second, third, (3, 3), frequency_stride=2),
        )
        self.collapse = nn.Sequential(nn.Conv2d(third, channels, (1, height), bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.blocks = nn.Sequential(*(Separable(channels, channels, (kernel, 1)) for kernel in kernels))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.collapse(self.stem(x)))
        return self.classifier(x.mean((2, 3)))
