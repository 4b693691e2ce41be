"""Scores of generators and sets of images; searching seeds; everything at once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture_zip, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from animegen import (
    DataError,
    Extractor,
    Generator,
    ImageSet,
    OutputError,
    Reference,
    UsageError,
    evaluate,
    fid,
    measure,
    report_progress,
    search,
)
from animegen.progress import Progress
from animegen.quality.distances import frechet_distance
from animegen.quality.evaluation import Evaluation
from animegen.quality.neighbours import manifold
from animegen.quality.report import check_folder, write
from animegen.quality.statistics import Statistics
from animegen.runtime import machine


@pytest.fixture(scope="module")
def generator(tiny_model: Path) -> Generator:
    return Generator.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def reference(generator: Generator, tiny_extractor: Extractor) -> Reference:
    """Of images that the generator makes of other seeds."""
    return measure(generator, tiny_extractor, n=400, seed=5000)


# --- scores ---


def test_a_score_is_the_distance_of_the_images(
    generator: Generator, tiny_extractor: Extractor, reference: Reference
) -> None:
    score = fid(generator, reference, extractor=tiny_extractor, n=100, repeats=3)
    expected = [
        frechet_distance(reference.statistics, Statistics.of([tiny_extractor(generator.sample(100, seed=start))]))
        for start in (0, 100, 200)
    ]
    assert score.values == pytest.approx(expected)
    assert score.value == pytest.approx(np.mean(expected))
    assert score.spread == pytest.approx(np.std(expected, ddof=1))
    assert (score.count, score.reference_count, score.dimensions) == (100, 400, 6)
    assert score.measured.source == "tiny"
    assert "seeds 0-99" in score.measured.preparation


def test_images_are_a_generator_a_set_an_array_a_path_or_a_model_s_name(
    generator: Generator, tiny_model: Path, tiny_extractor: Extractor, reference: Reference, tmp_path: Path
) -> None:
    images = generator.sample(30)
    np.savez(tmp_path / "drawn.npz", images=images)
    sources: list[Any] = [generator, ImageSet.of(images), images, tmp_path / "drawn.npz", str(tiny_model)]
    scores = [fid(source, reference, extractor=tiny_extractor, n=30, device="cpu") for source in sources]
    assert [score.value for score in scores] == pytest.approx([scores[0].value] * 5, rel=1e-9)
    assert len({score.measured.data_sha256 for score in scores}) == 1
    assert [score.measured.source for score in scores] == ["tiny", "an array", "an array", "drawn.npz", "tiny"]
    generator.sample(1)  # the one that was given is still open
    assert measure(str(tiny_model), tiny_extractor, n=5, device="cpu").statistics.count == 5


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 60))
def test_the_score_does_not_depend_on_batches(
    generator: Generator, tiny_extractor: Extractor, reference: Reference, batch_size: int
) -> None:
    def value(batch_size: int) -> float:
        return fid(generator, reference, extractor=tiny_extractor, n=50, batch_size=batch_size).value

    assert value(batch_size) == pytest.approx(value(50), rel=1e-9)


def test_few_images_are_warned_of_with_the_rank(
    generator: Generator, tiny_extractor: Extractor, reference: Reference
) -> None:
    score = fid(generator, reference, extractor=tiny_extractor, n=4)
    assert score.spread is None
    assert score.rank == 3
    assert any("only 4 images" in warning and "rank 3 of 6" in warning for warning in score.warnings)
    assert any("published FIDs" in warning for warning in score.warnings)
    assert dict(score.rows())["covariance"] == "rank 3 of 6"
    assert json.loads(json.dumps(score.to_json()))["fid"] == score.value


def test_a_reference_is_a_name_a_path_or_measured(
    generator: Generator, tiny_extractor: Extractor, reference: Reference, tmp_path: Path
) -> None:
    def count(against: Reference | Path | str, **options: Any) -> int:
        return fid(generator, against, extractor=tiny_extractor, n=9, **options).reference_count

    reference.save(tmp_path / "saved.npz")
    np.savez(tmp_path / "images.npz", images=generator.sample(3))
    assert count(reference) == count(tmp_path / "saved.npz") == count(str(tmp_path / "saved.npz")) == 400
    assert count(tmp_path / "images.npz") == 3
    assert count(picture_zip(tmp_path / "faces.zip", 9), size=8) == 9
    with pytest.raises(DataError, match="no reference 'anime-facse': the shipped ones are anime-faces"):
        count("anime-facse")
    with pytest.raises(DataError, match="one extractor on both sides"):
        count("anime-faces")


def test_the_reference_s_own_extractor_measures(
    generator: Generator, reference: Reference, anime: Extractor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="animegen")
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    score = fid(images, "anime-faces")
    assert (score.measured.extractor, score.measured.extractor_sha256) == ("anime", anime.sha256)
    assert caplog.messages[0].startswith("device: ")
    assert fid(images, measure(images, anime), device="cpu").value == pytest.approx(0, abs=1e-6)
    with pytest.raises(UsageError, match=r"measured with tiny\.onnx: name that file"):
        fid(generator, reference)


def test_a_reference_of_another_tool_says_so(
    generator: Generator, tiny_extractor: Extractor, reference: Reference, tmp_path: Path
) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, mu=reference.statistics.mean, sigma=reference.statistics.covariance)
    options: dict[str, Any] = {"extractor": tiny_extractor, "n": 50}
    protocol = "extractor=tiny.onnx,count=400"
    score, measured = fid(generator, path, protocol=protocol, **options), fid(generator, reference, **options)
    assert score.values == pytest.approx(measured.values)
    assert (score.stated, measured.stated) == (True, False)
    assert (
        "400 of other.npz, stated, not measured: extractor tiny.onnx, size not stated"
        in dict(score.rows())["reference"]
    )
    assert any("stated and not measured" in warning for warning in score.warnings)
    assert not any("stated" in warning for warning in measured.warnings)
    assert (score.to_json()["reference_stated"], measured.to_json()["reference_stated"]) == (True, False)
    evaluation = evaluate(generator, path, protocol=protocol, **options)
    assert (evaluation.kernel, evaluation.manifold, evaluation.compared) == (None, None, 0)
    assert evaluation.score.values == score.values
    page = evaluation.to_markdown()
    assert "stated, not measured" in page
    assert "KID" not in page
    assert "precision" not in page
    figures = evaluation.figures()
    assert figures["reference_protocol"] == "stated, not measured"
    assert not {"kid", "precision"} & figures.keys()
    json.dumps(evaluation.to_json())


def test_stated_protocols_are_looked_at_before_the_work(
    generator: Generator, tiny_extractor: Extractor, reference: Reference, tmp_path: Path
) -> None:
    path, pictures = tmp_path / "other.npz", tmp_path / "images.npz"
    np.savez(path, mu=np.zeros(9), sigma=np.eye(9))
    np.savez(pictures, images=generator.sample(3))
    tiny = "extractor=tiny.onnx,count=9"
    refused: list[tuple[Any, Any, type[Exception], str]] = [
        (path, tiny, DataError, r"other\.npz .* holds 9 features of an image, and tiny\.onnx gives 6"),
        (path, "extractor=anime,count=9", DataError, r"is stated to be measured by anime .* and tiny\.onnx gives"),
        (reference, tiny, UsageError, "has a protocol already"),
        ("anime-faces", tiny, UsageError, "says itself how it was measured"),
        (pictures, tiny, DataError, "holds images and must hold mu and sigma"),
        (picture_zip(tmp_path / "faces.zip", 3), tiny, UsageError, "holds images, which are measured now"),
    ]
    for against, protocol, kind, words in refused:
        with pytest.raises(kind, match=words):
            fid(generator, against, extractor=tiny_extractor, protocol=protocol, n=9)
    with pytest.raises(UsageError, match=r"measured with tiny\.onnx: name that file with --extractor"):
        fid(generator, path, protocol=tiny)


def test_images_without_a_name_are_images(generator: Generator, tiny_extractor: Extractor, tmp_path: Path) -> None:
    images = generator.sample(9)
    np.savez(tmp_path / "samples.npz", images)  # numpy calls them arr_0, as other tools' samples are
    score = fid(tmp_path / "samples.npz", tmp_path / "samples.npz", extractor=tiny_extractor)
    assert score.count == 9
    assert score.value == pytest.approx(0, abs=1e-6)


def test_a_reference_is_opened_once(
    generator: Generator,
    tiny_extractor: Extractor,
    reference: Reference,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = []
    load = np.load

    def counted(file: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(file.name)
        return load(file, *arguments, **options)

    monkeypatch.setattr(np, "load", counted)
    reference.save(tmp_path / "saved.npz")
    fid(generator, tmp_path / "saved.npz", extractor=tiny_extractor, n=4)
    assert opened == [str(tmp_path / "saved.npz")]


def test_scores_that_cannot_be(
    generator: Generator, tiny_extractor: Extractor, reference: Reference, tmp_path: Path
) -> None:
    archive = picture_zip(tmp_path / "one.zip", 2)
    refused: list[tuple[Path | Generator, dict[str, Any], str]] = [
        (archive, {"repeats": 2}, r"repeats is 2 and must be 1 for one\.zip"),
        (generator, {"repeats": 0}, "repeats is 0 and must be at least 1"),
        (generator, {"n": 0}, "n is 0"),
        (generator, {"seed": 2**32 - 1, "n": 2}, "seed"),
        (generator, {"batch_size": 0}, "batch_size is 0"),
    ]
    for images, options, words in refused:
        with pytest.raises(UsageError, match=words):
            fid(images, reference, extractor=tiny_extractor, **options)
    with pytest.raises(UsageError, match="the last of 128 seeds"):  # of the interpolations, which are made last
        evaluate(generator, reference, extractor=tiny_extractor, n=20, seed=2**32 - 30)
    with pytest.raises(DataError, match="does not exist"):
        fid(tmp_path / "nowhere", reference, extractor=tiny_extractor)


def test_integers_of_any_kind(generator: Generator, tiny_extractor: Extractor, reference: Reference) -> None:
    options: dict[str, Any] = {
        "n": np.uint8(200),
        "seed": np.uint8(100),
        "repeats": np.int8(2),
        "batch_size": np.int8(9),
    }
    plain = {key: int(value) for key, value in options.items()}
    scores = [fid(generator, reference, extractor=tiny_extractor, **each) for each in (options, plain)]
    assert scores[0].values == scores[1].values
    assert "seeds 100-299" in scores[0].measured.preparation
    many: Any = np.uint8(250)
    found = search(generator, {"hair": "red"}, extractor=tiny_extractor, seed=many, most=many, n=many)
    assert (found.seen, type(found.best.seed)) == (250, int)
    assert evaluate(generator, reference, extractor=tiny_extractor, n=many, seed=many).features == 250


def test_measuring_tells_how_far_it_is(generator: Generator, tiny_extractor: Extractor) -> None:
    reports: list[Progress] = []
    with report_progress(reports.append):
        measure(generator, tiny_extractor, n=40, batch_size=16)
    assert {progress.job for progress in reports} == {"measure tiny"}
    assert [(progress.done, progress.total) for progress in reports] == [(0, 40), (16, 40), (32, 40), (40, 40)]


# --- search ---


def test_search_finds_seeds_that_hold_elsewhere(generator: Generator, tiny_extractor: Extractor) -> None:
    result = search(generator, {"hair": "red"}, extractor=tiny_extractor, n=5, confidence=0.4)
    assert len(result.matches) == 5
    confidences = [match.confidence for match in result.matches]
    assert confidences == sorted(confidences, reverse=True)
    again = tiny_extractor.tag(generator.sample(seeds=[match.seed for match in result.matches]))[:, :3]
    np.testing.assert_allclose(again[:, 0], confidences, atol=1e-6)
    assert (again.argmax(axis=1) == 0).all()
    # The first five from seed 0 on, and no seed was looked at twice or left out.
    every = tiny_extractor.tag(generator.sample(result.seen))[:, :3]
    expected = (every.argmax(axis=1) == 0) & (every[:, 0] >= 0.4)
    assert sorted(match.seed for match in result.matches) == np.flatnonzero(expected)[:5].tolist()
    assert result.seen == max(match.seed for match in result.matches) + 1


def test_search_asks_for_all_tags_at_once(generator: Generator, tiny_extractor: Extractor) -> None:
    tags = tiny_extractor.tag(generator.sample(200))
    red, dark = tiny_extractor.tags.index("hair:red"), tiny_extractor.tags.index("eyes:dark")
    both = tags[:, red] * tags[:, dark]
    expected = (tags[:, :3].argmax(axis=1) == red) & (tags[:, dark] > 0.5)
    wanted = {"hair": "red", "eyes": "dark"}
    result = search(generator, wanted, extractor=tiny_extractor, n=500, most=200, confidence=0.01)
    assert result.seen == 200
    assert len(result.matches) == expected.sum()
    assert 0 < expected.sum() < 200
    assert result.best.seed == both.argmax()


def test_searches_that_cannot_be(generator: Generator, tiny_extractor: Extractor) -> None:
    red = {"hair": "red"}
    for wanted, options, words in [
        ({}, {}, "at least one of hair"),
        ({"hair": "plaid"}, {}, r"hair is 'plaid' and must be one of red, green, blue: .* tiny\.onnx"),
        ({"length": "long"}, {}, "length must be left out, as "),
        (red, {"confidence": 0}, "confidence is 0 and must be above 0"),
        (red, {"n": 0}, "n is 0"),
    ]:
        with pytest.raises(UsageError, match=words):
            search(generator, wanted, extractor=tiny_extractor, **options)  # type: ignore[arg-type]
    assert search(generator, red, extractor=tiny_extractor, n=99, seed=2**32 - 3).seen == 3  # the last seeds there are


# --- everything at once ---


@pytest.fixture(scope="module")
def evaluation(generator: Generator, tiny_extractor: Extractor, reference: Reference) -> Evaluation:
    """Of seeds 60 to 119 against the "training" images of seeds 0 to 79: a third of the images are copies."""
    training = generator.sample(80)
    return evaluate(generator, reference, extractor=tiny_extractor, n=60, seed=60, data=training)


def test_everything_at_once(generator: Generator, tiny_extractor: Extractor, evaluation: Evaluation) -> None:
    assert evaluation.score.values == (evaluation.score.value,)
    assert evaluation.compared == 60
    assert evaluation.manifold is not None
    assert 0.5 < evaluation.manifold.precision <= 1
    assert evaluation.smoothness.detour >= 1
    figures = evaluation.figures()
    assert figures["fid"] == pytest.approx(evaluation.score.value, rel=1e-3)
    assert (figures["images"], figures["extractor_sha256"]) == (60, tiny_extractor.sha256)


def test_copies_of_training_images_show(evaluation: Evaluation) -> None:
    assert evaluation.likeness is not None
    assert evaluation.likeness.closest == pytest.approx(0, abs=1e-3)
    assert evaluation.likeness.share_closer >= 1 / 3
    assert evaluation.likeness.pool == 80
    # On the sheet of 60 pairs, 8 in a row, a copy stands beside its image.
    sheet = evaluation.neighbours
    assert sheet is not None
    assert sheet.shape == (8 * 22 - 2, 16 * 10 - 2, 3)
    np.testing.assert_array_equal(sheet[:8, :8], sheet[:8, 10:18])


def test_a_report_holds_it_all(evaluation: Evaluation, tmp_path: Path) -> None:
    assert write(tmp_path / "report", evaluation) == ["report.md", "report.json", "neighbours.png"]
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    for word in ("FID", "KID", "precision", "coverage", "detour", "sha256", "training image"):
        assert word in page
    table = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert table["score"]["fid"] == evaluation.score.value
    assert table["likeness"]["pool"] == 80
    assert (tmp_path / "report" / "neighbours.png").exists()
    with pytest.raises(OutputError, match="is a file"):
        check_folder(tmp_path / "report" / "report.md")


def test_without_training_images_there_is_no_sheet(
    generator: Generator, tiny_extractor: Extractor, reference: Reference
) -> None:
    evaluation = evaluate(generator, reference, extractor=tiny_extractor, n=40)
    assert evaluation.neighbours is None
    assert evaluation.likeness is None
    assert "training image" not in evaluation.to_markdown()


def test_too_little_memory_is_said_before_the_work(
    generator: Generator, tiny_extractor: Extractor, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 1_000_000)
    with pytest.raises(DataError, match=r"40 images take some .* GB of memory, and 0\.0 GB are left"):
        evaluate(generator, reference, extractor=tiny_extractor, n=40)


def test_a_damaged_dataset_is_no_score(
    generator: Generator, tiny_extractor: Extractor, reference: Reference, tmp_path: Path
) -> None:
    images = generator.sample(30)
    damaged = write_dataset(tmp_path / "damaged", images)
    assert fid(damaged, reference, extractor=tiny_extractor).count == 30
    images[7, 3, 3, 0] ^= 1
    np.save(damaged / "images.npy", images)
    for call in (
        lambda: fid(damaged, reference, extractor=tiny_extractor),
        lambda: fid(generator, damaged, extractor=tiny_extractor),
        lambda: measure(damaged, tiny_extractor),
        lambda: evaluate(generator, reference, extractor=tiny_extractor, data=damaged),
    ):
        with pytest.raises(DataError, match="damaged is damaged: its pixels"):
            call()


def test_a_collapsed_generator_is_seen(generator: Generator, tiny_extractor: Extractor) -> None:
    """Precision stays and recall falls: the two are not swapped."""
    real = tiny_extractor(generator.sample(300))
    collapsed = tiny_extractor(np.repeat(generator.sample(3), 100, axis=0))
    cover = manifold(real, collapsed)
    assert cover.precision > 0.9
    assert cover.recall < 0.1
