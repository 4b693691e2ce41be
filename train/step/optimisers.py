"""The optimisers of a configuration, and their learning rates: numbers, or where a CUDA graph reads them, tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.config import SGD, Adam, Config, Optimiser


def capturable(config: Optimiser) -> bool:
    """Whether a step of it can be captured as a CUDA graph: torch's SGD reads its learning rate on the CPU."""
    return not isinstance(config, SGD)


def build_optimiser(network: nn.Module, config: Optimiser, *, captured: bool) -> torch.optim.Optimizer:
    """The optimiser of all parameters of `network`, in one group; `captured` for a step in a CUDA graph."""
    parameters = list(network.parameters())
    if isinstance(config, SGD):
        return torch.optim.SGD(parameters, lr=config.lr)
    lr = torch.tensor(config.lr, device=parameters[0].device) if captured else config.lr
    if isinstance(config, Adam):
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(parameters, lr=lr, betas=betas, capturable=captured, fused=True)
    return torch.optim.RMSprop(parameters, lr=lr, alpha=config.alpha, capturable=captured)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate of an optimiser that `build_optimiser` made."""
    (group,) = optimiser.param_groups
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def decay(config: Config, step: int, total_steps: int) -> float:
    """The factor of both learning rates at `step`: 1, and over the last `lr_decay` of the run down to 0 in a line."""
    falling = config.lr_decay * total_steps
    left = (total_steps - step) / falling if falling else 1.0
    return min(1.0, max(0.0, left))
