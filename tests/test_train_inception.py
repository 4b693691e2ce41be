"""The Inception extractor against pytorch-fid's own code, on random weights of the same architecture. No download."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error, picture
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("pytorch_fid")

import torch
from numpy.typing import NDArray
from pytorch_fid import fid_score
from pytorch_fid import inception as original
from torch import nn

from animegen import Extractor, MissingPackageError, ModelError, Reference, measure
from animegen.quality.distances import frechet_distance
from animegen.quality.extractors import inception_file
from animegen.quality.statistics import Statistics
from train.extractors import inception

COUNT = 24  # pictures, half of them noisy


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded random weights, of a size that makes features as large as the real network's, which reach some 3."""
    torch.manual_seed(0)
    blank = tmp_path_factory.mktemp("blank") / inception.NAME
    with pytest.MonkeyPatch.context() as patch:
        # pytorch-fid builds its network only together with its weights: none are loaded into this one.
        patch.setattr(original, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        network = original.fid_inception_v3()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # keeps the size of what passes
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
    torch.save(network.state_dict(), blank)
    return blank


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    path = tmp_path_factory.mktemp("exported") / "inception.onnx"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    card = inception.export_inception(weights, path, sha256=digest)
    assert card["parity"]["max_feature"] <= 1e-4
    extractor = Extractor.load(path, device="cpu", threads=2)
    assert extractor.weights_sha256 == digest
    return extractor


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Images of 64×64."""
    discs = np.stack([np.asarray(picture(number, (64, 64))) for number in range(COUNT)]).astype(float)
    discs[COUNT // 2 :] += np.random.default_rng(0).normal(0, 40, discs[COUNT // 2 :].shape)
    images: NDArray[np.uint8] = np.clip(discs, 0, 255).astype(np.uint8)
    return images


@pytest.fixture(scope="module")
def features(exported: Extractor, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return exported(pictures)


@pytest.fixture(scope="module")
def activations(
    weights: Path, pictures: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> NDArray[np.float64]:
    """What pytorch-fid itself computes of those pictures, as files."""
    folder = tmp_path_factory.mktemp("pictures")
    files = [folder / f"{number:02}.png" for number in range(len(pictures))]
    for file, image in zip(files, pictures, strict=True):
        Image.fromarray(image).save(file)
    network = inception.load_network(weights)
    return np.asarray(fid_score.get_activations(files, network, batch_size=8, device="cpu", num_workers=0))


@pytest.mark.slow
def test_features_are_pytorch_fid_s(features: NDArray[np.float32], activations: NDArray[np.float64]) -> None:
    assert features.shape == (COUNT, 2048) == activations.shape
    assert activations.std(axis=0).max() > 0.01  # the comparison says something
    np.testing.assert_allclose(features, activations, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # of SciPy, to pytorch-fid
def test_the_distance_is_pytorch_fid_s(features: NDArray[np.float32], activations: NDArray[np.float64]) -> None:
    half = COUNT // 2
    # Of every 256th feature: with more of them than images pytorch-fid's matrix root has nothing exact to give.
    ours, theirs = features[:, ::256], activations[:, ::256]
    distance = frechet_distance(Statistics.of([ours[:half]]), Statistics.of([ours[half:]]))
    sides = [value for side in (theirs[:half], theirs[half:]) for value in (side.mean(0), np.cov(side, rowvar=False))]
    assert distance == pytest.approx(fid_score.calculate_frechet_distance(*sides), rel=1e-3)
    # Of many more features than images: ours, from either side's. (Of all 2,048 it takes minutes and says no more.)
    many = [
        frechet_distance(Statistics.of([values[:half]]), Statistics.of([values[half:]]))
        for values in (features[:, ::8], activations[:, ::8])
    ]
    assert many[0] == pytest.approx(many[1], rel=1e-3)
    assert many[0] > 0.01


@pytest.mark.slow
def test_the_card_names_the_resize(exported: Extractor) -> None:
    assert "299×299" in exported.resize
    assert "align_corners=False" in exported.resize


@pytest.mark.slow
def test_pytorch_fid_reads_our_statistics(exported: Extractor, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    reference = measure(pictures[:2], exported)
    reference.save(tmp_path / "reference.npz")
    mu, sigma = fid_score.compute_statistics_of_path(str(tmp_path / "reference.npz"), None, 1, 2048, "cpu")
    np.testing.assert_array_equal(mu, reference.statistics.mean)
    np.testing.assert_array_equal(sigma, reference.statistics.covariance)
    assert Reference.load(tmp_path / "reference.npz").protocol == reference.protocol


def test_weights_that_are_not_these(tmp_path: Path, train_process: Run) -> None:
    truncated = tmp_path / inception.NAME
    truncated.write_bytes(b"PK" + bytes(1000))
    with pytest.raises(ModelError, match=inception.SHA256):
        inception.find_weights(truncated)
    with pytest.raises(ModelError, match="does not exist"):
        inception.find_weights(tmp_path / "none.pth")
    done = train_process("inception", "--weights", truncated, "--out", tmp_path / "inception.onnx")
    assert_error(done, 1, "1,002 bytes", inception.SHA256)
    assert not (tmp_path / "inception.onnx").exists()


def test_offline_one_line_says_where_the_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Run) -> None:
    requests = pytest.importorskip("requests")
    monkeypatch.setenv("ANIMEGEN_CACHE", str(tmp_path / "cache"))

    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setattr(requests.Session, "request", refuse)
    done = train("inception", "--out", tmp_path / "inception.onnx")
    assert_error(done, 1, str(inception.weights_file()), inception.SHA256, "--weights")
    assert done.stderr.decode().startswith(f"fetching {inception.ADDRESS} ")


def test_weights_in_the_cache_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMEGEN_CACHE", str(tmp_path))
    inception.weights_file().parent.mkdir()
    inception.weights_file().write_bytes(b"half a download")
    with pytest.raises(ModelError, match=inception.SHA256):
        inception.find_weights()


def test_without_pooch_or_pytorch_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setenv("ANIMEGEN_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        inception.find_weights()
    monkeypatch.setitem(sys.modules, "pytorch_fid.inception", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        inception.load_network(weights)


def test_without_the_export_one_line_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, animegen: Run
) -> None:
    monkeypatch.setenv("ANIMEGEN_CACHE", str(tmp_path))
    assert inception_file().is_relative_to(tmp_path)
    done = animegen("fid", "--extractor", "inception", "--n", "2")
    assert_error(done, 1, str(inception_file()), "python -m train inception")
