"""A run that starts with the generator of a model file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import TINY, assert_error, tiny_graph, train_in_process

pytest.importorskip("torch")

import torch

from animegen import Generator, labels, latents
from animegen.files import sha256
from train.config import Config, load_config
from train.data import Dataset, DatasetGroup, DatasetLabels
from train.errors import CheckpointError
from train.export import onnx_graph
from train.export.graph import ExportGraph, to_levels
from train.export.model import build, export
from train.networks.standing import set_standing_statistics
from train.run import checkpoint
from train.run.open import Place, start_run
from train.run.session import Limits
from train.run.start import begin
from train.step.trainer import Trainer

HERE = Place(torch.device("cpu"), "fp32")
NETWORKS = {
    "plain": (),
    "convolution": ("generator.first=convolution", "generator.slope=0.1"),
    "no norm": ("generator.norm=none",),
    "blocks": ("generator.blocks=1", "generator.full_size=true", "generator.output=sigmoid"),
}


def tiny_config(*settings: str) -> Config:
    return load_config("wgan-gp-64", [*TINY[3::2], *settings])


def trainer(config: Config, data: Path, given: DatasetLabels | None = None) -> Trainer:
    return Trainer(config, Dataset.open(data).images, device=HERE.device, precision="fp32", labels=given)


def some_labels(classes: tuple[str, ...] = ("blue", "green", "red")) -> DatasetLabels:
    values = np.random.default_rng(0).integers(-1, len(classes), (50, 1))
    counts = np.bincount(values[values >= 0], minlength=len(classes))
    group = DatasetGroup(name="colour", classes=classes, counts=tuple(counts.tolist()), unknown=int((values < 0).sum()))
    return DatasetLabels((group,), values.astype(np.int16))


def images_of(trained: Trainer, z: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """The images of the trainer's generator, with the statistics that it has learnt: [N, H, W, C] in grey levels."""
    generator = trained.generator.eval()
    with torch.no_grad():
        images = generator(torch.from_numpy(z), None if y is None else torch.from_numpy(y))
    return to_levels(images).permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module", params=list(NETWORKS))
