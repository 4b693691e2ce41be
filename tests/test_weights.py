"""Models whose weights stand beside them: a model's own, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import COMMAND, assert_error, run, tiny_card, tiny_graph
from extractor_models import extractor_graph
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from animegen import Extractor, Generator, ModelError
from animegen.runtime import Session
from animegen.runtime.rewrite import to_half
from animegen.runtime.weights import weights_beside

DATA = "gen.onnx.data"


def split(folder: Path, model: onnx.ModelProto | None = None, *, times: float = 1, card: bool = True) -> Path:
    """The tiny model in `folder`, its weights `times` as large and beside it, as torch's exporter writes them."""
    model = model or tiny_graph()
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:  # a graph's axes must stand in it
            factor = np.float32(times) if len(weight.dims) == 4 else np.float32(1)
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * factor, weight.name))
            set_external_data(weight, DATA)
    if card:
        helper.set_model_props(model, tiny_card().to_metadata())
    folder.mkdir(parents=True)
    onnx.save(model, str(folder / "gen.onnx"))
    assert (folder / DATA).stat().st_size > 0
    return folder / "gen.onnx"


def moved(model: Path, location: str) -> Path:
    """The same file, which says that its weights are at `location`."""
    graph = onnx.load(str(model), load_external_data=False)
    for weight in graph.graph.initializer:
        for entry in weight.external_data:
            if entry.key == "location":
                entry.value = location
    model.write_bytes(graph.SerializeToString())
    return model


@pytest.mark.parametrize("folder", ["elsewhere", "beside", "decoy"])
def test_the_command_takes_the_model_s_own_weights_from_any_folder(
    folder: str, tiny_model: Path, tmp_path: Path
) -> None:
    model = split(tmp_path / "beside")
    split(tmp_path / "decoy", times=-2)  # another model's weights under the same name
    (tmp_path / "elsewhere").mkdir()
    command = (COMMAND, "sample", "--n", "4", "--out", tmp_path / "faces.npz", "--device", "cpu", "--model")
    done = run(*command, model.name if folder == "beside" else model, cwd=tmp_path / folder)
    assert done.returncode == 0, done.stderr.decode()
    with Generator.load(tiny_model, device="cpu") as whole, np.load(tmp_path / "faces.npz") as made:
        np.testing.assert_array_equal(made["images"], whole.sample(4))


def outside(folder: Path) -> str:
    """A copy of the weights beside the model's folder, by which they would be found."""
    (folder.parent / "out.data").write_bytes((folder / DATA).read_bytes())
    return "../out.data"


def absolute(folder: Path) -> str:
    return str((folder / DATA).resolve())


def link(folder: Path) -> str:
    (folder / "link.data").symlink_to(outside(folder))
    return "link.data"


def linked_folder(folder: Path) -> str:
    outside(folder)
    (folder / "linked").symlink_to("..")
    return "linked/out.data"


def there_and_back(folder: Path) -> str:
    return f"../{folder.name}/{DATA}"


@pytest.mark.parametrize("place", [outside, absolute, link, linked_folder, there_and_back])
def test_nothing_outside_of_the_model_s_folder_is_read(place: Callable[[Path], str], tmp_path: Path) -> None:
    model = split(tmp_path / "model")
    moved(model, place(model.parent))
    done = run(COMMAND, "sample", "--out", "face.png", "--device", "cpu", "--model", model, cwd=tmp_path)
    assert_error(done, 1, str(model), "must have them in its own folder")
    with pytest.raises(ModelError, match="in its own folder"):
        Generator.load(model, device="cpu")


@pytest.mark.parametrize("name", ["none.data", ".", "", "a\0b", "x" * 300, "loop.data"])
def test_weights_that_are_not_there(name: str, tmp_path: Path) -> None:
    model = moved(split(tmp_path / "model"), name)
    (model.parent / "loop.data").symlink_to("loop.data")
    with pytest.raises(ModelError, match=r"keep the two files together|in its own folder"):
        Generator.load(model, device="cpu")


def test_weights_in_a_folder_of_the_model_s_own_folder(tiny_model: Path, tmp_path: Path) -> None:
    model = moved(split(tmp_path / "model"), f"weights/{DATA}")
    (model.parent / "weights").mkdir()
    (model.parent / DATA).rename(model.parent / "weights" / DATA)
    assert Session(model, device="cpu").sha256 != Session(tiny_model, device="cpu").sha256


def test_a_cache_of_links(tiny_model: Path, tmp_path: Path) -> None:
    """As huggingface_hub keeps files: their names are links into a folder of the bytes."""
    model = split(tmp_path / "blobs")
    (tmp_path / "names").mkdir()
    for name in ("gen.onnx", DATA):
        (tmp_path / "names" / name).symlink_to(Path("..", "blobs", name))
    link = tmp_path / "names" / "gen.onnx"
    with Generator.load(link, device="cpu") as linked, Generator.load(tiny_model, device="cpu") as whole:
        assert whole.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest() != linked.sha256
        np.testing.assert_array_equal(linked.sample(4), whole.sample(4))
    assert Session(model, device="cpu").sha256 == Session(link, device="cpu").sha256


