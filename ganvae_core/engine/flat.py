"""Tensors that lie in one piece of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor


@final
class FlatTensors:
    """Tensors in one flat buffer for each dtype, so that one operation takes them all.

    Each tensor keeps its memory order, on which the fused optimizers rely.
    """

    def __init__(self, like: Sequence[Tensor]) -> None:
        sizes: dict[torch.dtype, int] = {}
        for tensor in like:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
        self.flats = {dtype: like[0].new_zeros(size, dtype=dtype) for dtype, size in sizes.items()}
        self.views: list[Tensor] = []
        used = dict.fromkeys(sizes, 0)
        for tensor in like:
            strides = torch.empty_like(tensor, device="meta").stride()
            flat, start = self.flats[tensor.dtype], used[tensor.dtype]
            self.views.append(flat.as_strided(tensor.shape, strides, start))
            used[tensor.dtype] += tensor.numel()
