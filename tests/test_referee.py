"""Scores of generators and sets of images; searching seeds; everything at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import picture_zip
from extractor_models import write_extractor

from animegen import DataError, Generator, OutputError, UsageError
from animegen.images.sets import ImageSet, open_images
from animegen.quality import fid as referee
from animegen.quality.distances import frechet_distance
from animegen.quality.evaluation import evaluate
from animegen.quality.extractors import Extractor
from animegen.quality.reference import Reference, measure
from animegen.quality.report import check_folder, write
from animegen.quality.search import search
from animegen.quality.statistics import Statistics
from animegen.runtime import machine
from animegen.seeds import Seeds


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor.load(write_extractor(tmp_path_factory.mktemp("extractor") / "tiny.onnx"), device="cpu")


@pytest.fixture(scope="module")
def generator(tiny_model: Path) -> Generator:
    return Generator.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def reference(generator: Generator, tiny: Extractor) -> Reference:
    """Of images that the generator makes of other seeds."""
    return measure(referee.images_of(generator, Seeds.starting(5000, 400)), tiny)


# --- scores ---


def test_a_score_is_the_distance_of_the_images(generator: Generator, tiny: Extractor, reference: Reference) -> None:
    draws = [referee.images_of(generator, Seeds.starting(start, 100)) for start in (0, 100, 200)]
    found = referee.score(reference, draws, tiny)
    right = [
        frechet_distance(reference.statistics, Statistics.of([tiny(generator.sample(100, seed=start))]))
        for start in (0, 100, 200)
    ]
    assert found.values == pytest.approx(right)
    assert found.value == pytest.approx(np.mean(right))
    assert found.spread == pytest.approx(np.std(right, ddof=1))
    assert (found.count, found.reference_count, found.dimensions) == (100, 400, 6)
    assert found.measured.source == "tiny"
    assert "seeds 0-99" in found.measured.preparation
    with pytest.raises(UsageError, match="at least one"):
        referee.score(reference, [], tiny)


def test_the_score_does_not_depend_on_batches(generator: Generator, tiny: Extractor, reference: Reference) -> None:
    def value(batch_size: int) -> float:
        images = referee.images_of(generator, Seeds.starting(0, 50), batch_size=batch_size)
        return referee.score(reference, [images], tiny, batch_size=batch_size).value

    assert value(7) == pytest.approx(value(50), rel=1e-9)


def test_few_images_are_warned_of_with_the_rank(generator: Generator, tiny: Extractor, reference: Reference) -> None:
    found = referee.score(reference, [referee.images_of(generator, Seeds.starting(0, 4))], tiny)
    assert found.spread is None
    assert found.rank == 3
    assert any("only 4 images" in warning and "rank 3 of 6" in warning for warning in found.warnings)
    assert any("published FIDs" in warning for warning in found.warnings)
    assert dict(found.rows())["covariance"] == "rank 3 of 6"
    json.dumps(found.to_json())


def test_references_by_name_and_path(tmp_path: Path, tiny: Extractor, reference: Reference) -> None:
    reference.save(tmp_path / "saved.npz")
    assert referee.open_reference(tmp_path / "saved.npz", tiny).protocol == reference.protocol
    archive = picture_zip(tmp_path / "faces.zip", 9)
    assert referee.open_reference(archive, tiny, size=8).statistics.count == 9
    np.savez(tmp_path / "images.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    assert not referee.is_statistics(tmp_path / "images.npz")
    assert referee.open_reference(tmp_path / "images.npz", tiny).statistics.count == 3
    with pytest.raises(DataError, match="anime-faces"):
        referee.open_reference("anime-facse", tiny)
    assert referee.is_model("anime-face-64")
    assert referee.is_model("hf://a/b/c.onnx")
    assert not referee.is_model("faces.zip")


# --- search ---


def test_search_finds_seeds_that_hold_elsewhere(generator: Generator, tiny: Extractor) -> None:
    found = search(generator, tiny, {"hair": "red"}, n=5, confidence=0.4)
    assert len(found.found) == 5
    confidences = [one.confidence for one in found.found]
    assert confidences == sorted(confidences, reverse=True)
    again = tiny.tag(generator.sample(seeds=[one.seed for one in found.found]))[:, :3]
    np.testing.assert_allclose(again[:, 0], confidences, atol=1e-6)
    assert (again.argmax(axis=1) == 0).all()
    # The first five from seed 0 on, and no seed was looked at twice or left out.
    every = tiny.tag(generator.sample(found.drawn))[:, :3]
    right = (every.argmax(axis=1) == 0) & (every[:, 0] >= 0.4)
    assert sorted(one.seed for one in found.found) == np.flatnonzero(right)[:5].tolist()
    assert found.drawn == max(one.seed for one in found.found) + 1


def test_search_asks_for_all_tags_at_once(generator: Generator, tiny: Extractor) -> None:
    tags = tiny.tag(generator.sample(200))
    red, dark = tiny.tags.index("hair:red"), tiny.tags.index("eyes:dark")
    both = tags[:, red] * tags[:, dark]
    called = (tags[:, :3].argmax(axis=1) == red) & (tags[:, dark] > 0.5)
    found = search(generator, tiny, {"hair": "red", "eyes": "dark"}, n=500, most=200, confidence=0.01)
    assert found.drawn == 200
    assert len(found.found) == called.sum()
    assert 0 < called.sum() < 200
    assert found.best.seed == both.argmax()


def test_searches_that_cannot_be(generator: Generator, tiny: Extractor) -> None:
    for wanted, words in [
        ({}, "at least one of hair"),
        ({"hair": "plaid"}, "hair 'plaid' is unknown to tiny.onnx: red, green, blue"),
        ({"length": "long"}, "it names no length"),
    ]:
        with pytest.raises(UsageError, match=words):
            search(generator, tiny, wanted, n=1)
    with pytest.raises(UsageError, match="confidence 0"):
        search(generator, tiny, {"hair": "red"}, n=1, confidence=0)
    last = search(generator, tiny, {"hair": "red"}, n=99, seed=2**32 - 3)
    assert last.drawn == 3


# --- everything at once ---


@pytest.fixture(scope="module")
def training(generator: Generator) -> ImageSet:
    return referee.images_of(generator, Seeds.starting(0, 80))


def test_everything_at_once(
    generator: Generator, tiny: Extractor, reference: Reference, training: ImageSet, tmp_path: Path
) -> None:
    found, sheet = evaluate(generator, reference, tiny, Seeds.starting(60, 60), data=training)
    assert found.score.value == pytest.approx(found.score.values[0])
    assert found.compared == 60
    assert 0.5 < found.manifold.precision <= 1
    assert found.smoothness.detour >= 1
    # Seeds 60 to 79 are among the "training" images: a third of the images are copies, and it shows.
    assert found.likeness is not None
    assert found.likeness.closest == pytest.approx(0, abs=1e-3)
    assert found.likeness.share_closer >= 1 / 3
    assert found.likeness.pool == 80
    # On the sheet of 60 pairs, 8 in a row, a copy stands beside its image.
    assert sheet is not None
    assert sheet.shape == (8 * 22 - 2, 16 * 10 - 2, 3)
    np.testing.assert_array_equal(sheet[:8, :8], sheet[:8, 10:18])
    figures = found.figures()
    assert figures["fid"] == pytest.approx(found.score.value, rel=1e-3)
    assert (figures["images"], figures["extractor_sha256"]) == (60, tiny.sha256)
    write(tmp_path / "report", found, sheet)
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    for word in ("FID", "KID", "precision", "coverage", "detour", "sha256", "training image"):
        assert word in page
    table = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert table["score"]["fid"] == found.score.value
    assert (tmp_path / "report" / "neighbours.png").exists()
    with pytest.raises(OutputError, match="is a file"):
        check_folder(tmp_path / "report" / "report.md")


def test_without_training_images_there_is_no_sheet(generator: Generator, tiny: Extractor, reference: Reference) -> None:
    found, sheet = evaluate(generator, reference, tiny, Seeds.starting(0, 40))
    assert sheet is None
    assert found.likeness is None
    assert "training image" not in found.to_markdown()


def test_too_little_memory_is_said_before_the_work(
    generator: Generator, tiny: Extractor, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 1_000_000)
    with pytest.raises(DataError, match=r"40 images take some .* GB of memory, and 0\.0 GB are left"):
        evaluate(generator, reference, tiny, Seeds.starting(0, 40))


def test_a_collapsed_generator_is_seen(tiny: Extractor, tmp_path: Path, generator: Generator) -> None:
    """Precision stays and recall falls: the two are not swapped."""
    from animegen.quality.neighbours import manifold

    real = tiny(generator.sample(300))
    collapsed = tiny(np.repeat(generator.sample(3), 100, axis=0))
    found = manifold(real, collapsed)
    assert found.precision > 0.9
    assert found.recall < 0.1
    with pytest.raises(DataError, match="holds no images"):
        (tmp_path / "empty").mkdir()
        open_images(tmp_path / "empty")
