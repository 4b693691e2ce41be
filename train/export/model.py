"""From a run's checkpoint to a self-describing ONNX file that was shown to compute the same images.

EMA weights → graph → ONNX → torch and ONNX Runtime side by side → card → file, renamed into place.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch

import animegen
from animegen.files import sha256
from animegen.images.sources import readable
from animegen.labels import LabelGroup
from animegen.model.card import ModelCard
from animegen.quality.evaluation import evaluate
from animegen.runtime import Session
from train.config import Config, differences, to_mapping
from train.export import onnx_graph
from train.export.graph import ExportGraph, directions
from train.export.proof import Weights, prove
from train.networks.standing import set_standing_statistics
from train.run import checkpoint
from train.run.checkpoint import CheckpointCard, EarlierRun
from train.run.monitor import Monitor


def export(
    run: Path,
    out: Path,
    *,
    name: str | None = None,
    licence: str = "unspecified",
    provenance: str = "unspecified",
    weights: Weights = "fp32",
    monitor: Monitor | None = None,
    data: Path | None = None,
) -> ModelCard:
    """Write the generator of the run in `run`, or of one of its checkpoints, to `out`, and return its card.

    With a monitor the card holds the figures of the very graph that is written; with the training images, `data`, also
    how near its images come to these.

    Raises:
        CheckpointError: no checkpoint, or a damaged one.
        ConfigError: `out` has another extension than .onnx.
        DataError: the monitor's reference is of another size, or `data` can't be read.
        ExportError: ONNX Runtime's images differ from torch's by more than the proof allows; nothing is written.
        OutputError: `out` can't be written.
    """
    onnx_graph.check_target(out)
    source = checkpoint.of(run)
    generator, saved = checkpoint.load_generator(source)
    groups = tuple(LabelGroup(group.name, group.classes, group.counts, group.unknown) for group in saved.labels)
    if monitor is not None:
        monitor.check_size(saved.config.size)
    set_standing_statistics(generator, seed=saved.config.seed, groups=groups)
    graph = ExportGraph(generator)
    model = build(graph, generator.z_dim, weights)
    card = _card(
        saved,
        name=readable(name or out.stem),
        licence=licence,
        provenance=provenance,
        checkpoint_sha256=sha256(source),
        parity=prove(model, generator, weights, groups),
        directions=directions(graph),
        labels=groups,
    )
    if monitor is not None:
        card = replace(card, quality=_quality(model, card, monitor, data))
    onnx_graph.save(model, card.to_metadata(), out)
    return card


def build(graph: ExportGraph, z_dim: int, weights: Weights = "fp32") -> onnx.ModelProto:
    """The ONNX model of a graph: only the batch is free, the weights in fp32 or stored as fp16."""
    sizes = {"z": z_dim, "labels": graph.label_size} if graph.label_size else {"z": z_dim}
    examples = tuple(torch.zeros(2, size) for size in sizes.values())
    model = onnx_graph.trace(graph, examples, "generator", list(sizes), ["images"], {0: "batch"})
    if weights == "fp16":
        onnx_graph.halve(model)
    return model


def _card(saved: CheckpointCard, **facts: Any) -> ModelCard:
    """The card of a checkpoint's generator: the run's history, and the `facts` of this export."""
    config = saved.config
    return ModelCard(
        z_dim=config.generator.z_dim,
        image_shape=(config.channels, config.size, config.size),
        objective=config.objective,
        recipe=to_mapping(config),
        steps=saved.step + sum(run.step for run in saved.earlier),
        images_seen=saved.images_seen,
        training_minutes=round((saved.seconds + sum(run.seconds for run in saved.earlier)) / 60, 1),
        data={
            "name": saved.data_source,
            "images": saved.data_count,
            "resize": saved.data_resize,
            "sha256": saved.data_sha256,
        },
        code_revision=saved.code,
        earlier=tuple(_earlier(run, config) for run in saved.earlier),
        **facts,
    )


def _earlier(run: EarlierRun, last: Config) -> dict[str, Any]:
    """A run that the exported one started from; of its recipe, where it differs from the last one's."""
    return {
        "steps": run.step,
        "images_seen": run.images_seen,
        "data": f"{run.data_source}, sha256 {run.data_sha256}",
        "code_revision": run.code,
        "checkpoint_sha256": run.checkpoint_sha256,
        "recipe": differences(run.config, last),
    }


def _quality(model: onnx.ModelProto, card: ModelCard, monitor: Monitor, data: Path | None) -> dict[str, Any]:
    """The figures of the model's images of seeds 0 to `monitor.count` − 1, on the CPU.

    Raises:
        DataError: what can't be compared, too few images, or `data` that can't be read.
    """
    with animegen.Generator(Session(model.SerializeToString(), device="cpu"), card) as generator:
        evaluation = evaluate(
            generator,
            monitor.reference,
            extractor=monitor.extractor,
            data=data,
            n=monitor.count,
            size=card.image_shape[1] if data is not None else None,  # of those pictures
        )
    return evaluation.figures()
