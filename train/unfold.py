"""From a model file back to a generator that can be trained: the folding of `export`, undone.

A file holds the averaged weights with each BatchNorm folded into the layer before it, and no critic. Unfolded, every
BatchNorm gets the mean and the deviation that its layer's values have over many latents, so that the generator makes
the file's images, and its norms are norms again. The critic starts from nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import structs
from onnx import numpy_helper
from torch import Tensor, nn

from animegen.card import ModelCard
from animegen.errors import AnimegenError
from animegen.files import sha256
from train.checkpoint import Origin
from train.config import Config, differences, from_mapping
from train.errors import CheckpointError
from train.export import ExportGraph
from train.layers import Plus, Residual
from train.networks import AnyGenerator, generator_of
from train.trainer import Trainer

_BATCHES, _BATCH_SIZE = 32, 128  # as many latents as an export takes for its standing statistics
_STREAM_UNFOLD = 22


def start_from_model(path: Path, trainer: Trainer) -> tuple[Origin, ...]:
    """Give a new run's trainer the generator in the model file `path`, and return where it came from.

    Raises:
        CheckpointError: no model that this project exported, or another generator than the trainer's configuration has.
    """
    model, card, config = read_model(path)
    wanted = trainer.config
    # A residual block starts as the identity, so a generator with more of them begins as the same function.
    grown = structs.replace(config.generator, blocks=max(config.generator.blocks, wanted.generator.blocks))
    if (grown, config.size, config.channels) != (wanted.generator, wanted.size, wanted.channels):
        apart = [line for line in differences(config, wanted) if line.startswith(("generator.", "size", "channels"))]
        raise CheckpointError(f"{path} holds another generator: {'; '.join(apart)}. Take the model's values with --set")
    if bool(config.autoencoder) != bool(wanted.autoencoder):
        whose = "makes codes" if config.autoencoder else "makes pixels"
        raise CheckpointError(f"{path} holds a generator that {whose}: take the model's own autoencoder, or none")
    weights = unfolded(model, config).state_dict()
    given = trainer.generator.state_dict()
    if any(not torch.equal(given[name].cpu(), weights[name]) for name in weights if name.startswith("decoder.")):
        raise CheckpointError(f"{path} draws with another autoencoder than {wanted.autoencoder}: take the model's own")
    for network in (trainer.generator, trainer.ema):
        network.load_state_dict({**network.state_dict(), **weights})
    trainer.images_before = card.images_seen
    origin = Origin(
        config=config,
        step=card.steps,
        images_seen=card.images_seen,
        seconds=card.training_minutes * 60,
        data_sha256=card.data["sha256"],
        data_source=card.data["name"],
        code=card.code_revision,
        checkpoint_sha256=sha256(path),
        judged=tuple(dict(taught) for taught in card.judged),
    )
    return (origin,)


def unfolded(model: onnx.ModelProto, config: Config) -> AnyGenerator:
    """The generator whose export is `model`, with BatchNorms of its own; in training mode, on the CPU.

    Raises:
        CheckpointError: the graph isn't an export of this configuration's generator.
    """
    generator = generator_of(config)
    folded = ExportGraph(copy.deepcopy(generator).eval()).requires_grad_(False)
    convolutions = [layer for layer in folded.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    stored = _stored(model)
    weights, added, sums = _weights(model, stored), _added(model, stored), _sums(generator)
    shapes = [tuple(layer.weight.shape) for layer in convolutions]
    if [tuple(weight.shape) for weight, _ in weights] != shapes or len(added) != len(sums):
        raise CheckpointError("the model's graph isn't that of the generator in its card: it can't be trained further")
    for layer, (weight, bias) in zip(convolutions, weights, strict=True):
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
    for own, value in zip(sums, added, strict=True):
        own.bias.copy_(value.reshape(own.bias.shape))
    pairs = list(_pairs(generator))
    normed = [layer for (_, norm), layer in zip(pairs, convolutions, strict=True) if norm is not None]
    moments = iter(_moments(folded, normed, generator.z_dim, config.seed))
    with torch.no_grad():
        for (trained, norm), layer in zip(pairs, convolutions, strict=True):
            weight = layer.weight.flatten(1).T if isinstance(trained, nn.Linear) else layer.weight
            trained.weight.copy_(weight)
            if norm is None:
                if trained.bias is not None:
                    assert layer.bias is not None
                    trained.bias.copy_(layer.bias)
                continue
            assert layer.bias is not None
            mean, deviation = next(moments)
            norm.weight.copy_((deviation**2 + norm.eps).sqrt())
            norm.bias.copy_(mean)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(mean - layer.bias)
            norm.running_var.copy_(deviation**2)
    return generator


def read_model(path: Path) -> tuple[onnx.ModelProto, ModelCard, Config]:
    """The graph in a model file, its card, and the configuration of its run.

    Raises:
        CheckpointError: no model that this project exported, or one without norms.
    """
    try:
        model = onnx.load(path)
        card = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props}, origin=str(path))
        config = from_mapping(card.recipe, origin=str(path))
    except (OSError, DecodeError, AnimegenError) as error:
        raise CheckpointError(
            f"{path} can't be trained further ({error}): name a run's folder, a checkpoint in it, or a model file that "
            "python -m train export has written"
        ) from error
    if config.generator.norm != "batch":
        raise CheckpointError(f"{path} holds a generator without BatchNorm: only those with it can be unfolded")
    return model, card, config


def _stored(model: onnx.ModelProto) -> dict[str, Tensor]:
    """The graph's constants by the names that its nodes know them by, in fp32."""
    stored = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    return {
        name: torch.from_numpy(np.array(value, np.float32)) for name, value in stored.items() if value.dtype.kind == "f"
    }


