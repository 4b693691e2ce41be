"""Choosing the images that a small generator is trained with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Run, assert_error, run
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")

from animegen.files import sha256
from train.data import Dataset, prepare
from train.features import file as features
from train.features.lens import Lens
from train.features.network import FeatureNetwork
from train.selection import DARK, FAINT, Views, choose, look

COUNT = 300
KINDS = {"tilted": 40, "faint": 20, "dark": 20, "upright": 220}


def face(rng: np.random.Generator, kind: str) -> Image.Image:
    """A head with two eyes and hair on a bright ground, in colours of chance."""
    hair, eyes = (tuple(int(v) for v in rng.integers(0, 90, 3)) for _ in range(2))
    picture = Image.new("RGB", (64, 64), tuple(int(v) for v in rng.integers(180, 256, 3)))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 6, 53, 60), fill=(250, 220, 200))
    draw.pieslice((10, 6, 53, 50), 180, 360, fill=hair)
    for x in (20, 36):
        draw.rectangle((x, 34, x + 7, 42), fill=eyes)
    if kind == "tilted":
        picture = picture.rotate(35, Image.Resampling.BILINEAR)
    told = {"faint": lambda value: 200 + value // 16, "dark": lambda value: value // 2}
    return picture.point(told[kind]) if kind in told else picture


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A dataset of such faces, and of what kind each is."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    kinds = [str(kind) for kind in rng.permutation(np.repeat(list(KINDS), list(KINDS.values())))]
    (folder / "pictures").mkdir()
    for k, kind in enumerate(kinds):
        face(rng, kind).save(folder / "pictures" / f"{k:03}.png")
    prepare(folder / "pictures", folder / "mixed64", size=64)
    return folder / "mixed64", kinds


@pytest.fixture(scope="module")
def lens_file(mixed: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of random weights: a picture and its mirror image are as far apart in them as they are."""
    torch.manual_seed(0)
    network = FeatureNetwork([2])
    network.freeze()
    card = features.FeaturesCard(
        kind="features", format=features.FORMAT, data="", data_images=0, data_sha256="", tags="", trained_on=0,
        held_out=0, accuracy={}, epochs=1, seed=0, minutes=0, licence="", provenance="", code="",
    )  # fmt: skip
    out = tmp_path_factory.mktemp("features") / "random.safetensors"
    features.write(out, Lens(network), card)
    return out


def test_what_is_upright_and_clear_is_kept(mixed: tuple[Path, list[str]], lens_file: Path, tmp_path: Path) -> None:
    data, kinds = mixed
    command = ("select", data, "--features", lens_file, "--share", 0.7, "--out", tmp_path / "ahead64", "--threads", 1)
    done = run(sys.executable, "-m", "train", *map(str, command), cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    dataset, whole = Dataset.open(tmp_path / "ahead64"), Dataset.open(data)
    places = {image.tobytes(): k for k, image in enumerate(whole.images)}
    found = [places[image.tobytes()] for image in dataset.images]
    assert found == sorted(found)
    assert len(found) == 210
    assert {kinds[k] for k in found} == {"upright"}
    assert dataset.card.source == "pictures, 210 of 300"
    for said in (dataset.card.source, dataset.card.sha256):
        assert said in done.stderr.decode()
    for said in ("0.7", whole.card.sha256, sha256(lens_file)):
        assert said in dataset.card.chosen
    assert "chosen" not in json.loads((data / "dataset.json").read_text())  # a whole dataset's card is as it was


def test_what_is_measured_of_an_image(mixed: tuple[Path, list[str]], lens_file: Path) -> None:
    data, kinds = mixed
    lens, _ = features.read(lens_file)
    images = np.array(Dataset.open(data).images)
    told: list[tuple[int, int]] = []
    views = look(images, lens, each=lambda done, total: told.append((done, total)))
    assert told == [(256, COUNT), (COUNT, COUNT)]
    kind = np.array(kinds)
    assert views.asymmetry[kind == "upright"].max() < views.asymmetry[kind == "tilted"].min()
    assert views.contrast[kind == "faint"].max() < FAINT < views.contrast[kind == "upright"].min()
    assert views.brightness[kind == "dark"].max() < DARK < views.brightness[kind != "dark"].min()
    assert views.contrast[kind == "dark"].min() > FAINT
    # Density is that of the more symmetric half, so what isn't among it is strange.
    assert np.median(views.strangeness[kind == "upright"]) < np.median(views.strangeness[kind == "tilted"])
    mirrored = look(np.concatenate([images[:, :, ::-1]]), lens)
    np.testing.assert_allclose(mirrored.asymmetry, views.asymmetry, rtol=1e-3)


def test_the_order_of_choice() -> None:
    views = Views(
        asymmetry=np.array([5, 1, 2, 3, 0, 0], np.float32),
        strangeness=np.array([1, 9, 2, 3, 0, 2.5], np.float32),
        contrast=np.array([50, 50, 50, 50, FAINT - 1, 50], np.float32),
        brightness=np.array([150, 150, 150, 150, 150, DARK - 1], np.float32),
    )
    assert [choose(views, count).tolist() for count in (1, 2, 4, 5)] == [[2], [0, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


def test_mistakes_are_told_before_the_work(
    mixed: tuple[Path, list[str]], lens_file: Path, tmp_path: Path, train: Run
) -> None:
    data, _ = mixed
    rest = ("--features", lens_file, "--out", tmp_path / "new")
    assert_error(train("select", data, *rest, "--share", 0), 2, "--share")
    assert_error(train("select", data, *rest, "--share", 0.001), 2, "0.001 of 300")
    assert_error(train("select", tmp_path, *rest), 1, "no packed dataset")
    assert_error(train("select", data, "--features", data / "images.npy", "--out", tmp_path / "new"), 2, "features")
    assert_error(train("select", data, "--features", lens_file, "--out", data), 1, "already exists")
    prepare(data.parent / "pictures", tmp_path / "small", size=32)
    assert_error(train("select", tmp_path / "small", *rest), 2, "32×32×3", "64×64×3")
    assert not (tmp_path / "new").exists()
