"""One step of training: the networks, their optimisers and the random numbers that step k uses.

Every random number is a function of the seed and a counter, never of a generator's hidden state, so a resumed
run draws what the uninterrupted one would have drawn, on any device and in any number of processes.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from animegen.errors import UsageError
from animegen.images import Images
from train import augment, objectives, penalty
from train.config import SGD, Adam, Config, Optimiser
from train.data import Batches
from train.networks import initial_networks
from train.processes import ALONE, Group, parts

Precision = Literal["fp32", "bf16"]
Figures = dict[str, Tensor]  # scalars by name, still on the device

_STREAM_CRITIC, _STREAM_EPSILON, _STREAM_GENERATOR = 11, 12, 13
_STREAM_LABELS, _STREAM_AUGMENT_CRITIC, _STREAM_AUGMENT_GENERATOR = 14, 15, 16


class Trainer:
    """Generator, critic, the generator's moving average (EMA) and both optimisers on one device.

    Attributes:
        step: rounds of critic and generator steps done.
        lr_scale: a factor on both learning rates, which a rollback makes smaller.
        images_before: real images that its critic had seen in the run that it started from.
    """

    def __init__(
        self,
        config: Config,
        images: Images,
        *,
        device: torch.device,
        precision: Precision,
        group: Group = ALONE,
    ) -> None:
        """Start from the weights that the configuration's seed names.

        Raises:
            UsageError: the batch can't be divided among the processes.
            DataError: fewer images than a batch.
        """
        shares = group.world * config.accumulate
        if config.batch_size % shares or config.batch_size // shares < 2:
            raise UsageError(
                f"a batch of {config.batch_size} can't be divided into {config.accumulate} parts for each of "
                f"{group.world} processes, of 2 images or more: change batch_size, accumulate or the processes"
            )
        self.config = config
        self.device = device
        self.precision = precision
        self.group = group
        self.step = 0
        self.lr_scale = 1.0
        self.images_before = 0
        self.total_steps = config.total_steps(len(images))
        self.batches = Batches(images, batch_size=config.batch_size, seed=config.seed, flip=config.flip)
        self.objective = objectives.OBJECTIVES[config.objective]
        generator, critic = initial_networks(config)
        # Channels last: a tenth faster on a CPU here, and what tensor cores want with bf16.
        self.generator = generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimiser = _optimiser(self.generator, config.generator_optimiser)
        self.critic_optimiser = _optimiser(self.critic, config.critic_optimiser)

    @property
    def images_seen(self) -> int:
        """Real images that the critic has seen so far."""
        return self.images_before + self.step * self.config.n_critic * self.config.batch_size

    def train_step(self) -> dict[str, float]:
        """One round: `n_critic` critic steps, then `n_generator` generator steps, each with its EMA update.

        Gulrajani et al. 2017, Algorithm 1. The figures are those of the last step of each kind, averaged over the
        processes; reading them waits for the device.
        """
        self._set_learning_rates()
        figures: Figures = {}
        for k in range(self.step * self.config.n_critic, (self.step + 1) * self.config.n_critic):
            figures |= self._critic_step(k)
        for k in range(self.step * self.config.n_generator, (self.step + 1) * self.config.n_generator):
            figures |= self._generator_step(k)
            self._update_ema(k)
        self.step += 1
        values = self.group.average(torch.stack([value.float() for value in figures.values()]))
        return dict(zip(figures, values.tolist(), strict=True))

    def _critic_step(self, k: int = 0) -> Figures:
        self.critic_optimiser.zero_grad()
        real = self._real(k)
        found = [self._critic_gradients(k, real, rows) for rows in self._parts()]
        self.group.average_gradients(self.critic)
        gradient = nn.utils.get_total_norm([p.grad for p in self.critic.parameters() if p.grad is not None])
        self.critic_optimiser.step()
        if self.config.objective == "wgan":
            with torch.no_grad():
                for parameter in self.critic.parameters():  # Arjovsky et al. 2017, Algorithm 1, line 7
                    parameter.clamp_(-self.config.clip, self.config.clip)
        return {**_means(found), "critic_gradient": gradient}

    def _critic_gradients(self, k: int, real: Images, rows: slice) -> Figures:
        """Add the gradients of the critic's loss on some rows of the batch, weighted by their share of it."""
        config = self.config
        x_real = to_float(real[rows], self.device)
        with torch.no_grad(), self._autocast():
            x_fake = self.generator(self._latents(_STREAM_CRITIC, k)[rows]).float()
        x_real = self._augmented(x_real, 2 * k, rows)
        x_fake = self._augmented(x_fake, 2 * k + 1, rows)
        with self._autocast():
            c_real, c_fake = self._values(x_real, x_fake)
        signs_real, signs_fake = self._label_signs(k, rows)
        loss = self.objective.critic(c_real * signs_real, c_fake * signs_fake)
        figures = {
            "wasserstein": objectives.wasserstein_estimate(c_real, c_fake),
            "real_probability": c_real.sigmoid().mean(),
            "fake_probability": c_fake.sigmoid().mean(),
            "spread": torch.cat([c_real, c_fake]).std(),
        }
        if k % config.penalty_every == 0:
            if config.objective == "wgan-gp":
                values, figures["gradient_norm"] = self._gradient_penalty(k, x_real, x_fake, rows)
                loss = loss + config.lambda_gp * config.penalty_every * values
                figures["penalty"] = values
            elif config.gamma:
                values = self._zero_centred_penalty(x_real, x_fake)
                loss = loss + config.gamma / 2 * config.penalty_every * values
                figures["penalty"] = values
        (loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {"critic_loss": loss.detach(), **{name: value.detach() for name, value in figures.items()}}

    def _values(self, x_real: Tensor, x_fake: Tensor) -> tuple[Tensor, Tensor]:
        if self.critic.batched:  # the two sides must not share their statistics
            return self.critic(x_real).float(), self.critic(x_fake).float()
        c_real, c_fake = self.critic(torch.cat([x_real, x_fake])).float().chunk(2)
        return c_real, c_fake

    def _gradient_penalty(self, k: int, x_real: Tensor, x_fake: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        epsilon = np.random.default_rng([self.config.seed, _STREAM_EPSILON, k]).random(
            self.config.batch_size, np.float32
        )
        weights = torch.from_numpy(epsilon[rows]).to(self.device)
        # A batch is a random draw, so its first images estimate the same expectation, at less cost.
        part = slice(math.ceil(self.config.penalty_share * len(x_real)))
        x_hat = penalty.interpolates(x_real[part], x_fake[part], weights[part])
        with self._autocast():
            gradient = penalty.input_gradient(self.critic, x_hat)
        return penalty.gradient_penalty(gradient)

    def _zero_centred_penalty(self, x_real: Tensor, x_fake: Tensor) -> Tensor:
        """R1 + R2."""
        part = slice(math.ceil(self.config.penalty_share * len(x_real)))
        x_real, x_fake = x_real[part], x_fake[part]
        sides = [x_real, x_fake] if self.critic.batched else [torch.cat([x_real, x_fake])]
        with self._autocast():
            gradients = [penalty.input_gradient(self.critic, side) for side in sides]
        return 2 * penalty.zero_centred_penalty(torch.cat(gradients))

    def _generator_step(self, k: int = 0) -> Figures:
        self.critic.requires_grad_(False)  # its weight gradients would be computed only to be thrown away
        self.generator_optimiser.zero_grad()
        found = [self._generator_gradients(k, rows) for rows in self._parts()]
        self.critic.requires_grad_(True)
        self.group.average_gradients(self.generator)
        gradient = nn.utils.get_total_norm([p.grad for p in self.generator.parameters() if p.grad is not None])
        self.generator_optimiser.step()
        return {**_means(found), "generator_gradient": gradient}

    def _generator_gradients(self, k: int, rows: slice) -> Figures:
        with self._autocast():
            x_fake = self.generator(self._latents(_STREAM_GENERATOR, k)[rows])
            x_fake = self._augmented(x_fake, 2 * k, rows, stream=_STREAM_AUGMENT_GENERATOR)
            if self.objective.relativistic:  # against the real images of the last critic step
                x_real = to_float(self._real((self.step + 1) * self.config.n_critic - 1)[rows], self.device)
                x_real = self._augmented(x_real, 2 * k + 1, rows, stream=_STREAM_AUGMENT_GENERATOR)
                c_real, c_fake = self._values(x_real, x_fake)
            else:
                c_fake = self.critic(x_fake).float()
                c_real = c_fake.detach()  # not looked at
        loss = self.objective.generator(c_real, c_fake)
        (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {"generator_loss": loss.detach()}

    @torch.no_grad()
    def _update_ema(self, k: int) -> None:
        # A short horizon first, as the average would otherwise remember its random start for long.
        decay = self.config.ema if self.images_before else min(self.config.ema, (1 + k) / (10 + k))
        averaged, current = self.ema.state_dict(), self.generator.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])

    def _set_learning_rates(self) -> None:
        falling = self.config.lr_decay * self.total_steps
        left = (self.total_steps - self.step) / falling if falling else 1.0
        scale = self.lr_scale * min(1.0, max(0.0, left))
        self.generator_optimiser.param_groups[0]["lr"] = self.config.generator_optimiser.lr * scale
        self.critic_optimiser.param_groups[0]["lr"] = self.config.critic_optimiser.lr * scale

    def _parts(self) -> list[slice]:
        return parts(self.config.batch_size, self.group, self.config.accumulate)

    def _real(self, k: int) -> Images:
        return self.batches.batch(k // self.config.batch_repeats)

    def _latents(self, stream: int, k: int) -> Tensor:
        rng = np.random.default_rng([self.config.seed, stream, k])
        z = rng.standard_normal((self.config.batch_size, self.config.generator.z_dim), np.float32)
        return torch.from_numpy(z).to(self.device)

    def _label_signs(self, k: int, rows: slice) -> tuple[Tensor, Tensor]:
        """−1 for each real and generated image whose label is flipped: 1 − σ(c) is σ(−c)."""
        if not self.config.label_noise:
            one = torch.ones((), device=self.device)
            return one, one
        rng = np.random.default_rng([self.config.seed, _STREAM_LABELS, k])
        flipped = rng.random((2, self.config.batch_size), np.float32)[:, rows] < self.config.label_noise
        signs = torch.from_numpy(np.where(flipped, -1, 1).astype(np.float32)).to(self.device)
        return signs[0], signs[1]

    def _augmented(self, x: Tensor, k: int, rows: slice, *, stream: int = _STREAM_AUGMENT_CRITIC) -> Tensor:
        if not self.config.augment:
            return x
        rng = np.random.default_rng([self.config.seed, stream, k])
        draws = augment.draw(rng, self.config.batch_size, self.config.augment, x.shape)
        return augment.apply(x, draws.of(rows))

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


def _means(found: list[Figures]) -> Figures:
    """The mean of each figure over the parts of a batch."""
    return {name: torch.stack([part[name] for part in found]).mean() for name in found[0]}


def _optimiser(network: nn.Module, config: Optimiser) -> torch.optim.Optimizer:
    if isinstance(config, Adam):
        return torch.optim.Adam(network.parameters(), lr=config.lr, betas=(config.beta1, config.beta2))
    if isinstance(config, SGD):
        return torch.optim.SGD(network.parameters(), lr=config.lr)
    return torch.optim.RMSprop(network.parameters(), lr=config.lr, alpha=config.alpha)