def test_the_hash_is_of_the_weights_too(tiny_model: Path, tmp_path: Path) -> None:
    assert Session(tiny_model, device="cpu").sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    one, other = split(tmp_path / "one"), split(tmp_path / "other", times=2)
    assert one.read_bytes() == other.read_bytes()
    digests = [Session(model, device="cpu").sha256 for model in (one, other)]
    assert digests[0] == hashlib.sha256(one.read_bytes() + (tmp_path / "one" / DATA).read_bytes()).hexdigest()
    assert digests[0] != digests[1]


def test_an_extractor_s_own_weights(tiny_extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = split(tmp_path / "extractor", extractor_graph(), card=False)
    monkeypatch.chdir(tmp_path)
    extractor = Extractor.load(model, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3), np.uint8)
    np.testing.assert_array_equal(extractor(images), tiny_extractor(images))
    data = (model.parent / DATA).read_bytes()
    assert extractor.sha256 == hashlib.sha256(model.read_bytes() + data).hexdigest()
    (model.parent / DATA).rename(tmp_path / DATA)  # in the current folder it is not the model's own
    with pytest.raises(ModelError, match="keep the two files together"):
        Extractor.load(model, device="cpu")


def test_fp16_takes_them_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = split(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    half, inside = (
        Session(to_half(model), device="cpu"),
        Session(to_half(tiny_graph().SerializeToString()), device="cpu"),
    )
    z = np.random.RandomState(0).standard_normal((3, 8)).astype(np.float32)
    np.testing.assert_array_equal(half.run({"z": z})[0], inside.run({"z": z})[0])
    (model.parent / DATA).unlink()
    with pytest.raises(ModelError, match="can't be rewritten as fp16"):
        to_half(model)


def test_bytes_have_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = split(tmp_path / "model")
    monkeypatch.chdir(model.parent)
    with pytest.raises(ModelError, match=f"the model has weights in '{DATA}', beside its file: load it by its path"):
        Session(model.read_bytes(), device="cpu")


# --- where a graph may keep them ---


def tensor(location: str) -> onnx.TensorProto:
    made = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    made.external_data.add(key="offset", value="0")
    made.external_data.add(key="location", value=location)
    return made


def graph_of(*nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], list(weights))


def test_every_place_of_a_tensor_is_seen(tmp_path: Path) -> None:
    sparse = onnx.SparseTensorProto(values=tensor("values"), indices=tensor("indices"), dims=[2])
    branch = graph_of(weights=(tensor("branch"),))
    attributes: dict[str, Any] = {
        "t": tensor("attribute"), "ts": [tensor("first"), tensor("second")], "g": branch,
        "gs": [graph_of(weights=(tensor("one"),)), graph_of(helper.make_node("If", [], [], g=branch))],
        "s": helper.make_sparse_tensor(tensor("s values"), tensor("s indices"), [2]), "i": 3, "f": 2.5, "text": "word",
    }  # fmt: skip
    graph = graph_of(helper.make_node("Any", [], ["x"], **attributes), weights=(tensor("weight"),))
    graph.sparse_initializer.append(sparse)
    inner = [helper.make_node("Constant", [], ["c"], value=tensor("function"))]
    function = helper.make_function("own", "F", [], ["c"], inner, [helper.make_opsetid("", 20)])
    function.attribute_proto.add(name="default", type=onnx.AttributeProto.TENSOR, t=tensor("default"))
    model = helper.make_model(graph, functions=[function])
    model.training_info.add(
        initialization=graph_of(weights=(tensor("start"),)), algorithm=graph_of(weights=(tensor("step"),))
    )
    expected = {
        "values", "indices", "branch", "attribute", "first", "second", "one", "s values", "s indices", "weight",
        "function", "default", "start", "step",
    }  # fmt: skip
    for name in expected:
        (tmp_path / name).touch()
    found = weights_beside(model.SerializeToString(), tmp_path / "model.onnx")
    assert [path.name for path in found] == sorted(expected)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ModelError):
        assert weights_beside(data, None) == []


def field(number: int, message: bytes) -> bytes:
    """A message in a field of another, as protobuf writes it."""
    length, size = len(message), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + message


def test_a_graph_that_is_nested_without_end() -> None:
    graph = field(5, tensor("deep").SerializeToString())
    for _ in range(60):
        graph = field(1, field(5, field(6, graph)))  # a node's attribute is a graph
    with pytest.raises(ModelError, match="nested too deeply"):
        weights_beside(field(7, graph), None)
