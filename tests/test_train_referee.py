"""FID while training: measured against reference statistics, with the best checkpoint kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import COMMAND, TINY, Run, assert_error, run

pytest.importorskip("torch")

from animegen import Generator
from train.export.model import export
from train.run import checkpoint

CPU = ("--threads", "1", "--device", "cpu", "--log-every", "1")


@pytest.fixture(scope="module")
def reference(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The statistics of the tiny dataset, by the shipped extractor."""
    out = tmp_path_factory.mktemp("reference") / "tiny.npz"
    done = run(COMMAND, "stats", tiny_data, "--threads", 1, "--out", out)
    assert done.returncode == 0, done.stderr.decode()
    return out


def test_a_run_keeps_its_best_generator(train: Run, tiny_data: Path, reference: Path, tmp_path: Path) -> None:
    arguments = [*TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--set", "critic_optimiser.lr=1e-3"]
    arguments += ["--set", "generator_optimiser.lr=1e-3", "--steps", 60, "--checkpoint-every", 60]
    done = train("fit", *arguments, "--reference", reference, "--fid-every", 20, "--fid-images", 30)
    assert done.returncode == 0, done.stderr.decode()
    rows = [json.loads(line) for line in (tmp_path / "run" / "fid.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[0].keys() >= {"fid", "count", "extractor_sha256", "reference_sha256", "reference_count", "images_seen"}
    assert (rows[0]["count"], rows[0]["reference_count"], rows[0]["extractor"]) == (30, 50, "anime")
    best = min(rows, key=lambda row: row["fid"])
    card = checkpoint.read_card(tmp_path / "run" / "best.safetensors")
    assert card.step == best["step"]
    assert card.fid is not None
    assert card.fid["fid"] == best["fid"]
    assert checkpoint.read_card(tmp_path / "run" / checkpoint.NAME).step == 60
    assert export(tmp_path / "run" / "best.safetensors", tmp_path / "tiny.onnx").steps == best["step"]


def test_an_export_can_put_its_measured_quality_on_its_card(
    train: Run, tiny_run: Path, tiny_data: Path, reference: Path, tmp_path: Path
) -> None:
    path, options = tmp_path / "tiny.onnx", ("--fid-images", 40, "--weights", "fp16")
    assert_error(train("export", tiny_run, "--out", path, "--data", tiny_data), 2, "--reference")
    done = train("export", tiny_run, "--out", path, "--reference", reference, "--data", tiny_data, *options)
    assert done.returncode == 0, done.stderr.decode()
    with Generator.load(path, device="cpu") as loaded:
        quality = loaded.card.quality
    assert (quality["images"], quality["reference_images"], quality["extractor"]) == (40, 50, "anime")
    assert 0 <= quality["share_nearer_than_training_images"] <= 1
    assert quality.keys() > {"fid_infinity", "kid", "precision", "recall", "coverage", "nearest_training_image"}
    # The file is measured, not the checkpoint: the same figure as its user's.
    done = run(COMMAND, "fid", path, "--reference", reference, "--n", 40, "--json", "--threads", 1)
    assert json.loads(done.stdout)["fid"] == pytest.approx(quality["fid"], rel=1e-3)


def test_a_reference_of_another_size_is_refused_before_training(
    train: Run, tiny_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shipped = request.config.rootpath / "models" / "references" / "anime-faces.npz"
    done = train("fit", *TINY, "--data", tiny_data, "--out", tmp_path / "run", "--reference", shipped)
    assert_error(done, 1, "64×64", "16×16", "animegen stats")
    assert not (tmp_path / "run").exists()
    done = train("fit", *TINY, "--data", tiny_data, "--out", tmp_path / "run", "--reference", tmp_path / "no.npz")
    assert_error(done, 1, "no.npz", "animegen stats")
