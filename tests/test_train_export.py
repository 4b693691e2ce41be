"""From a checkpoint to a model file, and the proof that both make the same images."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ROOT, TINY, Run, assert_error, run, train_in_process

pytest.importorskip("torch")

import torch
from onnx import numpy_helper

from animegen import Generator, OutputError, latents
from train import networks
from train.config import load_config
from train.errors import CheckpointError, ConfigError, ExportError
from train.export.graph import ExportGraph, directions, to_levels
from train.export.model import build, export
from train.export.onnx_graph import halve
from train.export.proof import BATCHES, Weights, prove
from train.networks.standing import set_standing_statistics
from train.run import checkpoint


@pytest.fixture(scope="module", params=["plain", "residual"])
def generator(request: pytest.FixtureRequest) -> networks.GeneratorNetwork:
    """A generator of 16×16 whose BatchNorms are not the identity, with images that use the whole range."""
    torch.manual_seed(0)
    depth = ["generator.blocks=1", "generator.full_size=true"] if request.param == "residual" else []
    made = networks.GeneratorNetwork(
        load_config("wgan-gp-64", ["size=16", "generator.width=8", "generator.z_dim=8", *depth])
    )
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    made.last.weight.data *= 20 if request.param == "plain" else 5  # a block adds to the range
    set_standing_statistics(made, seed=0)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def model(generator: networks.GeneratorNetwork) -> onnx.ModelProto:
    return build(ExportGraph(generator), generator.z_dim)


@pytest.fixture(scope="module")
def tuned_run(tiny_run: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 2 steps, in batches of 16, that started from the tiny run of 6 steps in batches of 8."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    changes = ("--set", "batch_size=16", "--steps", "2", "--device", "cpu")
    done = train_in_process("fit", "--from", tiny_run, *TINY, *changes, "--data", tiny_data, "--out", folder)
    assert done.returncode == 0, done.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def exported(tuned_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tuned run's model file, by the command in a process of its own."""
    path = tmp_path_factory.mktemp("exported") / "tiny-faces.onnx"
    options = ("--licence", "CC0", "--provenance", "Discs.")
    done = run(sys.executable, "-m", "train", "export", tuned_run, "--out", path, *options, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert "1, 2, 7, 64" in line
    assert "grey levels apart before rounding" in line
    assert list(path.parent.iterdir()) == [path]
    return path


def test_folding_changes_nothing(generator: networks.GeneratorNetwork) -> None:
    z = torch.from_numpy(latents.from_seeds(range(8), 8))
    graph = ExportGraph(generator)
    assert not any(isinstance(module, torch.nn.BatchNorm2d | torch.nn.Linear) for module in graph.modules())
    apart = to_levels(generator(z)).round().clamp(0, 255) - graph(z).float()
    assert apart.abs().max() <= 1
    assert apart.abs().mean() < 1e-3


def test_the_graph_is_the_formats(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 20)}
    (z,), (images,) = model.graph.input, model.graph.output
    assert (z.name, images.name) == ("z", "images")
    assert [d.dim_value or d.dim_param for d in images.type.tensor_type.shape.dim] == ["batch", 3, 16, 16]
    operators = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in operators
    assert "Gemm" not in operators
    assert operators.count("ConvTranspose") == 3
    assert operators.count("Conv") in {0, 5}  # two blocks of two, and the last layer
    assert not any(weight.external_data for weight in model.graph.initializer)
    # Nothing of this machine: no path, no stack trace.
    assert str(ROOT).encode() not in model.SerializeToString()
    assert b"stack_trace" not in model.SerializeToString()


