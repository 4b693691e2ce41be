"""Recipes on the same terms."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, Run, assert_error, picture_zip, write_mnist
from PIL import Image

pytest.importorskip("torch")

from animegen import UsageError, measure
from train.data import prepare
from train.errors import ConfigError
from train.report.recipes import Comparison, Recipe
from train.run import checkpoint

SMALL = [part for setting in TINY[3::2] for part in ("--set", setting) if not setting.startswith("n_critic")]
THREE = "wgan-gp-64+n_critic=2,dcgan-anime64,wgan-gp-64+lambda_gp=5.0+n_critic=1"


def test_a_recipe_is_a_preset_with_changes() -> None:
    recipe, plain = Recipe.parse("wgan-gp-anime64+lambda_gp=10.0+n_critic=1"), Recipe.parse("wgan-gp-anime64")
    comparison = Comparison((recipe, plain), settings=("size=32", "batch_size=50"), images=1001)
    config = comparison.configuration(recipe, 7)
    assert (config.preset, config.size, config.lambda_gp, config.n_critic, config.seed) == (
        "wgan-gp-anime64", 32, 10, 1, 7,
    )  # fmt: skip
    assert (config.steps, config.epochs) == (21, None)  # 1001 images in batches of 50
    assert comparison.configuration(plain, 0).steps == 11  # two critic steps a step
    for wrong in ("no-such", "wgan-gp-64+", "wgan-gp-64+lambda_gp=-1"):
        with pytest.raises(ConfigError):
            Recipe.parse(wrong)
    with pytest.raises(ConfigError, match="depth"):
        Comparison((plain,), settings=("generator.depth=3",))
    with pytest.raises(UsageError, match="either"):
        Comparison((plain,), steps=1, images=1)


def test_recipes_are_cut_at_no_comma_or_plus_of_a_value() -> None:
    text = (
        'wgan-gp-64+augment=["color","translation"]+lambda_gp=1e+1+n_critic=+2, '
        "dcgan-anime64+description='a, b+c=d'+critic.width=8,wgan-gp-64"
    )
    recipes = Recipe.parse_all(text)
    assert [recipe.settings for recipe in recipes] == [
        ('augment=["color","translation"]', "lambda_gp=1e+1", "n_critic=+2"),
        ("description='a, b+c=d'", "critic.width=8"),
        (),
    ]
    first, second, _ = (Comparison(recipes, steps=1).configuration(recipe, 0) for recipe in recipes)
    assert (first.augment, first.lambda_gp, first.n_critic) == (("color", "translation"), 10, 2)
    assert (second.description, second.critic.width) == ("a, b+c=d", 8)


def test_a_preset_s_file_gives_its_stem_to_the_run_s_folder(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text("size = 32")
    one, other = (str(tmp_path / folder / "mine.toml") for folder in ("one", "other"))
    (recipe,) = Recipe.parse_all(f"{one}+labels=['a/b','..']")
    assert recipe.label == "mine+labels=['a/b','..']"
    assert recipe.folder(3) == "mine+labels=['a-b','..']-seed3"
    assert Recipe.parse("wgan-gp-64+n_critic=2").folder(0) == "wgan-gp-64+n_critic=2-seed0"
    for text in (f"{one},{other}", "wgan-gp-64,wgan-gp-64"):
        with pytest.raises(ConfigError, match=r"two recipes are called (mine|wgan-gp-64) and must .*: rename"):
            Comparison(Recipe.parse_all(text), steps=1)
    assert len(Comparison(Recipe.parse_all(f"{one},{other}+n_critic=1"), steps=1).recipes) == 2


def test_runs_come_seed_by_seed() -> None:
    recipes = (Recipe.parse("wgan-gp-64"), Recipe.parse("dcgan-anime64"))
    runs = [(recipe.label, seed, config.seed) for recipe, seed, config in Comparison(recipes, steps=1, seeds=2).runs()]
    assert runs == [("wgan-gp-64", 0, 0), ("dcgan-anime64", 0, 0), ("wgan-gp-64", 1, 1), ("dcgan-anime64", 1, 1)]


def test_a_comparison_without_a_reference(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    arguments = ["--presets", THREE, *SMALL, "--data", tiny_data, "--out", out, "--images", 32, "--threads", 1]
    done = train("compare", *arguments, "--seeds", 2)
    assert done.returncode == 0, done.stderr.decode()
    table = (out / "table.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    assert [row[:3] for row in rows] == [
        ["`wgan-gp-64+n_critic=2`", "2", "32"],
        ["`dcgan-anime64`", "4", "32"],
        ["`wgan-gp-64+lambda_gp=5.0+n_critic=1`", "4", "32"],
    ]
    assert all("±" in row[3] for row in rows)
    assert "2 seeds each" in table
    for name in ("curves.png", "grids.png"):
        with Image.open(out / name) as picture:
            assert picture.size[0] > 500
    weights = {}
    for seed in (0, 1):
        saved = out / "runs" / f"dcgan-anime64-seed{seed}" / checkpoint.NAME
        assert checkpoint.read_card(saved).config.seed == seed
        weights[seed] = saved.read_bytes()
    assert weights[0] != weights[1]
    # The same command finds all of it done.
    again = train("compare", *arguments, "--seeds", 2)
    assert again.returncode == 0
    assert "step" not in again.stderr.decode()
    assert (out / "table.md").read_text() == table


def test_a_comparison_against_a_reference(train: Run, animegen: Run, tiny_data: Path, tmp_path: Path) -> None:
    reference, out = tmp_path / "tiny.npz", tmp_path / "compared"
    assert animegen("stats", tiny_data, "--extractor", "anime", "--device", "cpu", "--out", reference).returncode == 0
    arguments = ["--presets", "wgan-gp-64", *SMALL, "--data", tiny_data, "--out", out, "--steps", 1, "--seeds", 1]
    done = train("compare", *arguments, "--reference", reference, "--fid-images", 20)
    assert done.returncode == 0, done.stderr.decode()
    assert "wgan-gp-64-seed0: FID " in done.stderr.decode()
    head, _, row, *_ = (out / "table.md").read_text().splitlines()
    measured = dict(zip(head.split(" | ")[4:], row.split(" | ")[4:], strict=True))
    assert measured.keys() == {"FID", "KID", "precision", "recall |"}
    assert float(measured["FID"]) > 0
    again = train("compare", *arguments, "--reference", reference, "--fid-images", 20)
    assert again.returncode == 0
    assert "FID" not in again.stderr.decode()  # measured once


def test_figures_of_another_measurement_are_measured_anew(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    for name, extractor, sample in (("bare", "anime", 0), ("whole", "anime", 50), ("other", "imagenet", 50)):
        measure(tiny_data, extractor, device="cpu", threads=1, sample=sample).save(tmp_path / f"{name}.npz")
    arguments = ["--presets", "wgan-gp-64", *SMALL, "--data", tiny_data, "--out", out, "--steps", 1, "--seeds", 1]

    def figures(name: str) -> str:
        done = train("compare", *arguments, "--reference", tmp_path / f"{name}.npz", "--fid-images", 20)
        assert done.returncode == 0, done.stderr.decode()
        return (out / "table.md").read_text()

    bare, whole, other = map(figures, ("bare", "whole", "other"))
    assert ["KID" in text for text in (bare, whole, other)] == [False, True, True]
    fids = [text.splitlines()[2].split(" | ")[4].rstrip(" |") for text in (bare, whole, other)]
    assert fids[0] == fids[1] != fids[2]
    assert figures("bare") == bare


def test_a_comparison_against_a_mean_and_a_covariance_alone(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    bare, out = tmp_path / "bare.npz", tmp_path / "compared"
    measure(tiny_data, "anime", device="cpu", threads=1, sample=0).save(bare)
    arguments = ["--presets", "wgan-gp-64", *SMALL, "--data", tiny_data, "--out", out, "--steps", 1, "--seeds", 1]
    done = train("compare", *arguments, "--reference", bare, "--fid-images", 20)
    assert done.returncode == 0, done.stderr.decode()
    head, _, row, *_ = (out / "table.md").read_text().splitlines()
    assert head.endswith("| minutes | FID |")
    assert float(row.split("|")[-2]) > 0


def test_grey_images_are_drawn_grey(train: Run, tmp_path: Path) -> None:
    write_mnist(tmp_path / "downloads", 12)
    data, out = tmp_path / "digits", tmp_path / "compared"
    source = f"mnist:{tmp_path / 'downloads'}"
    assert train("prepare", source, "--size", 28, "--out", data).returncode == 0
    small = ["--set", "batch_size=4", "--set", "generator.width=4", "--set", "critic.width=4"]
    done = train(
        "compare", "--presets", "wgan-gp-mnist28", *small, "--data", data, "--out", out, "--steps", 1, "--seeds", 1
    )
    assert done.returncode == 0, done.stderr.decode()
    with Image.open(out / "grids.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels == pixels[..., :1]).all()
    assert pixels.std() > 5


def test_runs_are_measured_at_the_same_numbers_of_images(
    train: Run, animegen: Run, tiny_data: Path, tmp_path: Path
) -> None:
    reference, out = tmp_path / "tiny.npz", tmp_path / "compared"
    assert animegen("stats", tiny_data, "--extractor", "anime", "--device", "cpu", "--out", reference).returncode == 0
    arguments = ["--presets", "wgan-gp-64+n_critic=2,dcgan-anime64", *SMALL, "--data", tiny_data, "--out", out]
    arguments += ["--images", 64, "--seeds", 1, "--reference", reference, "--fid-images", 20, "--fid-every", 32]
    done = train("compare", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    for recipe in ("wgan-gp-64+n_critic=2", "dcgan-anime64"):
        rows = (out / "runs" / f"{recipe}-seed0" / "fid.jsonl").read_text().splitlines()
        assert [json.loads(row)["images_seen"] for row in rows] == [32, 64]


def test_a_stopped_comparison_goes_on(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    arguments = ["compare", "--presets", "wgan-gp-64,wgan-anime64", *SMALL, "--data", str(tiny_data), "--out", str(out)]
    arguments += ["--steps", "60", "--seeds", "1", "--threads", "1"]
    with subprocess.Popen([sys.executable, "-m", "train", *arguments], cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith(b"step 10/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read().decode()
    assert process.returncode == 130, rest
    assert "continue with the same command" in rest
    assert not (out / "table.md").exists()
    stopped = checkpoint.read_card(out / "runs" / "wgan-gp-64-seed0" / checkpoint.NAME).step
    assert 10 <= stopped < 60
    done = train(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    card = checkpoint.read_card(out / "runs" / "wgan-gp-64-seed0" / checkpoint.NAME)
    assert (card.step, card.sessions) == (60, 2)
    assert (out / "table.md").exists()


def test_runs_of_other_settings_or_data_are_refused(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    arguments = ["--presets", "dcgan-anime64,wgan-gp-64", *SMALL, "--out", out, "--seeds", 1]
    done = train("compare", *arguments, "--data", tiny_data, "--steps", 2)
    assert done.returncode == 0, done.stderr.decode()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    card = prepare(picture_zip(tmp_path / "other.zip", 20), tmp_path / "other", size=16)
    for changed, words in (
        (["--data", tiny_data, "--steps", 1], ["steps: 2 → 1"]),
        (["--data", tiny_data, "--steps", 3], ["steps: 2 → 3"]),
        (["--data", tiny_data, "--steps", 2, "--set", "critic.width=8"], ["critic.width: 4 → 8"]),
        (["--data", tmp_path / "other", "--steps", 2], ["data: sha256", card.sha256[:12]]),
    ):
        assert_error(train("compare", *arguments, *changed), 1, "dcgan-anime64-seed0", *words, "another --out")
    # A run that comes after others is refused before these have trained.
    arguments[1] = "sngan-64,wgan-gp-64"
    assert_error(train("compare", *arguments, "--data", tiny_data, "--steps", 3), 1, "wgan-gp-64-seed0")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--presets", "wgan-gp-64", "--steps", "3", "--images", "3"], ["either"]),
        (["--presets", "wgan-gp-64,no-such", "--steps", "3"], ["no-such", "wgan-gp-64"]),
        (["--presets", "wgan-gp-64+lambda_gp=x", "--steps", "3"], ["lambda_gp"]),
        (["--presets", "wgan-gp-anime64", "--set", "steps=5"], ["steps", "--steps or --images"]),
        (["--presets", "wgan-gp-64,wgan-gp-anime64+epochs=5"], ["epochs", "--steps or --images"]),
        (["--presets", "wgan-gp-64+seed=5"], ["seed", "--seeds"]),
    ],
)
def test_bad_input(train: Run, tiny_data: Path, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    done = train("compare", *arguments, *SMALL, "--data", tiny_data, "--out", tmp_path / "out")
    assert_error(done, 2, *words)
    assert not (tmp_path / "out").exists()
