"""The images of a run's generator: of fixed seeds as a grid for each of some steps, or of any number of seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from animegen import labels, latents
from animegen.images import stills
from animegen.images.stills import Images
from train.data import DatasetGroup
from train.networks import GeneratorNetwork
from train.step.pixels import to_uint8

FOLDER = "samples"
_IMAGES = 64  # of a grid: seeds 0 to 63
_BATCH = 64


@torch.no_grad()
def generated(generator: GeneratorNetwork, count: int, groups: Sequence[DatasetGroup] = ()) -> Iterator[Images]:
    """The images of seeds 0 to count − 1 in batches: uint8 [N, H, W, C].

    `groups` are those of the labels that the generator takes; each seed names its own, as in a model file.
    """
    device = next(generator.parameters()).device
    described = [labels.LabelGroup(group.name, group.classes, group.counts, group.unknown) for group in groups]
    for start in range(0, count, _BATCH):
        seeds = range(start, min(start + _BATCH, count))
        inputs = [latents.from_seeds(seeds, generator.z_dim)]
        if described:
            inputs.append(labels.draw_labels(seeds, generator.z_dim, described))
        yield to_uint8(generator(*(torch.from_numpy(values).to(device) for values in inputs)))


def save_grid(run: Path, generator: GeneratorNetwork, step: int, groups: Sequence[DatasetGroup] = ()) -> None:
    """Write the grid of a step into the run's folder.

    Raises:
        OutputError: it can't be written.
    """
    (images,) = generated(generator, _IMAGES, groups)
    stills.save_image(stills.grid(images), run / FOLDER / f"step{step:08d}.png")


def grids(run: Path) -> list[Path]:
    """The grids of a run, in the order of their steps."""
    return sorted((run / FOLDER).glob("step*.png"))
