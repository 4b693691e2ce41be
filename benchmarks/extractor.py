"""Does an extractor's distance behave? Two halves of real faces, against spoilt copies, and through a training.

    python benchmarks/extractor.py --data data/faces64 --samples runs/faces/samples

It prints the Fréchet and kernel distance of one half from the other, and from copies of a part of that other half
that are blurred, noisy or of fewer different images; then those of a run's grids of samples, step by step.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from animegen import Extractor, Reference, measure, open_images
from animegen.checks.bench import machine
from animegen.images.sets import stacked
from animegen.images.stills import GAP, Images
from animegen.quality.distances import kernel_distance

_STEPS = (100, 200, 400, 700, 1000, 1500, 2000, 3000)


def blurred(radius: float) -> Callable[[Images], Images]:
    """Gaussian blur of so many pixels."""
    kernel = ImageFilter.GaussianBlur(radius)
    return lambda images: np.stack([np.asarray(Image.fromarray(image).filter(kernel)) for image in images])


def noisy(levels: float) -> Callable[[Images], Images]:
    """Gaussian noise of so many grey levels."""

    def add(images: Images) -> Images:
        noise = np.random.default_rng(1).normal(0, levels, images.shape)
        return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)

    return add


def repeated(different: int) -> Callable[[Images], Images]:
    """As many images, of which only so many are different: fewer modes."""
    return lambda images: images[np.arange(len(images)) % different]


def brightest(share: float) -> Callable[[Images], Images]:
    """As many images, drawn from the brightest share of them only: a whole kind of face is missing."""

    def draw(images: Images) -> Images:
        order = np.argsort(images.mean(axis=(1, 2, 3)))
        return images[np.resize(order[-int(len(images) * share) :], len(images))]

    return draw


def sheet_images(path: Path, size: int) -> Images:
    """The images of a grid that `fit` drew, row by row."""
    with Image.open(path) as picture:
        sheet = np.asarray(picture.convert("RGB"))
    step = size + GAP
    rows, columns = (sheet.shape[0] + GAP) // step, (sheet.shape[1] + GAP) // step
    cells = [
        sheet[row * step : row * step + size, column * step : column * step + size]
        for row in range(rows)
        for column in range(columns)
    ]
    return np.stack(cells)


def line(name: str, measured: Reference, against: Reference, subset: int) -> str:
    """A row of a table."""
    kernel = kernel_distance(against.sample, measured.sample, subsets=20, size=subset)
    return (
        f"| {name} | {measured.statistics.count:,} | {against.distance(measured):.2f} | {1000 * kernel.value:.2f} ± "
        f"{1000 * kernel.spread:.2f} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--extractor", default="anime")
    parser.add_argument("--part", type=int, default=5000, help="images in a spoilt copy")
    arguments = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    extractor = Extractor.load(arguments.extractor, device="cpu")
    data = open_images(arguments.data)
    images = stacked(data.read(), data.count)
    order = np.random.default_rng(0).permutation(data.count)
    halves = images[np.sort(order[: data.count // 2])], images[order[data.count // 2 :]]
    real = measure(halves[0], extractor)
    print("| images | N | FID | KID × 1000 |\n|---|---|---|---|")
    print(line("the other half", measure(halves[1], extractor), real, 1000), flush=True)
    part = halves[1][: arguments.part]
    changes: dict[str, Callable[[Images], Images]] = {
        "a part of it": lambda images: images,
        "blurred, radius 0.5": blurred(0.5),
        "blurred, radius 1": blurred(1),
        "blurred, radius 2": blurred(2),
        "noise of 4 levels": noisy(4),
        "noise of 8 levels": noisy(8),
        "noise of 16 levels": noisy(16),
        "1,000 different": repeated(1000),
        "250 different": repeated(250),
        "50 different": repeated(50),
        "the brighter half": brightest(0.5),
        "the brightest tenth": brightest(0.1),
    }
    for name, change in changes.items():
        print(line(name, measure(change(part), extractor), real, 1000), flush=True)
    for path in sorted(arguments.samples.glob("step*.png")) if arguments.samples else []:
        step = int(re.sub(r"\D", "", path.stem))
        if step in _STEPS:
            print(line(f"step {step:,}", measure(sheet_images(path, images.shape[1]), extractor), real, 64), flush=True)


if __name__ == "__main__":
    main()
