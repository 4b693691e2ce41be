"""FID while training: measured against reference statistics, with the best checkpoint beside the last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import TINY, Run, assert_error

pytest.importorskip("torch")

from animegen import Extractor, Generator, fid, measure
from train.data import DatasetGroup
from train.networks import GeneratorNetwork
from train.run import checkpoint
from train.run.log import read_rows
from train.run.monitor import Monitor

CPU = ("--threads", "1", "--device", "cpu", "--log-every", "1")


@pytest.fixture(scope="module")
def reference(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The statistics of the tiny dataset, by the shipped extractor."""
    out = tmp_path_factory.mktemp("reference") / "tiny.npz"
    measure(tiny_data, "anime", device="cpu", threads=1).save(out)
    return out


def test_a_run_has_its_best_generator_beside_the_last(
    train: Run, tiny_data: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, distances = Monitor.score, iter([5.0, 3.0, 4.0])
    measured = []

    def scripted(monitor: Monitor, generator: GeneratorNetwork, groups: Sequence[DatasetGroup]) -> dict[str, Any]:
        measured.append(score(monitor, generator, groups))
        return {**measured[-1], "fid": next(distances)}

    monkeypatch.setattr(Monitor, "score", scripted)
    run = tmp_path / "run"
    arguments = [*TINY, *CPU, "--data", tiny_data, "--out", run, "--set", "critic_optimiser.lr=1e-3"]
    arguments += ["--set", "generator_optimiser.lr=1e-2", "--steps", 6, "--checkpoint-every", 6]
    done = train("fit", *arguments, "--reference", reference, "--fid-every", 2, "--fid-images", 30)
    assert done.returncode == 0, done.stderr.decode()
    assert "step 4: FID 3 (anime, 30 images)" in done.stderr.decode()
    rows = read_rows(run / "fid.jsonl")
    assert [(row["step"], row["fid"]) for row in rows] == [(2, 5), (4, 3), (6, 4)]
    assert rows[0].keys() >= {"extractor_sha256", "reference_sha256", "images_seen"}
    assert (rows[0]["count"], rows[0]["reference_count"], rows[0]["extractor"]) == (30, 50, "anime")
    assert len({row["fid"] for row in measured}) == 3  # each of another generator
    generator, card = checkpoint.load_generator(run / "best.safetensors")
    assert (card.step, card.fid and card.fid["fid"]) == (4, 3)
    assert checkpoint.read_card(run / checkpoint.NAME).step == 6
    # The file holds the very generator that was measured.
    assert score(Monitor.open(reference, count=30), generator)["fid"] == pytest.approx(measured[1]["fid"])


def test_the_best_is_sought_among_figures_of_one_measurement(
    train: Run, tiny_data: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distances = iter([5.0, 3.0, 9.0, 8.0, 4.0, 6.0])
    score = Monitor.score

    def scripted(monitor: Monitor, generator: GeneratorNetwork, groups: Sequence[DatasetGroup]) -> dict[str, Any]:
        return {**score(monitor, generator, groups), "fid": next(distances)}

    monkeypatch.setattr(Monitor, "score", scripted)
    run, best = tmp_path / "run", []
    start: list[object] = [*TINY]
    for steps, count in ((2, 30), (4, 20), (6, 30)):
        arguments = [*start, *CPU, "--data", tiny_data, "--out", run, "--steps", steps, "--fid-every", 1]
        done = train("fit", *arguments, "--reference", reference, "--fid-images", count)
        assert done.returncode == 0, done.stderr.decode()
        start = ["--resume"]
        fid = checkpoint.read_card(run / "best.safetensors").fid
        assert fid
        best.append((fid["fid"], fid["count"]))
    assert best == [(3, 30), (8, 20), (4, 30)]  # and not 3, whose generator is no longer there


def test_it_measures_on_the_threads_of_the_training(
    train: Run, tiny_data: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, load = [], Extractor.load.__func__  # type: ignore[attr-defined]

    def noted(cls: type[Extractor], /, which: str, **options: Any) -> Extractor:
        threads.append(options["threads"])
        return cast("Extractor", load(cls, which, **options))

    monkeypatch.setattr(Extractor, "load", classmethod(noted))
    arguments = [*TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--steps", 1]
    assert train("fit", *arguments, "--reference", reference, "--fid-images", 30).returncode == 0
    assert threads == [1]


def test_an_export_against_a_mean_and_a_covariance_alone(
    train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    bare, path = tmp_path / "bare.npz", tmp_path / "tiny.onnx"
    measure(tiny_data, "anime", device="cpu", threads=1, sample=0).save(bare)
    done = train("export", tiny_run, "--out", path, "--reference", bare, "--fid-images", 40)
    assert done.returncode == 0, done.stderr.decode()
    with Generator.load(path, device="cpu") as loaded:
        quality = loaded.card.quality
    assert "recall" not in quality
    assert done.stderr.decode().rstrip().endswith(f"FID {quality['fid']} (anime, 40 images)")


def test_an_export_can_put_its_measured_quality_on_its_card(
    train: Run, tiny_run: Path, tiny_data: Path, reference: Path, tmp_path: Path
) -> None:
    path, options = tmp_path / "tiny.onnx", ("--fid-images", 40, "--weights", "fp16")
    assert_error(train("export", tiny_run, "--out", path, "--data", tiny_data), 2, "--reference")
    done = train("export", tiny_run, "--out", path, "--reference", reference, "--data", tiny_data, *options)
    assert done.returncode == 0, done.stderr.decode()
    with Generator.load(path, device="cpu") as loaded:
        quality = loaded.card.quality
        # The file is measured, not the checkpoint: the same figure as its user's.
        assert fid(loaded, reference, n=40, device="cpu").value == pytest.approx(quality["fid"], rel=1e-3)
    assert (quality["images"], quality["reference_images"], quality["extractor"]) == (40, 50, "anime")
    assert 0 <= quality["share_nearer_than_training_images"] <= 1
    assert quality.keys() > {"fid_infinity", "kid", "precision", "recall", "coverage", "nearest_training_image"}
    assert f"FID {quality['fid']}" in done.stderr.decode()


def test_a_reference_of_another_size_is_refused_before_training(
    train: Run, tiny_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shipped = request.config.rootpath / "models" / "references" / "anime-faces.npz"
    done = train("fit", *TINY, "--data", tiny_data, "--out", tmp_path / "run", "--reference", shipped)
    assert_error(done, 1, "64×64", "16×16", "animegen stats")
    assert not (tmp_path / "run").exists()
    done = train("fit", *TINY, "--data", tiny_data, "--out", tmp_path / "run", "--reference", tmp_path / "no.npz")
    assert_error(done, 1, "no.npz")
