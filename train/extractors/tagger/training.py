"""Training the tagger, and how often it is right on the pictures that it never saw."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from animegen.images.stills import Images
from animegen.progress import track
from train.errors import ConfigError, TrainingError
from train.extractors.tagger.network import Tagger
from train.extractors.tagger.tags import UNKNOWN, TagClasses

BATCH = 64
LEARNING_RATE = 2e-3  # AdamW's highest, over one cycle (Smith & Topin 2018, arXiv 1708.07120)
WEIGHT_DECAY = 0.05
SMOOTHING = 0.05  # labels from users' tags are not always right
# How far a picture is turned (radians), enlarged and moved (of its half side), and its light and contrast changed.
_TURN, _ENLARGE, _MOVE, _LIGHT = 0.15, 0.12, 0.08, 0.1
_STREAM = 31


@dataclass(frozen=True)
class Accuracy:
    """How often a class is found: right of shown."""

    right: int
    shown: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.right / self.shown if self.shown else float("nan")


def fit(images: Images, labels: TagClasses, *, epochs: int, seed: int) -> Tagger:
    """Train on uint8 [N, 64, 64, 3].

    Flips, turns, crops and shifts, and light and contrast; never the hue, which is what is to be learnt.

    The tagger that comes back is folded, and its weights are those that fp16 holds.

    Raises:
        ConfigError: fewer pictures than a batch of them.
        TrainingError: the loss is no longer finite.
    """
    steps_an_epoch = len(images) // BATCH
    if not steps_an_epoch:
        raise ConfigError(f"{len(images)} pictures are labelled and at least a batch of {BATCH} must be: bring more")
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    tagger = Tagger([len(names) for names in labels.groups.values()])
    tagger.to(memory_format=torch.channels_last)
    total = epochs * steps_an_epoch
    advance = track("tagger", total)
    optimiser = torch.optim.AdamW(tagger.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=total)
    for step, rows in enumerate(_order(len(images), epochs, rng), 1):
        classes = torch.from_numpy(labels.classes[rows])
        loss = loss_of(tagger(augment(to_input(images[rows]), rng)), classes)
        if not torch.isfinite(loss):
            raise TrainingError(f"the tagger's loss at step {step} is not finite: nothing was written")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        advance(note=f"loss {loss.item():.3f}")
    tagger.fold()
    tagger.rescale(_features(tagger, images).std(0))
    return tagger


def loss_of(logits: tuple[Tensor, ...], classes: Tensor) -> Tensor:
    """The groups' cross-entropies over those whose class is known, as one mean over all known classes."""
    known = classes != UNKNOWN
    losses = [
        F.cross_entropy(group, classes[:, k], ignore_index=UNKNOWN, label_smoothing=SMOOTHING, reduction="sum")
        for k, group in enumerate(logits)
    ]
    return torch.stack(losses).sum() / known.sum().clamp(min=1)


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Each of [N, 3, H, W] flipped, turned, enlarged, moved, and changed in light and contrast, by its own amounts."""
    n = len(x)
    turn = rng.uniform(-_TURN, _TURN, n)
    enlarge = rng.uniform(1 - _ENLARGE, 1 + _ENLARGE, n)
    flip = rng.choice([-1.0, 1.0], n)
    cosine, sine = np.cos(turn) * enlarge, np.sin(turn) * enlarge
    move = rng.uniform(-_MOVE, _MOVE, (2, n))
    matrix = np.stack([np.stack([flip * cosine, -sine, move[0]], 1), np.stack([flip * sine, cosine, move[1]], 1)], 1)
    where = F.affine_grid(torch.from_numpy(matrix.astype(np.float32)), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, where, padding_mode="reflection", align_corners=False)
    light, contrast = rng.uniform(-_LIGHT, _LIGHT, (n, 1, 1, 1)), rng.uniform(1 - _LIGHT, 1 + _LIGHT, (n, 1, 1, 1))
    changed = moved * torch.from_numpy(contrast.astype(np.float32)) + torch.from_numpy(light.astype(np.float32))
    return changed.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def accuracy(tagger: Tagger, images: Images, labels: TagClasses) -> dict[str, Accuracy]:
    """Of each class, and of each group as a whole under the group's name."""
    with torch.no_grad():
        logits = [tagger.logits(part) for part in torch.split(_features(tagger, images), 1024)]
    accuracies: dict[str, Accuracy] = {}
    for k, (group, names) in enumerate(labels.groups.items()):
        classes = labels.classes[:, k]
        right = torch.cat([part[k] for part in logits]).argmax(1).numpy() == classes
        known = classes != UNKNOWN
        accuracies[group] = Accuracy(int(right[known].sum()), int(known.sum()))
        for number, name in enumerate(names):
            shown = classes == number
            accuracies[f"{group}:{name}"] = Accuracy(int(right[shown].sum()), int(shown.sum()))
    return accuracies


def to_input(images: Images) -> Tensor:
    """uint8 [N, H, W, 3] → float32 [N, 3, H, W] in [−1, 1], as the exported graph scales them."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def _features(tagger: Tagger, images: Images) -> Tensor:
    starts = range(0, len(images), 256)
    return torch.cat([tagger.features(to_input(images[start : start + 256])) for start in starts])


def _order(count: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Full batches of rows, each picture at most once an epoch."""
    for _ in range(epochs):
        order = rng.permutation(count)
        yield from (order[start : start + BATCH] for start in range(0, count - BATCH + 1, BATCH))


def minutes_since(began: float) -> float:
    """Of wall time, to a tenth."""
    return round((time.perf_counter() - began) / 60, 1)
