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
        ("[generator]\nstyle = 3", r"generator\.style is no setting: do you mean generator\.slope"),
        ("size = 'large'", "size is 'large' and must be a whole number, at least 8 and at most 256"),
        ("size = 48", "must halve to the smallest stage, 4 .48 → 24 → 12 → 6 → 3"),
        ("size = 300", "size is 300 and must be a whole number"),
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
        (f"lambda_gp = 1{'0' * 400}", r"lambda_gp is 10+\.\.\.0+ and must be a finite number"),
        (f"lambda_gp = 1{'0' * 5000}", "not TOML"),
        (
            "[critic_optimiser]\nlr = 1e-3",
            "critic_optimiser has no algorithm, .* one of adam, rmsprop, sgd: add",
        ),
        ("gamma = nan", "gamma is nan"),
        ("steps = 7\nepochs = 1", "steps is 7 and epochs 1"),
        ("ema = nan", "ema is nan"),
        ("[critic_optimiser]\nalgorithm = 'adam'\nlr = nan", "critic_optimiser.lr is nan"),
        ("[critic_optimiser]\nalgorithm = 'rmsprop'\nlr = inf", "critic_optimiser.lr is inf"),
        ("[generator]\nslope = nan", "generator.slope is nan"),
        ("[generator]\nwidth = 99999999", r"generator\.width is 99999999 .* at most 4,096"),
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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "setting 'seed' has no value: write key=value, as in generator.width=32"),
        ("=3", "setting '=3' can't be read: write key=value, as in generator.width=32"),
        ("preset=mine", "preset can't be set: name another preset in its place"),
        ("objective=lsgan",
         "objective is 'lsgan' and must be one of dcgan, hinge, ragan, ragan-hinge, rgan, "
         "rgan-hinge, wgan, wgan-gp"),
        ("flip=yes", "flip is 'yes' and must be true or false"),
        ("ema=true", "ema is true and must be a number, at least 0 and below 1"),
        ("ema=.5", "ema is '.5' and must be a number, at least 0 and below 1: write ema=0.5"),
        ("epochs=x", "epochs is 'x' and must be a whole number, at least 1 and at most 2,147,483,647"),
        ("batch_size=6.4e1", "batch_size is 64.0 and must be a whole number, at least 2 and at most 65,536: "
         "write batch_size=64"),
        ("labels=hair", """labels is 'hair' and must be a list, each part text: write labels=["hair"]"""),
        ("augment=color,cutout", "augment is 'color,cutout' and must be a list, each part one of color, cutout, "
         'translation: write augment=["color", "cutout"]'),
        ("description=3", 'description is 3 and must be text: write description="3"'),
        ("generator=3", "generator is 3 and must be a table: set one of its keys, such as generator.z_dim"),
        ("critic_optimiser=sgd", "critic_optimiser is 'sgd' and must be a table: set one of its keys, such as "
         "critic_optimiser.algorithm"),
        ("critic_optimiser.algorithm=lion",
         "critic_optimiser.algorithm is 'lion' and must be one of adam, rmsprop, sgd"),
        ("critic_optimiser.alpha=0.5", "critic_optimiser.alpha is no setting: there are critic_optimiser.algorithm, "
         "critic_optimiser.lr, critic_optimiser.beta1, critic_optimiser.beta2"),
        ("widht=3", "widht is no setting: do you mean generator.width or critic.width?"),
        ("generator.widht=3", "generator.widht is no setting: do you mean generator.width?"),
        ("gamma=1", "wgan-gp-64 with gamma=1: gamma is 1.0 and must be 0 for wgan-gp, whose penalty is lambda_gp: "
         "leave it out, or take another objective"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_named_with_the_rule(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("wgan-gp-64", [setting])
    assert str(caught.value) == message


def test_the_preset_is_blamed_for_what_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("flip = 1")
    with pytest.raises(ConfigError, match=r"mine\.toml: flip is 1 and must be true or false$"):
        load_config(str(path), ["seed=3"])


def test_neither_a_preset_nor_a_dataset_needs_torch() -> None:
    # `fit` reads its preset, and `prepare` works, before the seconds that torch takes to import.
    script = (
        "import sys, train.data, train.config as config\n"
        "for name in config.preset_names(): config.load_config(name, ['seed=1'])\n"
        "print('torch' in sys.modules, 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
