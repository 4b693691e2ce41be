"""Does an extractor's distance behave? Two halves of real pictures, and spoilt copies of a part of the second.

    python benchmarks/extractor.py --data faces.zip --size 64 --extractors anime,imagenet

It prints the Fréchet distance from one half to the other, and to copies of a part of that other half that are blurred,
noisy, grainy, put together of two pictures, or of fewer different ones; a column an extractor. Where the pictures lie
in class folders it prints beside how many of them the features sort rightly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from animegen import Extractor, open_images
from animegen.checks.bench import machine
from animegen.images.sets import picked
from animegen.images.stills import Images
from animegen.quality.distances import frechet_distance
from animegen.quality.extractors import Features
from animegen.quality.statistics import Statistics


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


def grainy(levels: float) -> Callable[[Images], Images]:
    """The same with one value for all channels of a pixel: light and dark grains."""

    def add(images: Images) -> Images:
        noise = np.random.default_rng(2).normal(0, levels, (*images.shape[:3], 1))
        return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)

    return add


def chimeras(images: Images) -> Images:
    """The left half of each beside the right half of the next."""
    middle = images.shape[2] // 2
    return np.concatenate([images[:, :, :middle], np.roll(images, 1, axis=0)[:, :, middle:]], axis=2)


SPOILT: dict[str, Callable[[Images], Images]] = {
    "blurred, radius 0.5": blurred(0.5),
    "blurred, radius 1": blurred(1),
    "blurred, radius 2": blurred(2),
    "noise of 8 levels": noisy(8),
    "noise of 16 levels": noisy(16),
    "grain of 8 levels": grainy(8),
    "chimeras": chimeras,
}


def brightest(images: Images, share: float) -> NDArray[np.int64]:
    """As many places, of the brightest share of the images only: a whole kind is missing."""
    order = np.argsort(images.mean(axis=(1, 2, 3)))
    return np.resize(order[-int(len(images) * share) :], len(images))


def modes(images: Images) -> dict[str, NDArray[np.int64]]:
    """Places of fewer different images, each as often as it takes to be as many."""
    every = np.arange(len(images))
    return {
        "1,000 different": every % 1000,
        "250 different": every % 250,
        "the brighter half": brightest(images, 0.5),
        "the brightest tenth": brightest(images, 0.1),
    }


def column(extractor: Extractor, first: Images, second: Images, part: int) -> dict[str, tuple[int, float]]:
    """By name: how many images, and their distance from the first half."""
    real = Statistics.of([extractor(first)])
    other = extractor(second)
    values = {"the other half": other, "a part of it": other[:part]}
    values |= {name: extractor(change(second[:part])) for name, change in SPOILT.items()}
    values |= {name: other[rows] for name, rows in modes(second[:part]).items()}
    return {
        name: (len(features), frechet_distance(real, Statistics.of([features]))) for name, features in values.items()
    }


def sorted_rightly(features: Features, classes: NDArray[np.int64]) -> float:
    """The share of the last sixth that a linear rule learnt on the others puts into its class.

    The rule is ridge regression to one-hot classes on features of deviation 1.
    """
    learnt = len(features) * 5 // 6
    x = (features - features[:learnt].mean(0)) / (features[:learnt].std(0) + 1e-3)
    y = np.eye(classes.max() + 1)[classes]
    x_learnt, y_learnt = x[:learnt].astype(np.float64), y[:learnt]
    square = x_learnt.T @ x_learnt + learnt / 5 * np.eye(x.shape[1])
    weights = np.linalg.solve(square, x_learnt.T @ (y_learnt - y_learnt.mean(0)))
    found = (x[learnt:] @ weights + y_learnt.mean(0)).argmax(1)
    return float((found == classes[learnt:]).mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, help="crop and resize pictures to this side")
    parser.add_argument("--extractors", default="anime,imagenet")
    parser.add_argument("--images", type=int, default=20_000, help="of the data, chosen at random, in two halves")
    parser.add_argument("--part", type=int, default=3000, help="images in a spoilt copy")
    arguments = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    data = open_images(arguments.data, size=arguments.size)
    rows = np.random.default_rng(0).permutation(data.count)[: arguments.images]
    images = picked(data, rows)
    half = len(images) // 2
    extractors = [Extractor.load(name, device="cpu", threads=1) for name in arguments.extractors.split(",")]
    columns = [column(extractor, images[:half], images[half:], arguments.part) for extractor in extractors]
    print(f"| images | N | {' | '.join(extractor.name for extractor in extractors)} |")
    print("|---" * (len(columns) + 2) + "|")
    for name, (count, _) in columns[0].items():
        print(f"| {name} | {count:,} | {' | '.join(f'{each[name][1]:.2f}' for each in columns)} |")
    folders = [data.names[row].rpartition("/")[0] for row in rows[:6000]] if data.names else []
    if len(set(folders)) > 1:
        classes = np.unique(folders, return_inverse=True)[1]
        for extractor in extractors:
            print(f"{extractor.name}: {sorted_rightly(extractor(images[:6000]), classes):.1%} sorted rightly")


if __name__ == "__main__":
    main()
