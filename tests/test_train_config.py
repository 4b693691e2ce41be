"""Presets and settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytest.importorskip("msgspec")

from train.config import SGD, RMSprop, differences, from_mapping, load_config, preset_names, to_mapping
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


def test_steps_that_are_set_take_the_place_of_a_preset_s_epochs() -> None:
    assert load_config("wgan-gp-anime64").total_steps(25_600) == 5000
    assert load_config("wgan-gp-anime64", ["steps=7"]).total_steps(25_600) == 7
    assert load_config("wgan-gp-anime64", ["epochs=1"]).total_steps(25_600) == 100
    assert load_config("wgan-gp-64", ["epochs=1", "n_critic=1"]).total_steps(25_600) == 400
    for settings in (["steps=7", "epochs=1"], ["epochs=1", "steps=7"]):
        with pytest.raises(ConfigError, match=r"steps is 7 and epochs 1, .* leave one of them out"):
            load_config("wgan-gp-anime64", settings)


def test_another_algorithm_drops_the_values_of_the_one_before() -> None:
    config = load_config("wgan-gp-64", ["generator_optimiser.algorithm=sgd", "critic_optimiser.algorithm=adam"])
    assert (config.generator_optimiser, config.critic_optimiser) == (SGD(), load_config("wgan-gp-64").critic_optimiser)
    settings = ["critic_optimiser.alpha=0.5", "critic_optimiser.algorithm=rmsprop", "critic_optimiser.lr=1e-3"]
    assert load_config("wgan-gp-64", settings).critic_optimiser == RMSprop(lr=1e-3, alpha=0.5)
    # Values for all, and then an algorithm of one recipe's own.
    assert load_config("wgan-gp-64", [*settings, "critic_optimiser.algorithm=sgd"]).critic_optimiser == SGD()


def test_a_preset_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("size = 32\n[critic]\nwidth = 7\n")
    config = load_config(str(path))
    assert (config.preset, config.size, config.critic.width, config.n_critic) == ("mine", 32, 7, 5)


def test_a_preset_as_windows_notepad_saves_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf# a preset\r\nsize = 32\r\n")
    assert load_config(str(path)).size == 32


def test_a_preset_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.touch()

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"mine\.toml can't be read: Permission denied"):
        load_config(str(path))


def test_names_and_settings_that_are_no_utf8_fit_into_json(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.toml")
    path.touch()
    config = load_config(str(path), [os.fsdecode(b"description=\xff")])
    assert (config.preset, config.description) == (r"caf\xe9", r"\\xff")


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
        ("class_generator = 0.1", "class_generator is 0.1 and class_critic 0, so the classifier would learn nothing"),
        ("labels = ['*', 'hair']", r"labels are \*, hair and must be names of groups, or \* alone"),
        ("gamma = 1.0", "gamma is 1.0 and must be 0 for wgan-gp"),
        ("accumulate = 3", "accumulate is 3 and must cut batch_size, 64"),
        ("accumulate = 64", "accumulate is 64 and must cut batch_size, 64"),
        ("augment = ['blur']", "augment"),
        ("[critic_optimiser]\nalgorithm = 'adam'\nalpha = 0.9", "alpha"),
        ("[critic_optimiser]\nalgorithm = 'lion'", "lion"),
        ("lambda_gp = -1", "lambda_gp"),
        ("lambda_gp = nan", "lambda_gp is nan and must be a finite number"),
        ("lambda_gp = inf", "lambda_gp is inf and must be a finite number"),
        ("lambda_gp = 1e400", "lambda_gp is inf and must be a finite number"),
        (f"lambda_gp = 1{'0' * 400}", "lambda_gp|float"),
        ("gamma = nan", "gamma is nan"),
        ("steps = 7\nepochs = 1", "steps is 7 and epochs 1"),
        ("ema = nan", "ema is nan"),
        ("[critic_optimiser]\nalgorithm = 'adam'\nlr = nan", "critic_optimiser.lr is nan"),
        ("[critic_optimiser]\nalgorithm = 'rmsprop'\nlr = inf", "critic_optimiser.lr is inf"),
        ("[generator]\nslope = nan", "generator.slope is nan"),
        ("[generator]\nwidth = 99999999", r"<= 4096.*\$\.generator\.width"),
        ("batch_size = 99999999", "batch_size"),
        ("n_critic = 99999999", "n_critic"),
        (f"steps = {10**30}", "steps"),
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
