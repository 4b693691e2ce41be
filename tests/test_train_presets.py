"""Each preset against the table it reproduces: its networks and its protocol. Each architecture trains and exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Run, picture_zip

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from animegen import Generator
from train.config import ALL_LABELS, SGD, Adam, RMSprop, load_config, preset_names
from train.data import DatasetGroup, DatasetLabels, prepare
from train.networks import initial_networks
from train.networks.batch_norm import BatchNorm
from train.objective.penalty import form_for
from train.step.trainer import Trainer

ANIME64 = [(512, 256, 5), (256, 128, 5), (128, 64, 5), (64, 3, 5)]
ANIME64_CRITIC = [(3, 64, 5), (64, 128, 5), (128, 256, 5), (256, 512, 5)]
CIFAR32 = [(512, 256, 5), (256, 128, 5), (128, 3, 5)]
CIFAR32_CRITIC = [(3, 128, 5), (128, 256, 5), (256, 512, 5)]
MNIST28 = [(224, 112, 5), (112, 56, 5), (56, 28, 5), (28, 1, 5)]
MNIST28_CRITIC = [(1, 28, 5), (28, 56, 5), (56, 112, 5)]
IN32 = [(100, 256, 4), (256, 128, 4), (128, 64, 4), (64, 3, 4)]
IN32_CRITIC = [(3, 64, 4), (64, 128, 4), (128, 256, 4), (256, 1, 4)]
SIZE64 = [(512, 256, 4), (256, 128, 4), (128, 64, 4), (64, 3, 4)]
SIZE64_CRITIC = [(3, 64, 4), (64, 128, 4), (128, 256, 4), (256, 512, 4)]
SHIPPED = [(384, 192, 4), (192, 96, 4), (96, 48, 4), (48, 3, 4)]
SHIPPED_CRITIC = [(3, 36, 4), (36, 72, 4), (72, 144, 4), (144, 288, 4)]
TAGS_CRITIC = [(3, 48, 4), (48, 96, 4), (96, 192, 4), (192, 384, 4)]
CWGAN_MNIST28, CWGAN_MNIST28_CRITIC = [(96, 48, 4), (48, 1, 4)], [(1, 48, 4), (48, 96, 4)]
CWGAN_CIFAR32 = [(256, 128, 4), (128, 64, 4), (64, 3, 4)]
CWGAN_CIFAR32_CRITIC = [(3, 64, 4), (64, 128, 4), (128, 256, 4)]

# Latent, generator's and critic's convolutions (in, out, kernel), critic's norm.
NETWORKS = {
    "wgan-gp-64": (128, ANIME64, ANIME64_CRITIC, "none"),
    "wgan-gp-anime64": (100, ANIME64, ANIME64_CRITIC, "none"),
    "wgan-anime64": (100, ANIME64, ANIME64_CRITIC, "none"),
    "dcgan-anime64": (100, ANIME64, ANIME64_CRITIC, "batch"),
    "dcgan-noisy-anime64": (4096, ANIME64, ANIME64_CRITIC, "batch"),
    "rgan-anime64": (100, ANIME64, ANIME64_CRITIC, "batch"),
    "rgan-hinge-anime64": (100, ANIME64, ANIME64_CRITIC, "batch"),
    "ragan-anime64": (100, ANIME64, ANIME64_CRITIC, "batch"),
    "ragan-hinge-anime64": (100, ANIME64, ANIME64_CRITIC, "batch"),
    "dcgan-cifar32": (100, CIFAR32, CIFAR32_CRITIC, "batch"),
    "wgan-cifar32": (100, CIFAR32, CIFAR32_CRITIC, "batch"),
    "wgan-gp-cifar32": (100, CIFAR32, CIFAR32_CRITIC, "batch"),
    "wgan-gp-mnist28": (128, MNIST28, MNIST28_CRITIC, "none"),
    "wgan-gp-mnist28-paper": (128, MNIST28, MNIST28_CRITIC, "none"),
    "wgan-gp-cifar32-in": (100, IN32, IN32_CRITIC, "instance"),
    "wgan-gp-celeba32-in": (100, IN32, IN32_CRITIC, "instance"),
    "wgan-gp-anime32-in": (100, IN32, IN32_CRITIC, "instance"),
    "r3gan-64": (128, SIZE64, SIZE64_CRITIC, "none"),
    "sngan-64": (128, SIZE64, SIZE64_CRITIC, "spectral"),
    "anime-pixels-64": (128, SHIPPED, SHIPPED_CRITIC, "none"),
    "anime-tags-64": (128, SHIPPED, TAGS_CRITIC, "none"),
    "cwgan-gp-mnist28": (64, CWGAN_MNIST28, CWGAN_MNIST28_CRITIC, "none"),
    "cwgan-gp-cifar32": (128, CWGAN_CIFAR32, CWGAN_CIFAR32_CRITIC, "none"),
}
CLASSES = (4, 3)  # of two groups of labels

ADAM1, ADAM2, ADAM_IN = (Adam(lr=1e-4, beta1=0, beta2=0.9), Adam(lr=2e-4, beta1=0.5, beta2=0.999),
                         Adam(lr=1e-4, beta1=0.5, beta2=0.999))  # fmt: skip
# Objective, optimiser of both sides, batch, critic steps a round, and what else the report says.
PROTOCOLS: dict[str, tuple[str, object, int, int, dict[str, object]]] = {
    "wgan-gp-64": ("wgan-gp", ADAM1, 64, 5, {"lambda_gp": 10}),
    "wgan-gp-anime64": ("wgan-gp", ADAM1, 128, 2, {"lambda_gp": 5, "epochs": 50}),
    "wgan-anime64": ("wgan", RMSprop(lr=1e-4), 128, 2, {"clip": 0.01}),
    "dcgan-anime64": ("dcgan", ADAM2, 128, 1, {}),
    "dcgan-noisy-anime64": ("dcgan", ADAM2, 20, 25, {"n_generator": 25, "label_noise": 0.05}),
    "rgan-anime64": ("rgan", ADAM2, 64, 1, {}),
    "rgan-hinge-anime64": ("rgan-hinge", ADAM2, 64, 1, {}),
    "ragan-anime64": ("ragan", ADAM2, 64, 1, {}),
    "ragan-hinge-anime64": ("ragan-hinge", ADAM2, 64, 1, {}),
    "dcgan-cifar32": ("dcgan", ADAM2, 128, 1, {"epochs": 40}),
    "wgan-cifar32": ("wgan", RMSprop(lr=5e-5), 64, 5, {"clip": 0.01, "epochs": 100}),
    "wgan-gp-cifar32": ("wgan-gp", ADAM1, 64, 5, {"lambda_gp": 10, "epochs": 100}),
    "wgan-gp-mnist28": ("wgan-gp", SGD(lr=0.01), 64, 1, {"lambda_gp": 10, "batch_repeats": 5, "flip": False}),
    "wgan-gp-mnist28-paper": ("wgan-gp", ADAM1, 64, 5, {"lambda_gp": 10, "batch_repeats": 1, "flip": False}),
    "wgan-gp-cifar32-in": ("wgan-gp", ADAM_IN, 64, 5, {"lambda_gp": 10, "steps": 40_000}),
    "wgan-gp-celeba32-in": ("wgan-gp", ADAM_IN, 64, 5, {"lambda_gp": 10, "steps": 40_000}),
    "wgan-gp-anime32-in": ("wgan-gp", ADAM_IN, 64, 5, {"lambda_gp": 10, "steps": 40_000}),
    "r3gan-64": ("rgan", Adam(lr=2e-4, beta1=0, beta2=0.99), 64, 1, {"gamma": 2}),
    "sngan-64": ("hinge", Adam(lr=2e-4, beta1=0, beta2=0.9), 64, 5, {}),
}

# This project's own, cut to what CPU cores train: batch, labels.
FOR_CPUS: dict[str, tuple[int, tuple[str, ...]]] = {
    "anime-pixels-64": (16, ()),
    "anime-tags-64": (16, ("hair", "eyes")),
    "cwgan-gp-mnist28": (32, ("*",)),
    "cwgan-gp-cifar32": (32, ("*",)),
}


def convolutions(network: nn.Module) -> list[tuple[int, int, int]]:
    """Input channels, output channels and kernel of each convolution, in order."""
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0])
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]


def norms(network: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in network.modules() if isinstance(layer, BatchNorm | nn.InstanceNorm2d)]


def test_every_preset_is_in_the_tables() -> None:
    assert set(NETWORKS) == set(preset_names())
    assert set(PROTOCOLS) == set(preset_names()) - set(FOR_CPUS)


@pytest.mark.parametrize("name", preset_names())
def test_the_networks_are_the_table_s(name: str) -> None:
    z_dim, up, down, norm = NETWORKS[name]
    config = load_config(name)
    generator, critic = initial_networks(config, CLASSES if config.labels else ())
    assert convolutions(generator) == up
    assert convolutions(critic) == down
    dense = [layer for network in (generator, critic) for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert config.generator.z_dim == z_dim
    assert len(dense) == (0 if name.endswith("-in") else 2 + bool(config.labels) + config.classified)  # a projection
    assert len(norms(generator)) == (0 if name == "r3gan-64" else len(up) - (1 if name.endswith("-in") else 0))
    inner = len(down) - (2 if name.endswith("-in") else 1)  # neither the first layer nor the output
    expected = {"batch": ["BatchNorm"] * inner, "instance": ["InstanceNorm2d"] * inner}
    assert norms(critic) == expected.get(norm, [])
    assert (norm == "spectral") == any(is_parametrized(layer) for layer in critic.modules())
    assert form_for(critic) == ("closed form" if norm == "none" else "double backward")
    assert not any(isinstance(layer, nn.Sigmoid) for layer in critic.modules())
    labels = torch.eye(7)[:2] if config.labels else None
    images = generator(torch.randn(2, z_dim), labels)
    assert images.shape == (2, config.channels, config.size, config.size)
    assert images.abs().max() <= 1
    assert critic(images, labels).shape == (2,)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_the_protocol_is_the_table_s(name: str) -> None:
    objective, optimiser, batch, n_critic, more = PROTOCOLS[name]
    config = load_config(name)
    assert (config.objective, config.batch_size, config.n_critic) == (objective, batch, n_critic)
    assert config.generator_optimiser == config.critic_optimiser == optimiser
    assert {key: getattr(config, key) for key in more} == more


@pytest.mark.parametrize("name", FOR_CPUS)
def test_what_cpus_train_is_of_one_kind(name: str) -> None:
    batch, labels = FOR_CPUS[name]
    config = load_config(name)
    assert (config.objective, config.lambda_gp, config.penalty_share, config.n_critic) == ("wgan-gp", 10, 0.25, 2)
    assert (config.batch_size, config.labels) == (batch, labels)
    started = name == "anime-tags-64"  # from a model
    assert config.generator_optimiser == Adam(lr=1e-4 if started else 2e-4, beta1=0, beta2=0.9)
    assert config.critic_optimiser == Adam(lr=4e-4, beta1=0, beta2=0.9)
    assert config.classified == started
    assert "color" not in config.augment  # it is what labels of hair and eyes say
    assert config.flip == ("mnist" not in name)


@pytest.mark.parametrize("name", [name for name in preset_names() if load_config(name).labels])
def test_a_preset_with_labels_trains(name: str) -> None:
    config = load_config(name, ["batch_size=2", "generator.width=4", "critic.width=4"])
    names = ("class",) if config.labels == (ALL_LABELS,) else config.labels
    groups = tuple(DatasetGroup(name=name, classes=("a", "b"), counts=(2, 1), unknown=1) for name in names)
    labels = DatasetLabels(groups, np.array([[0], [1], [-1], [0]], np.int16).repeat(len(names), axis=1))
    images = np.random.default_rng(0).integers(0, 256, (4, config.size, config.size, config.channels), np.uint8)
    trainer = Trainer(config, images, device=torch.device("cpu"), precision="fp32", labels=labels)
    assert all(np.isfinite(value) for value in trainer.train_step().values())
    assert trainer.generator.label_size == 2 * len(names)


def test_a_report_s_epochs_are_counted_in_images() -> None:
    config = load_config("wgan-gp-anime64")
    assert config.total_steps(25_600) == 50 * 25_600 // 128 // 2
    assert config.total_steps(25_601) == 50 * 25_600 // 128 // 2 + 1


def architecture(name: str) -> tuple[str, ...]:
    """What the preset's networks are made of, whatever their size."""
    config = load_config(name)
    generator, critic = config.generator, config.critic
    return generator.first, generator.norm, generator.output, critic.norm, critic.last


