"""pytorch-fid's Inception-v3 as an ONNX extractor, its resize inside; its weights checked, and fetched where missing.

The network's code is pytorch-fid's own, so what is exported is what it computes. It needs torch, and so lives in the
forge; what it leaves in the user's cache is an ordinary file for animegen.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from animegen.errors import MissingPackageError, ModelError
from animegen.files import is_file, sha256
from animegen.model import fetch
from animegen.quality.extractors import CARD_KEY, INCEPTION
from animegen.runtime import Session
from train.errors import ExportError
from train.export import onnx_graph

NAME = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIZE = 95_628_359  # bytes
ADDRESS = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{NAME}"
RESIZE = "bilinear to 299×299, align_corners=False, not antialiased, then 2x − 1, in the graph, as pytorch-fid 0.3.0"
_TOLERANCE = 1e-4  # of a feature; those lie between 0 and some 3
_INSTALL = "pip install -r train/requirements.txt"

logger = logging.getLogger(__name__)


def weights_file() -> Path:
    """Where the weights lie in the user's cache."""
    return fetch.cache() / "extractors" / NAME


def find_weights(given: Path | None = None) -> Path:
    """The weights: those in the file that is given, else those in the cache, else fetched into it; always checked.

    Raises:
        ModelError: a file that is not these weights, or none and no way to fetch them.
        MissingPackageError: pooch, which fetches, is not installed.
    """
    if given is not None:
        if not is_file(given, ModelError):
            raise ModelError(f"{given} does not exist: name a copy of {NAME}, or leave --weights out to fetch it")
        return _checked(given)
    cached = weights_file()
    if not is_file(cached, ModelError):
        logger.info(f"fetching {ADDRESS} ({SIZE:,} bytes)")
        _fetch(cached)
    return _checked(cached)


def export_inception(weights: Path, out: Path, *, sha256: str = SHA256) -> dict[str, Any]:
    """Write the extractor to `out` once torch and ONNX Runtime are seen to agree; returns its card.

    `sha256` is that of the weights, by which statistics know the extractor whatever torch wrote the file.

    Raises:
        ExportError: the features differ by more than 1e-4; nothing is written.
        MissingPackageError: pytorch-fid is not installed.
        OutputError: `out` can't be written.
    """
    graph = PooledFeatures(load_network(weights)).eval()
    model = _build(graph)
    card = {
        "format_version": 1,
        "name": INCEPTION,
        "resize": RESIZE,
        "features": 2048,
        "weights": NAME,
        "weights_sha256": sha256,
        "parity": {"max_feature": _prove(model, graph)},
    }
    onnx_graph.save(model, {CARD_KEY: json.dumps(card, ensure_ascii=False)}, out)
    return card


class PooledFeatures(nn.Module):
    """uint8 [N, 3, H, W] → pytorch-fid's pooled features float32 [N, 2048]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """ToTensor's division; the resize and the rest are pytorch-fid's own."""
        pooled: Tensor = self.network(images.float() / 255)[0]
        return pooled.flatten(1)


def load_network(weights: Path) -> nn.Module:
    """pytorch-fid's network with these weights.

    Raises:
        MissingPackageError: pytorch-fid is not installed.
    """
    try:
        from pytorch_fid.inception import InceptionV3
    except ImportError as error:
        raise MissingPackageError(f"the network is pytorch-fid's: {_INSTALL}") from error
    before = torch.hub.get_dir()
    # pytorch-fid asks torch's hub for its weights. A hub that has them asks nobody.
    with tempfile.TemporaryDirectory() as hub:
        (Path(hub) / "checkpoints").mkdir()
        shutil.copyfile(weights, Path(hub) / "checkpoints" / NAME)
        torch.hub.set_dir(hub)
        try:
            network: nn.Module = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
        finally:
            torch.hub.set_dir(before)
    return network.eval().requires_grad_(False)


def _build(graph: PooledFeatures) -> onnx.ModelProto:
    example = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    free = {0: "batch", 2: "height", 3: "width"}
    return onnx_graph.trace(graph, example, INCEPTION, ["images"], ["features"], free)


def _prove(model: onnx.ModelProto, graph: PooledFeatures) -> float:
    """The largest difference of a feature between torch and ONNX Runtime, on noise of two sizes.

    Raises:
        ExportError: it is above 1e-4.
    """
    session = Session(model.SerializeToString(), device="cpu")
    rng = np.random.default_rng(0)
    worst = 0.0
    for batch, size in ((1, 64), (3, 96)):
        images = rng.integers(0, 256, (batch, 3, size, size), dtype=np.uint8)
        (features,) = session.run({"images": images})
        with torch.no_grad():
            expected = graph(torch.from_numpy(images)).numpy()
        worst = max(worst, float(np.abs(features - expected).max()))
    if not worst <= _TOLERANCE:
        raise ExportError(
            f"the export is not pytorch-fid's network: ONNX Runtime and torch are {worst:.4g} apart in a feature "
            f"(allowed: {_TOLERANCE}); nothing was written"
        )
    return float(f"{worst:.3g}")


def _checked(path: Path) -> Path:
    digest = sha256(path)
    if digest != SHA256:
        raise ModelError(
            f"{path} has {path.stat().st_size:,} bytes and sha256 {digest}, and {NAME} must have {SIZE:,} and "
            f"{SHA256}: get a whole copy"
        )
    return path


def _fetch(target: Path) -> None:
    by_hand = f"put {NAME} (sha256 {SHA256}) at {target}, or name it with --weights"
    try:
        import pooch
        import requests
    except ImportError as error:
        raise MissingPackageError(f"fetching the weights needs pooch: {_INSTALL}, or {by_hand}") from error
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        pooch.retrieve(ADDRESS, f"sha256:{SHA256}", fname=NAME, path=target.parent)
    except requests.RequestException as error:
        raise ModelError(f"the weights can't be fetched (no connection): {by_hand}") from error
    except ValueError as error:  # pooch's, of a checksum
        raise ModelError(f"{ADDRESS} doesn't have the sha256 {SHA256}: {by_hand}") from error
    except OSError as error:
        raise ModelError(f"{target.parent} can't be written: {error.strerror or error}") from error
