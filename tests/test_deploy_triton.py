"""A Triton repository: its configuration read by Triton's own protobuf, and compared with the graph beside it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import GROUPS, Run, assert_error, conditional_graph, tiny_card, tiny_graph, write_model
from onnx import TensorProto, helper

from animegen import Generator, ModelError, Overrides, UsageError
from animegen.deploy import triton
from animegen.files import sha256
from animegen.labels import LabelGroup
from animegen.model.catalog import shipped_models

pytest.importorskip("tritonclient", reason="tritonclient holds Triton's own protobuf")
text_format = pytest.importorskip("google.protobuf.text_format")


@pytest.fixture(scope="module")
def model_config() -> ModuleType:
    """The module of Triton's ModelConfig, loaded by its path: its package imports grpc, which nothing here needs."""
    package = importlib.util.find_spec("tritonclient")
    assert package is not None
    folder = next(iter(package.submodule_search_locations or []))
    spec = importlib.util.spec_from_file_location("model_config_pb2", Path(folder) / "grpc" / "model_config_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parse(model_config: ModuleType) -> Any:
    """Reads a model's folder as Triton does: the configuration, which must fit the graph."""

    def read(folder: Path) -> Any:
        config = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), model_config.ModelConfig())
        graph = onnx.load(folder / "1" / "model.onnx").graph
        assert config.name == folder.name
        assert config.backend == "onnxruntime"
        for port, tensor in (
            *((port, find(graph.input, port.name)) for port in config.input),
            *((port, find(graph.output, port.name)) for port in config.output),
        ):
            assert model_config.DataType.Name(port.data_type) == f"TYPE_{TYPES[tensor.type.tensor_type.elem_type]}"
            shape = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.type.tensor_type.shape.dim]
            dims = list(port.reshape.shape) if port.HasField("reshape") else list(port.dims)
            mine = [-1, *dims] if config.max_batch_size else dims
            assert len(mine) == len(shape)
            assert all(theirs in {-1, own} for own, theirs in zip(mine, shape, strict=True))
            assert port.dims  # Triton refuses none
        assert {port.name for port in config.input} == {tensor.name for tensor in graph.input}
        for sample in config.model_warmup:
            assert set(sample.inputs) == {port.name for port in config.input}
            assert sample.batch_size in range(1, max(1, config.max_batch_size) + 1)
        return config

    return read


TYPES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.INT64: "INT64",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
}


def find(tensors: Any, name: str) -> Any:
    (tensor,) = (tensor for tensor in tensors if tensor.name == name)
    return tensor


def ports(entries: Any) -> dict[str, list[int]]:
    return {entry.name: list(entry.dims) for entry in entries}


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_shipped_models(name: str, parse: Any, animegen: Run, tmp_path: Path) -> None:
    done = animegen("export-triton", "--model", name, "--out", "repository")
    assert done.stderr.decode().splitlines() == [
        f"{Path('repository', name)}: ready for tritonserver --model-repository repository"
    ]
    folder = tmp_path / "repository" / name
    config = parse(folder)
    assert sha256(folder / "1" / "model.onnx") == config.parameters["animegen.sha256"].string_value
    assert sha256(folder / "1" / "model.onnx") == sha256(shipped_models()[name])
    with Generator.load(name, device="cpu") as generator:
        card = generator.card
    assert ports(config.output) == {"images": list(card.image_shape)}
    classes = sum(len(group.classes) for group in card.labels)
    assert ports(config.input) == {"z": [card.z_dim]} | ({"labels": [classes]} if classes else {})
    assert config.max_batch_size == 128
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32, 128]
    assert [sample.batch_size for sample in config.model_warmup] == [1, 8, 32, 128]
    assert sorted(path.name for path in folder.parent.iterdir()) == [name]  # nothing half made beside it


def test_labels_are_an_input_and_the_file_says_which(
    parse: Any, animegen: Run, conditional_model: Path, tmp_path: Path
) -> None:
    animegen("export-triton", "--model", conditional_model, "--out", ".", "--max-batch-size", "20")
    config = parse(tmp_path / "faces")
    assert ports(config.input) == {"z": [8], "labels": [5]}
    assert list(config.dynamic_batching.preferred_batch_size) == [8]
    text = (tmp_path / "faces" / "config.pbtxt").read_text(encoding="utf-8")
    assert '#   "hair": "blonde", "blue", "red"\n#   "eyes": "green", "grey"\n' in text


