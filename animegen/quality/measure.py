"""Images of any source through an extractor: their statistics, with the protocol that they hold under."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from animegen.errors import DataError, UsageError
from animegen.generator import Generator
from animegen.images.sets import ImageSet, PixelHash, open_images
from animegen.images.stills import Images
from animegen.model.catalog import names_model
from animegen.progress import track
from animegen.quality.extractors import Extractor
from animegen.quality.opening import open_extractor
from animegen.quality.reference import Protocol, Reference
from animegen.quality.statistics import Gatherer
from animegen.runtime import Device
from animegen.runtime.machine import check_memory
from animegen.seeds import Seeds, check_seed, whole_number

# A generator; images as a set or an array uint8 [N, H, W, C]; or by name: a model, or a path that `open_images` takes.
Measurable = Generator | ImageSet | Images | str | Path
N = 10_000  # images of a generator
SAMPLE = 10_000  # features that are kept: enough for the kernel distance's subsets and the neighbours' balls
_STREAM_SAMPLE = 41


def measure(
    images: Measurable,
    extractor: Extractor | str | Path | None = None,
    *,
    against: Reference | None = None,
    sample: int = SAMPLE,
    n: int = N,
    seed: int = 0,
    size: int | None = None,
    truncation: float = 1.0,
    batch_size: int | None = None,
    device: Device = "auto",
    threads: int | None = None,
) -> Reference:
    """The statistics of images in an extractor's features, in memory that doesn't grow with their number.

    The features of `sample` of them, chosen by a fixed seed, are kept in the order of the images.

    Args:
        images: a generator, a set, an array, or what `open_images` takes; a model also by its name or address.
        extractor: `anime`, `imagenet`, `inception`, an .onnx file's path, or a loaded one. By default, or `auto`, the
            one that measured `against`; else `anime` for models of anime faces, and `imagenet` for all else.
        against: a reference that they are to be compared with: the first batch shows whether that will be refused.
        sample: features that are kept.
        n: images of a generator.
        seed: the first of its seeds.
        size: of pictures, the side that they are cropped and resized to.
        truncation: of a generator, as with `Generator.sample`.
        batch_size: images in one call of a network.
        device: of networks that are loaded by name, as with `Generator.load`.
        threads: likewise.

    Raises:
        UsageError: a size where there are no pictures.
        DataError: fewer than 2 images, images that can't be measured or compared, or too little memory.
        ModelError, DeviceError, MissingPackageError: as with `Generator.load`.
    """
    with opened(images, size=size, device=device, threads=threads) as whose:
        check_size(size, whose)
        extractor = open_extractor(extractor, whose, against, device=device, threads=threads)
        (whole,) = image_sets(whose, n=n, seed=seed, truncation=truncation, batch_size=batch_size)
        return measure_set(whole, extractor, against=against, sample=sample, batch_size=batch_size)


def measure_set(
    images: ImageSet,
    extractor: Extractor,
    *,
    against: Reference | None = None,
    sample: int = SAMPLE,
    batch_size: int | None = None,
) -> Reference:
    """As `measure`, of a set and with an extractor that are open."""
    count = min(whole_number("sample", sample, 0), images.count)
    check_memory(4 * extractor.dimensions * (count + 8 * extractor.dimensions), f"the features of {count:,} images")
    rng = np.random.default_rng([_STREAM_SAMPLE, images.count])
    rows = np.sort(rng.choice(images.count, count, replace=False))
    sampled = np.empty((count, extractor.dimensions), np.float32)
    gatherer, pixels, done = Gatherer(), PixelHash(images.count), 0
    protocol = Protocol(
        extractor=extractor.name,
        extractor_sha256=extractor.sha256,
        weights_sha256=extractor.weights_sha256,
        resize=extractor.resize,
        preparation=images.rule,
        image_size="",
        source=images.source,
        data_sha256="",
    )
    advance = track(f"measure {images.source}", images.count)
    for batch in images.read():
        if not done:
            protocol = replace(protocol, image_size=f"{batch.shape[2]}×{batch.shape[1]}")
            if against is not None:
                against.check_comparable(protocol)
        features = extractor(batch, batch_size=batch_size)
        gatherer.add(features)
        pixels.add(batch)
        first, last = np.searchsorted(rows, [done, done + len(batch)])
        sampled[first:last] = features[rows[first:last] - done]
        done += len(batch)
        advance(len(batch))
    if done != images.count:
        raise DataError(f"{images.source} gave {done} images and must give {images.count}: did it change?")
    return Reference(gatherer.finish(), sampled, rows, replace(protocol, data_sha256=pixels.hex()))


@contextmanager
def opened(
    images: Measurable, *, size: int | None = None, device: Device = "auto", threads: int | None = None
) -> Iterator[Generator | ImageSet]:
    """What is to be measured: a model that is named is loaded, and closed in the end; all else is a set.

    Raises:
        DataError, ModelError: nothing there, or neither.
    """
    if isinstance(images, Generator) or (isinstance(images, str | Path) and names_model(images)):
        with loaded(images, device=device, threads=threads) as generator:
            yield generator
    else:
        yield as_set(images, size=size)


def image_sets(
    images: Generator | ImageSet,
    *,
    n: int = N,
    seed: int = 0,
    repeats: int = 1,
    truncation: float = 1.0,
    batch_size: int | None = None,
) -> list[ImageSet]:
    """What is to be measured as sets: of a generator `repeats` of them, each of `n` seeds of its own.

    Raises:
        UsageError: `repeats` for images that are not a generator's, or is below 1; seeds out of range.
    """
    n, seed, repeats = whole_number("n", n), check_seed(seed), whole_number("repeats", repeats)
    if isinstance(images, Generator):
        seeds = [Seeds.starting(seed + k * n, n) for k in range(repeats)]
        return [images_of(images, part, truncation=truncation, batch_size=batch_size) for part in seeds]
    if repeats > 1:
        raise UsageError(f"repeats is {repeats} and must be 1 for {images.source}: a model alone is drawn anew")
    return [images]


@contextmanager
def loaded(
    model: Generator | str | Path, *, device: Device = "auto", threads: int | None = None
) -> Iterator[Generator]:
    """A generator: the one that is given, or one that is loaded by its name and closed in the end."""
    if isinstance(model, Generator):
        yield model
    else:
        with Generator.load(model, device=device, threads=threads) as generator:
            yield generator


def as_set(images: ImageSet | Images | str | Path, *, size: int | None = None) -> ImageSet:
    """Images as a set: given as one, as an array, or by a path.

    Raises:
        DataError: as `open_images`.
    """
    if isinstance(images, ImageSet):
        return images
    return ImageSet.of(images) if isinstance(images, np.ndarray) else open_images(images, size=size)


def check_size(size: int | None, *sides: Generator | ImageSet | Reference | None) -> None:
    """Refuse a size that would do nothing.

    Raises:
        UsageError: it is given, and no side is of pictures, which alone are resized.
    """
    if size is not None and not any(isinstance(side, ImageSet) for side in sides):
        raise UsageError(f"size is {size} and is what pictures are resized to, and none are measured: leave it out")


def images_of(
    generator: Generator, seeds: Seeds, *, truncation: float = 1.0, batch_size: int | None = None
) -> ImageSet:
    """A generator's images of some seeds, as a set that is made anew each time it is read."""
    return ImageSet(
        source=generator.card.name,
        count=len(seeds),
        rule=f"as generated, seeds {seeds}, truncation {truncation:g}",
        names=(),
        read=lambda: generator.stream(seeds, truncation=truncation, batch_size=batch_size),
    )
