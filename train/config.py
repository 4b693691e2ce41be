"""A run's whole configuration: frozen, checked, read from a preset's TOML. A preset is data."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from animegen.files import is_file
from train.errors import ConfigError
from train.rules import SettingError, explained

ALL_LABELS = "*"
PRESETS = Path(__file__).parent / "presets"

# What a machine can hold and count to; the bounds are far above what anyone has trained with.
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Width = Annotated[int, Meta(ge=1, le=4096)]
Rounds = Annotated[int, Meta(ge=1, le=1000)]
Rate = Annotated[float, Meta(gt=0)]
Weight = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Kernel = Annotated[int, Meta(ge=3, le=7)]
Blocks = Annotated[int, Meta(ge=0, le=4)]

ObjectiveName = Literal["wgan-gp", "wgan", "dcgan", "hinge", "rgan", "rgan-hinge", "ragan", "ragan-hinge"]


class GeneratorConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The generator: `z_dim` values → its smallest stage → doubled up to the image's size."""

    z_dim: Width = 128
    width: Width = 64  # channels before the last stage; each stage towards the latent has twice as many
    kernel: Kernel = 4
    smallest: Annotated[int, Meta(ge=2, le=8)] = 4  # side of the first stage
    first: Literal["dense", "convolution"] = "dense"  # from the latent to the first stage
    norm: Literal["batch", "none"] = "batch"  # after every layer but the last
    slope: Fraction = 0.0  # of a LeakyReLU; 0 is the ReLU of Radford et al. 2016
    blocks: Blocks = 0  # residual blocks after each doubling
    full_size: bool = False  # features at the image's own size too, so `width` is theirs
    output: Literal["tanh", "sigmoid"] = "tanh"


class CriticConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The critic: halved from the image's size to its smallest stage, then one value an image."""

    width: Width = 64  # channels after the first stage; each later stage has twice as many
    kernel: Kernel = 4
    smallest: Annotated[int, Meta(ge=2, le=8)] = 4  # side of the last stage
    last: Literal["dense", "convolution"] = "dense"  # from the last stage to the value; both are the same sum
    norm: Literal["none", "batch", "instance", "spectral"] = "none"  # batch, instance: not in the first layer
    slope: Fraction = 0.2  # of the LeakyReLU; Radford et al. 2016
    blocks: Blocks = 0  # residual blocks before each halving of features
    full_size: bool = False  # features at the image's own size too, so `width` is theirs


class Adam(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="algorithm", tag="adam"):
    """Kingma & Ba 2015."""

    lr: Rate = 1e-4
    beta1: Fraction = 0.0
    beta2: Fraction = 0.9


class RMSprop(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="algorithm", tag="rmsprop"):
    """Tieleman & Hinton 2012, which Arjovsky et al. 2017 took as Adam's momentum hurt a clipped critic."""

    lr: Rate = 5e-5
    alpha: Fraction = 0.99  # torch's default, which the paper's code used


class SGD(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="algorithm", tag="sgd"):
    """Plain gradient descent."""

    lr: Rate = 0.01


