"""What images are compared with and by which extractor, where neither is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Run, tiny_card, tiny_graph, write_model

from animegen import DataError, Extractor, Generator, ImageSet, Reference, UsageError, fid, measure
from animegen.model import catalog
from animegen.quality.opening import open_extractor, open_reference, own_reference


@pytest.fixture(scope="module")
def faces() -> Reference:
    """The shipped statistics."""
    return Reference.load(catalog.references()["anime-faces"])


def model(path: Path, **card: Any) -> Generator:
    """A tiny model whose card says this."""
    return Generator.load(write_model(path / "some.onnx", tiny_card(**card), tiny_graph()), device="cpu")


def images(side: int = 8) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (6, side, side, 3), dtype=np.uint8)


def test_a_model_s_own_reference_is_that_of_its_pictures(faces: Reference, tmp_path: Path) -> None:
    sha256 = faces.protocol.data_sha256
    for card in ({"quality": {"reference_sha256": sha256}}, {"data": {"sha256": sha256}}):
        assert own_reference(model(tmp_path, **card)) == "anime-faces"
    assert own_reference(model(tmp_path, data={"sha256": "another"})) is None
    assert own_reference(model(tmp_path)) is None
    assert own_reference(ImageSet.of(images())) is None


def test_auto_is_the_reference_s_extractor_or_else_the_model_s(
    faces: Reference, tiny_extractor: Extractor, tmp_path: Path
) -> None:
    of_faces = model(tmp_path, data={"sha256": faces.protocol.data_sha256})
    other, pictures = model(tmp_path), ImageSet.of(images())
    named: list[tuple[Any, Any, str | None, str]] = [
        (of_faces, None, None, "anime"),
        (of_faces, pictures, "auto", "anime"),
        (other, None, "auto", "imagenet"),
        (pictures, pictures, None, "imagenet"),
        (other, faces, None, "anime"),  # statistics decide first
        (pictures, faces, "auto", "anime"),
        (pictures, faces, "imagenet", "imagenet"),  # what is asked for is taken, and refused when it is compared
    ]
    for whose, against, asked, expected in named:
        assert open_extractor(asked, whose, against, device="cpu").name == expected
    by_file = measure(images(), tiny_extractor)
    with pytest.raises(UsageError, match=r"an array was measured with tiny\.onnx: name that file with --extractor"):
        open_extractor(None, other, by_file)
    assert (
        measure(images(), against=measure(images(), "anime", device="cpu"), device="cpu").protocol.extractor == "anime"
    )


def test_a_shipped_name_has_statistics_by_several_extractors(
    imagenet: Extractor, anime: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = images(16)
    for extractor, name in ((anime, "dots"), (imagenet, "dots-imagenet")):
        measure(pictures, extractor).save(tmp_path / f"{name}.npz")
    shipped = {path.stem: path for path in sorted(tmp_path.glob("*.npz"))}
    monkeypatch.setattr(catalog, "references", lambda: shipped)
    whole = ImageSet.of(pictures)
    asked: list[tuple[Any, str]] = [(None, "anime"), ("auto", "anime"), ("anime", "anime"), (imagenet, "imagenet")]
    for extractor, expected in asked:
        reference = open_reference("dots", whole, extractor)
        assert isinstance(reference, Reference)
        assert reference.protocol.extractor == expected
    with pytest.raises(DataError, match="one extractor on both sides"):
        fid(pictures, "dots-imagenet", extractor=anime)
    # A model of those pictures needs no name.
    sha256 = str(np.load(shipped["dots"])["data_sha256"])
    opened = open_reference(None, model(tmp_path, data={"sha256": sha256}))
    assert isinstance(opened, Reference)
    assert (opened.protocol.data_sha256, opened.protocol.extractor) == (sha256, "anime")


def test_stats_of_pictures_are_by_the_general_extractor(animegen: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "pictures.npz", images=images())
    done = animegen("stats", "pictures.npz", "--features", 0, "--device", "cpu", "--out", "pictures-stats.npz")
    assert done.returncode == 0, done.stderr.decode()
    reference = Reference.load(tmp_path / "pictures-stats.npz")
    assert (reference.protocol.extractor, reference.statistics.count, len(reference.sample)) == ("imagenet", 6, 0)


@pytest.mark.slow
def test_each_shipped_model_has_a_distance_by_the_general_extractor(animegen: Run) -> None:
    done = animegen("fid", "--extractor", "imagenet", "--n", 20, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr.decode()
    score = json.loads(done.stdout)
    assert (score["dimensions"], score["reference_count"]) == (1280, 30_104)
    assert (score["measured"]["extractor"], score["reference"]["extractor"]) == ("imagenet", "imagenet")
    faces, general = (Reference.load(catalog.references()[name]) for name in ("anime-faces", "anime-faces-imagenet"))
    assert faces.protocol.data_sha256 == general.protocol.data_sha256  # the same pictures
    assert (ROOT / "models" / "references" / "anime-faces-imagenet.npz").stat().st_size < 2e6
