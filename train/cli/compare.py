"""`compare`: recipes side by side."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import say, stop_on_signals
from animegen.cli.options import MEASURED
from train.cli import options


@click.command()
@click.option("--presets", required=True, help="Names or .toml files, with commas; preset+key=value changes one.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of all; repeatable.")
@options.dataset
@click.option("--out", type=options.PATH, required=True, help="A folder for the runs, the table and the figures.")
@click.option("--steps", type=options.STEPS, help="Steps of each run.")
@click.option("--images", type=click.IntRange(1, 10**12), help="Or real images for each critic.  [default: 200000]")
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, help="Runs of each recipe.")
@click.option("--reference", type=options.PATH, help="Statistics that animegen stats made, to measure against.")
@click.option("--fid-images", type=click.IntRange(20, MEASURED), default=5000, help="Images of a measurement.")
@click.option("--fid-every", type=click.IntRange(1, 10**12), help="Also measure when about so many more were seen.")
@options.device
@options.precision
@options.threads
@click.pass_context
def compare(
    ctx: click.Context,
    presets: str,
    settings: tuple[str, ...],
    data: Path,
    out: Path,
    steps: int | None,
    images: int | None,
    seeds: int,
    reference: Path | None,
    fid_images: int,
    fid_every: int | None,
    device: options.Device,
    precision: options.Precision,
    threads: int | None,
) -> None:
    """Train several recipes on the same terms: a table, their curves and their images.

    The same command goes on where an earlier one stopped.

    \b
    Example: python -m train compare --presets dcgan-anime64,wgan-gp-anime64,wgan-gp-anime64+lambda_gp=10 \\
                 --set size=32 --seeds 2 --data data/faces32 --out runs/compared
    """
    from train.report.recipes import Comparison, Recipe

    recipes = Recipe.parse_all(presets)
    comparison = Comparison(recipes, settings=settings, steps=steps, images=images, seeds=seeds, fid_every=fid_every)

    from train.report.compare import compare as compare_recipes
    from train.run.open import Place

    options.use_threads(threads)
    place = Place(*options.choose(device, precision))
    monitor = options.monitor_of(reference, fid_images, threads)
    with stop_on_signals() as stop, options.figures_shown():
        ending = compare_recipes(comparison, data, out, place=place, monitor=monitor, stop=lambda: stop.requested)
    if ending == "interrupted":
        say("continue with the same command")
        ctx.exit(options.INTERRUPTED)
    say(f"{out}: table.md, curves.png, grids.png of {len(recipes)} recipes with {seeds} seeds")
