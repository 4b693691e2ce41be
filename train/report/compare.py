"""Recipes side by side on the same terms: the same data, images seen and seeds; a table and two figures of them."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from animegen.files import make_folder, replacing, sha256, status
from animegen.images import stills
from animegen.quality.distances import kernel_distance
from animegen.quality.neighbours import manifold
from train.config import Config
from train.data import Dataset
from train.errors import CheckpointError
from train.networks import GeneratorNetwork
from train.report.figures import plot_curves, save_figure
from train.report.recipes import Comparison, Recipe
from train.run import checkpoint
from train.run.monitor import Monitor
from train.run.open import Place, resume_run, start_run
from train.run.samples import generated
from train.run.session import Ending, Limits, Stop

SCORE = "score.json"
_SHOWN, _ACROSS = 32, 16  # images of each recipe in the grids
_PAIRS = 5_000  # features on each side of the neighbours' figures: their cost grows with the square
_MEASURES = {"fid": "FID", "kid": "KID", "precision": "precision", "recall": "recall"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A finished run, and what was measured of its EMA generator where there is a monitor."""

    recipe: Recipe
    folder: Path
    card: checkpoint.CheckpointCard
    score: dict[str, Any]


def compare(
    comparison: Comparison,
    data: Path,
    out: Path,
    *,
    place: Place,
    monitor: Monitor | None = None,
    stop: Stop = lambda: False,
) -> Ending:
    """Train every recipe with every seed in `out/runs`, then write `table.md`, `curves.png` and `grids.png`.

    It goes on where an earlier call stopped. With "interrupted" nothing was drawn.

    Raises:
        CheckpointError: a run of an earlier call that had other settings or data; also as `fit`.
        ConfigError, DataError, TrainingError, OutputError: as `fit`.
    """
    runs = [(recipe, out / "runs" / recipe.folder(seed), config) for recipe, seed, config in comparison.runs()]
    _check_same([(folder, config) for _, folder, config in runs], data)
    make_folder(out / "runs", parents=True)
    results = []
    for recipe, folder, config in runs:
        limits = Limits(fid_every=comparison.steps_to_measure(config))
        _train(folder, data, config, place=place, limits=limits, monitor=monitor, stop=stop)
        if stop():
            return "interrupted"
        results.append(_result(recipe, folder, monitor, place))
    with replacing(out / "table.md") as temporary:
        temporary.write_text(table(comparison, results, monitor), encoding="utf-8")
    first = results[: len(comparison.recipes)]
    plot_curves([result.folder for result in first], out / "curves.png")
    _draw_grids(first, out / "grids.png", place)
    return "finished"


def _check_same(runs: Sequence[tuple[Path, Config]], data: Path) -> None:
    """Refuse, before any work, to take or continue a run that was started otherwise."""
    started = [(folder, config) for folder, config in runs if status(folder / checkpoint.NAME)]
    if not started:
        return
    card = Dataset.open(data).card
    for folder, config in started:
        if found := checkpoint.changes(checkpoint.read_card(folder / checkpoint.NAME), config, card):
            raise CheckpointError(
                f"{folder} was started otherwise: {'; '.join(found)}. Give the old values, or another --out"
            )


def _train(
    folder: Path, data: Path, config: Config, *, place: Place, limits: Limits, monitor: Monitor | None, stop: Stop
) -> None:
    """Bring one run to its end, or to where the user stops it."""
    saved = folder / checkpoint.NAME
    if status(saved) and checkpoint.read_card(saved).step >= config.steps:
        return
    logger.info(f"{folder.name}: {config.steps} steps")
    open_run = resume_run if status(saved) else start_run
    open_run(folder, data, config, place=place, limits=limits, monitor=monitor).fit(stop)