Optimiser = Adam | RMSprop | SGD


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what a run computes. Where it runs (device, precision, processes) is not in here.

    A step, in every count, is a round of `n_critic` critic steps and then `n_generator` generator steps.
    """

    preset: str
    description: str = ""
    size: Annotated[int, Meta(ge=8, le=256)] = 64
    channels: Literal[1, 3] = 3
    objective: ObjectiveName = "wgan-gp"
    lambda_gp: Weight = 10.0  # wgan-gp only
    penalty_every: Positive = 1  # critic steps from one penalty to the next; its weight is multiplied by them
    penalty_share: Annotated[float, Meta(gt=0, le=1)] = 1.0  # of a batch: its penalty is the mean over so many images
    clip: Rate = 0.01  # wgan only
    gamma: Weight = 0.0  # zero-centred penalties R1 and R2; not with wgan-gp
    label_noise: Share = 0.0  # share of the labels that are flipped; dcgan only
    n_critic: Rounds = 5
    n_generator: Rounds = 1
    batch_size: Annotated[int, Meta(ge=2, le=2**16)] = 64
    batch_repeats: Positive = 1  # critic steps that see one and the same real batch
    accumulate: Positive = 1  # parts of a batch that are computed one after the other, to save memory
    steps: Positive = 100_000
    epochs: Positive | None = None  # in place of `steps`: passes of the critic over the real images
    lr_decay: Share = 0.0  # share of the run, at its end, over which the learning rates fall to 0 in a line
    ema: Fraction = 0.999  # decay at each generator step
    flip: bool = True  # mirror half of the real images
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ()  # DiffAugment
    labels: tuple[str, ...] = ()  # the groups of labels that both networks take; "*" is every group of the dataset
    class_critic: Weight = 0.0  # weight of a classifier's cross-entropy on real images in the critic's loss
    class_generator: Weight = 0.0  # and on generated ones in the generator's
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    generator: GeneratorConfig = GeneratorConfig()
    critic: CriticConfig = CriticConfig()
    generator_optimiser: Optimiser = Adam()
    critic_optimiser: Optimiser = Adam()

    @property
    def penalised(self) -> bool:
        """Whether the critic's loss has a penalty on its gradient."""
        return self.objective == "wgan-gp" or self.gamma > 0

    @property
    def classified(self) -> bool:
        """Whether the critic also says which class an image has."""
        return bool(self.labels) and self.class_critic > 0

    @property
    def penalty_weight(self) -> float:
        """The penalty's factor in the losses that have it: λ, or γ/2 of R1 and R2, for the steps without it too."""
        weight = self.lambda_gp if self.objective == "wgan-gp" else self.gamma / 2
        return weight * self.penalty_every

    def total_steps(self, images: int) -> int:
        """The steps of the whole run on a dataset of so many images."""
        if self.epochs is None:
            return self.steps
        return math.ceil(self.epochs * images / (self.batch_size * self.n_critic))


