"""From a run's checkpoint to a self-describing ONNX file that was shown to compute the same images.

EMA weights → BatchNorm statistics of their own → BatchNorm folded away → ONNX graph with uint8 output → card →
checker → torch and ONNX Runtime side by side → rename into place.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

import animegen
from animegen import latents
from animegen.files import check_parent, replacing, sha256
from animegen.images.sets import open_images
from animegen.model.card import ModelCard
from animegen.quality.evaluation import evaluate
from animegen.runtime import Session
from animegen.seeds import Seeds
from train.config import Config, differences, to_mapping
from train.errors import ConfigError, ExportError
from train.export.generator import trained_generator
from train.export.onnx_graph import halve, trace
from train.networks import Generator
from train.networks.layers import Plus, folded
from train.run import checkpoint
from train.run.monitor import Referee

Weights = Literal["fp32", "fp16"]

BATCHES = (1, 2, 7, 64)
DIRECTIONS = 16
# The largest difference before rounding, in grey levels of 255, that an export may have anywhere. fp32: other
# summation orders only; measured 0.0004 on the shipped network. fp16: weights of 11 bits; 1 bounds the uint8
# images to one grey level.
TOLERANCE: dict[Weights, float] = {"fp32": 0.02, "fp16": 1.0}


class ExportGraph(nn.Module):
    """The generator as it is served: latents float32 [N, z_dim] → uint8 [N, C, H, W].

    The first layer is a transposed convolution from 1×1, which is the same sum as the linear layer: its
    BatchNorm folds like the others', and ONNX Runtime computes it image by image, so that an image's bits can't
    depend on its batch. (Its matrix product picks another kernel for another number of rows.)
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        first, *others = generator.layers()
        spread: list[nn.Module] = [first]
        if isinstance(first, nn.Linear):
            channels, side, _ = generator.shape
            transposed = nn.ConvTranspose2d(generator.z_dim, channels, side, bias=False)
            with torch.no_grad():
                transposed.weight.copy_(first.weight.T.reshape(generator.z_dim, *generator.shape))
            spread = [transposed]
            if first.bias is not None:
                spread.append(Plus(first.bias.detach().reshape(generator.shape)))
        self.layers = nn.Sequential(*folded([*spread, *others]))

    def forward(self, z: Tensor) -> Tensor:
        """uint8 images; rounding is half to even in torch and in ONNX."""
        levels = to_levels(self.layers(z[:, :, None, None]))
        return levels.round().clamp(0, 255).to(torch.uint8)


def to_levels(images: Tensor) -> Tensor:
    """[−1, 1] → [0, 255], before rounding."""
    return images * 127.5 + 127.5


def export(
    run: Path,
    out: Path,
    *,
    name: str | None = None,
    licence: str = "unspecified",
    provenance: str = "unspecified",
    weights: Weights = "fp32",
    referee: Referee | None = None,
    data: Path | None = None,
) -> ModelCard:
    """Write the generator of the run in `run`, or of one of its checkpoints, to `out`, and return its card.

    With a referee the card holds the figures of the very graph that is written; with the training images, `data`, also
    how near its images come to these.

    Raises:
        CheckpointError: no checkpoint, or a damaged one.
        ConfigError: `out` is no .onnx.
        DataError: the referee's reference is of another size, or `data` can't be read.
        ExportError: ONNX Runtime's images differ from torch's by more than `TOLERANCE`; nothing is written.
        OutputError: `out` can't be written.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"{out} has the extension {out.suffix!r}: a model file ends in .onnx")
    check_parent(out)
    source = checkpoint.of(run)
    if referee is not None:
        referee.check_size(checkpoint.read_card(source).config.size)
    generator, saved = trained_generator(source)
    config = saved.config
    model = build(generator, weights)
    parity = prove(model, generator, TOLERANCE[weights])
    card = ModelCard(
        name=name or out.stem,
        z_dim=config.generator.z_dim,
        image_shape=(config.channels, config.size, config.size),
        objective=config.objective,
        recipe=to_mapping(config),
        steps=saved.step + sum(origin.step for origin in saved.origins),
        images_seen=saved.images_seen,
        training_minutes=round((saved.seconds + sum(origin.seconds for origin in saved.origins)) / 60, 1),
        data={
            "name": saved.data_source,
            "images": saved.data_count,
            "resize": saved.data_resize,
            "sha256": saved.data_sha256,
        },
        licence=licence,
        provenance=provenance,
        code_revision=saved.code,
        earlier=tuple(_earlier(origin, config) for origin in saved.origins),
        checkpoint_sha256=sha256(source),
        parity={"weights": weights, **parity},
        directions=directions(generator),
    )
    if referee is not None:
        card = replace(card, quality=measured(model, card, referee, data))
    write(model, card, out)
    return card


def write(model: onnx.ModelProto, card: ModelCard, out: Path) -> None:
    """Put the card into the graph, check it, and write it to `out`.

    Raises:
        OutputError: `out` can't be written.
    """
    helper.set_model_props(model, card.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    with replacing(out) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def _earlier(origin: checkpoint.Origin, last: Config) -> dict[str, Any]:
    """A run that the exported one started from, for its card; of its recipe, what the last one's has otherwise."""
    return {
        "steps": origin.step,
        "images_seen": origin.images_seen,
        "data": f"{origin.data_source}, sha256 {origin.data_sha256}",
        "code_revision": origin.code,
        "checkpoint_sha256": origin.checkpoint_sha256,
        "recipe": differences(origin.config, last),
    }


