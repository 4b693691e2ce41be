"""Extractors: what they compute, what they take, and what is none."""

from __future__ import annotations

import copy
import hashlib
import json
import multiprocessing
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, classifier, picture, write_model
from extractor_models import TAGS, extractor_graph, write_extractor
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from animegen import DataError, Extractor, Generator, ModelError, UsageError, measure
from animegen.model import catalog
from animegen.quality.extractors import CARD_KEY
from animegen.runtime import Session


def noise(count: int, size: tuple[int, int] = (12, 10), channels: int = 3) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *size, channels), dtype=np.uint8)


def expected(images: np.ndarray) -> np.ndarray:
    x = images / 255
    return np.concatenate([x.mean(axis=(1, 2)), (x**2).mean(axis=(1, 2))], axis=1)


def test_features_are_the_graph_s(tiny_extractor: Extractor, tiny_extractor_file: Path) -> None:
    assert tiny_extractor.sha256 == hashlib.sha256(tiny_extractor_file.read_bytes()).hexdigest()
    assert (tiny_extractor.name, tiny_extractor.dimensions, tiny_extractor.device) == ("tiny.onnx", 6, "cpu")
    assert (tiny_extractor.resize, tiny_extractor.weights_sha256) == ("none", "ab")
    assert tiny_extractor.tags == tuple(TAGS)
    images = noise(37)
    features = tiny_extractor(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected(images), atol=1e-5)
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert tiny_extractor.tag(red).argmax() == TAGS.index("hair:red")
    assert tiny_extractor(images[:0]).shape == tiny_extractor(images[:0], batch_size=3).shape == (0, 6)
    assert tiny_extractor.tag(images[:0]).shape == (0, 5)


@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_batches_change_nothing(tiny_extractor: Extractor, count: int, batch_size: int) -> None:
    images = noise(count)
    np.testing.assert_array_equal(tiny_extractor(images, batch_size=batch_size), tiny_extractor(images))


def test_grey_is_measured_as_rgb(tiny_extractor: Extractor) -> None:
    grey = noise(3, channels=1)
    np.testing.assert_array_equal(tiny_extractor(grey), tiny_extractor(np.repeat(grey, 3, axis=3)))


@pytest.mark.parametrize(
    ("shape", "layout"),
    [(("N", "h", "w", 3), "nhwc"), ((4, 3, "h", "w"), "nchw"), ((1, 12, 10, 3), "nhwc")],
)
def test_other_layouts_and_fixed_batches(shape: tuple[object, ...], layout: str, tmp_path: Path) -> None:
    path = write_extractor(tmp_path / "other.onnx", extractor_graph(shape, layout=layout))
    images = noise(7)
    np.testing.assert_allclose(Extractor.load(path, device="cpu")(images), expected(images), atol=1e-5)