def test_standing_statistics_are_those_of_the_activations(generator: networks.GeneratorNetwork) -> None:
    z = torch.randn(4096, 8, generator=torch.Generator().manual_seed(1))
    before = generator.first(z).unflatten(1, generator.shape)
    norm = generator.first_norm
    assert isinstance(norm, torch.nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, before.mean((0, 2, 3)), rtol=0, atol=2e-3)
    torch.testing.assert_close(norm.running_var, before.var((0, 2, 3)), rtol=0.1, atol=1e-5)
    assert not generator.training


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
def test_the_proof(model: onnx.ModelProto, generator: networks.GeneratorNetwork, weights: Weights) -> None:
    stored = copy.deepcopy(model)
    if weights == "fp16":
        halve(stored)
    onnx.checker.check_model(stored, full_check=True)
    figures = prove(stored, generator, weights)
    assert (figures["weights"], figures["batches"]) == (weights, list(BATCHES))
    assert figures["max_grey_levels"] <= 1
    assert figures["max_before_rounding"] > 0
    kinds = {weight.data_type for weight in stored.graph.initializer if len(weight.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT if weights == "fp32" else onnx.TensorProto.FLOAT16}


def perturbed(model: onnx.ModelProto, amount: float) -> onnx.ModelProto:
    """A copy whose last weights are a little off: a known-wrong export."""
    wrong = copy.deepcopy(model)
    weight = max((w for w in wrong.graph.initializer if w.dims and w.dims[-1] == 5), key=lambda w: w.name)
    array = numpy_helper.to_array(weight).copy()
    array += np.float32(amount)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return wrong


@pytest.mark.parametrize("amount", [0.001, 1.0, float("nan")])
def test_the_proof_fails_on_other_weights(
    model: onnx.ModelProto, generator: networks.GeneratorNetwork, amount: float
) -> None:
    with pytest.raises(ExportError, match=r"grey levels apart before rounding \(allowed: 0\.02\)"):
        prove(perturbed(model, amount), generator)


def test_a_failed_export_leaves_nothing_and_says_by_how_much(
    exported: Path, tuned_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = perturbed(onnx.load(exported), 0.01)
    monkeypatch.setattr("train.export.model.build", lambda *_: wrong)
    with pytest.raises(ExportError, match=r"at batch 1 ONNX Runtime and torch are [\d.]+ grey levels apart"):
        export(tuned_run, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


def test_the_file_describes_itself(exported: Path, tuned_run: Path) -> None:
    with Generator.load(exported, device="cpu") as loaded:
        card = loaded.card
    saved = checkpoint.read_card(tuned_run / checkpoint.NAME)
    assert (card.name, card.z_dim, card.image_shape) == ("tiny-faces", 8, (3, 16, 16))
    assert (card.licence, card.provenance, card.objective) == ("CC0", "Discs.", "wgan-gp")
    assert (card.steps, card.images_seen, card.code_revision) == (6 + 2, 96 + 64, saved.code)
    assert card.data["sha256"] == saved.data_sha256
    assert card.data["images"] == 50
    assert card.recipe["critic"]["width"] == 4
    assert card.parity["max_grey_levels"] <= 1
    assert card.quality == {}
    assert len(card.checkpoint_sha256) == 64
    (earlier,) = card.earlier
    assert (earlier["steps"], earlier["images_seen"]) == (6, 96)
    assert "batch_size: 8 → 16" in earlier["recipe"]


def test_directions_are_those_that_move_the_first_layer_most(generator: networks.GeneratorNetwork) -> None:
    graph = ExportGraph(generator)
    vectors = torch.tensor(directions(graph))
    assert vectors.shape == (8, 8)  # no more than z_dim
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(8), rtol=0, atol=1e-5)
    first = graph.layers[0]
    bias = first(torch.zeros(1, 8, 1, 1))
    moved = [(first(vector.view(1, 8, 1, 1)) - bias).norm().item() for vector in vectors]
    assert moved == sorted(moved, reverse=True)
    # A singular value is the largest stretch there is: no random unit vector moves the layer more.
    other = torch.nn.functional.normalize(torch.randn(200, 8, generator=torch.Generator().manual_seed(0)))
    stretched = (first(other[:, :, None, None]) - bias).flatten(1).norm(dim=1)
    assert stretched.max() <= moved[0] * (1 + 1e-5)


def test_an_export_is_reproducible(tuned_run: Path, exported: Path, tmp_path: Path) -> None:
    export(tuned_run, tmp_path / exported.name, licence="CC0", provenance="Discs.")
    assert (tmp_path / exported.name).read_bytes() == exported.read_bytes()


def test_a_seed_names_an_image_whatever_the_batch(exported: Path) -> None:
    with Generator.load(exported, device="cpu") as loaded:
        together = loaded.sample(64, batch_size=64)
        for batch_size in (1, 2, 7, 33):
            np.testing.assert_array_equal(loaded.sample(64, batch_size=batch_size), together)


def test_exports_that_cannot_be(train: Run, tiny_run: Path, tmp_path: Path) -> None:
    assert_error(train("export", tmp_path, "--out", tmp_path / "a.onnx"), 1, "does not exist", "train fit")
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        export(tiny_run, tmp_path / "a.pt")
    with pytest.raises(OutputError, match="make it first"):
        export(tiny_run, tmp_path / "no" / "a.onnx")
    (tmp_path / checkpoint.NAME).write_bytes((tiny_run / checkpoint.NAME).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        export(tmp_path, tmp_path / "a.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == [checkpoint.NAME]