# One preset of each; a model file has no labels.
ARCHITECTURES = {architecture(name): name for name in reversed(preset_names()) if not load_config(name).labels}


@pytest.mark.parametrize("name", ARCHITECTURES.values())
def test_each_architecture_trains_exports_and_samples(name: str, train: Run, tmp_path: Path) -> None:
    # The preset's own layers, objective and optimisers; narrow, on two images a batch.
    settings = ["batch_size=2", "n_critic=1", "n_generator=1", "generator.z_dim=16"]
    settings += ["generator.width=4", "critic.width=4"]
    config = load_config(name, settings)
    source = picture_zip(tmp_path / "pictures.zip", 4, (config.size, config.size))
    prepare(source, tmp_path / "data", size=config.size, channels=config.channels)
    changes = [part for setting in settings for part in ("--set", setting)]
    places = ("--data", tmp_path / "data", "--out", tmp_path / "run")
    done = train("fit", "--preset", name, *changes, *places, "--steps", 2, "--device", "cpu")
    assert done.returncode == 0, done.stderr.decode()
    trained = load_file(tmp_path / "run" / "checkpoint.safetensors")
    for side, network in zip(("generator", "critic"), initial_networks(config), strict=True):
        weights = {key: value for key, value in network.named_parameters() if value.ndim > 1}
        assert not any(torch.equal(trained[f"{side}.{key}"], value) for key, value in weights.items())
    done = train("export", tmp_path / "run", "--out", tmp_path / "model.onnx")
    assert done.returncode == 0, done.stderr.decode()
    with Generator.load(tmp_path / "model.onnx", device="cpu") as generator:
        assert (generator.card.objective, generator.card.steps) == (config.objective, 2)
        images = generator.sample(3, seed=1)
        assert images.shape == (3, config.size, config.size, config.channels)
        assert (generator.sample(1, seed=2)[0] == images[1]).all()
