"""What is compared: recipes, each a preset with changes, on the same terms. No torch here: it answers at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from animegen.errors import UsageError
from train.config import Config, load_config, settings_table
from train.errors import ConfigError

_IMAGES = 200_000  # that each critic sees, where nothing else is said
# What isn't a recipe's own, and the options that say it for all.
_COMMON = {"steps": "--steps or --images", "epochs": "--steps or --images", "seed": "--seeds"}

_COMMA = re.compile(",")
_PLUS = re.compile(r"\+(?=\s*[\w.\"'-]+\s*=)")  # before a key: 1e+1 is a value
_TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'[^']*'|.""", re.DOTALL)  # a quoted text, or a sign


@dataclass(frozen=True)
class Recipe:
    """A preset with changes of its own, written `preset+key=value+key=value`."""

    label: str
    preset: str
    settings: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read one. Of a preset's file the label has the stem alone.

        Raises:
            ConfigError: no such preset, or a change of an unknown key or out of range.
        """
        preset, *settings = _cut(text, _PLUS)
        name = load_config(preset, settings).preset
        return cls("+".join([name, *settings]), preset, tuple(settings))

    @classmethod
    def parse_all(cls, text: str) -> tuple[Recipe, ...]:
        """Read several with commas between them.

        Raises:
            ConfigError: as `parse`.
        """
        return tuple(cls.parse(part.strip()) for part in _cut(text, _COMMA))

    def folder(self, seed: int) -> str:
        """The name of the folder of its run with a seed."""
        return re.sub(r"[/\\]", "-", f"{self.label}-seed{seed}")


def _cut(text: str, sign: re.Pattern[str]) -> list[str]:
    """The parts of a text between the signs that stand outside quotes and brackets."""
    parts, start, depth = [], 0, 0
    for token in _TOKEN.finditer(text):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if depth == 0 and sign.match(text, token.start()):
            parts.append(text[start : token.start()])
            start = token.end()
    return [*parts, text[start:]]


@dataclass(frozen=True)
class Comparison:
    """Recipes, and what their runs have in common.

    Attributes:
        recipes: what is compared.
        settings: values that every preset is given.
        steps: how long each run is; or, in its place,
        images: the real images that each run's critic sees, rounded up to whole steps; 200,000 by default.
        seeds: runs of each recipe; the k-th has the seed k.
        fid_every: real images from one measurement of a run to the next; by default only its end is measured.

    Raises:
        UsageError: both `steps` and `images`.
        ConfigError: a recipe that the settings don't fit, settings of what is the same for all, or two of a name.
    """

    recipes: tuple[Recipe, ...]
    settings: tuple[str, ...] = ()
    steps: int | None = None
    images: int | None = None
    seeds: int = 1
    fid_every: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.images is not None:
            raise UsageError(
                "say how long each run is once: either --steps or --images, the real images each critic sees"
            )
        for recipe in self.recipes:
            _check_common([*self.settings, *recipe.settings])
            self.configuration(recipe, 0)
        folders = [recipe.folder(0) for recipe in self.recipes]
        for recipe, folder in zip(self.recipes, folders, strict=True):
            if folders.count(folder) > 1:
                raise ConfigError(
                    f"two recipes are called {recipe.label} and must have runs of their own: rename a preset's file, "
                    "or leave one out"
                )

    def configuration(self, recipe: Recipe, seed: int) -> Config:
        """The configuration of a recipe's run. Its `steps` are the run's, so that falling learning rates end with it.

        Raises:
            ConfigError: values out of their range.
        """
        config = load_config(recipe.preset, [*self.settings, *recipe.settings, f"seed={seed}"])
        images = _IMAGES if self.images is None else self.images
        steps = self.steps or math.ceil(images / _images_a_step(config))
        return msgspec.structs.replace(config, steps=steps, epochs=None)

    def steps_to_measure(self, config: Config) -> int:
        """The steps of a run from one measurement to the next: nearest to `fid_every`, so that its last is the end."""
        if self.fid_every is None:
            return config.steps + 1
        return max(1, round(self.fid_every / _images_a_step(config)))

    def runs(self) -> Iterator[tuple[Recipe, int, Config]]:
        """Every recipe with the first seed, then with the next: a stop leaves whole comparisons."""
        for seed in range(self.seeds):
            for recipe in self.recipes:
                yield recipe, seed, self.configuration(recipe, seed)


def _check_common(settings: Sequence[str]) -> None:
    for key in settings_table(settings):
        if key in _COMMON:
            raise ConfigError(f"{key} can't be set here, as it is the same for every recipe: use {_COMMON[key]}")


def _images_a_step(config: Config) -> int:
    """The real images that the critic sees in a step."""
    return config.n_critic * config.batch_size
