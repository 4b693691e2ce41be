"""Choosing the images that a small generator is trained with: the typical ones that look straight ahead.

A generator spends its capacity on all that it is shown, and what is rare comes out malformed: trained with the densest
part of a dataset, in the space of a network's features, it draws better and is trained sooner, at the price of variety
(DeVries et al. 2020, Instance Selection for GANs, arXiv 2007.15255). Density there is that of one Gaussian, and here
too. But most of what differs among faces is how they are turned and tilted, so what counts besides is symmetry: a face
that is upright and looks ahead is its own mirror image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from animegen.files import check_new_folder, sha256
from animegen.images import Images
from train.autoencoder.training import apart_each, unit
from train.data import Dataset, DatasetCard, keep
from train.errors import ConfigError
from train.features import file as features
from train.features.lens import Lens
from train.features.network import SIZE
from train.tagger.training import to_input

_SYMMETRIC = (1, 2)  # the maps compared with the mirror image's, of 16² and 8²
_DENSE = 2  # the map whose density counts, of 8²: an eye is as large as a place of it
_DIRECTIONS = 256  # the ones of that map that vary most, each with its own variance; the rest have one
_STILL = 1e-6  # of the largest variance: no direction has less
_MIDDLE = (3, 13)  # sixteenths of a side, across and down: where a face is
FAINT = 38.0  # grey levels by which the middle's pixels deviate: a fainter image is chosen last
DARK = 115.0  # grey levels that the middle has on average: a darker image is, too, for its eyes are lost first
_PART = 256


@dataclass(frozen=True)
class Views:
    """What is known of each image: [N] each."""

    asymmetry: NDArray[np.float32]  # the distance of its features from those of its mirror image
    strangeness: NDArray[np.float32]  # minus the logarithm of the density, up to a factor and a constant
    contrast: NDArray[np.float32]  # the deviation of the middle's pixels, in grey levels
    brightness: NDArray[np.float32]  # their mean, in grey levels


def select(
    data: Path, features_file: Path, out: Path, *, share: float, each: Callable[[int, int], None] = lambda *_: None
) -> DatasetCard:
    """Write the best `share` of the packed dataset `data` as a new one, in the same order; `each` is told as by `look`.

    Raises:
        ConfigError: the share isn't above 0 and at most 1 or leaves no image, the images aren't of 64×64×3, or no
            features in `features_file`.
        DataError: no dataset.
        OutputError: `out` already holds something or can't be written; nothing is left behind.
    """
    check_new_folder(out)
    dataset = Dataset.open(data)
    card = dataset.card
    if (card.size, card.channels) != (SIZE, 3):
        raise ConfigError(
            f"{data} has images of {card.size}×{card.size}×{card.channels}: features are for {SIZE}×{SIZE}×3"
        )
    if not 0 < share <= 1 or not round(share * card.count):
        raise ConfigError(
            f"a share of {share:g} of {card.count} images is none or not among them: name one above 0, at most 1"
        )
    lens, _ = features.read(features_file)
    chosen = choose(look(dataset.images, lens, each), round(share * card.count))
    how = f"the {share:g} most symmetric and dense of sha256 {card.sha256}, by features {sha256(features_file)}"
    return keep(dataset, chosen, out, how)


def choose(views: Views, count: int) -> NDArray[np.intp]:
    """The indices, rising, of the best `count` images, by their places in both orders; faint or dark ones last."""
    symmetric, dense = (np.argsort(np.argsort(values)) for values in (views.asymmetry, views.strangeness))
    order = np.lexsort((symmetric + dense, (views.contrast < FAINT) | (views.brightness < DARK)))
    return np.sort(order[:count])


@torch.no_grad()
def look(images: Images, lens: Lens, each: Callable[[int, int], None] = lambda *_: None) -> Views:
    """Measure uint8 [N, 64, 64, 3]; `each` is told how many are done, of how many. An image takes 16 KB meanwhile."""
    lens.to(memory_format=torch.channels_last)
    vectors: list[Tensor] = []
    asymmetry: list[Tensor] = []
    contrast, brightness = [], []
    for first in range(0, len(images), _PART):
        x = to_input(np.array(images[first : first + _PART])).contiguous(memory_format=torch.channels_last)
        maps, mirrored = lens.maps(x), lens.maps(x.flip(3))
        asymmetry.append(torch.stack([apart_each(maps[k], mirrored[k]) for k in _SYMMETRIC]).sum(0))
        vectors.append(unit(maps[_DENSE]).flatten(1).half())
        middle = _middle(x)
        contrast.append(127.5 * middle.std((2, 3)).mean(1))
        brightness.append(127.5 * (middle.mean((1, 2, 3)) + 1))
        each(first + len(x), len(images))
    asymmetric = torch.cat(asymmetry)
    symmetric = asymmetric <= asymmetric.median()
    rest = (torch.cat(values).numpy() for values in (contrast, brightness))
    return Views(asymmetric.numpy(), _strangeness(vectors, symmetric), *rest)


def _strangeness(parts: list[Tensor], fitted: Tensor) -> NDArray[np.float32]:
    """How unlikely each vector is, [n, D] in each part, by probabilistic principal components of those `fitted`, [N].

    Tipping & Bishop 1999: a Gaussian with a variance for each direction that varies most, and one for all others.
    """
    torch.manual_seed(0)  # of the search for the directions
    known = torch.cat(parts)[fitted].float()
    mean = known.mean(0)
    known -= mean
    directions = torch.svd_lowrank(known, min(_DIRECTIONS, *known.shape), niter=3)[2]
    inside = known @ directions
    variances = inside.square().mean(0)
    rest = (known.square().sum() - inside.square().sum()) / len(known) / max(1, known.shape[1] - len(variances))
    least = _STILL * variances.max()  # fewer images than directions leave others still
    variances, rest = variances.clamp(min=least), rest.clamp(min=least)
    found: list[Tensor] = []
    for part in parts:
        centred = part.float() - mean
        inside = centred @ directions
        outside = (centred.square().sum(1) - inside.square().sum(1)).clamp(min=0)
        found.append((inside.square() / variances).sum(1) + outside / rest)
    strangeness: NDArray[np.float32] = torch.cat(found).numpy()
    return strangeness


def _middle(x: Tensor) -> Tensor:
    first, last = (x.shape[2] * sixteenths // 16 for sixteenths in _MIDDLE)
    return x[:, :, first:last, first:last]
