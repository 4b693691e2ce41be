"""Foreign models: generators of other projects, with the signatures that are found in the wild."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import classifier, tiny_graph, write_model
from onnx import TensorProto, helper, numpy_helper

from animegen import Generator, ModelError, UsageError
from animegen.model.foreign import Overrides
from animegen.model.signature import to_images


def foreign(
    *,
    ones: bool = False,
    batch: int | str = "batch",
    z: int | str = 8,
    last: bool = False,
    values: str = "-1:1",
    dtype: int = TensorProto.FLOAT,
    channels: int = 3,
) -> onnx.ModelProto:
    """The tiny generator as another project would have exported it; `values` is the range of its output."""
    source = {weight.name: numpy_helper.to_array(weight) for weight in tiny_graph().graph.initializer}
    scale, shift = {"-1:1": (1, 0), "0:1": (0.5, 0.5), "0:255": (127.5, 127.5), "odd": (3, 0)}[values]
    nodes = [
        helper.make_node("Cast", ["noise"], ["z32"], to=TensorProto.FLOAT),
        helper.make_node("Identity" if ones else "Unsqueeze", ["z32"] if ones else ["z32", "axes"], ["z4"]),
        helper.make_node("ConvTranspose", ["z4", "first"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("ConvTranspose", ["a", "second"], ["x"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["x"], ["y"]),
        helper.make_node("Mul", ["y", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["moved"]),
        helper.make_node("Transpose", ["moved"], ["turned"], perm=[0, 2, 3, 1] if last else [0, 1, 2, 3]),
        helper.make_node("Cast", ["turned"], ["result"], to=dtype),
    ]
    initializers = [
        numpy_helper.from_array(source["first"], "first"),
        numpy_helper.from_array(source["second"][:, :channels], "second"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array(scale, np.float32), "scale"),
        numpy_helper.from_array(np.array(shift, np.float32), "shift"),
    ]
    shape = [batch, 8, 8, channels] if last else [batch, channels, 8, 8]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("noise", dtype, [batch, z, 1, 1] if ones else [batch, z])],
        [helper.make_tensor_value_info("result", dtype, shape)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


FOREIGN = {
    "floats in [−1, 1], channels first": foreign(),
    "floats in [0, 1], channels last": foreign(values="0:1", last=True),
    "latents [N, Z, 1, 1]": foreign(ones=True),
    "a fixed batch of 4, [0, 255]": foreign(batch=4, values="0:255"),
    "latents [1, Z, 1, 1], one at a time": foreign(batch=1, ones=True, values="0:1"),
    "double": foreign(dtype=TensorProto.DOUBLE),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_the_images_are_those_of_the_file_format(name: str, tiny_model: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "their-faces.onnx", None, FOREIGN[name])
    with Generator.load(tiny_model, device="cpu") as ours, Generator.load(path, device="cpu") as theirs:
        assert theirs.is_foreign
        assert not ours.is_foreign
        assert (theirs.card.name, theirs.card.z_dim, theirs.card.image_shape) == ("their-faces", 8, (3, 8, 8))
        expected = ours.sample(11, seed=3).astype(int)
        for batch_size in (1, 5, 16):
            images = theirs.sample(11, seed=3, batch_size=batch_size)
            assert images.dtype == np.uint8
            assert np.abs(images - expected).max() <= 1


def test_half_precision_comes_close(tiny_model: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "half.onnx", None, foreign(dtype=TensorProto.FLOAT16))
    with Generator.load(tiny_model, device="cpu") as ours, Generator.load(path, device="cpu") as theirs:
        assert np.abs(theirs.sample(8).astype(int) - ours.sample(8)).max() <= 3


def test_grey_images(tmp_path: Path) -> None:
    path = write_model(tmp_path / "grey.onnx", None, foreign(channels=1))
    with Generator.load(path, device="cpu") as generator:
        assert generator.sample(2).shape == (2, 8, 8, 1)


def test_what_the_graph_leaves_open_can_be_said(tmp_path: Path) -> None:
    path = write_model(tmp_path / "open.onnx", None, foreign(z="z"))
    with pytest.raises(ModelError, match="--model-z-dim"):
        Generator.load(path, device="cpu")
    with Generator.load(path, device="cpu", overrides=Overrides(z_dim=8)) as generator:
        assert generator.card.z_dim == 8
    path = write_model(tmp_path / "odd.onnx", None, foreign(values="odd"))
    with pytest.raises(ModelError, match=r"from -\d.* to \d.*--model-range"):
        Generator.load(path, device="cpu")
    with Generator.load(path, device="cpu", overrides=Overrides(range="-1:1")) as generator:
        assert generator.signature.range == "-1:1"
    with pytest.raises(UsageError, match="z-dim is 9 and must be 8"):
        Generator.load(path, device="cpu", overrides=Overrides(z_dim=9))


def test_what_was_inferred_can_be_overruled(tmp_path: Path) -> None:
    path = write_model(tmp_path / "a.onnx", None, foreign(values="0:1"))
    with Generator.load(path, device="cpu") as right:
        with Generator.load(path, device="cpu", overrides=Overrides(range="-1:1")) as wrong:
            assert wrong.sample(4).mean() > right.sample(4).mean() + 40
        assert right.signature.describe() == "latents [N, 8] → nchw images 3×8×8, floats in [0, 1]"


def no_generator(kind: str) -> onnx.ModelProto:
    model = foreign()
    if kind == "two inputs":
        model.graph.input.append(helper.make_tensor_value_info("labels", TensorProto.FLOAT, ["batch", 1]))
    elif kind == "whole numbers":
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    elif kind == "two channels":
        return foreign(channels=2)
    elif kind == "flat":
        model.graph.node[-1].op_type = "Flatten"
        del model.graph.node[-1].attribute[:]
        del model.graph.output[0].type.tensor_type.shape.dim[2:]
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 192
    return model


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("two inputs", r"noise as float \[batch, 8\], labels as .* --model-input NAME=VALUE"),
        ("whole numbers", r"noise as int64 .*must take latents"),
        ("two channels", "--model-layout"),
        ("flat", "one output of 4 axes"),
    ],
)
def test_graphs_that_are_no_generators(kind: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(no_generator(kind).SerializeToString())
    with pytest.raises(ModelError, match=words):
        Generator.load(tmp_path / "other.onnx", device="cpu")


def test_a_classifier_is_no_generator(tmp_path: Path) -> None:
    write_model(tmp_path / "classifier.onnx", None, classifier())
    with pytest.raises(ModelError, match="must take latents"):
        Generator.load(tmp_path / "classifier.onnx", device="cpu")


def test_scaling_rounds_half_to_even_and_clips() -> None:
    values = np.array([-2, -1, 0, 1, 2], np.float32).reshape(1, 1, 1, 5)
    assert to_images(values, "nchw", "-1:1").ravel().tolist() == [0, 0, 128, 255, 255]
    halves = np.array([0.5, 1.5, 2.5], np.float32).reshape(1, 1, 1, 3)
    assert to_images(halves, "nhwc", "0:255").ravel().tolist() == [0, 2, 2]
