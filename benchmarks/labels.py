"""Do the images of a conditional model show the classes that were asked for? A rule that real pictures taught judges.

    python benchmarks/labels.py --model cifar-32 --data data/cifar32 --group class
    python benchmarks/labels.py --model mnist-28 --data data/mnist28 --rule network

The rule is learnt on real pictures with labels and tried on others of them that it hasn't seen: what it gets right
there is the figure that images as good as real ones would have. It is linear on the features of an extractor that no
generator was trained with, or a small convolutional network on the pixels, which needs torch and suits digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from animegen import Extractor, Generator
from animegen.errors import UsageError
from animegen.images.sets import ImageSet, open_images, picked
from animegen.images.stills import Images

if TYPE_CHECKING:
    import torch

Classes = NDArray[np.int64]
Rule = Callable[[Images], Classes]


class LinearRule:
    """Ridge regression of each class on standardised features; the class with the largest value is the answer."""

    def __init__(self, extractor: Extractor, images: Images, classes: Classes, count: int) -> None:
        self._extractor = extractor
        features = extractor(images)
        self._mean, self._spread = features.mean(0), features.std(0) + 1e-6
        x, y = self._standardised(features), np.eye(count)[classes]
        self._base = y.mean(0)
        square = x.T @ x + len(x) / 5 * np.eye(x.shape[1])
        self._weights = np.linalg.solve(square, x.T @ (y - self._base))

    def __call__(self, images: Images) -> Classes:
        """The class of each image."""
        features = self._standardised(self._extractor(images))
        return np.asarray((features @ self._weights + self._base).argmax(1), np.int64)

    def _standardised(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray((features - self._mean) / self._spread, np.float64)


class NetworkRule:
    """Two stages of two convolutions and two dense layers, trained by Adam on pixels that are shifted by up to two."""

    def __init__(self, images: Images, classes: Classes, count: int, *, epochs: int = 12) -> None:
        import torch
        from torch import nn

        torch.manual_seed(0)
        self._network = nn.Sequential(
            nn.LazyConv2d(32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, count),
        )  # fmt: skip
        x, y = self._pixels(images), torch.from_numpy(classes)
        self._network(x[:2])  # the lazy layers take their sizes
        optimizer = torch.optim.Adam(self._network.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * -(-len(x) // 64))
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(x)), 64):
                down, right = torch.randint(-2, 3, (2,)).tolist()
                logits = self._network(x[rows].roll((down, right), (2, 3)))
                loss = nn.functional.cross_entropy(logits, y[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        self._network.eval()

    def __call__(self, images: Images) -> Classes:
        """The class of each image."""
        import torch

        with torch.inference_mode():
            parts = [self._network(part).argmax(1) for part in torch.split(self._pixels(images), 500)]
        return np.asarray(torch.cat(parts).numpy(), np.int64)

    @staticmethod
    def _pixels(images: Images) -> torch.Tensor:
        import torch

        return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


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
    parser.add_argument("--rule", choices=["linear", "network"], default="linear")
    parser.add_argument("--extractor", default="imagenet", help="whose features the linear rule sees")
    parser.add_argument("--learn", type=int, default=10_000, help="real pictures to learn from")
    parser.add_argument("--held", type=int, default=2000, help="real pictures to be tried on")
    parser.add_argument("--each", type=int, default=100, help="images of each class: seeds 0 and on")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    with Generator.load(arguments.model, device="cpu", threads=arguments.threads) as generator:
        names = {group.name: group.classes for group in generator.labels}.get(arguments.group)
        if names is None:
            raise UsageError(f"{generator.card.name} takes no labels of the group {arguments.group}")
        data = open_images(arguments.data)
        classes = labels_of(data, arguments.group, names)
        (known,) = np.nonzero(classes >= 0)
        rows = np.random.default_rng(0).permutation(known)[: arguments.learn + arguments.held]
        images = picked(data, rows)
        learnt = max(1, len(rows) - arguments.held)
        lesson = images[:learnt], classes[rows[:learnt]], len(names)
        rule: Rule
        if arguments.rule == "network":
            kind, rule = "a convolutional network", NetworkRule(*lesson)
        else:
            extractor = Extractor.load(arguments.extractor, device="cpu", threads=arguments.threads)
            kind, rule = f"a linear rule on features of {extractor.name}", LinearRule(extractor, *lesson)
        real = rule(images[learnt:]) == classes[rows[learnt:]]
        print(f"{generator.card.name}: {kind}, of {learnt:,} real pictures")
        print(f"| {arguments.group} | real, held out | generated |\n|---|---|---|")
        seeds = range(arguments.each)
        found = np.array([
            rule(generator.sample(seeds=seeds, labels={arguments.group: name})) == number
            for number, name in enumerate(names)
        ])  # fmt: skip
        for number, name in enumerate(names):
            of_class = real[classes[rows[learnt:]] == number]
            print(f"| {name} | {of_class.mean():.1%} of {len(of_class)} | {found[number].mean():.1%} of {len(seeds)} |")
        print(f"| all | {real.mean():.1%} of {len(real)} | {found.mean():.1%} of {found.size} |")


if __name__ == "__main__":
    main()
