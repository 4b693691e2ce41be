"""Tiny extractors, in the file format's own terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TAGS = ["hair:red", "hair:green", "hair:blue", "eyes:light", "eyes:dark"]


def extractor_graph(
    shape: tuple[Any, ...] = ("batch", 3, "height", "width"), *, layout: str = "nchw", tags: bool = True
) -> onnx.ModelProto:
    """The mean and the mean square of each channel of images scaled to [0, 1]: features [N, 6].

    Tags: a softmax of the three means, ten times as sharp, and how light and how dark the image is.
    """
    nodes = [helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT)]
    if layout == "nhwc":
        nodes += [helper.make_node("Transpose", ["levels"], ["first"], perm=[0, 3, 1, 2])]
    nodes += [
        helper.make_node("Mul", ["levels" if layout == "nchw" else "first", "scale"], ["x"]),
        helper.make_node("Mul", ["x", "x"], ["xx"]),
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("GlobalAveragePool", ["xx"], ["square"]),
        helper.make_node("Concat", ["mean", "square"], ["pooled"], axis=1),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Flatten", ["mean"], ["means"]),
        helper.make_node("Mul", ["means", "ten"], ["sharp"]),
        helper.make_node("Softmax", ["sharp"], ["hair"], axis=1),
        helper.make_node("ReduceMean", ["means", "axis"], ["light"], keepdims=1),
        helper.make_node("Sub", ["one", "light"], ["dark"]),
        helper.make_node("Concat", ["hair", "light", "dark"], ["tags"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [shape[0], 6])]
    if tags:
        outputs += [helper.make_tensor_value_info("tags", TensorProto.FLOAT, [shape[0], 5])]
    graph = helper.make_graph(
        nodes,
        "tiny-extractor",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shape)],
        outputs,
        [
            numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
            numpy_helper.from_array(np.array(10, np.float32), "ten"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def write_extractor(path: Path, model: onnx.ModelProto | None = None, **card: Any) -> Path:
    """Save an extractor with a card; by default the tiny one, whose tags are named."""
    model = model or extractor_graph()
    values = {"resize": "none", "tags": TAGS, **card}
    helper.set_model_props(model, {"animegen-extractor": json.dumps(values)})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path
