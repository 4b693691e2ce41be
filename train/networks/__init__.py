"""The DCGAN family as data: one builder of generators and one of critics, and the weights that a seed names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from train.config import Config
from train.networks.critic import Critic
from train.networks.generator import GeneratorNetwork

__all__ = ["Critic", "GeneratorNetwork", "initial_networks", "parameter_count"]


def parameter_count(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


def initial_networks(config: Config, classes: Sequence[int] = ()) -> tuple[GeneratorNetwork, Critic]:
    """Generator and critic with the weights that `config.seed` names, on the CPU; the global random state is kept.

    `classes` are those of each group of labels that both take.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        return GeneratorNetwork(config, classes), Critic(config, classes)
