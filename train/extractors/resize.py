"""A resize before a graph's pixels, so that an extractor takes images of any size."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def rule(size: int) -> str:
    """What `resize_before` does, for a card."""
    return f"bilinear to {size}×{size}, antialiased, half-pixel centres, in the graph; none at {size}×{size}"


def resize_before(model: onnx.ModelProto, size: int) -> None:
    """Let a graph of `pixels` float32 [N, 3, size, size] from 0 to 255 take uint8 `images` [N, 3, H, W] of any size.

    It is ONNX's own Resize: torch's exporter has no antialiased one.
    """
    resize = [
        helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node(
            "Resize",
            ["levels", "", "", "size"],
            ["pixels"],
            mode="linear",
            antialias=1,
            axes=[2, 3],
            coordinate_transformation_mode="half_pixel",
        ),
    ]
    nodes = [*resize, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array([size, size], np.int64), "size"))
    del model.graph.input[:]
    model.graph.input.append(
        helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 3, "height", "width"])
    )
