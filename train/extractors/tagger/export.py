"""From the trained tagger to one ONNX file with a card: resize and scaling inside, BatchNorm folded, proved."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from animegen.files import replacing
from animegen.images.sets import FIT
from animegen.images.stills import Images
from animegen.quality.extractors import CARD_KEY
from animegen.runtime import Session
from train.errors import ConfigError, ExportError
from train.export import onnx_graph
from train.extractors.resize import resize_before
from train.extractors.tagger import training
from train.extractors.tagger.network import RESIZE, SIZE, ServedTagger, Tagger
from train.extractors.tagger.pictures import read_tagged
from train.extractors.tagger.tags import UNKNOWN, TagClasses
from train.run.checkpoint import code_revision

_BATCHES = (1, 2, 7)
_TOLERANCE = 1e-2  # of features, whose deviation is 1: other summation orders only
_NOTE = (
    "The embedded extractor's feature space is its own: its distances can't be compared with published FIDs, nor with "
    "those of another extractor, only with others of this very file."
)


def train_tagger(
    data: Path,
    tags: Path,
    out: Path,
    *,
    epochs: int,
    seed: int,
    licence: str,
    provenance: str,
) -> dict[str, Any]:
    """Train on the pictures of a folder or zip and their tags, and write `out` and beside it its card as a page.

    Raises:
        ConfigError: `out` has another extension than .onnx, or too few pictures.
        DataError: pictures or tags that can't be read.
        TrainingError: the loss is no longer finite.
        ExportError: ONNX Runtime's features differ from torch's; nothing is written.
        OutputError: a file can't be written.
    """
    onnx_graph.check_target(out)
    began = time.perf_counter()
    pictures = read_tagged(data, tags, size=SIZE)
    images, labels = pictures.images, pictures.labels
    labelled = (labels.classes != UNKNOWN).any(axis=1)
    rows, test = labelled & ~pictures.held_out, labelled & pictures.held_out
    if not test.any():
        raise ConfigError(
            f"none of the {rows.sum()} labelled pictures falls into the tenth that is held out, by a hash of its name, "
            "and some must, to say how often the tagger is right: bring more, or give them names of their own"
        )
    tagger = training.fit(images[rows], TagClasses(labels.groups, labels.classes[rows]), epochs=epochs, seed=seed)
    accuracy = training.accuracy(tagger, images[test], TagClasses(labels.groups, labels.classes[test]))
    model = build(tagger)
    card = {
        "format_version": 1,
        "name": out.stem,
        "note": _NOTE,
        "resize": RESIZE,
        "features": int(tagger.scale.numel()),
        "tags": list(labels.names),
        "accuracy": {
            name: {"right": value.right, "held_out": value.shown, "share": round(value.share, 4)}
            for name, value in accuracy.items()
            if value.shown
        },
        "data": {
            "name": pictures.source,
            "images": len(images),
            "resize": f"{FIT} to {SIZE}×{SIZE}",
            "sha256": pictures.sha256,
            "tags": tags.name,
            "trained_on": int(rows.sum()),
            "held_out": int(test.sum()),
        },
        "training": {
            "command": "python -m train tagger",
            "epochs": epochs,
            "batch": training.BATCH,
            "optimiser": f"AdamW, weight decay {training.WEIGHT_DECAY}, one cycle up to {training.LEARNING_RATE}",
            "augmentation": "flips, turns, crops and shifts, light and contrast; never the hue",
            "seed": seed,
            "minutes": training.minutes_since(began),
        },
        "parity": prove(model, tagger, images[test][: sum(_BATCHES)]),
        "licence": licence,
        "provenance": provenance,
        "code_revision": code_revision(),
    }
    onnx_graph.save(model, {CARD_KEY: json.dumps(card, ensure_ascii=False)}, out)
    with replacing(out.with_suffix(".md")) as temporary:
        temporary.write_text(page(card), encoding="utf-8")
    return card


def build(tagger: Tagger) -> onnx.ModelProto:
    """The ONNX graph: uint8 [N, 3, H, W] → features float32 [N, D], tags float32 [N, classes]; N, H and W are free."""
    graph = ServedTagger(copy.deepcopy(tagger)).to(memory_format=torch.contiguous_format).eval()
    example = torch.zeros(2, 3, SIZE, SIZE)
    model = onnx_graph.trace(graph, example, "tagger", ["pixels"], ["features", "tags"], {0: "batch"})
    onnx_graph.halve(model)
    resize_before(model, SIZE)
    return model


def prove(model: onnx.ModelProto, tagger: Tagger, images: Images) -> dict[str, Any]:
    """Compare ONNX Runtime with torch on uint8 [N, 64, 64, 3] in batches of several sizes.

    Raises:
        ExportError: features or probabilities further apart than `_TOLERANCE`.
    """
    session = Session(model.SerializeToString(), device="cpu")
    worst, start = np.zeros(2), 0
    for batch in _BATCHES:
        part = images[start : start + batch]
        start += batch
        if not len(part):
            break
        outputs = session.run({"images": np.ascontiguousarray(part.transpose(0, 3, 1, 2))})
        with torch.no_grad():
            features = tagger.features(training.to_input(part))
            probabilities = torch.cat([group.softmax(1) for group in tagger.logits(features)], 1)
        expected = (features.numpy(), probabilities.numpy())
        worst = np.maximum(worst, [np.abs(a - b).max() for a, b in zip(outputs, expected, strict=True)])
    if not (worst <= _TOLERANCE).all():
        raise ExportError(
            f"the export is not the trained tagger: ONNX Runtime and torch are {worst[0]:.4g} apart in a feature and "
            f"{worst[1]:.4g} in a probability (allowed: {_TOLERANCE}); nothing was written"
        )
    return {"weights": "fp16", "max_feature": float(f"{worst[0]:.3g}"), "max_probability": float(f"{worst[1]:.3g}")}


def page(card: Mapping[str, Any]) -> str:
    """The card as a page for people."""
    lines = [f"# {card['name']}", "", card["provenance"], "", card["note"], "", f"Licence: {card['licence']}", ""]
    lines += ["| fact | value |", "|---|---|", f"| resize | {card['resize']} |", f"| features | {card['features']} |"]
    for table in ("data", "training", "parity"):
        lines += [f"| {table}.{key} | {value} |" for key, value in card[table].items()]
    lines += [f"| code_revision | {card['code_revision']} |", ""]
    lines += [
        "Accuracy on the held-out tenth, of the pictures whose tag is clear. A blind guess names a group's most",
        "frequent class: a group that is right hardly more often than that tells little.",
        "",
    ]
    lines += ["| tag | right | held out | share | blind guess |", "|---|---|---|---|---|"]
    accuracy = card["accuracy"]
    for name, value in accuracy.items():
        shown = [other["held_out"] for tag, other in accuracy.items() if tag.startswith(f"{name}:")]
        blind = f"{max(shown) / value['held_out']:.1%}" if shown else ""
        lines += [f"| {name} | {value['right']} | {value['held_out']} | {value['share']:.1%} | {blind} |"]
    return "\n".join(lines) + "\n"
