"""Do the images of a conditional model show the classes that were asked for? A linear rule of real pictures judges.

    python benchmarks/labels.py --model cifar-32 --data data/cifar32 --group class

The rule is learnt on the features of real pictures with labels by an extractor that no generator was trained with, and
tried on others of them that it hasn't seen: what it gets right there is the figure that images as good as real ones
would have.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animegen import Extractor, Generator
from animegen.errors import UsageError
from animegen.images.sets import ImageSet, open_images, picked
from animegen.quality.extractors import Features

Classes = NDArray[np.int64]


class LinearRule:
    """Ridge regression of each class on standardised features; the class with the largest value is the answer."""

    def __init__(self, features: Features, classes: Classes, count: int) -> None:
        self._mean, self._spread = features.mean(0), features.std(0) + 1e-6
        x, y = self._standardised(features), np.eye(count)[classes]
        self._base = y.mean(0)
        square = x.T @ x + len(x) / 5 * np.eye(x.shape[1])
        self._weights = np.linalg.solve(square, x.T @ (y - self._base))

    def __call__(self, features: Features) -> Classes:
        """The class of each row."""
        return np.asarray((self._standardised(features) @ self._weights + self._base).argmax(1), np.int64)

    def _standardised(self, features: Features) -> NDArray[np.float64]:
        return np.asarray((features - self._mean) / self._spread, np.float64)


def labels_of(data: ImageSet, group: str, names: tuple[str, ...]) -> Classes:
    """The class of each picture as the model numbers them; −1 where it is unknown.

    Raises:
        UsageError: the pictures have no such group, or none of its classes.
    """
    groups = {} if data.labels is None else {known.name: k for k, known in enumerate(data.labels.groups)}
    if data.labels is None or group not in groups:
        raise UsageError(f"the pictures have no labels of the group {group}: prepare them with labels")
    own = data.labels.groups[groups[group]].classes
    numbers = np.array([names.index(name) if name in names else -1 for name in (*own, "")])
    return np.asarray(numbers[data.labels.values[:, groups[group]]], np.int64)


def main() -> None:
    """Print the share of real and of generated images whose class the rule finds, in all and by class."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True, help="real pictures with labels, as prepare writes them")
    parser.add_argument("--group", default="class")
    parser.add_argument("--extractor", default="imagenet")
    parser.add_argument("--learn", type=int, default=10_000, help="real pictures to learn from")
    parser.add_argument("--held", type=int, default=2000, help="real pictures to be tried on")
    parser.add_argument("--each", type=int, default=100, help="images of each class: seeds 0 and on")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    extractor = Extractor.load(arguments.extractor, device="cpu", threads=arguments.threads)
    with Generator.load(arguments.model, device="cpu", threads=arguments.threads) as generator:
        names = {group.name: group.classes for group in generator.labels}.get(arguments.group)
        if names is None:
            raise UsageError(f"{generator.card.name} takes no labels of the group {arguments.group}")
        data = open_images(arguments.data)
        classes = labels_of(data, arguments.group, names)
        (known,) = np.nonzero(classes >= 0)
        rows = np.random.default_rng(0).permutation(known)[: arguments.learn + arguments.held]
        features = extractor(picked(data, rows))
        learnt = max(1, len(rows) - arguments.held)
        rule = LinearRule(features[:learnt], classes[rows[:learnt]], len(names))
        real = rule(features[learnt:]) == classes[rows[learnt:]]
        print(f"{generator.card.name}: a linear rule on features of {extractor.name}, of {learnt:,} real pictures")
        print(f"| {arguments.group} | real, held out | generated |\n|---|---|---|")
        seeds = range(arguments.each)
        found = np.array([
            rule(extractor(generator.sample(seeds=seeds, labels={arguments.group: name}))) == number
            for number, name in enumerate(names)
        ])  # fmt: skip
        for number, name in enumerate(names):
            of_class = real[classes[rows[learnt:]] == number]
            print(f"| {name} | {of_class.mean():.1%} of {len(of_class)} | {found[number].mean():.1%} of {len(seeds)} |")
        print(f"| all | {real.mean():.1%} of {len(real)} | {found.mean():.1%} of {found.size} |")


if __name__ == "__main__":
    main()
