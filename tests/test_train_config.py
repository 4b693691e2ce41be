"""Presets and settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytest.importorskip("msgspec")

from train.config import differences, from_mapping, load_config, preset_names, to_mapping
from train.errors import ConfigError


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_whole(name: str) -> None:
    config = load_config(name)
    assert config.preset == name
    assert config.description
    assert from_mapping(to_mapping(config), origin="again") == config


def test_settings_change_single_values() -> None:
    config = load_config("wgan-gp-64", ["generator.width=32", "lambda_gp = 5", "description=mine", "flip=false"])
    assert (config.generator.width, config.lambda_gp, config.description, config.flip) == (32, 5.0, "mine", False)
    assert differences(load_config("wgan-gp-64"), config) == [
        "description: 'WGAN-GP as published, at 64×64' → 'mine'",
        "flip: True → False",
        "generator.width: 64 → 32",
        "lambda_gp: 10.0 → 5.0",
    ]


def test_a_preset_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("size = 32\n[critic]\nwidth = 7\n")
    config = load_config(str(path))
    assert (config.preset, config.size, config.critic.width, config.n_critic) == ("mine", 32, 7, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("widht = 3", "widht"),
        ("[generator]\nstyle = 3", r"style.*\$\.generator"),
        ("size = 'large'", r"\$\.size"),
        ("size = 48", "must halve to the smallest stage, 4 .48 → 24 → 12 → 6 → 3"),
        ("size = 300", r"\$\.size"),
        ("size = 28\n[generator]\nsmallest = 2\nkernel = 4", "generator.kernel is 4 and must be odd"),
        ("label_noise = 0.1", "label_noise is 0.1 and must be 0 for wgan-gp"),
        ("labels = ['*', 'hair']", r"labels are \*, hair and must be names of groups, or \* alone"),
        ("gamma = 1.0", "gamma is 1.0 and must be 0 for wgan-gp"),
        ("accumulate = 3", "accumulate is 3 and must cut batch_size, 64"),
        ("accumulate = 64", "accumulate is 64 and must cut batch_size, 64"),
        ("augment = ['blur']", "augment"),
        ("[critic_optimiser]\nalgorithm = 'adam'\nalpha = 0.9", "alpha"),
        ("[critic_optimiser]\nalgorithm = 'lion'", "lion"),
        ("lambda_gp = -1", "lambda_gp"),
        ("batch_size = 1", "batch_size"),
        ("batch_size = 2.5", "batch_size"),
        ("objective = 'lsgan'", "lsgan"),
        ("size = ", "not TOML"),
    ],
)
def test_preset_files_that_cannot_be(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(str(path))
    assert "wrong.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["stylegan", "nowhere.toml", "", "../presets/wgan-gp-64"])
def test_an_unknown_preset_shows_the_known(name: str) -> None:
    with pytest.raises(ConfigError, match=r"anime-pixels-64, anime-tags-64, .*, wgan-gp-mnist28-paper, or the path"):
        load_config(name)


@pytest.mark.parametrize(("setting", "words"), [("seed", "has no value"), ("=3", "can't be read"), ("no.such=1", "no")])
def test_settings_that_cannot_be(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config("wgan-gp-64", [setting])


def test_neither_a_preset_nor_a_dataset_needs_torch() -> None:
    # `fit` reads its preset, and `prepare` works, before the seconds that torch takes to import.
    script = (
        "import sys, train.data, train.config as config\n"
        "for name in config.preset_names(): config.load_config(name, ['seed=1'])\n"
        "print('torch' in sys.modules, 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
