"""One step of training: the networks, their optimisers and the random numbers that step k uses.

Every random number is a function of the seed and a counter, never of a generator's hidden state, so a resumed
run draws what the uninterrupted one would have drawn, on any device.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from animegen.images import Images
from train import objectives, penalty
from train.config import AdamConfig, Config
from train.data import Batches
from train.networks import initial_networks

Precision = Literal["fp32", "bf16"]

_STREAM_CRITIC, _STREAM_EPSILON, _STREAM_GENERATOR = 11, 12, 13


@dataclass(frozen=True)
class Metrics:
    """Figures of one generator step; those of the critic are of its last step. Scalars still on the device."""

    critic_loss: Tensor
    generator_loss: Tensor
    wasserstein: Tensor
    penalty: Tensor
    gradient_norm: Tensor

    def numbers(self) -> dict[str, float]:
        """The figures as Python numbers; this waits for the device."""
        return {name: float(value) for name, value in vars(self).items()}


class Trainer:
    """Generator, critic, the generator's moving average (EMA) and both optimisers on one device.

    Attributes:
        step: generator steps done.
        images_seen: real images that the critic has seen.
    """

    def __init__(self, config: Config, images: Images, *, device: torch.device, precision: Precision) -> None:
        self.config = config
        self.device = device
        self.precision = precision
        self.step = 0
        self.batches = Batches(images, batch_size=config.batch_size, seed=config.seed, flip=config.flip)
        generator, critic = initial_networks(config)
        # Channels last: a tenth faster on a CPU here, and what tensor cores want with bf16.
        self.generator = generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_adam = _adam(self.generator, config.generator_adam)
        self.critic_adam = _adam(self.critic, config.critic_adam)

    @property
    def images_seen(self) -> int:
        """Real images that the critic has seen so far."""
        return self.step * self.config.n_critic * self.config.batch_size

    def train_step(self) -> Metrics:
        """`n_critic` critic steps, one generator step and one EMA update (Gulrajani et al. 2017, Algorithm 1)."""
        for k in range(self.step * self.config.n_critic, (self.step + 1) * self.config.n_critic):
            critic_loss, wasserstein, gradient_penalty, gradient_norm = self._critic_step(k)
        generator_loss = self._generator_step()
        self._update_ema()
        self.step += 1
        return Metrics(critic_loss, generator_loss, wasserstein, gradient_penalty, gradient_norm)

    def _critic_step(self, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x_real = to_float(self.batches.batch(k), self.device)
        with torch.no_grad(), self._autocast():
            x_fake = self.generator(self._latents(_STREAM_CRITIC, k)).float()
        epsilon = np.random.default_rng([self.config.seed, _STREAM_EPSILON, k]).random(len(x_real), np.float32)
        x_hat = penalty.interpolates(x_real, x_fake, torch.from_numpy(epsilon).to(self.device))
        with self._autocast():
            # The critic has no BatchNorm, so real and generated images can share one pass.
            c_real, c_fake = self.critic(torch.cat([x_real, x_fake])).float().chunk(2)
            gradient = penalty.input_gradient(self.critic, x_hat)
        wasserstein = objectives.wasserstein_estimate(c_real, c_fake)
        gradient_penalty, gradient_norm = penalty.gradient_penalty(gradient)
        loss = objectives.critic_loss(c_real, c_fake) + self.config.lambda_gp * gradient_penalty
        self.critic_adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic_adam.step()
        return loss.detach(), wasserstein.detach(), gradient_penalty.detach(), gradient_norm

    def _generator_step(self) -> Tensor:
        self.critic.requires_grad_(False)  # its weight gradients would be computed only to be thrown away
        with self._autocast():
            c_fake = self.critic(self.generator(self._latents(_STREAM_GENERATOR, self.step))).float()
        loss = objectives.generator_loss(c_fake)
        self.generator_adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_adam.step()
        self.critic.requires_grad_(True)
        return loss.detach()

    @torch.no_grad()
    def _update_ema(self) -> None:
        # A short horizon first, as the average would otherwise remember its random start for long.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        averaged, current = self.ema.state_dict(), self.generator.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])

    def _latents(self, stream: int, k: int) -> Tensor:
        rng = np.random.default_rng([self.config.seed, stream, k])
        z = rng.standard_normal((self.config.batch_size, self.config.generator.z_dim), np.float32)
        return torch.from_numpy(z).to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def to_float(images: Images, device: torch.device) -> Tensor:
    """uint8 [N, H, W, C] → float [N, C, H, W] in [−1, 1] on the device, channels last in memory."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


@torch.no_grad()
def to_uint8(images: Tensor) -> Images:
    """Float [N, C, H, W] in [−1, 1] → uint8 [N, H, W, C], rounded half to even as in the exported graph."""
    levels = images.float().mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def _adam(network: nn.Module, config: AdamConfig) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=config.lr, betas=(config.beta1, config.beta2))
