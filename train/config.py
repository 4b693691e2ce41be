"""A run's whole configuration: frozen, checked, read from a preset's TOML. A preset is data."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from train.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"

Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]


class GeneratorConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The generator: `z_dim` → width·size/8 channels at 4×4 → doubled up to the image's size."""

    z_dim: Positive = 128
    width: Positive = 64  # channels before the last stage; each stage towards the latent has twice as many
    kernel: Annotated[int, Meta(ge=3, le=7)] = 4


class CriticConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The critic: halved from the image's size to 4×4, then one value an image."""

    width: Positive = 64  # channels after the first stage; each later stage has twice as many
    kernel: Annotated[int, Meta(ge=3, le=7)] = 4
    slope: Fraction = 0.2  # of the LeakyReLU; Radford et al. 2016


class AdamConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kingma & Ba 2015."""

    lr: Rate = 1e-4
    beta1: Fraction = 0.0
    beta2: Fraction = 0.9


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what a run computes. Where it runs (device, precision) is not in here."""

    preset: str
    description: str = ""
    size: Literal[8, 16, 32, 64, 128] = 64
    channels: Literal[1, 3] = 3
    objective: Literal["wgan-gp"] = "wgan-gp"
    lambda_gp: Annotated[float, Meta(ge=0)] = 10.0
    n_critic: Positive = 5
    batch_size: Annotated[int, Meta(ge=2)] = 64
    steps: Positive = 100_000  # generator steps
    ema: Fraction = 0.999  # decay a generator step
    flip: bool = True  # mirror half of the real images
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    generator: GeneratorConfig = GeneratorConfig()
    critic: CriticConfig = CriticConfig()
    generator_adam: AdamConfig = AdamConfig()
    critic_adam: AdamConfig = AdamConfig()


def preset_names() -> list[str]:
    """The names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_config(preset: str, settings: Sequence[str] = ()) -> Config:
    """Read a preset by name, or from the path of a TOML file, and apply `key=value` settings over it.

    Raises:
        ConfigError: an unknown preset, a key that doesn't exist, a value of the wrong type or range.
    """
    path = PRESETS / f"{preset}.toml"
    if preset not in preset_names():
        path = Path(preset)
        if path.suffix != ".toml" or not path.is_file():
            known = ", ".join(preset_names())
            raise ConfigError(f"preset {preset!r} is unknown: take one of {known}, or the path of a .toml file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for setting in settings:
        _merge(table, _parse_setting(setting))
    return from_mapping({"preset": path.stem, **table}, origin=str(path))


def from_mapping(table: Mapping[str, Any], *, origin: str) -> Config:
    """Check a table of settings and freeze it.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of range; `origin` says where it came from.
    """
    try:
        return msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {error}") from error


def to_mapping(config: Config) -> dict[str, Any]:
    """The configuration as nested dictionaries of plain values, for JSON."""
    table = msgspec.to_builtins(config)
    assert isinstance(table, dict)
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
    except tomllib.TOMLDecodeError:
        pass
    try:  # a bare word is meant as a string
        return tomllib.loads(f"{key} = {value!r}")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"setting {setting!r} can't be read: write key=value, as in generator.width=32") from error


def _merge(table: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value
