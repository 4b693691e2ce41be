"""The tagger: its labels, its training on pictures whose tags are plain to see, and its file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import plain_faces
import pytest
from conftest import ROOT, Run, assert_error, run
from plain_faces import HAIR, face

pytest.importorskip("torch")

import onnx
import torch

from animegen import DataError, Extractor, OutputError, save_image
from animegen.quality.extractors import CARD_KEY
from train.errors import ConfigError, ExportError
from train.extractors.tagger import training
from train.extractors.tagger.export import build, prove, train_tagger
from train.extractors.tagger.network import Tagger
from train.extractors.tagger.tags import UNKNOWN, TagClasses, held_out, label


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return plain_faces.write(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def trained(faces: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A tagger of plain faces and its card, by the command in a process of its own."""
    out = tmp_path_factory.mktemp("trained") / "plain.onnx"
    data = ("--data", faces[0], "--tags", faces[1], "--out", out, "--licence", "CC0", "--provenance", "Squares.")
    done = run(sys.executable, "-m", "train", "tagger", *data, "--epochs", "4", "--threads", "1", cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert "held-out pictures: hair " in done.stderr.decode()
    (card,) = (entry.value for entry in onnx.load(out).metadata_props if entry.key == CARD_KEY)
    return out, json.loads(card)


def test_pictures_of_which_none_is_held_out(tmp_path: Path) -> None:
    names = [f"{k}.png" for k in range(90)]
    kept = [name for name, held in zip(names, held_out(names), strict=True) if not held]
    (tmp_path / "faces").mkdir()
    rows = ["file\ttags"]
    for k, name in enumerate(kept):
        hair, eyes, length = ("red", "black", "long") if k % 2 else ("blue", "white", "short")
        save_image(face(np.random.default_rng(k), hair, eyes, length), tmp_path / "faces" / name)
        rows.append(f"{name}\t{length} {hair} hair and {eyes} eyes")
    (tmp_path / "tags.tsv").write_text("\n".join(rows) + "\n")
    options: dict[str, Any] = {"epochs": 1, "seed": 0, "licence": "", "provenance": ""}
    with pytest.raises(ConfigError, match=f"none of the {len(kept)} labelled pictures falls into the tenth"):
        train_tagger(tmp_path / "faces", tmp_path / "tags.tsv", tmp_path / "a.onnx", **options)
    (tmp_path / "b.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder: name a file"):  # before the pictures are read
        train_tagger(tmp_path / "none", tmp_path / "tags.tsv", tmp_path / "b.onnx", **options)


# --- tags ---


def test_classes_are_numbered_by_name_and_rare_ones_left_out() -> None:
    tags = {
        "a.png": {"hair": "red", "eyes": "blue", "length": "long"},
        "b.png": {"hair": "red", "eyes": "green", "length": "short"},
        "c.png": {"hair": "blue", "eyes": "green", "length": "short"},
        "d.png": {"hair": "blue", "eyes": "blue", "length": "long"},
        "e.png": {"hair": "plaid"},
    }
    labels = label(["x/d.png", "x/e.png", "x/none.png", "x/a.png", "x/b.png", "x/c.png"], tags)
    assert labels.groups == {"hair": ("blue", "red"), "eyes": ("blue", "green"), "length": ("long", "short")}
    assert labels.classes.tolist() == [[0, 0, 0], [-1] * 3, [-1] * 3, [1, 0, 0], [1, 1, 1], [0, 1, 1]]
    assert labels.names[:3] == ("hair:blue", "hair:red", "eyes:blue")
    with pytest.raises(DataError, match="fewer than two classes of hair"):
        label(["e.png"], tags)
    folders = label(["x/d.png", "y/d.png", "a.png", "b.png", "c.png"], {**tags, "y/d.png": tags["c.png"]})
    assert folders.classes[:2].tolist() == [[0, 0, 0], [0, 1, 1]]


def test_a_tenth_is_held_out_whatever_lies_beside() -> None:
    names = [f"faces/{number}.jpg" for number in range(5000)]
    chosen = held_out(names)
    assert 0.08 < chosen.mean() < 0.12
    assert held_out([f"elsewhere/{number}.jpg" for number in (3, 77)]).tolist() == chosen[[3, 77]].tolist()


# --- training ---


def test_augmentation_keeps_colours_and_size() -> None:
    rng = np.random.default_rng(0)
    image = np.full((8, 64, 64, 3), (200, 40, 90), np.uint8)
    x = training.to_input(image)
    changed = training.augment(x, rng)
    assert changed.shape == x.shape
    assert changed.min() >= -1
    assert changed.max() <= 1
    means = changed.mean((2, 3))
    assert ((means[:, 0] > means[:, 2]) & (means[:, 2] > means[:, 1])).all()  # red, then blue, then green
    face_like = torch.linspace(-1, 1, 64).expand(32, 3, 64, 64)
    slopes = (training.augment(face_like, rng)[..., 40] - training.augment(face_like, rng)[..., 20]).mean((1, 2))
    assert (slopes > 0).any()
    assert (slopes < 0).any()  # some are mirrored


def test_an_unknown_class_costs_nothing() -> None:
    logits = (torch.randn(4, 3), torch.randn(4, 2))
    classes = torch.tensor([[0, 1], [1, UNKNOWN], [UNKNOWN, 0], [UNKNOWN, UNKNOWN]])
    whole = training.loss_of(logits, classes)
    changed = (logits[0].clone(), logits[1].clone())
    changed[0][2:] += 5 * torch.randn(2, 3)
    changed[1][[1, 3]] += 5 * torch.randn(2, 2)
    assert training.loss_of(changed, classes) == pytest.approx(whole.item())
    assert training.loss_of(logits, torch.full((4, 2), UNKNOWN)) == 0


def test_folding_and_scaling_leave_the_logits() -> None:
    torch.manual_seed(0)
    tagger = Tagger([3, 2])
    for module in tagger.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
            assert module.running_var is not None
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.rand(5, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = torch.cat(tagger.eval()(x), 1)
        tagger.fold()
        tagger.rescale(tagger.features(x).std(0))
        after, features = torch.cat(tagger(x), 1), tagger.features(x)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in tagger.modules())
    largest = float(before.abs().max())
    torch.testing.assert_close(after, before, rtol=0, atol=0.02 * largest)  # weights were rounded to fp16
    deviation = features.std(0)
    assert (deviation > 0.01).any()
    np.testing.assert_allclose(deviation[deviation > 0.01].numpy(), 1, atol=1e-3)


@pytest.mark.slow
def test_plain_tags_are_learnt(trained: tuple[Path, dict[str, Any]]) -> None:
    path, card = trained
    assert card["data"]["trained_on"] + card["data"]["held_out"] == card["data"]["images"] == 400
    assert card["accuracy"]["hair"]["share"] > 0.9
    assert sum(card["accuracy"][f"hair:{name}"]["held_out"] for name in HAIR) == card["data"]["held_out"]
    extractor = Extractor.load(path, device="cpu")
    rng = np.random.default_rng(5)
    images = np.stack([face(rng, hair, "black", "long") for hair in HAIR])
    tags = extractor.tag(images)
    columns = [extractor.tags.index(f"hair:{hair}") for hair in HAIR]
    assert tags[:, columns].argmax(axis=1).tolist() == [0, 1, 2]
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "can't be compared with published FIDs" in page
    assert "| hair:red |" in page


@pytest.mark.slow
def test_the_file_is_self_contained(trained: tuple[Path, dict[str, Any]]) -> None:
    path, _card = trained
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert path.stat().st_size <= 12e6
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert str(ROOT) not in json.dumps([prop.value for prop in model.metadata_props])
    images = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    extractor = Extractor.load(path, device="cpu")
    np.testing.assert_array_equal(extractor(images, batch_size=1), extractor(images, batch_size=9))


def test_another_network_is_not_its_export() -> None:
    torch.manual_seed(0)
    one, other = Tagger([3, 2]), Tagger([3, 2])
    one.fold()
    other.fold()
    images = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)
    model = build(one)
    assert prove(model, one, images)["max_feature"] <= 1e-2
    with pytest.raises(ExportError, match="not the trained tagger"):
        prove(model, other, images)


def test_data_that_cannot_be(faces: tuple[Path, Path], tiny_data: Path, tmp_path: Path, train: Run) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        train_tagger(*faces, tmp_path / "a.pth", epochs=1, seed=0, licence="", provenance="")
    np.savez(tmp_path / "images.npz", images=np.zeros((3, 64, 64, 3), np.uint8))
    done = train("tagger", "--data", tmp_path / "images.npz", "--tags", faces[1], "--out", tmp_path / "a.onnx")
    assert_error(done, 2, "no file names")
    few = TagClasses({"hair": ("a", "b")}, np.zeros((5, 1), np.int64))
    with pytest.raises(ConfigError, match="a batch of 64 must be"):
        training.fit(np.zeros((5, 64, 64, 3), np.uint8), few, epochs=1, seed=0)
    (tmp_path / "empty.tsv").write_text("file\ttags\n", encoding="utf-8")
    done = train("tagger", "--data", faces[0], "--tags", tmp_path / "empty.tsv", "--out", tmp_path / "a.onnx")
    assert_error(done, 1, "fewer than two classes")
    assert not (tmp_path / "a.onnx").exists()
