"""`animegen interpolate`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from animegen.cli.options import SEED, check_picture, deliver, device_options, load, model_option, picture_options

if TYPE_CHECKING:
    from animegen.latents import Mode


@click.command()
@click.option("--seed-a", type=SEED, required=True, help="The first image's seed.")
@click.option("--seed-b", type=SEED, required=True, help="The last image's seed.")
@click.option("--steps", type=click.IntRange(min=2), default=8, help="How many images, both ends included.")
@click.option(
    "--mode", type=click.Choice(["slerp", "lerp"]), default="slerp", help="slerp keeps to the latents' usual length."
)
@picture_options("interpolation.png")
@model_option
@device_options
def interpolate(
    seed_a: int,
    seed_b: int,
    steps: int,
    mode: Mode,
    out: Path,
    form: str,
    as_json: bool,
    model: str,
    device: str,
    batch_size: int,
    threads: int | None,
) -> None:
    """Make a row of images that lead from one seed's to another's.

    \b
    Example: animegen interpolate --seed-a 1 --seed-b 2 --steps 8 --out row.png
    """
    from animegen.images import grid

    began = time.perf_counter()
    check_picture(out, as_json)
    with load(model, device, threads) as generator:
        row = generator.interpolate(seed_a, seed_b, steps=steps, mode=mode, batch_size=batch_size)
        facts = {
            "images": steps,
            "seeds": [seed_a, seed_b],
            "mode": mode,
            "model": generator.card.name,
            "device": generator.device,
        }
    deliver(grid(row, columns=steps), out, form, as_json, facts, began)
