"""Smaller ONNX graphs: weights in 8 bits, or numbers in 16."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ganvae_core.latent.export import without_log

Quantisation = Literal["int8", "fp16"]
QUANTISATIONS: tuple[Quantisation, ...] = get_args(Quantisation)
LINEAR = ("MatMul", "Gemm")
CONVOLUTIONS = {"Conv": 0, "ConvTranspose": 1}
"""The axis of outputs in their weights."""
LEVELS = 127
FEWEST_VALUES = 64
"""Smaller weights are not worth their scales."""


def quantised(graph: Any, how: Quantisation) -> Any:
    """A smaller graph (``onnx.ModelProto``) whose inputs and outputs have the types that they had.

    ``int8``: weights in 8 bits with a scale for each output. Linear layers compute in 8 bits with inputs that are
    scaled as they come (ONNX Runtime's dynamic quantisation); convolutions compute in float32. ``fp16``: weights and
    computing in 16 bits, but for the scaling of rows, which stays in float64.

    Args:
        graph: as ``as_onnx`` makes it.
        how: which of the two.
    """
    if how == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16  # pyright: ignore

        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of numbers too small for 16 bits, which become the smallest there are
            return convert_float_to_float16(copy.deepcopy(graph), keep_io_types=True)
    import onnx  # pyright: ignore
    from onnxruntime.quantization import QuantType, quantize_dynamic  # pyright: ignore

    with tempfile.TemporaryDirectory() as folder, without_log():
        file = Path(folder) / "graph.onnx"
        quantize_dynamic(
            copy.deepcopy(graph),
            file,
            op_types_to_quantize=list(LINEAR),
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        made = onnx.load(str(file))
    _store_convolutions_in_8_bits(made)
    return made


def _store_convolutions_in_8_bits(graph: Any) -> None:
    """Weights of convolutions as whole numbers and a scale for each output, multiplied when the graph is loaded."""
    from onnx import helper, numpy_helper  # pyright: ignore

    weights: dict[str, Any] = {each.name: each for each in graph.graph.initializer}
    axes = {
        node.input[1]: CONVOLUTIONS[node.op_type]
        for node in graph.graph.node
        if node.op_type in CONVOLUTIONS and node.input[1] in weights
    }
    for name, axis in axes.items():
        values = numpy_helper.to_array(weights[name])
        if values.dtype != np.float32 or values.size < FEWEST_VALUES:
            continue
        others = tuple(each for each in range(values.ndim) if each != axis)
        scales = np.maximum(np.abs(values).max(others, keepdims=True), 1e-12) / LEVELS
        whole = np.rint(values / scales).astype(np.int8)
        graph.graph.initializer.remove(weights[name])
        graph.graph.initializer.extend(
            [
                numpy_helper.from_array(whole, f"{name}_whole"),
                numpy_helper.from_array(scales.ravel().astype(np.float32), f"{name}_scales"),
            ]
        )
        graph.graph.node.insert(
            0,
            helper.make_node("DequantizeLinear", [f"{name}_whole", f"{name}_scales"], [name], axis=axis),
        )


def described(graph: Any, how: Quantisation) -> str:
    """Which operations of a quantised graph compute in what, for a message."""
    counts = Counter(node.op_type for node in graph.graph.node)
    if how == "fp16":
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST  # pyright: ignore

        kept = [f", {kind} in float32" for kind in sorted(counts) if kind in DEFAULT_OP_BLOCK_LIST]
        return f"networks compute in 16 bits{''.join(kept)}, the scaling of rows in 64"
    convolutions = sum(counts[kind] for kind in CONVOLUTIONS)
    parts = [
        f"linear layers that compute in 8 bits: {counts['MatMulInteger']}",
        *([f"convolutions in float32 with weights of 8 bits: {convolutions}"] if convolutions else []),
        "the rest is in float32, the scaling of rows in 64 bits",
    ]
    return ", ".join(parts)