def sides(size: int, smallest: int) -> list[int]:
    """The sides of the stages from the image inwards, each half of the last, rounded up: 28 → [28, 14, 7, 4].

    Raises:
        ConfigError: no halving leads to `smallest`.
    """
    stages = [size]
    while stages[-1] > smallest:
        stages.append((stages[-1] + 1) // 2)
    if stages[-1] != smallest or len(stages) < 2:
        raise ConfigError(
            f"size is {size} and must halve to the smallest stage, {smallest} ({_arrows(stages)}): "
            "change size, generator.smallest or critic.smallest"
        )
    return stages


def _arrows(stages: Sequence[int]) -> str:
    return " → ".join(map(str, stages))


def preset_names() -> list[str]:
    """The names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_config(preset: str, settings: Sequence[str] = ()) -> Config:
    """Read a preset by name, or from the path of a TOML file, and apply `key=value` settings over it.

    `steps` that are set take the place of its `epochs`. An optimiser's other algorithm begins with its own defaults.

    Raises:
        ConfigError: an unknown preset, a key that doesn't exist, a value of the wrong type or range.
    """
    over = settings_table(settings)
    if "preset" in over:
        raise ConfigError("preset can't be set: name another preset in its place")
    name, table = _read(preset)
    origin = _readable(preset)
    _check_length(over)
    _check_length(table, f"{origin}: ")
    if "steps" in over:
        table.pop("epochs", None)
    _merge(table, over)
    try:
        return _frozen({"preset": name, **table})
    except SettingError as error:
        if any(key == error.key or key.startswith(f"{error.key}.") for key, _ in _flatten(over)):
            raise ConfigError(str(error)) from error
        raise ConfigError(f"{origin}: {error}") from error
    except ConfigError as error:
        changed = f" with {' '.join(map(_readable, settings))}" if settings else ""
        raise ConfigError(f"{origin}{changed}: {error}") from error


def _read(preset: str) -> tuple[str, dict[str, Any]]:
    """The name and the table of a preset."""
    path = PRESETS / f"{preset}.toml"
    if preset not in preset_names():
        path = Path(preset)
        if path.suffix != ".toml" or not is_file(path, ConfigError):
            known = ", ".join(preset_names())
            raise ConfigError(f"preset is {preset!r} and must be one of {known}, or the path of a .toml file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # bytes that are no UTF-8, and numbers with too many digits for Python, too
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from error
    return _readable(path.stem), table


def settings_table(settings: Sequence[str]) -> dict[str, Any]:
    """What `key=value` settings say, as one table. Of a key that comes twice the last value counts.

    Raises:
        ConfigError: a setting that can't be read.
    """
    table: dict[str, Any] = {}
    for setting in settings:
        _merge(table, _parse_setting(_readable(setting)))
    return table


def _check_length(table: Mapping[str, Any], origin: str = "") -> None:
    if {"steps", "epochs"} <= table.keys():
        raise ConfigError(
            f"{origin}steps is {table['steps']} and epochs {table['epochs']}, and a run has one length: "
            "leave one of them out"
        )


def _readable(text: str) -> str:
    """What was typed, or a file's name, as text that JSON holds: bytes that are no UTF-8 become escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def from_mapping(table: Mapping[str, Any], *, origin: str) -> Config:
    """Check a table of settings and freeze it.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of range; `origin` says where it came from.
    """
    try:
        return _frozen(table)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error


def _frozen(table: Mapping[str, Any]) -> Config:
    for key, value in _flatten(table):
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(key, f"{key} is {value} and must be a finite number")
    try:
        config = msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        raise explained(Config, table, str(error)) from error
    _check(config)
    return config


def _check(config: Config) -> None:
    """Refuse values that are allowed one by one and make no sense together."""
    for part, network in (("generator", config.generator), ("critic", config.critic)):
        stages = sides(config.size, network.smallest)
        if network.kernel % 2 == 0 and any(side % 2 for side in stages[:-1]):
            raise ConfigError(
                f"{part}.kernel is {network.kernel} and must be odd, as some sides are ({_arrows(stages)}): "
                "take 3, 5 or 7"
            )
    if config.label_noise and config.objective != "dcgan":
        raise ConfigError(
            f"label_noise is {config.label_noise} and must be 0 for {config.objective}, which has no labels of real "
            "and fake: leave it out, or take the objective dcgan"
        )
    if config.gamma and config.objective == "wgan-gp":
        raise ConfigError(
            f"gamma is {config.gamma} and must be 0 for wgan-gp, whose penalty is lambda_gp: "
            "leave it out, or take another objective"
        )
    if config.class_generator and not config.class_critic:
        raise ConfigError(
            f"class_generator is {config.class_generator} and class_critic 0, so the classifier would learn nothing: "
            "give class_critic a weight, such as 2"
        )
    if ALL_LABELS in config.labels and len(config.labels) > 1:
        raise ConfigError(
            f"labels are {', '.join(config.labels)} and must be names of groups, or {ALL_LABELS} alone for all of them"
        )
    if config.batch_size % config.accumulate or config.batch_size == config.accumulate:
        raise ConfigError(
            f"accumulate is {config.accumulate} and must cut batch_size, {config.batch_size}, into equal parts of "
            "2 images or more: change one of them"
        )


def to_mapping(config: Config) -> dict[str, Any]:
    """The configuration as nested dictionaries of plain values, for JSON."""
    table: dict[str, Any] = msgspec.to_builtins(config)
    return table


def differences(old: Config, new: Config) -> list[str]:
    """One `key: old → new` for each value in which two configurations differ."""
    flat_old, flat_new = dict(_flatten(to_mapping(old))), dict(_flatten(to_mapping(new)))
    return [
        f"{key}: {flat_old.get(key)!r} → {flat_new.get(key)!r}"
        for key in sorted(flat_old.keys() | flat_new.keys())
        if flat_old.get(key) != flat_new.get(key)
    ]


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"setting {setting!r} has no value: write key=value, as in generator.width=32")
    try:
        return tomllib.loads(f"{key} = {value}")
    except ValueError:  # also of a number with too many digits for Python
        pass
    try:  # a bare word is meant as a string
        return tomllib.loads(f"{key} = {value!r}")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"setting {setting!r} can't be read: write key=value, as in generator.width=32") from error


def _merge(table: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        before = table.get(key)
        if isinstance(value, Mapping) and isinstance(before, dict):
            chosen = value.get("algorithm", before.get("algorithm"))
            if before.get("algorithm", chosen) != chosen:  # what was said of one is nothing to another
                before.clear()
            _merge(before, value)
        else:
            table[key] = value
