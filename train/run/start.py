"""What a new run may start with, besides random weights: the state of another run, or the generator of a model file."""

from __future__ import annotations

import copy
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from msgspec import structs
from onnx import numpy_helper
from torch import Tensor

from animegen.files import sha256
from animegen.generator import Generator
from animegen.labels import LabelGroup, classes_at, one_hot
from animegen.model.card import ModelCard
from animegen.model.catalog import find_model, shipped_models
from train.config import Config, differences
from train.errors import CheckpointError
from train.networks.unfolded import unfold, with_labels
from train.run import checkpoint
from train.run.checkpoint import EarlierRun
from train.step.trainer import Trainer

_LATENTS = 256  # from which the activations' statistics are taken: two batches of training, or more
_STREAM = 22


def begin(trainer: Trainer, start: Path) -> tuple[EarlierRun, ...]:
    """Give a new run's trainer what `start` names, and return the runs before it.

    A run's folder or a checkpoint gives both networks, the moving average and the moments. A model file, or a shipped
    model's name, gives the generator alone: the critic keeps its random weights. Its labels stay where the run has the
    very same; else each class starts as a shift of the latent of its own.

    Raises:
        CheckpointError: it is missing, damaged, or has other networks than the trainer; a run that has other labels or
            optimisers.
        ModelError: a model file that is missing or damaged.
    """
    names = shipped_models()
    if start.suffix.lower() == ".onnx" or (str(start) in names and not start.exists()):
        return _from_model(trainer, find_model(start))
    if not start.exists():
        raise CheckpointError(
            f"{start} does not exist: name the folder of a run, a checkpoint, an .onnx file that export wrote, or one "
            f"of {', '.join(names)}"
        )
    return checkpoint.start_from(checkpoint.of(start), trainer)


def _from_model(trainer: Trainer, path: Path) -> tuple[EarlierRun, ...]:
    with Generator.load(path, device="cpu") as served:  # which refuses a file that is damaged or no model
        card = served.card
        if served.is_foreign:
            raise CheckpointError(f"{path} has no animegen card and must have one: name a file that export wrote")
    config = _recipe(path, card)
    _check(path, config, trainer.config)
    weights, biases = _layers(onnx.load(path))
    groups = tuple(LabelGroup(group.name, group.classes, group.counts, group.unknown) for group in trainer.label_groups)
    rng = np.random.default_rng([trainer.config.seed, _STREAM])
    inputs = [rng.standard_normal((_LATENTS, card.z_dim), np.float32)]
    if groups:
        inputs.append(one_hot(classes_at(rng.random((_LATENTS, len(groups))), groups), groups))
    if [(group.name, group.classes) for group in groups] != [(group.name, group.classes) for group in card.labels]:
        weights[0] = weights[0][: card.z_dim]  # as if all that it was asked for were unknown
        if groups:
            shifts = rng.standard_normal((inputs[1].shape[1], card.z_dim), np.float32) / np.float32(len(groups) ** 0.5)
            weights[0] = with_labels(weights[0], torch.from_numpy(shifts))
    # On the CPU, so that all processes of a run begin with the same bits.
    generator = copy.deepcopy(trainer.generator).cpu()
    try:
        unfold(generator, weights, biases, torch.from_numpy(np.concatenate(inputs, 1)))
    except ValueError as error:
        raise CheckpointError(
            f"{path} has layers that its card doesn't name ({error}): was it rewritten? Take the file that was exported"
        ) from error
    for network in (trainer.generator, trainer.ema):
        network.load_state_dict(generator.state_dict())
    trainer.images_before = card.images_seen
    earlier = EarlierRun(
        config=config,
        step=card.steps,
        images_seen=card.images_seen,
        seconds=card.training_minutes * 60,
        data_sha256=str(card.data["sha256"]),
        data_source=str(card.data["name"]),
        code=card.code_revision,
        checkpoint_sha256=sha256(path),
    )
    return (earlier,)


def _recipe(path: Path, card: ModelCard) -> Config:
    try:
        return msgspec.convert(card.recipe, Config)
    except msgspec.ValidationError as error:
        raise CheckpointError(
            f"{path} has the recipe of another version of this program ({error}): start from random weights"
        ) from error


def _check(path: Path, before: Config, now: Config) -> None:
    """Refuse a model of another generator."""
    wanted = structs.replace(now, size=before.size, channels=before.channels, generator=before.generator)
    if changes := differences(wanted, now):
        raise CheckpointError(
            f"{path} has another generator than this run: {'; '.join(changes)}. Give the run its values with --set, or "
            "start from random weights"
        )


def _layers(model: onnx.ModelProto) -> tuple[list[Tensor], list[Tensor]]:
    """The weights and the biases of the graph's layers, each in the order of the layers."""
    arrays = {entry.name.removesuffix(".fp16"): entry for entry in model.graph.initializer}

    def of(kind: str) -> list[Tensor]:
        names = [name for name in arrays if name.startswith("layers.") and name.endswith(f".{kind}")]
        names.sort(key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])
        return [torch.from_numpy(numpy_helper.to_array(arrays[name]).astype(np.float32)) for name in names]

    return of("weight"), of("bias")
