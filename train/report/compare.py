"""Recipes side by side under one protocol: the same data, images seen and seeds; a table and two figures of them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from matplotlib.figure import Figure

from animegen.cli.console import say
from animegen.files import replacing
from animegen.images import stills as pictures
from animegen.quality.distances import kernel_distance
from animegen.quality.neighbours import manifold
from train.config import Config, load_config
from train.networks import Generator
from train.report.figures import plot_curves, save_figure
from train.run import checkpoint
from train.run.monitor import Referee, generated
from train.run.open import open_session
from train.run.session import Ending, Limits
from train.step.trainer import Precision

SCORE = "score.json"
_SHOWN, _ACROSS = 32, 16  # images of each recipe in the grids
_PAIRS = 5_000  # features on each side of the neighbours' figures: their cost grows with the square
_MEASURES = {"fid": "FID", "kid": "KID", "precision": "precision", "recall": "recall"}


@dataclass(frozen=True)
class Recipe:
    """A preset with changes of its own, written `preset+key=value+key=value`."""

    label: str
    preset: str
    settings: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read the label.

        Raises:
            ConfigError: no such preset, or a change that can't be.
        """
        preset, *settings = text.split("+")
        load_config(preset, settings)
        return cls(text, preset, tuple(settings))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all recipes have in common.

    Attributes:
        settings: values that every preset is given.
        steps: how long each run is; or, in its place,
        images: the real images that each run's critic sees, rounded up to whole steps.
        seeds: runs of each recipe; the k-th has the seed k.
    """

    settings: tuple[str, ...]
    steps: int | None
    images: int | None
    seeds: int

    def limit(self, config: Config) -> int:
        """The steps of a run of this configuration."""
        if self.steps is not None:
            return self.steps
        assert self.images is not None
        return math.ceil(self.images / (config.n_critic * config.batch_size))

    def configuration(self, recipe: Recipe, seed: int) -> Config:
        """The configuration of a recipe's run. Its `steps` are the run's, so that falling learning rates end with it.

        Raises:
            ConfigError: values that can't be.
        """
        config = load_config(recipe.preset, [*self.settings, *recipe.settings, f"seed={seed}"])
        return msgspec.structs.replace(config, steps=self.limit(config), epochs=None)


@dataclass(frozen=True)
class Result:
    """A finished run, and what was measured of its EMA generator where there is a referee."""

    recipe: Recipe
    folder: Path
    card: checkpoint.CheckpointCard
    score: dict[str, Any]


def compare(
    recipes: Sequence[Recipe],
    data: Path,
    out: Path,
    *,
    protocol: Protocol,
    referee: Referee | None,
    device: torch.device,
    precision: Precision,
    limits: Limits,
) -> Ending:
    """Train every recipe with every seed in `out/runs`, then write `table.md`, `curves.png` and `grids.png`.

    It goes on where an earlier call stopped, and seed by seed, so that a stop leaves whole comparisons. With
    "interrupted" nothing was drawn.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError, OutputError: as `fit`.
    """
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in range(protocol.seeds):
        for recipe in recipes:
            folder = runs / f"{recipe.label}-seed{seed}"
            config = protocol.configuration(recipe, seed)
            if _train(folder, data, config, device=device, precision=precision, limits=limits, referee=referee):
                return "interrupted"
            results.append(_result(recipe, folder, referee, device))
    with replacing(out / "table.md") as temporary:
        temporary.write_text(table(recipes, results, protocol, referee), encoding="utf-8")
    plot_curves([result.folder for result in results[: len(recipes)]], out / "curves.png")
    _draw_grids(results[: len(recipes)], out / "grids.png", device)
    return "finished"


def _train(
    folder: Path,
    data: Path,
    config: Config,
    *,
    device: torch.device,
    precision: Precision,
    limits: Limits,
    referee: Referee | None,
) -> bool:
    """Bring one run to its end; whether it was interrupted."""
    resume = (folder / checkpoint.NAME).exists()
    if resume and checkpoint.read_card(folder / checkpoint.NAME).step >= config.steps:
        return False
    say(f"{folder.name}: {config.steps} steps")
    session = open_session(
        folder,
        data,
        config=config,
        resume=resume,
        device=device,
        precision=precision,
        limits=limits,
        referee=referee,
    )
    return session.fit() == "interrupted"


def _result(recipe: Recipe, folder: Path, referee: Referee | None, device: torch.device) -> Result:
    """The run's score, measured once and kept beside its checkpoint."""
    saved = folder / checkpoint.NAME
    card = checkpoint.read_card(saved)
    if referee is None:
        return Result(recipe, folder, card, {})
    asked = {"step": card.step, "count": referee.count, "reference": referee.reference.protocol.data_sha256}
    kept = folder / SCORE
    score: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if {key: score.get(key) for key in asked} != asked:
        score = {**asked, **_measure(_ema(saved, device), referee, device)}
        with replacing(kept) as temporary:
            temporary.write_text(json.dumps(score), encoding="utf-8")
        say(f"{folder.name}: FID {score['fid']:.4g}, KID {score['kid']:.3g}")
    return Result(recipe, folder, card, score)