def model(request: pytest.FixtureRequest, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file of a short run with a learning rate that moves every weight; its name says which networks."""
    folder = tmp_path_factory.mktemp("model")
    config = tiny_config(*NETWORKS[request.param], "generator_optimiser.lr=0.01")
    start_run(folder / "run", tiny_data, config, place=HERE, limits=Limits(steps=10)).fit()
    export(folder / "run", folder / f"{request.param}.onnx", weights="fp16" if request.param == "plain" else "fp32")
    return folder / f"{request.param}.onnx"


def test_the_generator_makes_the_model_s_images(model: Path, tiny_data: Path) -> None:
    started = trainer(tiny_config(*NETWORKS[model.stem], "seed=3"), tiny_data)
    critic = {name: value.clone() for name, value in started.critic.state_dict().items()}
    (earlier,) = begin(started, model)
    assert started.generator.training
    for name, value in started.ema.state_dict().items():
        assert torch.equal(value, started.generator.state_dict()[name])
    for name, value in started.critic.state_dict().items():
        assert torch.equal(value, critic[name])
    with Generator.load(model, device="cpu") as served:
        assert (earlier.images_seen, earlier.step) == (served.card.images_seen, served.card.steps) == (160, 10)
        z = latents.from_seeds(range(300), 8)
        expected = served(z)
        assert expected.std() > 10  # there is something to see
        assert np.abs(images_of(started, z) - expected).max() < 1
    # In training a batch has statistics of its own, which are nearly those.
    started.generator.train()
    with torch.no_grad():
        trained = to_levels(started.generator(torch.from_numpy(z))).permute(0, 2, 3, 1).numpy()
    assert np.abs(trained - expected).mean() < 4


@pytest.mark.parametrize("model", ["plain", "convolution"], indirect=True)
def test_a_model_without_labels_goes_on_with_some(model: Path, tiny_data: Path) -> None:
    given = some_labels()
    plain, started = (
        trainer(tiny_config(*NETWORKS[model.stem], *more), tiny_data, given) for more in ((), ("labels=['*']",))
    )
    begin(plain, model)
    begin(started, model)
    first, widened = (network.generator.first.weight.detach() for network in (plain, started))
    if isinstance(started.generator.first, torch.nn.Linear):
        first, widened = first.T, widened.T
    torch.testing.assert_close(widened[:8], first / 2**0.5)
    # Each class is a shift of the latent.
    shifts = torch.linalg.lstsq(first.flatten(1).T, widened[8:].flatten(1).T * 2**0.5).solution.T
    assert shifts.shape == (3, 8)
    torch.testing.assert_close(shifts @ first.flatten(1) / 2**0.5, widened[8:].flatten(1), atol=1e-4, rtol=1e-3)
    assert 0.5 < float(shifts.std()) < 1.5

    def spread(images: np.ndarray) -> float:
        return float(images.reshape(len(images), -1).std(0).mean())

    z = latents.from_seeds(range(600), 8)
    y = labels.one_hot(np.arange(600)[:, None] % 3, [labels.LabelGroup("colour", ("blue", "green", "red"), (1, 1, 1))])
    assert 0.7 < spread(images_of(started, z, y)) / spread(images_of(plain, z)) < 1.3
    blue, red = (images_of(started, z[:50], np.eye(3, dtype=np.float32)[[k] * 50]) for k in (0, 2))
    assert np.abs(blue - red).mean() > 1


@pytest.mark.parametrize("model", ["plain"], indirect=True)
def test_the_command_and_the_card_tell_the_history(model: Path, tiny_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = train_in_process("fit", "--from", model, *TINY, "--data", tiny_data, "--out", run, "--steps", "1")
    assert done.returncode == 0, done.stderr.decode()
    assert "from wgan-gp-64 at step 10, 160 real images seen" in done.stderr.decode()
    card = checkpoint.read_card(run / checkpoint.NAME)
    assert card.images_seen == 176
    assert [earlier.checkpoint_sha256 for earlier in card.earlier] == [sha256(model)]
    exported = export(run, tmp_path / "second.onnx")
    assert (exported.images_seen, exported.steps) == (176, 11)
    (before,) = exported.earlier
    assert before["recipe"] == ["generator_optimiser.lr: 0.01 → 0.0001"]


def test_a_shipped_model_is_named(tiny_data: Path, tmp_path: Path) -> None:
    options = ("--preset", "anime-pixels-64", "--data", tiny_data, "--out", tmp_path / "run")
    done = train_in_process("fit", "--from", "anime-pixels-64", *options)
    assert_error(done, 1, "16×16", "--size 64")  # its data are looked at first
    config = load_config("anime-pixels-64", ["batch_size=4"])
    started = Trainer(config, np.zeros((4, 64, 64, 3), np.uint8), device=HERE.device, precision="fp32")
    (earlier,) = begin(started, Path("anime-pixels-64"))
    z = latents.from_seeds(range(4), 128)
    with Generator.load("anime-pixels-64", device="cpu") as served:
        assert earlier.images_seen == served.card.images_seen
        unknown = np.zeros((4, sum(len(group.classes) for group in served.labels)), np.float32)
        assert np.abs(images_of(started, z) - served(z, unknown)).max() < 1


# --- what is refused ---


@pytest.mark.parametrize("model", ["plain"], indirect=True)
def test_another_generator_is_refused(model: Path, tiny_data: Path, tmp_path: Path) -> None:
    wider = ("--set", "generator.width=8", "--set", "generator.blocks=1")
    done = train_in_process("fit", "--from", model, *TINY, *wider, "--data", tiny_data, "--out", tmp_path / "run")
    assert_error(done, 1, "generator.width: 4 → 8", "generator.blocks: 0 → 1", "--set")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["plain"], indirect=True)
def test_a_damaged_or_foreign_model_is_refused(model: Path, tiny_data: Path, tmp_path: Path) -> None:
    def refused(path: Path, *words: str) -> None:
        done = train_in_process("fit", "--from", path, *TINY, "--data", tiny_data, "--out", tmp_path / "run")
        assert_error(done, 1, str(path.name), *words)
        assert not (tmp_path / "run").exists()

    refused(tmp_path / "none.onnx", "no model", "anime-pixels-64")
    refused(tmp_path / "anime-tag-64", "does not exist", "anime-pixels-64", ".onnx")
    (tmp_path / "damaged.onnx").write_bytes(model.read_bytes()[:1000])
    refused(tmp_path / "damaged.onnx", "ONNX")
    onnx.save(tiny_graph(), tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match=r"foreign\.onnx has no animegen card"):
        begin(trainer(tiny_config(), tiny_data), tmp_path / "foreign.onnx")
    renamed = onnx.load(model)
    values = {entry.key: entry.value for entry in renamed.metadata_props}
    recipe = json.loads(values["animegen.recipe"]) | {"unheard_of": 1}
    onnx.helper.set_model_props(renamed, values | {"animegen.recipe": json.dumps(recipe)})
    onnx.save(renamed, tmp_path / "newer.onnx")
    refused(tmp_path / "newer.onnx", "recipe of another version", "unheard_of")
    onnx.helper.set_model_props(renamed, values)
    for entry in renamed.graph.initializer:
        entry.name = entry.name.replace("layers", "stages")
    for node in renamed.graph.node:
        node.input[:] = [name.replace("layers", "stages") for name in node.input]
        node.output[:] = [name.replace("layers", "stages") for name in node.output]
    onnx.save(renamed, tmp_path / "rewritten.onnx")
    refused(tmp_path / "rewritten.onnx", "0 layers where this generator has 3", "exported")


def write_with_labels(model: Path, data: Path, out: Path) -> Path:
    """The model with labels of colours, which it begins with."""
    with_colours = trainer(tiny_config("labels=['*']"), data, some_labels())
    begin(with_colours, model)
    groups = (labels.LabelGroup("colour", ("blue", "green", "red"), with_colours.label_groups[0].counts),)
    set_standing_statistics(with_colours.ema, seed=0, groups=groups)
    with Generator.load(model, device="cpu") as served:
        card = replace(served.card, labels=groups, format_version=2)
    onnx_graph.save(build(ExportGraph(with_colours.ema), 8), card.to_metadata(), out)
    return out


@pytest.mark.parametrize("model", ["plain"], indirect=True)
def test_a_model_s_labels_stay(model: Path, tiny_data: Path, tmp_path: Path) -> None:
    colours = write_with_labels(model, tiny_data, tmp_path / "colours.onnx")
    again = trainer(tiny_config("labels=['*']"), tiny_data, some_labels())
    begin(again, colours)
    z, y = latents.from_seeds(range(20), 8), np.eye(3, dtype=np.float32)[np.arange(20) % 3]
    with Generator.load(colours, device="cpu") as served:
        assert np.abs(images_of(again, z, y) - served(z, y)).max() < 1


@pytest.mark.parametrize("model", ["plain"], indirect=True)
def test_other_labels_begin_as_unknown(model: Path, tiny_data: Path, tmp_path: Path) -> None:
    colours = write_with_labels(model, tiny_data, tmp_path / "colours.onnx")
    plain = trainer(tiny_config(), tiny_data)
    begin(plain, colours)
    z = latents.from_seeds(range(20), 8)
    with Generator.load(colours, device="cpu") as served:
        assert np.abs(images_of(plain, z) - served(z, np.zeros((20, 3), np.float32))).max() < 1
    others = trainer(tiny_config("labels=['*']"), tiny_data, some_labels(("blue", "green")))
    begin(others, colours)
    unknown = others.generator.first.weight.detach()[:, :8], plain.generator.first.weight.detach()
    torch.testing.assert_close(unknown[0], unknown[1] / 2**0.5)
