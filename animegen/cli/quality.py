"""What the commands that measure images share: the extractor, the images, and the bar over them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from animegen.cli.console import progress_bar, say
from animegen.cli.options import Source
from animegen.errors import UsageError

if TYPE_CHECKING:
    from animegen.images.sets import ImageSet
    from animegen.images.stills import Images
    from animegen.quality.extractors import Extractor


def load_extractor(which: str, source: Source) -> Extractor:
    """The extractor, on the device and threads that were asked for."""
    from animegen.quality.extractors import Extractor
    from animegen.runtime import wheels

    wheels.silence()
    extractor = Extractor.load(which, device=source.device, threads=source.threads)
    if source.device == "auto":
        say(f"device: {extractor.device} ({extractor.device_reason})")
    return extractor


def extractor_of(reference: str, asked: str | None) -> str:
    """Which extractor measures: the one asked for, else the one that the reference was measured with, else `anime`."""
    from animegen.quality.extractors import DEFAULT, INCEPTION
    from animegen.quality.fid import is_statistics, reference_file
    from animegen.quality.reference import Reference

    path = reference_file(reference)
    if asked is not None:
        return asked
    if not is_statistics(path):
        return DEFAULT
    name = Reference.load(path).protocol.extractor
    if name not in {DEFAULT, INCEPTION}:
        raise UsageError(f"{path} was measured with {name}: name that file with --extractor")
    return name


@contextmanager
def sources(
    images: str | None,
    source: Source,
    *,
    n: int,
    seed: int,
    size: int | None,
    truncation: float,
    repeats: int = 1,
) -> Iterator[list[ImageSet]]:
    """The images under a path, or `repeats` draws of `n` images of a model, each of seeds of its own."""
    from animegen.images.sets import open_images
    from animegen.quality.fid import images_of, is_model
    from animegen.seeds import Seeds

    if images is not None and not is_model(images):
        if repeats > 1:
            raise UsageError(f"--repeats draws a model anew, and {images} is what it is: leave it out")
        yield [open_images(Path(images), size=size)]
        return
    chosen = source if images is None else dataclasses.replace(source, model=images)
    wanted = [Seeds.starting(seed + k * n, n) for k in range(repeats)]
    # Its device is the extractor's, which was told.
    with chosen.load(quiet=True) as generator:
        yield [images_of(generator, draw, truncation=truncation, batch_size=source.batch_size) for draw in wanted]


@contextmanager
def measuring(count: int, name: str) -> Iterator[Callable[[Images], None]]:
    """A bar over images; what it yields is told of every batch."""
    with progress_bar() as bar:
        task = bar.add_task(name, total=count)
        yield lambda batch: bar.advance(task, len(batch))