def test_names_of_any_letters_stay_text(parse: Any, tmp_path: Path) -> None:
    groups = (LabelGroup('hair"\n', ("blå", "\\x" + "\U0001f600"), (1, 1)), GROUPS[0])
    path = write_model(tmp_path / "m.onnx", tiny_card(name="名前", labels=groups), conditional_graph())
    with pytest.raises(UsageError, match=r"name is '名前' and must be letters.* --name"):
        triton.export(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    parse(triton.export(path, tmp_path / "out", name="faces"))
    text = (tmp_path / "out" / "faces" / "config.pbtxt").read_bytes()
    assert text.isascii()
    assert rb'"hair\042\012": "bl\303\245", "\134x\360\237\230\200"' in text


def foreign(**inputs: tuple[int, list[Any]]) -> onnx.ModelProto:
    """The tiny generator with more inputs, which it asks for and takes no notice of."""
    model = tiny_graph("latents")
    for name, (dtype, shape) in inputs.items():
        model.graph.input.append(helper.make_tensor_value_info(name, dtype, shape))
        model.graph.node.append(helper.make_node("Identity", [name], [f"{name}.unused"]))
    return model


@pytest.mark.parametrize(
    ("shape", "dims", "inner"), [(["batch"], [1], []), (["batch", 1], [1], None), (["batch", 3], [3], None)]
)
def test_foreign_labels(shape: list[Any], dims: list[int], inner: Any, parse: Any, tmp_path: Path) -> None:
    dtype = TensorProto.FLOAT if shape[-1] == 3 else TensorProto.INT64
    path = write_model(tmp_path / "their.onnx", None, foreign(c=(dtype, shape)))
    config = parse(triton.export(path, tmp_path, overrides=Overrides(labels="c", classes=("a", "b", "c"))))
    assert ports(config.input) == {"latents": [8], "c": dims}
    assert config.max_batch_size == 128
    (labels,) = (port for port in config.input if port.name == "c")
    assert (list(labels.reshape.shape) if labels.HasField("reshape") else None) == inner


@pytest.mark.parametrize(("shape", "dims"), [([], [1]), ([1], [1]), (["batch", 2], [2])])
def test_an_input_of_one_value_is_the_client_s_to_send(
    shape: list[Any], dims: list[int], parse: Any, animegen: Run, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "their.onnx", None, foreign(psi=(TensorProto.FLOAT, shape)))
    animegen("export-triton", "--model", path, "--model-input", "psi=0.7", "--out", "repository")
    config = parse(tmp_path / "repository" / "their")
    batched = shape[:1] == ["batch"]  # a value without a batch's axis leaves Triton no batches to form
    assert config.max_batch_size == (128 if batched else 0)
    assert config.HasField("dynamic_batching") is batched
    assert ports(config.input) == {"latents": [8] if batched else [-1, 8], "psi": dims}
    assert ports(config.output) == {"images": [3, 8, 8] if batched else [-1, 3, 8, 8]}
    assert "# psi was 0.7 for all images.\n" in (tmp_path / "repository" / "their" / "config.pbtxt").read_text()


def test_a_graph_of_one_batch_is_sent_as_it_is(parse: Any, tmp_path: Path) -> None:
    model = tiny_graph("latents")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4
    config = parse(triton.export(write_model(tmp_path / "four.onnx", None, model), tmp_path / "out"))
    assert (config.max_batch_size, ports(config.input)) == (0, {"latents": [4, 8]})
    assert ports(config.output) == {"images": [4, 3, 8, 8]}


def test_channels_last_as_floats(parse: Any, tmp_path: Path) -> None:
    model = tiny_graph()
    del model.graph.node[5:]  # tanh's own values
    model.graph.node.append(helper.make_node("Transpose", ["y"], ["images"], perm=[0, 2, 3, 1]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 8, 8, 3]))
    folder = triton.export(write_model(tmp_path / "last.onnx", None, model), tmp_path / "out")
    assert ports(parse(folder).output) == {"images": [8, 8, 3]}
    assert "# The images are NHWC, -1:1, and no picture files." in (folder / "config.pbtxt").read_text()


def test_weights_beside_the_graph_come_along(parse: Any, tmp_path: Path) -> None:
    model, path = tiny_graph(), tmp_path / "big.onnx"
    helper.set_model_props(model, tiny_card(name="big").to_metadata())
    onnx.save(model, path, save_as_external_data=True, location="big.weights", size_threshold=1000)
    folder = triton.export(path, tmp_path / "out")
    parse(folder)
    assert sorted(file.name for file in (folder / "1").iterdir()) == ["big.weights", "model.onnx"]
    assert (folder / "1" / "big.weights").read_bytes() == (tmp_path / "big.weights").read_bytes()


def test_what_can_not_be_exported(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    assert animegen("export-triton", "--model", tiny_model, "--out", "out").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    done = animegen("export-triton", "--model", tiny_model, "--out", "out")
    assert_error(done, 1, "already exists: remove it or name another")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert_error(animegen("export-triton", "--model", tiny_model, "--out", "no/out"), 1, "no is not a folder")
    (tmp_path / "file").touch()
    assert_error(animegen("export-triton", "--model", tiny_model, "--out", "file"), 1, "must be a folder")
    assert_error(animegen("export-triton", "--model", tiny_model, "--out", "out", "--name", "../x"), 2, "--name")
    path = write_model(tmp_path / "their.onnx", None, foreign(c=(TensorProto.FLOAT, ["batch", 0])))
    with pytest.raises(ModelError, match="their takes c, which has no values"):
        triton.export(path, tmp_path)
    with pytest.raises(UsageError, match="max_batch_size is 0 and must be"):
        triton.export(tiny_model, tmp_path, max_batch_size=np.int64(0))


def test_the_repository_s_answer_to_json(animegen: Run, tiny_model: Path) -> None:
    done = animegen("export-triton", "--model", tiny_model, "--out", "out", "--name", "faces", "--json")
    assert done.stdout.decode().split() == [
        *("{", '"out":', '"out",', '"model":', '"faces",', '"config":', '"out/faces/config.pbtxt"', "}")
    ]
