"""`animegen sample`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from animegen.cli.options import SEED, check_picture, deliver, device_options, load, model_option, picture_options


@click.command()
@click.option("--n", type=click.IntRange(min=1), default=64, help="How many images.")
@click.option("--seed", type=SEED, default=0, help="The first image's seed; image k has seed + k.")
@picture_options("grid.png")
@model_option
@device_options
def sample(
    n: int,
    seed: int,
    out: Path,
    form: str,
    as_json: bool,
    model: str,
    device: str,
    batch_size: int,
    threads: int | None,
) -> None:
    """Make a grid of images. A seed names the same image in any grid and any batch.

    \b
    Example: animegen sample --n 64 --seed 0 --out grid.png
    """
    from animegen import latents
    from animegen.images import grid

    began = time.perf_counter()
    check_picture(out, as_json)
    seeds = latents.seed_range(seed, n)
    with load(model, device, threads) as generator:
        sheet = grid(generator.sample(seeds=seeds, batch_size=batch_size))
        facts = {
            "images": n,
            "seeds": [seeds[0], seeds[-1]],
            "model": generator.card.name,
            "device": generator.device,
        }
    deliver(sheet, out, form, as_json, facts, began)
