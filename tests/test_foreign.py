"""Foreign models that take more than latents, or give more than images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Run, assert_error, tiny_graph, write_model
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from animegen import Generator, ModelError, Overrides, UsageError
from animegen.labels import LabelGroup

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def foreign(**inputs: tuple[int, list[Any]]) -> onnx.ModelProto:
    """The tiny generator with more inputs, each of which moves the levels: name=(type, shape)."""
    model = tiny_graph()
    graph = model.graph
    (node,) = (node for node in graph.node if node.op_type == "Round")
    last = node.input[0]
    for name, (dtype, shape) in inputs.items():
        graph.input.append(helper.make_tensor_value_info(name, dtype, shape))
        nodes = [helper.make_node("Cast", [name], [f"{name}.f"], to=FLOAT)]
        if len(shape) == 2:  # Σ k·x_k for each image
            weights = 10 * np.arange(1, 1 + (shape[1] if isinstance(shape[1], int) else 1), dtype=np.float32)
            graph.initializer.append(numpy_helper.from_array(weights[:, None], f"{name}.w"))
            graph.initializer.append(numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), f"{name}.s"))
            nodes.append(helper.make_node("MatMul", [f"{name}.f", f"{name}.w"], [f"{name}.m"]))
            nodes.append(helper.make_node("Reshape", [f"{name}.m", f"{name}.s"], [f"{name}.v"]))
        elif len(shape) == 1:
            graph.initializer.append(numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), f"{name}.s"))
            nodes.append(helper.make_node("Reshape", [f"{name}.f", f"{name}.s"], [f"{name}.v"]))
        else:
            nodes.append(helper.make_node("Identity", [f"{name}.f"], [f"{name}.v"]))
        nodes.append(helper.make_node("Add", [last, f"{name}.v"], [f"{name}.added"]))
        last = f"{name}.added"
        for new in nodes:
            graph.node.insert(len(graph.node) - 2, new)
    node.input[0] = last
    graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "white"))
    graph.node.insert(len(graph.node) - 1, helper.make_node("Clip", ["rounded", "", "white"], ["clipped"]))
    graph.node[-1].input[0] = "clipped"
    return model


def load(path: Path, model: onnx.ModelProto, **overrides: Any) -> Generator:
    return Generator.load(write_model(path / "their.onnx", None, model), device="cpu", overrides=Overrides(**overrides))


@pytest.fixture
def plain(tiny_model: Path) -> np.ndarray:
    """The images of seeds 0 to 4 without more inputs, as ordinary numbers."""
    with Generator.load(tiny_model, device="cpu") as generator:
        return generator.sample(5).astype(int)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.array])
def test_a_latent_s_length_is_an_integer_of_any_kind(kind: Any) -> None:
    length = Overrides(z_dim=kind(200)).z_dim
    assert (length, type(length)) == (200, int)


@pytest.mark.parametrize("value", [0, -1, 16.0, True, 2**20 + 1, float("nan")])
def test_lengths_that_no_latent_has(value: Any) -> None:
    with pytest.raises(UsageError, match=r"z_dim is .* and must be .*from 1 to 1048576"):
        Overrides(z_dim=value)


@pytest.mark.parametrize("shape", [[], [1], ["batch"]])
def test_an_input_of_one_value_is_given_by_name(shape: list[Any], plain: np.ndarray, tmp_path: Path) -> None:
    model = foreign(truncation_psi=(FLOAT, shape))
    with pytest.raises(ModelError, match=r"truncation_psi as float \[.*\] and must have one input .* --model-input"):
        load(tmp_path, model)
    with load(tmp_path, model, inputs={"truncation_psi": 7}) as generator:
        images = generator.sample(5, batch_size=2)
        np.testing.assert_array_equal(images, np.clip(plain + 7, 0, 255))
        assert generator.signature.describe().startswith(
            "latents [batch, 8], truncation_psi = 7 → ".replace("batch", "N")
        )


def test_inputs_of_no_size_need_nothing(plain: np.ndarray, tmp_path: Path) -> None:
    with load(tmp_path, foreign(c=(FLOAT, ["batch", 0]))) as generator:
        np.testing.assert_array_equal(generator.sample(5), plain)
        assert generator.labels == ()


def test_values_that_an_input_does_not_take(tmp_path: Path) -> None:
    model = foreign(noise=(FLOAT, ["batch", "width"]))
    with pytest.raises(UsageError, match=r"--model-input is psi and must be one of the inputs of .*: z, noise"):
        load(tmp_path, model, inputs={"psi": 1})
    with pytest.raises(UsageError, match=r"--model-input noise is 1, and .* takes noise as float \[batch, width\]"):
        load(tmp_path, model, inputs={"noise": 1})


@pytest.mark.parametrize("dtype", [FLOAT, TensorProto.DOUBLE])
def test_labels_by_the_name_of_their_input(dtype: int, plain: np.ndarray, tmp_path: Path) -> None:
    with load(tmp_path, foreign(c=(dtype, ["batch", 3])), labels="c", classes=("a", "b", "c")) as generator:
        assert generator.labels == (LabelGroup("c", ("a", "b", "c"), (1, 1, 1)),)
        np.testing.assert_array_equal(generator.sample(5, labels={"c": "b"}), np.clip(plain + 20, 0, 255))
        half = generator.sample(5, labels={"c": {"a": 1, "b": 1}})
        np.testing.assert_array_equal(half, np.clip(plain + 15, 0, 255))
        drawn = 1 + generator.label_vectors(range(5)).argmax(1)[:, None, None, None]
        np.testing.assert_array_equal(generator.sample(5), np.clip(plain + 10 * drawn, 0, 255))
    with load(tmp_path, foreign(c=(dtype, ["batch", 3])), labels="c") as generator:
        assert generator.labels[0].classes == ("0", "1", "2")


@pytest.mark.parametrize("shape", [["batch"], ["batch", 1], [4]])
def test_labels_as_whole_numbers(shape: list[Any], plain: np.ndarray, tmp_path: Path) -> None:
    model = foreign(c=(INT, shape))
    if shape == [4]:  # a graph of one batch, which is filled up
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4
    scale = 10 if len(shape) == 2 else 1
    with load(tmp_path, model, labels="c", classes=("cat", "dog", "owl")) as generator:
        np.testing.assert_array_equal(generator.sample(5, labels={"c": "owl"}), np.clip(plain + 2 * scale, 0, 255))
        for label in ({"cat": 1, "owl": 1}, "unknown"):
            with pytest.raises(UsageError, match="c has a mix or an unknown class and must have one class"):
                generator.sample(5, labels={"c": label})
    with pytest.raises(UsageError, match="names 0 classes and must name two or more"):
        load(tmp_path, model, labels="c")


def test_labels_that_an_input_does_not_take(tmp_path: Path) -> None:
    model = foreign(c=(FLOAT, ["batch", 3]))
    for wrong in ({"range": "x"}, {"layout": "x"}):
        with pytest.raises(UsageError, match=r"is 'x' and must be (nchw|-1:1) or"):
            Overrides(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--model-labels is x and must be one of the inputs"):
        load(tmp_path, model, labels="x")
    with pytest.raises(UsageError, match="--model-labels names 2 classes and must name 3"):
        load(tmp_path, model, labels="c", classes=("a", "b"))
    with pytest.raises(UsageError, match="two or more different ones"):
        load(tmp_path, model, labels="c", classes=("a", "b", "b"))
    with pytest.raises(ModelError, match=r"takes c as float \[\] and must take labels as floats \[N, L\]"):
        load(tmp_path, foreign(c=(FLOAT, [])), labels="c", classes=("a", "b"))


def two_outputs() -> onnx.ModelProto:
    model = tiny_graph()
    model.graph.node.append(helper.make_node("Neg", ["levels"], ["negative"]))
    model.graph.output.append(helper.make_tensor_value_info("negative", FLOAT, ["batch", 3, 8, 8]))
    return model


def test_one_of_several_outputs_is_chosen_by_name(plain: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"images as uint8 .*, negative as float .*: say with --model-output which"):
        load(tmp_path, two_outputs())
    with load(tmp_path, two_outputs(), output="images") as generator:
        np.testing.assert_array_equal(generator.sample(5), plain)
    with load(tmp_path, two_outputs(), output="negative", range="-1:1") as generator:
        assert generator.signature.output == 1
    with pytest.raises(
        UsageError, match=r"--model-output is pictures and must be one of the outputs of .*: images, neg"
    ):
        load(tmp_path, two_outputs(), output="pictures")


def transparent() -> onnx.ModelProto:
    """The tiny generator with the red channel as alpha."""
    model = tiny_graph()
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0, 1, 2, 0], np.int64), "channels"))
    graph.node[-1].output[0] = "opaque"
    graph.node.append(helper.make_node("Gather", ["opaque", "channels"], ["images"], axis=1))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    return model


def test_images_may_be_transparent(animegen: Run, tmp_path: Path) -> None:
    with load(tmp_path, transparent()) as generator:
        images = generator.sample(2)
        assert generator.card.image_shape == (4, 8, 8)
        np.testing.assert_array_equal(images[..., 3], images[..., 0])
    common = ("sample", "--model", tmp_path / "their.onnx", "--device", "cpu", "--n", "2")
    for form in ("png", "webp"):
        animegen(*common, "--out", "faces.zip/" if form == "zip" else f"{form}/", "--format", form)
        with Image.open(tmp_path / form / f"seed00000001.{form}") as picture:
            np.testing.assert_array_equal(np.asarray(picture), images[1])
    animegen(*common, "--out", "jpg/", "--format", "jpg")
    with Image.open(tmp_path / "jpg" / "seed00000001.jpg") as picture:
        assert picture.mode == "RGB"


def test_the_command_line_says_the_same(animegen: Run, plain: np.ndarray, tmp_path: Path) -> None:
    model = foreign(psi=(FLOAT, []), c=(FLOAT, ["batch", 2]))
    path = write_model(tmp_path / "their.onnx", None, model)
    common = ("sample", "--model", path, "--device", "cpu", "--n", "5", "--out", "faces.npz")
    done = animegen(*common, "--model-input", "psi=3", "--model-labels", "c=a,b", "--label", "c=b", "--json")
    assert json.loads(done.stdout)["labels"] == {"c": "b"}
    assert b"labels c, psi = 3" in done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "faces.npz")["images"], np.clip(plain + 23, 0, 255))
    told = animegen("info", path, "--model-input", "psi=3", "--model-labels", "c=a, b", "--json")
    assert [group["classes"] for group in json.loads(told.stdout)["labels"]] == [["a", "b"]]
    assert_error(animegen(*common), 1, "psi as float [], c as float [batch, 2]", "--model-labels NAME")
    for value in ("psi", "psi=", "psi=x", "psi=nan", "=3"):
        done = animegen(*common, "--model-input", value)
        assert done.returncode == 2
        assert b"must be a name and a number, such as truncation_psi=0.7" in done.stderr


def test_a_model_with_a_card_needs_no_such_options(animegen: Run, tiny_model: Path) -> None:
    for option in ("--model-input=z=3", "--model-labels=z", "--model-output=images"):
        done = animegen("sample", "--model", tiny_model, "--device", "cpu", option)
        assert_error(done, 2, "has a card that says how it is used: leave the --model-… options out")
