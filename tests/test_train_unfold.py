"""Training a model file further: its generator, with norms of its own again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Run, assert_error

torch = pytest.importorskip("torch")

from animegen import Generator as ShippedGenerator
from animegen import catalog
from animegen.latents import from_seeds
from train.config import load_config
from train.export import build, export, to_levels, write
from train.networks import Generator
from train.trained import set_standing_statistics
from train.unfold import unfolded

PLAIN = ["size=16", "generator.width=8", "generator.z_dim=8"]


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "settings",
    [[], ["generator.blocks=2", "generator.full_size=true"], ["generator.first=convolution", "generator.slope=0.2"]],
    ids=["plain", "residual", "convolution"],
)
def test_the_generator_makes_the_file_s_images(settings: list[str], weights: str) -> None:
    torch.manual_seed(0)
    config = load_config("wgan-gp-64", [*PLAIN, *settings])
    trained = Generator(config)
    for module in trained.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    trained.last.weight.data *= 5
    set_standing_statistics(trained, seed=0)
    found = unfolded(build(trained.requires_grad_(False), weights), config)  # type: ignore[arg-type]
    z = torch.from_numpy(from_seeds(range(256), 8))
    expected = to_levels(trained(z))
    assert expected.std() > 20
    with torch.no_grad():
        apart = (to_levels(found.eval()(z)) - expected).abs()
        assert apart.max() < (1.0 if weights == "fp16" else 0.05)
        # In training the norms take a batch's own moments, which are near those of all.
        assert (to_levels(found.train()(z)) - expected).abs().mean() < 8


@pytest.mark.parametrize("more", [0, 1])
def test_a_shipped_model_can_be_trained_further(tmp_path: Path, train: Run, tiny_data: Path, more: int) -> None:
    """A run of no generator step exports the images that it began with; more blocks start as the identity."""
    from train.data import prepare

    out = tmp_path / "packed"
    prepare(tiny_data.parent / "faces.zip", out, size=64)
    original, shipped = catalog.find("anime-pixels-64"), tmp_path / "taught.onnx"
    with ShippedGenerator.load(original, device="cpu") as generator:
        write(onnx.load(original), replace(generator.card, judged=({"verdicts": 40},)), shipped)
    small = ("--set", "critic.width=4", "--set", "batch_size=2", "--set", "critic_first=3", "--steps", "2")
    blocks = load_config("anime-face-64").generator.blocks + more
    done = train(
        *("fit", "--from", shipped, "--preset", "anime-face-64", *small, "--set", f"generator.blocks={blocks}"),
        *("--device", "cpu", "--precision", "fp32"),
        *("--data", out, "--out", tmp_path / "run"),
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"from anime-face-64 at step" in done.stderr  # its preset
    card = export(tmp_path / "run", tmp_path / "further.onnx")
    with (
        ShippedGenerator.load(shipped, device="cpu") as before,
        ShippedGenerator.load(tmp_path / "further.onnx") as after,
    ):
        apart = np.abs(before.sample(8).astype(int) - after.sample(8))
        assert before.card.images_seen + 2 * 2 * 2 == card.images_seen
    assert apart.mean() < 1.5  # a norm's statistics are drawn from other latents
    assert card.earlier[0]["images_seen"] == before.card.images_seen
    assert dict(card.rows())["earlier.0.judged.0.verdicts"] == "40"


def test_the_critic_goes_first(tiny_data: Path, tmp_path: Path) -> None:
    from train.loop import Limits
    from train.runs import open_session

    settings = [*PLAIN, "batch_size=8", "n_critic=1", "critic.width=4", "critic_first=2"]
    session = open_session(
        tmp_path / "run",
        tiny_data,
        config=load_config("wgan-gp-64", settings),
        device=torch.device("cpu"),
        precision="fp32",
        limits=Limits(steps=3, log_every=1),
    )
    trainer = session.trainer
    weights = [(trainer.generator.last.weight.clone(), trainer.critic[0].weight.clone())]
    for _ in range(3):
        figures = trainer.train_step()
        assert ("generator_loss" in figures) == (trainer.step > 2)
        weights.append((trainer.generator.last.weight.clone(), trainer.critic[0].weight.clone()))
    assert [torch.equal(a[0], b[0]) for a, b in pairwise(weights)] == [True, True, False]
    assert not any(torch.equal(a[1], b[1]) for a, b in pairwise(weights))


def test_what_can_t_be_trained_further(tmp_path: Path, train: Run, tiny_data: Path, tiny_model: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    fit = ("fit", "--preset", "anime-face-64", "--data", tiny_data, "--out", tmp_path / "run", "--set", "size=16")
    for path, *words in (
        (broken, "broken.onnx can't be trained further"),
        (tmp_path / "none.onnx", "can't be trained further"),
        (tiny_model, "tiny.onnx can't be trained further"),
        (catalog.find("anime-pixels-64"), "holds another generator", "size: 64 → 16"),
    ):
        assert_error(train(*fit, "--from", path), 1, *words)
    assert not (tmp_path / "run").exists()
