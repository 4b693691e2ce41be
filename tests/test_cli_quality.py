"""`stats`, `fid`, `evaluate` and `search`, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error, picture_zip, write_dataset
from PIL import Image

from animegen import Extractor, Generator, Reference, measure

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def drawn(tiny_model: Path, tiny_extractor: Extractor) -> Reference:
    """Of the seeds 500 to 559 of the tiny model."""
    with Generator.load(tiny_model, device="cpu") as generator:
        return measure(generator, tiny_extractor, n=60, seed=500)


@pytest.fixture
def reference(drawn: Reference, tmp_path: Path) -> Path:
    drawn.save(tmp_path / "ref.npz")
    return tmp_path / "ref.npz"


def test_stats_of_a_model(
    animegen: Run, tiny_extractor_file: Path, tiny_model: Path, reference: Path, tmp_path: Path
) -> None:
    model = (tiny_model, "--n", 60, "--seed", 500)
    done = animegen("stats", *model, "--extractor", tiny_extractor_file, "--out", "new.npz", *CPU)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert b"seeds 500-559" in done.stderr
    assert (tmp_path / "new.npz").read_bytes() == reference.read_bytes()


def test_stats_of_pictures(animegen: Run, tiny_extractor_file: Path, tmp_path: Path) -> None:
    archive = picture_zip(tmp_path / "faces.zip", 20)
    done = animegen("stats", archive, "--size", 8, "--extractor", tiny_extractor_file, "--features", 7, "--json", *CPU)
    assert done.returncode == 0, done.stderr.decode()
    table = json.loads(done.stdout)
    assert (table["count"], table["features"], table["image_size"]) == (20, 7, "8×8")
    assert Reference.load(tmp_path / "reference.npz").protocol.data_sha256 == table["data_sha256"]


def test_what_is_measured_is_never_written_over(
    animegen: Run, tiny_extractor_file: Path, tiny_model: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "own.npz", images=np.zeros((20, 8, 8, 3), np.uint8))
    before = (tmp_path / "own.npz").read_bytes()
    common = ("--extractor", tiny_extractor_file, *CPU)
    assert_error(animegen("stats", "own.npz", "--out", "./own.npz", *common), 2, "is measured and must stay as it is")
    assert (tmp_path / "own.npz").read_bytes() == before
    (tmp_path / "faces").mkdir()
    for out in ("faces", "faces/report"):
        done = animegen("evaluate", "--model", tiny_model, "--data", "faces", "--out", out, *common)
        assert_error(done, 2, "faces is measured and must stay as it is")


def test_options_that_would_do_nothing_are_refused(
    animegen: Run, tiny_extractor_file: Path, tiny_model: Path, reference: Path, tmp_path: Path
) -> None:
    archive = picture_zip(tmp_path / "faces.zip", 20)
    common = ("--extractor", tiny_extractor_file, "--reference", reference, *CPU)
    for source, option in (
        *((archive, option) for option in ("--n=9", "--seed=1", "--truncation=0.5", f"--model={tiny_model}")),
        (tiny_model, "--model=anime-face-64"),
    ):
        done = animegen("fid", source, option, *common)
        assert_error(done, 2, f"{option.partition('=')[0]} is ", "leave one of them out")
    for command in ("stats", "fid", "evaluate"):  # models and statistics: nothing is resized
        more = ("--reference", reference) if command != "stats" else ()
        done = animegen(command, "--size", 8, "--model", tiny_model, "--extractor", tiny_extractor_file, *more, *CPU)
        assert_error(done, 2, "size is 8", "leave it out")


def test_a_report_holds_nothing_of_an_earlier_one_and_needs_no_features(
    animegen: Run, tiny_extractor_file: Path, tiny_model: Path, tmp_path: Path
) -> None:
    data = picture_zip(tmp_path / "faces.zip", 30)
    common = ("--extractor", tiny_extractor_file, *CPU)
    assert animegen("stats", data, "--size", 8, "--features", 3, "--out", "few.npz", *common).returncode == 0
    options = ("--model", tiny_model, "--reference", "few.npz", "--n", 20, *common)
    assert animegen("evaluate", "--data", data, "--size", 8, *options).returncode == 0
    assert (tmp_path / "report" / "neighbours.png").exists()
    table = json.loads(animegen("evaluate", "--json", *options).stdout)
    assert table["kernel"] is None
    assert table["manifold"] is None
    assert not (tmp_path / "report" / "neighbours.png").exists()


def test_fid_of_a_model_prints_its_protocol(
    animegen: Run, tiny_extractor_file: Path, tiny_model: Path, reference: Path
) -> None:
    model = ("--model", tiny_model, "--extractor", tiny_extractor_file, "--reference", reference, *CPU)
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
    # The same seeds that the reference was drawn with are at no distance; a model is also named as IMAGES.
    same = animegen("fid", tiny_model, "--n", 60, "--seed", 500, "--json", *model[2:])
    assert json.loads(same.stdout)["fid"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "command",
    ["stats --n 9 --json", "fid --n 9 --reference ref.npz --json", "evaluate --n 20 --reference ref.npz --json",
     "search --hair red --n 1 --json"],
)  # fmt: skip
def test_data_is_on_stdout_and_talk_on_stderr(
    command: str, animegen_process: Run, tiny_extractor_file: Path, tiny_model: Path, reference: Path
) -> None:
    done = animegen_process(*command.split(), "--model", tiny_model, "--extractor", tiny_extractor_file)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)
    assert done.stderr.decode().count("device: ") == 1


def test_max_makes_it_a_check(animegen: Run, tiny_extractor_file: Path, reference: Path, tmp_path: Path) -> None:
    archive = picture_zip(tmp_path / "faces.zip", 20)
    options = ("--extractor", tiny_extractor_file, "--reference", reference, "--size", 8, *CPU)
    done = animegen("fid", archive, "--max", 0.001, *options)
    assert done.returncode == 1
    assert b"failed: FID" in done.stderr
    assert b"FID" in done.stdout
    assert animegen("fid", archive, "--max", 1000, *options).returncode == 0


def test_folder_against_folder(animegen: Run, tiny_extractor_file: Path, tmp_path: Path) -> None:
    one, other = picture_zip(tmp_path / "one.zip", 20), picture_zip(tmp_path / "other.zip", 30)
    done = animegen("fid", one, "--reference", other, "--extractor", tiny_extractor_file, "--json", *CPU)
    assert done.returncode == 0, done.stderr.decode()
    table = json.loads(done.stdout)
    assert (table["count"], table["reference_count"]) == (20, 30)
    assert (table["measured"]["source"], table["reference"]["source"]) == ("one.zip", "other.zip")


def test_bad_images_are_one_line(animegen: Run, tiny_extractor_file: Path, reference: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    picture_zip(tmp_path / "one.zip", 1)
    picture_zip(tmp_path / "two.zip", 9)
    packed = write_dataset(tmp_path / "packed", np.zeros((9, 8, 8, 3), np.uint8), sha256="0" * 64)
    options = ("--extractor", tiny_extractor_file, *CPU)
    assert_error(animegen("stats", "empty", *options), 1, "holds no images")
    assert_error(animegen("stats", "one.zip", *options), 1, "1 images have no covariance")
    assert not (tmp_path / "reference.npz").exists()
    assert_error(animegen("stats", "nowhere", *options), 1, "does not exist")
    assert_error(animegen("stats", "one.zip", "--out", "a.txt", *options), 1, ".npz")
    assert_error(animegen("stats", packed, *options), 1, "packed is damaged", "prepare it again")
    against = ("--reference", reference, *options)
    assert_error(animegen("fid", "one.zip", "--repeats", 2, *against), 2, "repeats is 2 and must be 1")
    assert_error(animegen("fid", "two.zip", *against), 1, "8×8", "20×20")
    assert_error(animegen("fid", packed, *against), 1, "packed is damaged", "prepare it again")
    assert_error(animegen("evaluate", "--data", packed, *against), 1, "packed is damaged", "prepare it again")


def test_a_bad_reference_is_one_line(animegen: Run, tiny_model: Path, reference: Path, tmp_path: Path) -> None:
    model = ("--model", tiny_model, "--n", 9, *CPU)
    done = animegen("fid", *model, "--reference", reference, "--extractor", "anime")
    assert_error(done, 1, "tiny.onnx", "anime", "one extractor on both sides")
    assert_error(animegen("fid", *model, "--reference", reference), 2, "--extractor")
    with np.load(reference) as archive:
        values = {key: archive[key] for key in archive.files}
    np.savez(tmp_path / "nan.npz", **{**values, "mu": np.full(6, np.nan)})
    assert_error(animegen("fid", *model, "--reference", "nan.npz"), 1, "NaN")


def test_search_prints_seeds_for_other_commands(animegen: Run, tiny_extractor_file: Path, tiny_model: Path) -> None:
    options = ("--model", tiny_model, "--extractor", tiny_extractor_file, *CPU)
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
    assert b"the best match was seed" in done.stderr
    assert b"raise --most or lower --confidence" in done.stderr
    done = animegen("search", "--hair", "red", "--seed", 2**32 - 3, "--confidence", 1, *options)
    assert b"0 of 8 found among 3 seeds" in done.stderr
    assert b"begin at a lower --seed or lower --confidence" in done.stderr
    assert_error(animegen("search", *options), 2, "at least one of hair")
    assert_error(animegen("search", "--hair", "plaid", *options), 2, "red, green, blue")


def test_evaluate_writes_a_report(
    animegen: Run, tiny_extractor_file: Path, tiny_model: Path, reference: Path, tmp_path: Path
) -> None:
    data = picture_zip(tmp_path / "faces.zip", 30)
    options = ("--model", tiny_model, "--extractor", tiny_extractor_file, "--reference", reference, "--n", 20, *CPU)
    done = animegen("evaluate", "--data", data, "--size", 8, *options)
    assert done.returncode == 0, done.stderr.decode()
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "report.json", "neighbours.png"}
    assert b"report: report.md, report.json, neighbours.png" in done.stderr
    assert done.stdout.decode() == (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "report")
    table = json.loads(animegen("evaluate", "--json", *options).stdout)
    assert table["likeness"] is None
    assert table["score"]["count"] == 20
    assert table == {"out": "report", **json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))}
    assert_error(animegen("evaluate", "--out", data, *options), 1, "is a file")


def test_neighbours_of_a_grey_model_are_rgb(
    animegen: Run, grey_model: Path, tiny_extractor_file: Path, reference: Path, tmp_path: Path
) -> None:
    data = picture_zip(tmp_path / "faces.zip", 30)  # of RGB
    options = ("--model", grey_model, "--extractor", tiny_extractor_file, "--reference", reference, "--n", 20, *CPU)
    done = animegen("evaluate", "--data", data, "--size", 8, *options)
    assert done.returncode == 0, done.stderr.decode()
    with Image.open(tmp_path / "report" / "neighbours.png") as sheet:
        assert sheet.mode == "RGB"


@pytest.mark.parametrize("command", ["fid", "evaluate"])
def test_a_reference_whose_protocol_is_stated(
    command: str, animegen: Run, drawn: Reference, tiny_extractor_file: Path, tiny_model: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "other.npz", mu=drawn.statistics.mean, sigma=drawn.statistics.covariance)
    model = ("--model", tiny_model, "--extractor", tiny_extractor_file, "--n", 40, *CPU)
    reference = ("--reference", "other.npz", "--reference-protocol", "extractor=tiny.onnx,count=60,size=8")
    done = animegen(command, *model, *reference)
    assert done.returncode == 0, done.stderr.decode()
    assert "60 of other.npz, stated, not measured: extractor tiny.onnx, size 8×8" in done.stdout.decode()
    assert_error(animegen(command, *model, *reference[:2]), 1, "state it with --reference-protocol")
    assert_error(animegen(command, *model, *reference[:3], "count=60"), 2, "must be extractor=…,count=…")
