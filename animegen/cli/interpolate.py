"""`animegen interpolate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from animegen.cli.options import (
    SEED,
    ModelOptions,
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
from animegen.seeds import Seeds

if TYPE_CHECKING:
    from animegen.latents import Latents, Mode


@click.command(cls=PictureCommand)
@click.option("--seed-a", type=SEED, multiple=True, help="The first image's seed; once for each row.")
@click.option("--seed-b", type=SEED, multiple=True, help="The last image's seed; once for each row.")
@click.option("--seeds", help="More stops on one way, such as 1,2,5.")
@click.option("--corners", help="Four seeds of a sheet between them, such as 1,2,3,4.")
@click.option("--steps", type=click.IntRange(min=2), default=8, help="Images from one seed to the next, ends included.")
@click.option(
    "--mode", type=click.Choice(["slerp", "lerp"]), default="slerp", help="slerp keeps to the latents' usual length."
)
@out_option("interpolation.png", "A .png or .jpg sheet, a .gif, .webp or .mp4 animation, or - for stdout.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "jpg", "gif", "webp", "mp4"]),
    default="png",
    help="Of stdout.",
)
@motion_options(fps=12)
@json_option
@label_option
@click.option(
    "--label-a", metavar="GROUP=CLASS", multiple=True, help="Of the first image, over --label, such as hair=blonde."
)
@click.option(
    "--label-b", metavar="GROUP=CLASS", multiple=True, help="Of the last image, over --label, such as hair=blue."
)
@truncation_option
@engine_option
@model_options
def interpolate(
    seed_a: tuple[int, ...],
    seed_b: tuple[int, ...],
    seeds: str | None,
    corners: str | None,
    steps: int,
    mode: Mode,
    out: str,
    form: str,
    fps: float,
    scale: int,
    as_json: bool,
    label_texts: tuple[str, ...],
    label_a: tuple[str, ...],
    label_b: tuple[str, ...],
    truncation: float,
    options: ModelOptions,
) -> None:
    """Make the images that lead from one seed's to another's: a row, several rows, or an animation there and back.

    With --label-a and --label-b one seed is enough: its face stays, and what is asked for changes.

    \b
    Example: animegen interpolate --seed-a 1 --seed-b 2 --steps 8 --out row.png
             animegen interpolate --seeds 1,2,5 --steps 24 --out way.webp
             animegen interpolate --corners 1,2,3,4 --steps 6 --out sheet.png
             animegen interpolate --model mnist-28 --seed-a 3 --label-a class=3 --label-b class=8 --out row.png
    """
    if label_a or label_b:
        if seeds is not None or corners is not None:
            raise UsageError("--label-a and --label-b go with --seed-a and --seed-b: leave --seeds and --corners out")
        seed_a = seed_a or seed_b or (0,)
        seed_b = seed_b or seed_a
    ways = _ways(seed_a, seed_b, seeds, corners)
    output = Output(out, form, as_json, scale=scale)
    if not output.moves:
        output.check_still()
    elif corners is not None:
        raise UsageError(f"--corners makes a sheet, and {out} is an animation: name a .png or .jpg")
    else:
        output.check_motion(fps, scale)

    import numpy as np

    from animegen import latents
    from animegen.images.stills import grid
    from animegen.labels import in_order, read_labels

    rows = steps if corners is not None else len(ways)
    columns = steps if corners is not None else (len(ways[0]) - 1) * (steps - 1) + 1
    frames = 2 * columns - 2  # there and back
    with options.load(images=frames if output.moves else rows * columns) as generator:
        output.describe(generator, steps=steps, mode=mode, truncation=truncation)
        if output.moves:
            output.check_frames(generator, frames, fps, scale, ways=len(ways))
        else:
            output.check_grid(generator, rows * columns, columns)
        shared, *own = (read_labels(texts, generator.labels) for texts in (label_texts, label_a, label_b))
        ends = [in_order({**shared, **more}, generator.labels) for more in own]
        facts = {
            "images": rows * columns,
            "seeds": ways,
            "mode": mode,
            "model": generator.card.name,
            **runs_on(generator),
            **label_facts(generator, ends if label_a or label_b else ends[0]),
        }
        between = latents.through if corners is None else _sheet
        paths = [between(generator.latents(way, truncation=truncation), steps, mode) for way in ways]
        labels = [
            between(generator.label_vectors(way, ends if len(way) == 2 else ends[0]), steps, "lerp") for way in ways
        ]
        if output.moves:
            there, beside = (latents.there_and_back(np.stack(parts, axis=1)) for parts in (paths, labels))
            pictures = generator.frames(there, beside, batch_size=options.batch_size)
            output.motion(pictures, frames, fps, scale, facts)
        else:
            images = generator(np.concatenate(paths), np.concatenate(labels), batch_size=options.batch_size)
            output.still(grid(images, columns), facts)


def _sheet(corners: Latents, steps: int, mode: Mode) -> Latents:
    """As many rows as columns between four corners."""
    from animegen.latents import bilinear

    return bilinear(corners, steps, steps, mode)


def _ways(seed_a: tuple[int, ...], seed_b: tuple[int, ...], seeds: str | None, corners: str | None) -> list[list[int]]:
    """The stops of each way, of as many as were asked for."""
    asked = [seed_a or seed_b, seeds, corners]
    if sum(bool(form) for form in asked) != 1:
        raise UsageError("interpolate takes --seed-a with --seed-b, or --seeds, or --corners: one of the three")
    if corners is not None:
        four = Seeds.parse(corners)
        if len(four) != 4:
            raise UsageError(f"--corners {corners} has {len(four)} seeds and must have 4")
        return [list(four)]
    if seeds is not None:
        stops = Seeds.parse(seeds)
        if not 2 <= len(stops) <= 1000:
            raise UsageError(f"--seeds {seeds} has {len(stops)} stops and must have from 2 to 1000")
        return [list(stops)]
    if len(seed_a) != len(seed_b):
        raise UsageError(f"{len(seed_a)} --seed-a and {len(seed_b)} --seed-b were given: each way needs both")
    return [list(pair) for pair in zip(seed_a, seed_b, strict=True)]