def _added(model: onnx.ModelProto, stored: Mapping[str, Tensor]) -> list[Tensor]:
    """What is added at each place of a map, in the graph's order."""
    added = [
        stored[name] for node in model.graph.node if node.op_type == "Add" for name in node.input if name in stored
    ]
    return [value for value in added if value.dim() >= 3]


def _sums(generator: AnyGenerator) -> list[Plus]:
    return [layer for layer in generator.layers() if isinstance(layer, Plus)]


def _weights(model: onnx.ModelProto, stored: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution of the graph, in its order."""
    found = []
    for node in model.graph.node:
        if node.op_type in {"Conv", "ConvTranspose"}:
            weight = stored[node.input[1]]
            bias = torch.zeros(weight.shape[0 if node.op_type == "Conv" else 1])  # the exporter drops one of zeros
            if len(node.input) > 2:
                bias = stored[node.input[2]]
            found.append((weight, bias))
    return found


@torch.no_grad()
def _moments(
    folded: ExportGraph, convolutions: list[nn.Conv2d | nn.ConvTranspose2d], z_dim: int, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation of each convolution's values, channel by channel."""
    sums = [torch.zeros(2, layer.out_channels, dtype=torch.float64) for layer in convolutions]
    counts = [0] * len(convolutions)

    def add(k: int, values: Tensor) -> None:
        wide = values.double()
        sums[k] += torch.stack([wide.sum((0, 2, 3)), (wide**2).sum((0, 2, 3))])
        counts[k] += values.numel() // values.shape[1]

    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, values, k=k: add(k, values))
        for k, layer in enumerate(convolutions)
    ]
    wanted = set(convolutions)
    needed = max(k for k, layer in enumerate(folded.layers) if wanted & set(layer.modules())) + 1
    chain = folded.layers[:needed]  # a decoder behind it has no norms
    rng = np.random.default_rng([seed, _STREAM_UNFOLD])
    for _ in range(_BATCHES):
        chain(torch.from_numpy(rng.standard_normal((_BATCH_SIZE, z_dim, 1, 1), np.float32)))
    for hook in hooks:
        hook.remove()
    means = [total[0] / count for total, count in zip(sums, counts, strict=True)]
    squares = [total[1] / count for total, count in zip(sums, counts, strict=True)]
    return [
        (mean.float(), (square - mean**2).clamp(min=0).sqrt().float())
        for mean, square in zip(means, squares, strict=True)
    ]


def _pairs(
    generator: AnyGenerator,
) -> Iterator[tuple[nn.Linear | nn.Conv2d | nn.ConvTranspose2d, nn.BatchNorm2d | None]]:
    """Each layer of weights with the norm behind it, if there is one, in the order of the exported graph."""
    for layer, after in pairwise([*_flat(generator.layers()), nn.Identity()]):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            yield layer, after if isinstance(after, nn.BatchNorm2d) else None


def _flat(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _flat(layer.body)
        else:
            yield layer
