"""What critic and generator minimise, as pure functions of the critic's values. Scalars out; maths only.

`c_real` and `c_fake` are float [N]: the critic's values of real and of generated images, before any sigmoid.
softplus(−c) is −log σ(c), so a binary cross-entropy needs no probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import ObjectiveName

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """The two losses of a game, each of (c_real, c_fake).

    Attributes:
        relativistic: the generator's loss depends on the real images too.
    """

    critic: Loss
    generator: Loss
    relativistic: bool = False


def wasserstein_estimate(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """E[D(x)] − E[D(x̃)]: Arjovsky et al. 2017, equation 2, for a critic that is 1-Lipschitz."""
    return c_real.mean() - c_fake.mean()


def class_loss(scores: Tensor, labels: Tensor, classes: Sequence[int]) -> Tensor:
    """The cross-entropy of scores [N, L] against one-hot labels [N, L], summed over groups of so many `classes`.

    Odena et al. 2017 (arXiv 1610.09585), equation 3, a mean over all N images; a group of zeros, whose class is
    unknown, adds nothing.
    """
    groups = zip(*(torch.split(side, list(classes), 1) for side in (scores, labels)), strict=True)
    return torch.stack([-(label * score.log_softmax(1)).sum(1).mean() for score, label in groups]).sum()


def _wasserstein_critic(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """The critic maximises the estimate; a penalty is added elsewhere (Gulrajani et al. 2017, equation 3)."""
    return -wasserstein_estimate(c_real, c_fake)


def _away_from_fake(_: Tensor, c_fake: Tensor) -> Tensor:
    """−E[D(G(z))]: Gulrajani et al. 2017, Algorithm 1, line 12; Miyato et al. 2018, equation 17."""
    return -c_fake.mean()


def _cross_entropy_critic(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """−E[log D(x)] − E[log(1 − D(x̃))], D = σ(c): Goodfellow et al. 2014, equation 1."""
    return F.softplus(-c_real).mean() + F.softplus(c_fake).mean()


def _non_saturating(_: Tensor, c_fake: Tensor) -> Tensor:
    """−E[log D(G(z))]: Goodfellow et al. 2014, section 3, the loss whose gradient doesn't vanish."""
    return F.softplus(-c_fake).mean()


def _hinge_critic(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """E[max(0, 1 − D(x))] + E[max(0, 1 + D(x̃))]: Miyato et al. 2018, equation 16."""
    return F.relu(1 - c_real).mean() + F.relu(1 + c_fake).mean()


def _paired(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """−E[log σ(D(x) − D(x̃))]: Jolicoeur-Martineau 2019 (arXiv 1807.00734), RSGAN; R3GAN's pairing loss."""
    return F.softplus(c_fake - c_real).mean()


def _paired_hinge(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """E[max(0, 1 − (D(x) − D(x̃)))]: the relativistic GAN, equation 5, with f the hinge."""
    return F.relu(1 - (c_real - c_fake)).mean()


def _average(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """Each value against the other side's mean: Jolicoeur-Martineau 2019, RaSGAN (equations 8 and 9).

    The mean of both halves, as in the author's code, so that it has the size of the other losses.
    """
    real, fake = c_real - c_fake.mean(), c_fake - c_real.mean()
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def _average_hinge(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """RaHingeGAN of the same paper (appendix D)."""
    real, fake = c_real - c_fake.mean(), c_fake - c_real.mean()
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def _swapped(loss: Loss) -> Loss:
    """A relativistic generator plays the critic's game with the sides exchanged."""
    return lambda c_real, c_fake: loss(c_fake, c_real)


def _relativistic(loss: Loss) -> Objective:
    return Objective(loss, _swapped(loss), relativistic=True)


OBJECTIVES: Mapping[ObjectiveName, Objective] = {
    "wgan-gp": Objective(_wasserstein_critic, _away_from_fake),
    "wgan": Objective(_wasserstein_critic, _away_from_fake),
    "dcgan": Objective(_cross_entropy_critic, _non_saturating),
    "hinge": Objective(_hinge_critic, _away_from_fake),
    "rgan": _relativistic(_paired),
    "rgan-hinge": _relativistic(_paired_hinge),
    "ragan": _relativistic(_average),
    "ragan-hinge": _relativistic(_average_hinge),
}