def directions(generator: Generator) -> tuple[tuple[float, ...], ...]:
    """The 16 unit vectors in latent space that move the first layer's output most, strongest first.

    Shen & Zhou 2021 (arXiv 2007.06600), equation 5: the eigenvectors of AᵀA with the largest eigenvalues, where A
    is the layer's matrix; here with its BatchNorm folded in, as that scales A's rows. An eigenvector's sign is
    free: its largest value is made positive.
    """
    weight = ExportGraph(copy.deepcopy(generator)).layers[0].weight
    assert isinstance(weight, Tensor)
    matrix = weight.detach().double().flatten(1).numpy()  # [z_dim, outputs]: Aᵀ
    vectors = np.linalg.eigh(matrix @ matrix.T).eigenvectors.T[::-1][:DIRECTIONS]
    vectors = vectors * np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)])[:, None]
    return tuple(tuple(float(f"{value:.7g}") for value in vector) for vector in vectors)


def build(generator: Generator, weights: Weights = "fp32") -> onnx.ModelProto:
    """The ONNX graph of a generator in evaluation mode: one file, opset 20, only the batch free."""
    graph = ExportGraph(copy.deepcopy(generator)).eval()
    example = torch.zeros(2, generator.z_dim)  # 2: torch.export would freeze a batch of 1
    model = trace(graph, example, "generator", ["z"], ["images"], {0: "batch"})
    if weights == "fp16":
        halve(model)
    return model


def prove(model: onnx.ModelProto, generator: Generator, tolerance: float) -> dict[str, Any]:
    """Compare ONNX Runtime on the CPU with torch at every batch size of `BATCHES`, before and after rounding.

    Returns the largest differences and the share of values that differ after rounding.

    Raises:
        ExportError: a difference before rounding above `tolerance`, or above one grey level after it.
    """
    session = Session(_with_levels(model).SerializeToString(), device="cpu")
    worst, worst_rounded, differing, total = 0.0, 0, 0, 0
    for batch in BATCHES:
        z = latents.from_seeds(range(batch), generator.z_dim)
        images, levels = session.run({"z": z})
        with torch.no_grad():
            expected = to_levels(generator(torch.from_numpy(z)))
        expected_images = expected.round().clamp(0, 255).to(torch.uint8).numpy()
        if images.shape != expected_images.shape:
            raise ExportError(
                f"the export is not the trained generator: at batch {batch} ONNX Runtime gives the shape "
                f"{images.shape} and torch {expected_images.shape}; nothing was written"
            )
        # A NaN fails the comparison below, as it is not within any tolerance.
        worst = max(worst, float(np.abs(levels - expected.numpy()).max()), key=lambda v: (np.isnan(v), v))
        apart = np.abs(images.astype(np.int16) - expected_images)
        worst_rounded = max(worst_rounded, int(apart.max()))
        differing += int((apart > 0).sum())
        total += apart.size
        if not worst <= tolerance or worst_rounded > 1:
            raise ExportError(
                f"the export is not the trained generator: at batch {batch} ONNX Runtime and torch are {worst:.4g} "
                f"grey levels apart before rounding (allowed: {tolerance}) and {worst_rounded} after it (allowed: 1); "
                "nothing was written"
            )
    return {
        "batches": list(BATCHES),
        "max_grey_levels": worst_rounded,
        "max_before_rounding": float(f"{worst:.3g}"),
        "share_differing": float(f"{differing / total:.3g}"),
    }


def measured(model: onnx.ModelProto, card: ModelCard, referee: Referee, data: Path | None) -> dict[str, Any]:
    """The figures of the graph's images of seeds 0 to `referee.count` − 1, on the CPU.

    Raises:
        DataError: what can't be compared, too few images, or `data` that can't be read.
    """
    training = open_images(data, size=card.image_shape[1]) if data is not None else None
    with animegen.Generator(Session(model.SerializeToString(), device="cpu"), card) as generator:
        seeds = Seeds.starting(0, referee.count)
        found, _ = evaluate(generator, referee.reference, referee.extractor, seeds, data=training)
    return found.figures()


def _with_levels(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with one more output: the values that go into the rounding."""
    probe = copy.deepcopy(model)
    (rounding,) = (node for node in probe.graph.node if node.op_type == "Round")
    probe.graph.output.append(helper.make_tensor_value_info(rounding.input[0], TensorProto.FLOAT, None))
    return probe