def _result(recipe: Recipe, folder: Path, monitor: Monitor | None, place: Place) -> Result:
    """The run's score, measured once and kept beside its checkpoint."""
    card = checkpoint.read_card(folder / checkpoint.NAME)
    if monitor is None:
        return Result(recipe, folder, card, {})
    reference = monitor.reference
    terms = {
        "checkpoint": sha256(folder / checkpoint.NAME),
        "count": monitor.count,
        "reference": reference.protocol.data_sha256,
        "extractor": reference.protocol.extractor_sha256,
        "features": len(reference.sample),  # none where the statistics hold a mean and a covariance alone
    }
    file = folder / SCORE
    score: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if status(file) else {}
    if {key: score.get(key) for key in terms} != terms:
        score = {**terms, **_score(_generator(folder, place), card, monitor)}
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(score), encoding="utf-8")
        kid = f", KID {score['kid']:.3g}" if "kid" in score else ""
        logger.info(f"{folder.name}: FID {score['fid']:.4g}{kid}")
    return Result(recipe, folder, card, score)


def _score(generator: GeneratorNetwork, card: checkpoint.CheckpointCard, monitor: Monitor) -> dict[str, float]:
    real, fake = monitor.reference, monitor.measure(generator, card.labels)
    distance = {"fid": real.distance(fake)}
    if not len(real.sample):  # statistics may hold a mean and a covariance alone
        return distance
    neighbours = manifold(real.sample[:_PAIRS], fake.sample[:_PAIRS])
    return {
        **distance,
        "kid": kernel_distance(real.sample, fake.sample).value,
        "precision": neighbours.precision,
        "recall": neighbours.recall,
    }


def table(comparison: Comparison, results: Sequence[Result], monitor: Monitor | None) -> str:
    """The results as Markdown: for each recipe the mean over its seeds ± their standard deviation."""
    measures = [key for key in _MEASURES if key in results[0].score]
    head = ["recipe", "steps", "images seen", "minutes", *(_MEASURES[key] for key in measures)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for recipe in comparison.recipes:
        runs = [result for result in results if result.recipe == recipe]
        card = runs[0].card
        minutes = _spread([result.card.seconds / 60 for result in runs])
        values = [_spread([result.score[key] for result in runs]) for key in measures]
        cells = [f"`{recipe.label}`", f"{card.step:,}", f"{card.images_seen:,}", minutes, *values]
        lines.append(f"| {' | '.join(cells)} |")
    card = results[0].card
    settings = " ".join(comparison.settings) or "none"
    seeds = comparison.seeds
    lines += [
        "",
        f"{f'{seeds} seeds each (mean ± standard deviation)' if seeds > 1 else 'One seed each'}; "
        f"{card.data_count:,} images of {card.data_source}, "
        f"{card.config.size}×{card.config.size}, sha256 {card.data_sha256[:12]}; settings for all: {settings}; "
        f"{card.device}, {card.precision}, {card.threads} threads.",
    ]
    if monitor is not None:
        protocol = monitor.reference.protocol
        lines.append(
            f"Measured of the EMA generators: {monitor.count:,} images each, against "
            f"{monitor.reference.statistics.count:,} of {protocol.source}; extractor {protocol.extractor} "
            f"(sha256 {protocol.extractor_sha256[:12]}), {protocol.image_size}, {protocol.resize}."
        )
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.3g}"
    return f"{mean} ± {statistics.stdev(values):.2g}" if len(values) > 1 else mean


def _draw_grids(results: Sequence[Result], out: Path, place: Place) -> None:
    """The images of seeds 0 to 31 of each recipe's first run, one strip under the other."""
    figure = Figure(figsize=(10, 1.75 * len(results)), layout="constrained")
    for axes, result in zip(np.atleast_1d(figure.subplots(len(results), 1)), results, strict=True):
        images = np.concatenate(list(generated(_generator(result.folder, place), _SHOWN, result.card.labels)))
        axes.imshow(stills.to_pillow(stills.grid(images, _ACROSS)).convert("RGB"), interpolation="nearest")
        axes.set_axis_off()
        fid = f", FID {result.score['fid']:.4g}" if result.score else ""
        axes.set_title(f"{result.recipe.label}: {result.card.images_seen:,} images seen{fid}", fontsize=9, loc="left")
    save_figure(figure, out, "png")


def _generator(folder: Path, place: Place) -> GeneratorNetwork:
    generator, _ = checkpoint.load_generator(folder / checkpoint.NAME)
    return generator.to(place.device)
