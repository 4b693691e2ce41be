"""Pictures with their tags, read whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animegen.images.sets import PixelHash, open_images, stacked
from animegen.images.stills import Images
from train.data.tags import read_tags
from train.errors import ConfigError
from train.extractors.tagger.tags import TagClasses, held_out, label


@dataclass(frozen=True)
class TaggedPictures:
    """All pictures of a folder or zip: uint8 [N, side, side, 3], and their labels."""

    source: str
    images: Images
    labels: TagClasses
    sha256: str  # of the pixels
    held_out: NDArray[np.bool_]


def read_tagged(data: Path, tags: Path, *, size: int) -> TaggedPictures:
    """Read the pictures at `size` pixels a side, and their tags.

    Raises:
        ConfigError: pictures without file names.
        DataError: pictures or tags that can't be read.
    """
    pictures = open_images(data, size=size)
    if not pictures.names:
        raise ConfigError(f"{data} has no file names to look tags up by: name the folder or zip of pictures")
    labels = label(pictures.names, read_tags(tags))
    images = stacked(pictures.read(), pictures.count)
    pixels = PixelHash(pictures.count)
    pixels.add(images)
    return TaggedPictures(pictures.source, images, labels, pixels.hex(), held_out(pictures.names))
