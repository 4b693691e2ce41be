"""The model that comes with the package."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND, ROOT, run
from PIL import Image

from animegen import Generator, Seeds, find_model, grid, shipped_models
from animegen.model.catalog import DEFAULT, references
from animegen.quality.agreement import agreements
from animegen.quality.extractors import Extractor
from animegen.quality.opening import own_reference

FACES = [DEFAULT, "anime-pixels-64"]
LABELLED = {"cifar-32": (3, 32, 32), "mnist-28": (1, 28, 28)}
SHAPES = {**dict.fromkeys(FACES, (3, 64, 64)), **LABELLED}
TERMS = {**dict.fromkeys(FACES, "personal use"), "mnist-28": "CC BY-SA 3.0", "cifar-32": "research"}


def test_these_are_all() -> None:
    assert shipped_models().keys() == SHAPES.keys()


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_found_by_name(name: str) -> None:
    assert name in shipped_models()
    assert find_model(name).name == f"{name}.onnx"
    assert find_model(name).stat().st_size < 16e6


@pytest.mark.parametrize("name", SHAPES)
def test_its_card_is_whole(name: str) -> None:
    with Generator.load(name, device="cpu") as generator:
        card = generator.card
    assert (card.name, card.image_shape, card.objective) == (name, SHAPES[name], "wgan-gp")
    own_steps = card.steps - sum(run["steps"] for run in card.earlier)
    own_images = own_steps * card.recipe["n_critic"] * card.recipe["batch_size"]
    assert card.images_seen == own_images + (card.earlier[-1]["images_seen"] if card.earlier else 0)
    assert card.images_seen >= (1_500_000 if name in FACES else 600_000)
    assert card.parity["max_grey_levels"] <= 1
    assert not card.code_revision.endswith("+")
    assert TERMS[name] in card.licence
    page = (ROOT / "models" / f"{name}.md").read_text(encoding="utf-8")
    # The lead above the marker is written by hand.
    assert page.endswith(card.to_markdown())


def test_the_model_of_a_checkout_draws_what_it_is_asked_for() -> None:
    folder = ROOT / "docs" / "models"
    page = (folder / "anime-tags-64.md").read_text(encoding="utf-8")
    with Generator.load(folder / "anime-tags-64.onnx", device="cpu") as generator:
        card = generator.card
        sheet = generator.sheet(11, rows="hair", columns="eyes")
        found = agreements(generator, Extractor.load("anime"), Seeds.starting(0, 256))
    assert page.endswith(card.to_markdown())
    assert card.images_seen >= 2_000_000
    for agreement in found:
        assert agreement.generated >= 0.9 * card.quality[f"agreement_{agreement.group}_of_real_images"]
    assert [agreement.group for agreement in found] == ["hair", "eyes"]
    # The picture in the README is that of the command there, as WebP, with names above and to the left.
    with Image.open(folder / "anime-tags-64-colours.webp") as picture:
        shown = np.asarray(picture.convert("RGB")).astype(int)
    drawn = grid(sheet.reshape(-1, 64, 64, 3), columns=12)
    assert np.abs(shown[-drawn.shape[0] :, -drawn.shape[1] :] - drawn).mean() < 8


def test_it_tells_what_draws() -> None:
    with Generator.load(device="cpu") as generator:
        card = generator.card
    assert card.other["autoencoder"]["values"] == card.recipe["code_values"]
    for data in (card.other["autoencoder"]["data"], card.data["name"]):
        assert str(data).startswith("anime-faces.zip, ")
    assert card.quality["reference_images"] == 30_104


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """The default model's images of seeds 0 to 63."""
    with Generator.load(device="cpu") as generator:
        return generator.sample(64)


def test_golden_images(faces: np.ndarray) -> None:
    # docs/anime-face-64.png is what the README shows. Across machines: one grey level on 99.9 % of the pixels.
    for name, shape in SHAPES.items():
        with Generator.load(name, device="cpu") as generator:
            sheet = grid(faces if name == DEFAULT else generator.sample(64))
        with Image.open(ROOT / "docs" / f"{name}.png") as picture:
            apart = np.abs(sheet.astype(int) - np.asarray(picture).reshape(*sheet.shape[:2], shape[0]))
        assert (apart <= 1).mean() >= 0.999, name


@pytest.mark.parametrize("name", LABELLED)
def test_classes_come_as_they_are_asked_for(name: str) -> None:
    with Generator.load(name, device="cpu") as generator:
        (group,) = generator.labels
        assert (group.name, len(group.classes)) == ("class", 10)
        seven = group.classes[7]
        asked = generator.sample(64, labels={"class": seven})
        np.testing.assert_array_equal(asked, generator(generator.latents(range(64)), {"class": seven}))
        others = generator.sample(64, labels={"class": group.classes[0]})
    # The mean images of two classes lie farther apart than those of two halves of one.
    halves = np.abs(asked[::2].mean(axis=0) - asked[1::2].mean(axis=0)).mean()
    assert np.abs(asked.mean(axis=0) - others.mean(axis=0)).mean() > 1.5 * halves


@pytest.mark.parametrize("name", LABELLED)
def test_it_has_statistics_of_its_own(name: str) -> None:
    with Generator.load(name, device="cpu") as generator:
        reference = own_reference(generator)
        assert reference is not None
        assert generator.card.quality["reference_sha256"] == generator.card.data["sha256"]
        assert generator.card.quality["extractor"] == "imagenet"
    assert references()[reference].stat().st_size < 2e6


def test_seeds_make_different_faces(faces: np.ndarray) -> None:
    images = faces.astype(float)
    between = np.sqrt(((images[:, None] - images[None]) ** 2).mean(axis=(2, 3, 4)))
    assert between[~np.eye(64, dtype=bool)].min() > 20  # root mean square grey levels
    # Skin in the middle: brighter and redder than blue, on nearly every image.
    middle = images[:, 30:46, 24:40].mean(axis=(1, 2))
    assert (middle[:, 0] > middle[:, 2]).mean() > 0.8


def test_a_seed_s_bytes_are_the_same_in_any_batch(faces: np.ndarray) -> None:
    with Generator.load(device="cpu") as generator:
        for batch_size in (1, 3, 20):
            np.testing.assert_array_equal(generator.sample(20, batch_size=batch_size), faces[:20])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_sampling_64_images_takes_under_250_megabytes(tmp_path: Path) -> None:
    script = (
        "import resource, subprocess, sys\n"
        f"subprocess.run([{str(COMMAND)!r}, 'sample', '--n', '64'], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert 10 < int(done.stdout) / 1024 < 250