def test_a_foreign_extractor_needs_no_card(tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(extractor_graph(tags=False).SerializeToString())
    extractor = Extractor.load(path, device="cpu")
    assert "unknown" in extractor.resize
    assert extractor(noise(2)).shape == (2, 6)
    with pytest.raises(UsageError, match="names no tags"):
        extractor.tag(noise(2))


def test_images_that_it_does_not_take(tiny_extractor: Extractor, tmp_path: Path) -> None:
    other: list[Any] = [noise(2).astype(np.float32), noise(2)[0], noise(2, channels=2)]
    for images in other:
        with pytest.raises(DataError, match="uint8"):
            tiny_extractor(images)
    with pytest.raises(UsageError, match="batch_size is 0 and must be at least 1"):
        tiny_extractor(noise(2), batch_size=0)
    fixed = Extractor.load(write_extractor(tmp_path / "fixed.onnx", extractor_graph(("N", 3, 16, 16))), device="cpu")
    with pytest.raises(DataError, match=r"16×16 only.*--size 16"):
        fixed(noise(2))


def test_a_copy_loads_again(tiny_extractor_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_extractor_file.parent)
    extractor = Extractor.load(tiny_extractor_file.name, device="cpu", threads=1)
    monkeypatch.chdir("/")
    images = noise(5)
    pickled = pickle.loads(pickle.dumps(extractor))  # noqa: S301 (our own)
    for copied in (copy.copy(extractor), copy.deepcopy(extractor), pickled):
        assert copied is not extractor
        assert (copied.name, copied.sha256, copied.tags) == (extractor.name, extractor.sha256, extractor.tags)
        np.testing.assert_array_equal(copied(images), extractor(images))
    joined = Extractor(Session(tiny_extractor_file, device="cpu"), name="joined", sha256="")
    with pytest.raises(UsageError, match="joined was made from a session and can't be copied or pickled"):
        pickle.dumps(joined)


def test_a_pool_takes_an_extractor(anime: Extractor) -> None:
    images = noise(2, (64, 64))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_allclose(pool.apply(anime, (images,)), anime(images), atol=1e-5)


def test_files_that_are_no_extractor(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="anime, imagenet, inception, or the path"):
        Extractor.load("anima")
    with pytest.raises(ModelError, match="no extractor"):
        Extractor.load(tiny_model, device="cpu")  # a generator
    with pytest.raises(ModelError, match="no extractor"):
        Extractor.load(write_model(tmp_path / "floats.onnx", None, classifier()), device="cpu")
    (tmp_path / "words.onnx").write_bytes(b"words")
    with pytest.raises(ModelError, match="not an ONNX model"):
        Extractor.load(tmp_path / "words.onnx", device="cpu")
    model = extractor_graph()
    helper.set_model_props(model, {CARD_KEY: "{"})
    (tmp_path / "card.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="not JSON"):
        Extractor.load(tmp_path / "card.onnx", device="cpu")
    with pytest.raises(ModelError, match="must have 1 or 3 channels"):
        Extractor.load(write_extractor(tmp_path / "both.onnx", extractor_graph(("N", 3, 9, 3))), device="cpu")


# --- the shipped one ---


def test_the_shipped_extractor_s_features_do_not_depend_on_the_batch(anime: Extractor) -> None:
    images = noise(33, (64, 64))
    features, tags = anime(images), anime.tag(images)
    assert features.shape == (33, anime.dimensions)
    for batch_size in (1, 3, 33):
        np.testing.assert_array_equal(anime(images, batch_size=batch_size), features)
        np.testing.assert_array_equal(anime.tag(images, batch_size=batch_size), tags)


def test_the_shipped_extractor_takes_any_size_and_names_its_resize(anime: Extractor) -> None:
    assert anime(noise(2, (96, 96))).shape == anime(noise(2, (40, 50))).shape == (2, anime.dimensions)
    assert "64×64" in anime.resize
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    np.testing.assert_allclose(anime(flat), anime(np.full((1, 256, 256, 3), 90, np.uint8)), atol=1e-3)


def test_the_shipped_extractor_s_tags_are_probabilities(anime: Extractor) -> None:
    tags = anime.tag(noise(4, (64, 64)))
    groups = [tag.partition(":")[0] for tag in anime.tags]
    assert set(groups) == {"hair", "eyes", "length"}
    for group in set(groups):
        columns = [k for k, name in enumerate(groups) if name == group]
        np.testing.assert_allclose(tags[:, columns].sum(axis=1), 1, atol=1e-5)


def test_the_shipped_extractor_is_no_model(anime: Extractor) -> None:
    path = catalog.extractors()["anime-tagger"]
    assert path.stat().st_size <= 12e6
    assert not set(catalog.extractors()) & set(catalog.shipped_models())
    with pytest.raises(ModelError, match="must take latents"):
        Generator.load(path, device="cpu")


def test_the_shipped_extractor_s_card(anime: Extractor) -> None:
    import onnxruntime

    path = catalog.extractors()["anime-tagger"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map[CARD_KEY])
    assert "can't be compared with published FIDs" in card["note"]
    assert "personal use" in card["licence"]
    assert card["data"]["images"] == 30_104
    assert set(anime.tags) <= set(card["accuracy"])
    # A blind guess names the most frequent class. Colours are seen; hair length hardly, on crops of faces.
    for group, better in (("hair", 3), ("eyes", 3), ("length", 1)):
        shown = {name: value["held_out"] for name, value in card["accuracy"].items() if name.startswith(f"{group}:")}
        assert card["accuracy"][group]["share"] > better * max(shown.values()) / sum(shown.values())
    page = (ROOT / "models" / "extractors" / "anime-tagger.md").read_text(encoding="utf-8")
    for name, value in card["accuracy"].items():
        assert f"| {name} | {value['right']} | {value['held_out']} |" in page
    assert card["note"] in page


# --- the general one ---


def test_the_general_extractor_takes_any_picture(imagenet: Extractor, tmp_path: Path) -> None:
    images = noise(7, (20, 31))
    features = imagenet(images)
    assert (features.shape, imagenet.tags) == ((7, 1280), ())
    for batch_size in (1, 3):
        np.testing.assert_array_equal(imagenet(images, batch_size=batch_size), features)
    flat = [imagenet(np.full((1, side, side, 3), 90, np.uint8)) for side in (9, 224, 300)]
    np.testing.assert_allclose(flat[0], flat[1], atol=1e-3)
    np.testing.assert_allclose(flat[2], flat[1], atol=1e-3)
    grey = noise(2, channels=1)
    np.testing.assert_array_equal(imagenet(grey), imagenet(np.repeat(grey, 3, axis=3)))
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for number, mode in enumerate(("RGB", "RGBA", "L", "P")):
            with archive.open(f"{number}.png", "w") as file:
                picture(number).convert(mode).save(file, "PNG")
    assert measure(tmp_path / "pictures.zip", imagenet, size=32).statistics.count == 4


def test_the_general_extractor_needs_no_torch_and_says_what_it_is(imagenet: Extractor) -> None:
    path = catalog.extractors()["imagenet-lite0"]
    assert path.stat().st_size < 9e6
    assert (imagenet.name, imagenet.resize[:22]) == ("imagenet", "bilinear to 224×224, a")
    page = (ROOT / "models" / "extractors" / "imagenet-lite0.md").read_text(encoding="utf-8")
    for word in (imagenet.sha256, imagenet.weights_sha256, imagenet.resize, "Apache-2.0", "published FIDs"):
        assert word in page


def test_the_two_shipped_extractors_don_t_mix(imagenet: Extractor, anime: Extractor) -> None:
    images = noise(4, (64, 64))
    reference = measure(images, imagenet)
    with pytest.raises(DataError, match=r"imagenet .* anime .* one extractor on both sides"):
        reference.distance(measure(images, anime))
    with pytest.raises(DataError, match="one extractor on both sides"):
        measure(images, anime, against=reference)
