"""The images of a run's generator: of fixed seeds as a grid for each of some steps, or of any number of seeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from animegen import latents
from animegen.images import stills
from animegen.images.stills import Images
from train.networks import Generator
from train.step.pixels import to_uint8

FOLDER = "samples"
_IMAGES = 64  # of a grid: seeds 0 to 63
_BATCH = 64


@torch.no_grad()
def generated(generator: Generator, count: int) -> Iterator[Images]:
    """The images of seeds 0 to count − 1 in batches: uint8 [N, H, W, C]."""
    device = next(generator.parameters()).device
    for start in range(0, count, _BATCH):
        z = torch.from_numpy(latents.from_seeds(range(start, min(start + _BATCH, count)), generator.z_dim))
        yield to_uint8(generator(z.to(device)))


def save_grid(run: Path, generator: Generator, step: int) -> None:
    """Write the grid of a step into the run's folder.

    Raises:
        OutputError: it can't be written.
    """
    (images,) = generated(generator, _IMAGES)
    stills.save_image(stills.grid(images), run / FOLDER / f"step{step:08d}.png")


def grids(run: Path) -> list[Path]:
    """The grids of a run, in the order of their steps."""
    return sorted((run / FOLDER).glob("step*.png"))
