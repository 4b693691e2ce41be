"""One DCGAN-family critic, built by a loop over stages. Size, width, kernel, norm and depth are data.

Radford et al. 2016 (arXiv 1511.06434), with the norms and depths of its successors, and for labels the projection of
Miyato & Koyama 2018 (arXiv 1802.05637).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from train.config import Config, sides
from train.networks.layers import FLAT, STRIDE, Residual, init_critic, init_projection, init_residuals, norm_of


class Critic(nn.Module):
    """Images float [N, channels, size, size] in [−1, 1], and labels float [N, L] → one unbounded value each: [N].

    Strided convolutions with LeakyReLU, then one linear value; a sigmoid, where an objective has one, is in its loss.
    With labels it is the value of the image and label: D(x, y) = value(h) + Σ_c (V y)_c · Σ h_c, where h are the
    features, Σ h_c is over the places of a channel (Miyato & Koyama 2018, equation 3), and V is `projection`. Where the
    configuration weighs classes, `classifier` says from h which class each group has (Odena et al. 2017, arXiv
    1610.09585).

    Attributes:
        features: the chain of layers to h, which the closed form in `penalty` walks backwards where nothing is
            normalised.
        value: the chain from h to the value.
        projection: from labels to a weight for each channel of h; None without labels.
        classifier: the chain from h to a score for each class; None where no loss asks for it.
        batched: whether the images of a batch see one another. Then real and generated ones must not share a pass.
    """

    def __init__(self, config: Config, classes: Sequence[int] = ()) -> None:
        """Draw the weights; `classes` are those of each group of labels."""
        super().__init__()
        settings = config.critic
        layers, channels = _features(config)
        inputs = channels * settings.smallest**2
        self.features = nn.Sequential(*layers)
        if settings.last == "dense":
            self.value = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 1), nn.Flatten(0))
        else:
            self.value = nn.Sequential(nn.Conv2d(channels, 1, settings.smallest), nn.Flatten(0))
        normed = settings.norm == "batch"
        for layer in list(self.modules()):
            init_critic(layer, normed=normed, slope=settings.slope)
        self.projection: nn.Linear | None = None
        self.classifier: nn.Sequential | None = None
        if classes:
            self.projection = nn.Linear(sum(classes), channels, bias=False)
            init_projection(self.projection, inputs, len(classes), normed=normed, slope=settings.slope)
        if classes and config.classified:  # last, so that the weights above are drawn as without it
            scores = nn.Linear(inputs, sum(classes))
            init_critic(scores, normed=normed, slope=settings.slope)
            self.classifier = nn.Sequential(nn.Flatten(), scores)
        if settings.norm == "spectral":  # which has no use for a weight of 0
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)
        else:
            init_residuals(self)
        self.batched = normed

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The values of images. A group of labels is one-hot, or zeros where the class is unknown."""
        return self._value(self.features(x), labels)

    def values_and_scores(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The values of images, and the scores of their classes [N, L] where there is a classifier."""
        h = self.features(x)
        return self._value(h, labels), None if self.classifier is None else self.classifier(h)

    def _value(self, h: Tensor, labels: Tensor | None) -> Tensor:
        values: Tensor = self.value(h)
        if self.projection is not None:
            assert labels is not None
            values = values + (self.projection(labels) * h.sum((2, 3))).sum(1)
        return values


def _features(config: Config) -> tuple[list[nn.Module], int]:
    """The layers from images to the smallest stage, and its channels."""
    settings = config.critic
    stages = sides(config.size, settings.smallest)
    widths = [settings.width * 2**stage for stage in range(len(stages) - (not settings.full_size))]
    layers: list[nn.Module] = []
    if settings.full_size:
        layers += [nn.Conv2d(config.channels, widths[0], FLAT, padding=FLAT // 2), nn.LeakyReLU(settings.slope)]
    else:
        widths = [config.channels, *widths]
    for before, after in pairwise(widths):
        if layers:
            layers += [Residual(before, settings.norm, settings.slope) for _ in range(settings.blocks)]
        # Radford et al. 2016: the first layer isn't normalised; the spectral norm is for every layer.
        normed = settings.norm in {"batch", "instance"} and bool(layers)
        padding = (settings.kernel - 1) // 2
        layers.append(nn.Conv2d(before, after, settings.kernel, STRIDE, padding, bias=not normed))
        if normed:
            layers.append(norm_of(settings.norm, after))
        layers.append(nn.LeakyReLU(settings.slope))
    return layers, widths[-1]
