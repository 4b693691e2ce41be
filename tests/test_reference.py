"""Statistics with their protocol: measuring, the file, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture_zip
from extractor_models import extractor_graph, write_extractor

from animegen import (
    DataError,
    Extractor,
    ImageSet,
    OutputError,
    Reference,
    UsageError,
    measure,
    open_images,
    report_progress,
)
from animegen.progress import Progress
from animegen.quality.statistics import Statistics


@pytest.fixture(scope="module")
def measured(tiny_extractor: Extractor, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    archive = picture_zip(tmp_path_factory.mktemp("pictures") / "faces.zip", 150)
    return measure(open_images(archive), tiny_extractor, sample=40)


def noise(count: int, size: int = 12) -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return ImageSet("drawn", count, "as drawn", (), lambda: iter(np.array_split(images, max(1, count // 50))))


def changed(path: Path, **arrays: np.ndarray | None) -> Path:
    """A copy of a file of statistics with some arrays changed, or left out."""
    with np.load(path) as archive:
        values = {key: archive[key] for key in archive.files} | arrays
    other = path.with_name("changed.npz")
    np.savez(other, **{key: value for key, value in values.items() if value is not None})
    return other


def test_everything_is_measured(measured: Reference, tiny_extractor: Extractor) -> None:
    assert measured.statistics.count == 150
    assert measured.sample.shape == (40, 6)
    assert len(np.unique(measured.rows)) == 40
    assert (np.diff(measured.rows) > 0).all()
    protocol = measured.protocol
    assert (protocol.extractor, protocol.extractor_sha256) == ("tiny.onnx", tiny_extractor.sha256)
    assert (protocol.source, protocol.image_size, protocol.preparation) == ("faces.zip", "20×20", "as stored")


def test_it_is_what_the_images_give(tiny_extractor: Extractor) -> None:
    images = noise(130)
    features = tiny_extractor(np.concatenate(list(images.read())))
    whole = measure(images, tiny_extractor, sample=1000, batch_size=7)
    np.testing.assert_allclose(whole.statistics.covariance, np.cov(features, rowvar=False), atol=1e-9)
    np.testing.assert_array_equal(whole.sample, features)
    part = measure(images, tiny_extractor, sample=9)
    np.testing.assert_array_equal(part.sample, features[part.rows])
    assert part.protocol.data_sha256 == whole.protocol.data_sha256


def test_the_file_holds_it_all(measured: Reference, tmp_path: Path) -> None:
    measured.save(tmp_path / "a.npz")
    loaded = Reference.load(tmp_path / "a.npz")
    assert loaded.protocol == measured.protocol
    np.testing.assert_array_equal(loaded.statistics.covariance, measured.statistics.covariance)
    np.testing.assert_array_equal(loaded.rows, measured.rows)
    np.testing.assert_allclose(loaded.sample, measured.sample, rtol=1e-3)
    assert loaded.distance(measured) == pytest.approx(0, abs=1e-9)
    measured.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_compact_file_holds_it_in_an_eighth(measured: Reference, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 64)) @ rng.normal(size=(64, 64)) + 5
    features[:, 7] = 3  # never varies
    wide = Reference(Statistics.of([features]), np.zeros((0, 64)), np.zeros(0, np.int64), measured.protocol)
    wide.save(tmp_path / "whole.npz")
    wide.save(tmp_path / "compact.npz", compact=True)
    loaded = Reference.load(tmp_path / "compact.npz")
    assert loaded.protocol == wide.protocol
    np.testing.assert_allclose(loaded.statistics.covariance, wide.statistics.covariance, atol=0.05)
    np.testing.assert_array_equal(loaded.statistics.covariance, loaded.statistics.covariance.T)
    other = Reference(Statistics.of([features[:200] + 1]), wide.sample, wide.rows, wide.protocol)
    assert loaded.distance(other) == pytest.approx(wide.distance(other), rel=1e-3)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "compact.npz") as compact:
        bytes_of = [
            sum(archive[key].nbytes for key in keys)
            for archive, keys in ((whole, ["sigma"]), (compact, ["variance", "correlation"]))
        ]
    assert bytes_of[1] < bytes_of[0] / 7.5
    loaded.save(tmp_path / "again.npz")  # for other tools
    with np.load(tmp_path / "again.npz") as again:
        np.testing.assert_array_equal(again["sigma"], loaded.statistics.covariance)
    damaged: list[tuple[dict[str, Any], str]] = [
        ({"correlation": np.zeros(5, np.float16)}, "one D"),
        ({"variance": np.full(64, -1.0)}, "one D"),
        ({"variance": np.full(64, "a")}, "floats"),
        ({"variance": np.full(64, np.nan)}, "NaN"),
        ({"variance": None}, "no sigma"),
    ]
    for arrays, words in damaged:
        with pytest.raises(DataError, match=words):
            Reference.load(changed(tmp_path / "compact.npz", **arrays))


def test_features_too_large_for_half_the_bytes_keep_theirs(measured: Reference, tmp_path: Path) -> None:
    large = Reference(measured.statistics, measured.sample * 1e6, measured.rows, measured.protocol)
    large.save(tmp_path / "large.npz")
    np.testing.assert_array_equal(Reference.load(tmp_path / "large.npz").sample, large.sample)


def test_files_that_cannot_be(measured: Reference, tmp_path: Path) -> None:
    path = tmp_path / "right.npz"
    measured.save(path)
    nan, sigma = measured.statistics.mean.copy(), measured.statistics.covariance
    nan[2] = np.nan
    refused: list[tuple[dict[str, np.ndarray | None], str]] = [
        ({"mu": nan}, "must be finite"),
        ({"sigma": np.full((6, 6), np.inf)}, "must be finite"),
        ({"mu": np.zeros(5)}, r"mu \[5\], sigma \[6, 6\]"),
        ({"sigma": np.zeros((6, 5))}, "one D"),
        ({"sigma": np.zeros(6)}, "one D"),
        ({"sigma": sigma + np.triu(np.ones((6, 6)), 1)}, "must be a covariance"),
        ({"sigma": -np.eye(6)}, "must be a covariance"),
        ({"mu": np.array(["a"] * 6)}, "must all be floats"),
        ({"count": np.array(1)}, "count 1 and must be of at least 40 images"),
        ({"count": np.array(7.5)}, r"count 7\.5 and must be"),
        ({"rows": np.arange(3)}, "must say of which images"),
        ({"sigma": None}, "has no sigma"),
        ({"mu": None, "sigma": None}, "has no mu and no sigma"),
        ({"extractor": None, "features": None}, "doesn't say by which extractor.*extractor, features missing"),
    ]
    for arrays, words in refused:
        with pytest.raises(DataError, match=words):
            Reference.load(changed(path, **arrays))
    with pytest.raises(DataError, match="does not exist"):
        Reference.load(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="can't be read as an npz"):
        Reference.load(tmp_path / "cut.npz")
    with pytest.raises(OutputError, match=r"an \.npz"):
        measured.save(tmp_path / "a.json")


def test_what_was_measured_in_two_ways_is_refused(
    measured: Reference, tiny_extractor: Extractor, tmp_path: Path
) -> None:
    other = Extractor.load(write_extractor(tmp_path / "other.onnx", resize="otherwise"), device="cpu")
    with pytest.raises(DataError, match=r"faces\.zip was measured by tiny\.onnx .* and drawn by other\.onnx"):
        measured.distance(measure(noise(9, 20), other))
    with pytest.raises(DataError, match=r"faces\.zip was measured at 20×20 and drawn at 12×12"):
        measured.distance(measure(noise(9), tiny_extractor))
    reports: list[Progress] = []
    with report_progress(reports.append), pytest.raises(DataError, match="measured by"):
        measure(noise(200, 20), other, against=measured)
    assert [progress.done for progress in reports] == [0]  # at the first batch, not after all of them


def test_the_same_weights_in_another_file_are_the_same_extractor(tmp_path: Path) -> None:
    def by(name: str, weights: str, resize: str, shape: str = "N") -> Reference:
        graph = extractor_graph((shape, 3, "h", "w"))
        path = write_extractor(tmp_path / name, graph, weights_sha256=weights, resize=resize)
        return measure(noise(30), Extractor.load(path, device="cpu"))

    one = by("one.onnx", "ab", "none")
    assert one.distance(by("two.onnx", "ab", "none", "M")) == pytest.approx(0, abs=1e-9)
    for other in (by("three.onnx", "cd", "none"), by("four.onnx", "ab", "another")):
        with pytest.raises(DataError, match="needs one extractor"):
            one.distance(other)


def test_sets_that_cannot_be_measured(tiny_extractor: Extractor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 images"):
        measure(open_images(picture_zip(tmp_path / "one.zip", 1)), tiny_extractor)
    shrunk = ImageSet("shrunk", 9, "as drawn", (), noise(8).read)
    with pytest.raises(DataError, match="shrunk gave 8 images and must give 9"):
        measure(shrunk, tiny_extractor)


# --- statistics of other tools, of which a user states how they were measured ---

STATED = "extractor=tiny.onnx, count=150"


def foreign(path: Path, measured: Reference, *, named: bool = True) -> Path:
    """The file that another tool writes: mean and covariance, and nothing of how."""
    moments = (measured.statistics.mean, measured.statistics.covariance.astype(np.float32))
    if named:
        np.savez(path, mu=moments[0], sigma=moments[1])
    else:
        np.savez(path, *moments)
    return path


@pytest.mark.parametrize("named", [True, False], ids=["mu and sigma", "arr_0 and arr_1"])
def test_statistics_of_other_tools_need_their_protocol(named: bool, measured: Reference, tmp_path: Path) -> None:
    path = foreign(tmp_path / "other.npz", measured, named=named)
    with pytest.raises(DataError, match="has mu and sigma .*state it with --reference-protocol" if named else "no mu"):
        Reference.load(path)
    stated = Reference.load(path, protocol=STATED)
    assert stated.stated
    assert not measured.stated
    assert (stated.statistics.count, stated.sample.shape) == (150, (0, 6))
    np.testing.assert_allclose(stated.statistics.covariance, measured.statistics.covariance, rtol=1e-6)
    assert stated.distance(measured) == pytest.approx(0, abs=1e-4)
    assert (stated.protocol.extractor, stated.protocol.source) == ("tiny.onnx", "other.npz")
    assert {stated.protocol.resize, stated.protocol.image_size, stated.protocol.data_sha256} == {"not stated"}
    with pytest.raises(OutputError, match="was stated and not measured"):
        stated.save(tmp_path / "saved.npz")


def test_what_is_stated_has_to_fit(measured: Reference, tmp_path: Path) -> None:
    path = foreign(tmp_path / "other.npz", measured)
    full: dict[str, str | int] = {
        "extractor": "tiny.onnx",
        "count": 150,
        "size": 20,
        "resize": "none",
        "preparation": "cut",
        "source": "faces",
    }
    stated = Reference.load(path, protocol=full)
    protocol = stated.protocol
    assert (protocol.image_size, protocol.resize, protocol.preparation, protocol.source) == (
        "20×20",
        "none",
        "cut",
        "faces",
    )
    assert stated.distance(measured) == pytest.approx(0, abs=1e-4)
    with pytest.raises(
        DataError, match=r"faces is stated to be measured at 20×10, and faces\.zip was measured at 20×20"
    ):
        Reference.load(path, protocol={**full, "size": "20x10"}).distance(measured)
    with pytest.raises(
        DataError, match=r"stated to be measured by inception, and faces\.zip was measured by tiny\.onnx"
    ):
        Reference.load(path, protocol={**full, "extractor": "inception"}).distance(measured)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("", "is '' and must be extractor=…,count=…"),
        ("extractor", "is 'extractor' and must be"),
        ("extractor=tiny.onnx", "has extractor and must be"),
        ("count=5", "has count and must be"),
        ("extractor=a,count=5,sise=3", "has extractor, count, sise and must be"),
        ("extractor=a,count=5,count=6", "and must be"),
        ("extractor=a,count=many", "count of the reference's protocol is 'many' and must be a whole number"),
        ("extractor=a,count=1", "is 1 and must be at least 2"),
        ("extractor=a,count=5,size=large", "size of the reference's protocol is 'large'"),
        ({}, "has nothing and must be"),
    ],
)
def test_protocols_that_cannot_be(protocol: Any, words: str, measured: Reference, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        Reference.load(foreign(tmp_path / "other.npz", measured), protocol=protocol)


def test_files_that_no_protocol_helps(measured: Reference, tmp_path: Path) -> None:
    measured.save(tmp_path / "own.npz")
    with pytest.raises(UsageError, match="says itself how it was measured: leave --reference-protocol out"):
        Reference.load(tmp_path / "own.npz", protocol=STATED)
    mu, sigma = measured.statistics.mean, measured.statistics.covariance
    refused: list[tuple[dict[str, np.ndarray], str]] = [
        ({"mu": mu}, "holds mu and must hold mu and sigma"),
        ({"arr_0": mu}, "holds arr_0 and must hold mu and sigma"),
        ({"arr_0": mu, "arr_1": mu}, "must hold mu and sigma"),
        ({"mu": mu[:5], "sigma": sigma}, "of one D"),
        ({"mu": mu, "sigma": -sigma}, "must be a covariance"),
        ({"mu": mu, "sigma": sigma * np.nan}, "must be finite"),
        ({"mu": np.array(3.0), "sigma": sigma}, "of one D"),
    ]
    for arrays, words in refused:
        np.savez(tmp_path / "other.npz", **arrays)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=words):
            Reference.load(tmp_path / "other.npz", protocol=STATED)
