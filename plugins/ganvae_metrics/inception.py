"""The Inception network of the Fréchet inception distance (Szegedy et al. 2016; Heusel et al. 2017).

It is the network of TensorFlow's graph of 2015-12-05, as its weights were converted for PyTorch
(``pt_inception-2015-12-05-6726825d.pth``): unlike torchvision's, its average pooling leaves the padding out, its last
block takes the largest value instead, and images are resized as TensorFlow 1 does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import ganvae_core as gv

SIDE = 299
FEATURES, LOGITS = 2_048, 1_008
FILE = "pt_inception-2015-12-05-6726825d.pth"


class Convolution(nn.Module):
    """A convolution without bias, batch norm, ReLU. Without ``padding`` it keeps the size of an odd kernel."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (sides[0] // 2, sides[1] // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(channels, out, sides, stride, around, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


def averaged(x: Tensor) -> Tensor:
    """Means over 3 × 3 values, of those inside of the image."""
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def halved(x: Tensor) -> Tensor:
    """The largest of 3 × 3 values, at every other place."""
    return functional.max_pool2d(x, 3, 2)


class BlockA(nn.Module):
    """35 × 35: kernels of 1, 5 and twice 3."""

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(channels, 64)
        self.branch5x5_1 = Convolution(channels, 48)
        self.branch5x5_2 = Convolution(48, 64, 5)
        self.branch3x3dbl_1 = Convolution(channels, 64)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3)
        self.branch_pool = Convolution(channels, pooled)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(averaged(x))], 1)


class BlockB(nn.Module):
    """From 35 × 35 to 17 × 17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(channels, 384, 3, 2, 0)
        self.branch3x3dbl_1 = Convolution(channels, 64)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, 2, 0)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, halved(x)], 1)


class BlockC(nn.Module):
    """17 × 17: kernels of 1, of 7 in one direction after the other, and of these twice."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(channels, 192)
        self.branch7x7_1 = Convolution(channels, inner)
        self.branch7x7_2 = Convolution(inner, inner, (1, 7))
        self.branch7x7_3 = Convolution(inner, 192, (7, 1))
        self.branch7x7dbl_1 = Convolution(channels, inner)
        self.branch7x7dbl_2 = Convolution(inner, inner, (7, 1))
        self.branch7x7dbl_3 = Convolution(inner, inner, (1, 7))
        self.branch7x7dbl_4 = Convolution(inner, inner, (7, 1))
        self.branch7x7dbl_5 = Convolution(inner, 192, (1, 7))
        self.branch_pool = Convolution(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(averaged(x))], 1)


class BlockD(nn.Module):
    """From 17 × 17 to 8 × 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(channels, 192)
        self.branch3x3_2 = Convolution(192, 320, 3, 2, 0)
        self.branch7x7x3_1 = Convolution(channels, 192)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1))
        self.branch7x7x3_4 = Convolution(192, 192, 3, 2, 0)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(wide), halved(x)], 1)


class BlockE(nn.Module):
    """8 × 8: kernels of 1, and of 3 in both directions side by side."""

    def __init__(self, channels: int, *, largest: bool) -> None:
        super().__init__()
        self.largest = largest
        self.branch1x1 = Convolution(channels, 320)
        self.branch3x3_1 = Convolution(channels, 384)
        self.branch3x3_2a = Convolution(384, 384, (1, 3))
        self.branch3x3_2b = Convolution(384, 384, (3, 1))
        self.branch3x3dbl_1 = Convolution(channels, 448)
        self.branch3x3dbl_2 = Convolution(448, 384, 3)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1))
        self.branch_pool = Convolution(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.largest else averaged(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(once),
                self.branch3x3_2b(once),
                self.branch3x3dbl_3a(twice),
                self.branch3x3dbl_3b(twice),
                self.branch_pool(pooled),
            ],
            1,
        )


class Inception(nn.Module):
    """(B, 3, H, W) images within 0 and 255 -> (B, 2048) features."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2, 0)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, 1, 0)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1_280, largest=False)
        self.Mixed_7c = BlockE(FEATURES, largest=True)
        self.fc = nn.Linear(FEATURES, LOGITS)  # in the file, and not used

    def forward(self, x: Tensor) -> Tensor:
        x = (resized(x, SIDE) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(halved(x))))
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))


def resized(x: Tensor, side: int) -> Tensor:
    """(B, C, H, W) -> (B, C, side, side), bilinear, with pixels at their corners as TensorFlow 1 has them."""
    for axis in (2, 3):
        places = torch.arange(side, device=x.device, dtype=x.dtype) * (x.shape[axis] / side)
        low = places.long()
        high = (low + 1).clamp(max=x.shape[axis] - 1)
        weight = (places - low).reshape(-1, *[1] * (3 - axis))
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), weight)
    return x


def load_inception(path: Path) -> Inception:
    """The network with weights from a file (.pth or .safetensors), in evaluation mode.

    Raises:
        ConfigurationError: the file is not there, or has other weights. Nothing in it is executed.
    """
    hint = f"it is {FILE}, or the same tensors as .safetensors"
    if not path.is_file():
        raise gv.ConfigurationError(f"there is no file '{path}' with Inception's weights.", hint)
    net = Inception()
    try:
        if path.suffix == ".safetensors":
            tensors: Mapping[str, Any] = load_file(path)
        else:
            tensors = cast(Mapping[str, Any], torch.load(path, map_location="cpu", weights_only=True))
        missing, unexpected = net.load_state_dict(tensors, strict=False)
    except Exception as error:  # a file of another kind fails in many ways
        reason = str(error).partition("\n")[0]
        raise gv.ConfigurationError(f"'{path}' does not hold Inception's weights: {reason}", hint) from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]  # old files have none
    if missing or unexpected:
        raise gv.ConfigurationError(
            f"'{path}' does not hold Inception's weights: it has {len(unexpected)} other tensors, and lacks "
            f"{len(missing)} such as {missing[0] if missing else 'none'}.",
            hint,
        )
    return net.eval().requires_grad_(False)
