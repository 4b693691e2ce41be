"""`stats`, `fid`, `evaluate` and `search`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error, picture_zip
from extractor_models import write_extractor

from animegen.quality.reference import Reference

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extractor(tmp_path_factory.mktemp("extractor") / "tiny.onnx")


@pytest.fixture
def reference(animegen: Run, tiny: Path, tiny_model: Path, tmp_path: Path) -> Path:
    done = animegen("stats", tiny_model, "--n", 60, "--seed", 500, "--extractor", tiny, "--out", "ref.npz", *CPU)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    return tmp_path / "ref.npz"


def test_stats_of_a_model_and_of_pictures(animegen: Run, tiny: Path, reference: Path, tmp_path: Path) -> None:
    found = Reference.load(reference)
    assert found.statistics.count == 60
    assert found.protocol.source == "tiny"
    assert "seeds 500-559" in found.protocol.preparation
    archive = picture_zip(tmp_path / "faces.zip", 20)
    done = animegen("stats", archive, "--size", 8, "--extractor", tiny, "--features", 7, "--json", *CPU)
    assert done.returncode == 0, done.stderr.decode()
    table = json.loads(done.stdout)
    assert (table["count"], table["features"], table["image_size"]) == (20, 7, "8×8")
    assert Reference.load(tmp_path / "reference.npz").protocol.data_sha256 == table["data_sha256"]


def test_fid_of_a_model_prints_its_protocol(animegen: Run, tiny: Path, tiny_model: Path, reference: Path) -> None:
    model = ("--model", tiny_model, "--extractor", tiny, "--reference", reference, *CPU)
    done = animegen("fid", "--n", 40, *model)
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode()
    for word in ("FID ", "40 of tiny", "60 of tiny", "seeds 0-39", "sha256", "rank 6 of 6", "resize"):
        assert word in text
    assert "warning: only 40 images" in done.stderr.decode()
    done = animegen("fid", "--n", 40, "--repeats", 3, "--json", "--max", 1000, *model)
    table = json.loads(done.stdout)
    assert len(table["values"]) == 3
    assert table["spread"] > 0
    assert table["passed"] is True
    # The same seeds that the reference was drawn with are at no distance.
    same = json.loads(animegen("fid", "--n", 60, "--seed", 500, "--json", *model).stdout)
    assert same["fid"] == pytest.approx(0, abs=1e-9)


def test_max_makes_it_a_check(animegen: Run, tiny: Path, tiny_model: Path, reference: Path, tmp_path: Path) -> None:
    archive = picture_zip(tmp_path / "faces.zip", 20)
    options = ("--extractor", tiny, "--reference", reference, *CPU)
    done = animegen("fid", archive, "--size", 8, "--max", 0.001, *options)
    assert done.returncode == 1
    assert b"failed: FID" in done.stderr
    assert b"FID" in done.stdout
    assert animegen("fid", archive, "--size", 8, "--max", 1000, *options).returncode == 0


def test_folder_against_folder(animegen: Run, tiny: Path, tmp_path: Path) -> None:
    one, other = picture_zip(tmp_path / "one.zip", 20), picture_zip(tmp_path / "other.zip", 30)
    done = animegen("fid", one, "--reference", other, "--extractor", tiny, "--json", *CPU)
    assert done.returncode == 0, done.stderr.decode()
    table = json.loads(done.stdout)
    assert (table["count"], table["reference_count"]) == (20, 30)
    assert (table["measured"]["source"], table["reference"]["source"]) == ("one.zip", "other.zip")


def test_bad_input_is_one_line(animegen: Run, tiny: Path, tiny_model: Path, reference: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options = ("--extractor", tiny, *CPU)
    assert_error(animegen("stats", "empty", *options), 1, "holds no images")
    picture_zip(tmp_path / "one.zip", 1)
    assert_error(animegen("stats", "one.zip", *options), 1, "1 images have no covariance")
    assert not (tmp_path / "reference.npz").exists()
    assert_error(animegen("stats", "nowhere", *options), 1, "does not exist")
    assert_error(animegen("stats", "one.zip", "--out", "a.txt", *options), 1, ".npz")
    assert_error(animegen("fid", "one.zip", "--repeats", 2, "--reference", reference, *options), 2, "leave it out")
    # Statistics of another extractor, and images of another size.
    done = animegen("fid", "--model", tiny_model, "--n", 9, "--reference", reference, "--extractor", "anime", *CPU)
    assert_error(done, 1, "tiny.onnx", "anime", "one extractor on both sides")
    assert_error(animegen("fid", "--model", tiny_model, "--n", 9, "--reference", reference, *CPU), 2, "--extractor")
    picture_zip(tmp_path / "two.zip", 9)
    assert_error(animegen("fid", "two.zip", "--reference", reference, *options), 1, "8×8", "20×20")
    with np.load(reference) as archive:
        values = {key: archive[key] for key in archive.files}
    np.savez(tmp_path / "nan.npz", **{**values, "mu": np.full(6, np.nan)})
    assert_error(animegen("fid", "--model", tiny_model, "--reference", "nan.npz", *options), 1, "NaN")


def test_search_prints_seeds_for_other_commands(animegen: Run, tiny: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = ("--model", tiny_model, "--extractor", tiny, *CPU)
    done = animegen("search", "--hair", "red", "--n", 3, "--confidence", 0.3, *options)
    assert done.returncode == 0, done.stderr.decode()
    seeds = done.stdout.decode().strip()
    assert len(seeds.split(",")) == 3
    assert b"3 of 3 found among" in done.stderr
    assert animegen("sample", "--seeds", seeds, "--model", tiny_model, "--out", "found.png").returncode == 0
    done = animegen("search", "--hair", "red", "--n", 3, "--most", 10, "--confidence", 1, "--json", *options)
    assert done.returncode == 1
    table = json.loads(done.stdout)
    assert (table["seeds"], table["drawn"]) == ([], 10)
    assert b"the likest was seed" in done.stderr
    assert_error(animegen("search", *options), 2, "at least one of hair")
    assert_error(animegen("search", "--hair", "plaid", *options), 2, "red, green, blue")


def test_evaluate_writes_a_report(animegen: Run, tiny: Path, tiny_model: Path, reference: Path, tmp_path: Path) -> None:
    drawn = animegen("sample", "--n", 50, "--model", tiny_model, "--out", "data.npz")
    assert drawn.returncode == 0
    options = ("--model", tiny_model, "--extractor", tiny, "--reference", reference, "--n", 40, *CPU)
    done = animegen("evaluate", "--data", "data.npz", *options)
    assert done.returncode == 0, done.stderr.decode()
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "report.json", "neighbours.png"}
    assert done.stdout.decode() == (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    table = json.loads(animegen("evaluate", "--json", *options).stdout)
    assert table["likeness"] is None
    assert table["score"]["count"] == 40
    assert_error(animegen("evaluate", "--out", "data.npz", *options), 1, "is a file")
