"""`animegen walk`."""

from __future__ import annotations

import click

from animegen.cli.options import (
    SEED,
    ModelOptions,
    chosen_seeds,
    engine_option,
    json_option,
    label_facts,
    label_option,
    model_options,
    motion_options,
    out_option,
    runs_on,
    truncation_option,
)
from animegen.cli.origin import PictureCommand
from animegen.cli.output import Output
from animegen.errors import UsageError


@click.command(cls=PictureCommand)
@click.option("--seed", type=SEED, help="The first stop's seed; stop k has seed + k.  [default: 0]")
@click.option("--stops", type=click.IntRange(2, 1000), help="How many stops.  [default: 6]")
@click.option("--seeds", help="The stops' seeds, in place of --seed and --stops, such as 3,14,15.")
@click.option("--frames", type=click.IntRange(min=2), default=144, help="Frames of the whole loop.")
@out_option("walk.webp", "A .webp, .gif or .mp4 animation, or - for stdout.")
@click.option("--format", "form", type=click.Choice(["webp", "gif", "mp4"]), default="webp", help="Of stdout.")
@motion_options(fps=24)
@json_option
@label_option
@truncation_option
@engine_option
@model_options
def walk(
    seed: int | None,
    stops: int | None,
    seeds: str | None,
    frames: int,
    out: str,
    form: str,
    fps: float,
    scale: int,
    as_json: bool,
    label_texts: tuple[str, ...],
    truncation: float,
    options: ModelOptions,
) -> None:
    """Make an endless animation that passes the images of some seeds and closes without a seam.

    \b
    Example: animegen walk --seed 7 --stops 6 --frames 144 --scale 4 --out walk.webp
    """
    wanted = chosen_seeds(seeds, seed, stops, 6, count="--stops")
    if len(wanted) > 1000:
        raise UsageError(f"a walk has {len(wanted)} stops and must have at most 1000")
    output = Output(out, form, as_json)
    output.check_motion(fps, scale)
    from animegen.labels import read_labels

    with options.load(images=frames) as generator:
        asked = read_labels(label_texts, generator.labels)
        output.check_frames(generator, frames, fps, scale)
        output.describe(generator, seeds=str(wanted), frames=frames, truncation=truncation)
        facts = {"seeds": str(wanted), "model": generator.card.name, **runs_on(generator)}
        facts |= label_facts(generator, asked)
        pictures = generator.walk(
            wanted, frames=frames, labels=asked, truncation=truncation, batch_size=options.batch_size
        )
        output.motion(pictures, frames, fps, scale, facts)
