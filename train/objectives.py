"""What critic and generator minimise, as pure functions of the critic's values. Scalars out; maths only.

`c_real` and `c_fake` are float [N]: the critic's values of real and of generated images.
"""

from __future__ import annotations

from torch import Tensor


def wasserstein_estimate(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """E[D(x)] − E[D(x̃)]: Arjovsky et al. 2017, equation 2, for a critic that is 1-Lipschitz."""
    return c_real.mean() - c_fake.mean()


def critic_loss(c_real: Tensor, c_fake: Tensor) -> Tensor:
    """The critic maximises the estimate; the penalty is added to this (Gulrajani et al. 2017, equation 3)."""
    return -wasserstein_estimate(c_real, c_fake)


def generator_loss(c_fake: Tensor) -> Tensor:
    """−E[D(G(z))]: Gulrajani et al. 2017, Algorithm 1, line 12."""
    return -c_fake.mean()