def _measure(generator: Generator, referee: Referee, device: torch.device) -> dict[str, float]:
    real, fake = referee.reference, referee.measured(generator, generator.z_dim, device)
    near = manifold(real.sample[:_PAIRS], fake.sample[:_PAIRS])
    return {
        "fid": real.distance(fake),
        "kid": kernel_distance(real.sample, fake.sample).value,
        "precision": near.precision,
        "recall": near.recall,
    }


def table(recipes: Sequence[Recipe], results: Sequence[Result], protocol: Protocol, referee: Referee | None) -> str:
    """The results as Markdown: for each recipe the mean over its seeds ± their standard deviation."""
    measures = _MEASURES if referee is not None else {}
    head = ["recipe", "steps", "images seen", "minutes", *measures.values()]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for recipe in recipes:
        own = [result for result in results if result.recipe == recipe]
        values = [_spread([result.score[key] for result in own]) for key in measures]
        minutes = _spread([result.card.seconds / 60 for result in own])
        cells = [f"`{recipe.label}`", f"{own[0].card.step:,}", f"{own[0].card.images_seen:,}", minutes, *values]
        lines.append(f"| {' | '.join(cells)} |")
    card = results[0].card
    settings = " ".join(protocol.settings) or "none"
    runs = f"{protocol.seeds} seeds each (mean ± standard deviation)" if protocol.seeds > 1 else "One seed each"
    lines += [
        "",
        f"{runs}; {card.data_count:,} images of {card.data_source}, "
        f"{card.config.size}×{card.config.size}, sha256 {card.data_sha256[:12]}; settings for all: {settings}; "
        f"{card.device}, {card.precision}, {card.threads} threads.",
    ]
    if referee is not None:
        kept = referee.reference.protocol
        lines.append(
            f"Measured of the EMA generators: {referee.count:,} images each, against "
            f"{referee.reference.statistics.count:,} of {kept.source}; extractor {kept.extractor} "
            f"(sha256 {kept.extractor_sha256[:12]}), {kept.image_size}, {kept.resize}."
        )
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.3g}"
    return f"{mean} ± {statistics.stdev(values):.2g}" if len(values) > 1 else mean


def _draw_grids(results: Sequence[Result], out: Path, device: torch.device) -> None:
    """The images of seeds 0 to 31 of each recipe's first run, one strip under the other."""
    figure = Figure(figsize=(10, 1.75 * len(results)), layout="constrained")
    for axes, result in zip(np.atleast_1d(figure.subplots(len(results), 1)), results, strict=True):
        generator = _ema(result.folder / checkpoint.NAME, device)
        made = np.concatenate(list(generated(generator, generator.z_dim, _SHOWN, device)))
        axes.imshow(pictures.grid(made, _ACROSS), interpolation="nearest")
        axes.set_axis_off()
        fid = f", FID {result.score['fid']:.4g}" if result.score else ""
        axes.set_title(f"{result.recipe.label}: {result.card.images_seen:,} images seen{fid}", fontsize=9, loc="left")
    save_figure(figure, out, "png")


def _ema(saved: Path, device: torch.device) -> Generator:
    generator = Generator(checkpoint.read_card(saved).config)
    checkpoint.load_ema(saved, generator)
    return generator.to(device).eval()
