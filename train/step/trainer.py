"""One step of training: the networks, their optimisers and the random numbers that step k uses.

Every random number is a function of the seed and a counter, never of a generator's hidden state, so a resumed
run draws what the uninterrupted one would have drawn, on any device and in any number of processes. The numbers are
drawn on the CPU, and a step is a function of them: on one GPU it runs as a CUDA graph.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from animegen.errors import UsageError
from animegen.images.stills import Images
from train.config import SGD, Adam, Config, Optimiser
from train.networks import initial_networks
from train.objective import augment, penalty
from train.objective import losses as objectives
from train.step.cuda_graph import Arrays, Captured, Tensors, rate_on, set_rate
from train.step.processes import ALONE, Group, parts
from train.step.real_images import RealImages

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
        compiled: bool = False,
    ) -> None:
        """Start from the weights that the configuration's seed names; `compiled` fuses the networks' kernels.

        Raises:
            UsageError: the batch can't be divided among the processes; `compiled` where there are no CUDA graphs, or
                with a critic whose penalty needs a second backward pass, which torch.compile doesn't have.
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
        self.objective = objectives.OBJECTIVES[config.objective]
        generator, critic = initial_networks(config)
        # Channels last: a tenth faster on a CPU here, and what tensor cores want with bf16.
        self.generator = generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False).eval()
        # Among several processes sums go between the steps' parts, and SGD reads its learning rate on the CPU.
        plain = any(isinstance(own, SGD) for own in (config.generator_optimiser, config.critic_optimiser))
        self.captures = device.type == "cuda" and group.world == 1 and not plain
        self.generator_optimiser = _optimiser(self.generator, config.generator_optimiser, captured=self.captures)
        self.critic_optimiser = _optimiser(self.critic, config.critic_optimiser, captured=self.captures)
        self.compiled = compiled
        self._input_gradient = penalty.input_gradient
        if compiled:
            self._compile()
        self._captured: dict[str, Captured] = {}
        self.reals = RealImages(images, config, device=device, resident=self.captures)
        self._ahead: dict[tuple[str, int], Arrays] = {}

    @property
    def images_seen(self) -> int:
        """Real images that the critic has seen so far."""
        return self.images_before + self.step * self.config.n_critic * self.config.batch_size

    def _compile(self) -> None:
        config = self.config
        penalised = config.objective == "wgan-gp" or config.gamma > 0
        if not self.captures:
            raise UsageError("--compile is for one process on a GPU, with Adam or RMSprop: leave it out")
        if penalised and penalty.form_for(self.critic) != "closed form":
            raise UsageError(
                f"--compile can't differentiate a critic with the norm {config.critic.norm!r} twice: leave it out"
            )
        self.generator.compile()
        self.critic.compile()
        self._input_gradient = torch.compile(penalty.input_gradient)

    def train_step(self) -> dict[str, float]:
        """One round: `n_critic` critic steps, then `n_generator` generator steps, each with its EMA update.

        Gulrajani et al. 2017, Algorithm 1. The figures are those of the last step of each kind, averaged over the
        processes; reading them waits for the device.
        """
        self._set_learning_rates()
        figures: Figures = {}
        for k in self._numbers(self.config.n_critic):
            figures |= self._critic_step(k)
        for k in self._numbers(self.config.n_generator):
            figures |= self._generator_step(k)
            self._update_ema(k)
        self.step += 1
        if self.captures:  # the GPU is busy: draw what it will ask for next
            self._ahead = {("critic", k): self._draw_critic(k) for k in self._numbers(self.config.n_critic)}
            self._ahead |= {("generator", k): self._draw_generator(k) for k in self._numbers(self.config.n_generator)}
        values = self.group.average(torch.stack([value.float() for value in figures.values()]))
        return dict(zip(figures, values.tolist(), strict=True))

    def _numbers(self, steps: int) -> range:
        """The numbers of this round's steps of one kind, of which a round has so many."""
        return range(self.step * steps, (self.step + 1) * steps)

    def _critic_step(self, k: int = 0) -> Figures:
        arrays = self._ahead.pop(("critic", k), None) or self._draw_critic(k)
        if k % self.config.penalty_every == 0:
            return self._run("critic, penalised", partial(self._update_critic, penalised=True), arrays)
        return self._run("critic", partial(self._update_critic, penalised=False), arrays)

    def _generator_step(self, k: int = 0) -> Figures:
        arrays = self._ahead.pop(("generator", k), None) or self._draw_generator(k)
        return self._run("generator", self._update_generator, arrays)

    def _update_ema(self, k: int) -> None:
        # A short horizon first, as the average would otherwise remember its random start for long.
        decay = self.config.ema if self.images_before else min(self.config.ema, (1 + k) / (10 + k))
        self._run("ema", self._average_weights, {"weight": np.array(1 - decay, np.float32)})

    def _run(self, name: str, step: Callable[[Tensors], Figures], arrays: Arrays) -> Figures:
        if not self.captures:
            return step({key: torch.from_numpy(value).to(self.device) for key, value in arrays.items()})
        if name not in self._captured:
            self._captured[name] = Captured(step, self.device)
        return self._captured[name](arrays)

    def _draw_critic(self, k: int) -> Arrays:
        """All random numbers of critic step `k`, and its real images: an array each, of a row an image."""
        epsilon = np.random.default_rng([self.config.seed, _STREAM_EPSILON, k]).random(
            self.config.batch_size, np.float32
        )
        return {
            **self.reals.draw(k),
            "z": self._latents(_STREAM_CRITIC, k),
            "epsilon": epsilon,
            **self._label_signs(k),
            **self._augmentations("real", _STREAM_AUGMENT_CRITIC, 2 * k),
            **self._augmentations("fake", _STREAM_AUGMENT_CRITIC, 2 * k + 1),
        }

    def _draw_generator(self, k: int) -> Arrays:
        """The same of generator step `k`."""
        drawn = {
            "z": self._latents(_STREAM_GENERATOR, k),
            **self._augmentations("fake", _STREAM_AUGMENT_GENERATOR, 2 * k),
        }
        if self.objective.relativistic:  # against the real images of the round's last critic step
            drawn |= self.reals.draw((k // self.config.n_generator + 1) * self.config.n_critic - 1)
            drawn |= self._augmentations("real", _STREAM_AUGMENT_GENERATOR, 2 * k + 1)
        return drawn

    def _update_critic(self, inputs: Tensors, *, penalised: bool) -> Figures:
        self.critic_optimiser.zero_grad()
        found = [self._critic_gradients(part, penalised=penalised) for part in self._parts(inputs)]
        self.group.average_gradients(self.critic)
        gradient = nn.utils.get_total_norm([p.grad for p in self.critic.parameters() if p.grad is not None])
        self.critic_optimiser.step()
        if self.config.objective == "wgan":
            with torch.no_grad():
                for parameter in self.critic.parameters():  # Arjovsky et al. 2017, Algorithm 1, line 7
                    parameter.clamp_(-self.config.clip, self.config.clip)
        return {**_means(found), "critic_gradient": gradient}

    def _critic_gradients(self, inputs: Tensors, *, penalised: bool) -> Figures:
        """Add the gradients of the critic's loss on some rows of the batch, weighted by their share of it."""
        config = self.config
        with torch.no_grad(), self._autocast():
            x_fake, x_real = self._fake(inputs), self._real(inputs)
        with self._autocast():
            c_real, c_fake = self._values(x_real, x_fake)
        if config.label_noise:  # 1 − σ(c) is σ(−c)
            loss = self.objective.critic(c_real * inputs["sign.real"], c_fake * inputs["sign.fake"])
        else:
            loss = self.objective.critic(c_real, c_fake)
        figures = {
            "wasserstein": objectives.wasserstein_estimate(c_real, c_fake),
            "real_probability": c_real.sigmoid().mean(),
            "fake_probability": c_fake.sigmoid().mean(),
            "spread": torch.cat([c_real, c_fake]).std(),
        }
        if penalised:
            if config.objective == "wgan-gp":
                values, figures["gradient_norm"] = self._gradient_penalty(x_real, x_fake, inputs["epsilon"])
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

    def _gradient_penalty(self, x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        # A batch is a random draw, so its first images estimate the same expectation, at less cost.
        part = slice(math.ceil(self.config.penalty_share * len(x_real)))
        x_hat = penalty.interpolates(x_real[part], x_fake[part], epsilon[part])
        with self._autocast():
            gradient = self._input_gradient(self.critic, x_hat)
        return penalty.gradient_penalty(gradient)

    def _zero_centred_penalty(self, x_real: Tensor, x_fake: Tensor) -> Tensor:
        """R1 + R2."""
        part = slice(math.ceil(self.config.penalty_share * len(x_real)))
        x_real, x_fake = x_real[part], x_fake[part]
        sides = [x_real, x_fake] if self.critic.batched else [torch.cat([x_real, x_fake])]
        with self._autocast():
            gradients = [self._input_gradient(self.critic, side) for side in sides]
        return 2 * penalty.zero_centred_penalty(torch.cat(gradients))

    def _update_generator(self, inputs: Tensors) -> Figures:
        self.critic.requires_grad_(False)  # its weight gradients would be computed only to be thrown away
        self.generator_optimiser.zero_grad()
        found = [self._generator_gradients(part) for part in self._parts(inputs)]
        self.critic.requires_grad_(True)
        self.group.average_gradients(self.generator)
        gradient = nn.utils.get_total_norm([p.grad for p in self.generator.parameters() if p.grad is not None])
        self.generator_optimiser.step()
        return {**_means(found), "generator_gradient": gradient}

    def _generator_gradients(self, inputs: Tensors) -> Figures:
        with self._autocast():
            x_fake = self._fake(inputs)
            if self.objective.relativistic:
                c_real, c_fake = self._values(self._real(inputs), x_fake)
            else:
                c_fake = self.critic(x_fake).float()
                c_real = c_fake.detach()  # not looked at
        loss = self.objective.generator(c_real, c_fake)
        (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {"generator_loss": loss.detach()}

    @torch.no_grad()
    def _average_weights(self, inputs: Tensors) -> Figures:
        averaged, current = self.ema.state_dict(), self.generator.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], inputs["weight"])
            else:
                value.copy_(current[name])
        return {}

    def _set_learning_rates(self) -> None:
        falling = self.config.lr_decay * self.total_steps
        left = (self.total_steps - self.step) / falling if falling else 1.0
        scale = self.lr_scale * min(1.0, max(0.0, left))
        set_rate(self.generator_optimiser, self.config.generator_optimiser.lr * scale)
        set_rate(self.critic_optimiser, self.config.critic_optimiser.lr * scale)

    def _parts(self, inputs: Tensors) -> list[Tensors]:
        """The rows of this process, in parts that are computed one after the other."""
        return [
            {name: value[rows] for name, value in inputs.items()}
            for rows in parts(self.config.batch_size, self.group, self.config.accumulate)
        ]

    def _latents(self, stream: int, k: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.config.seed, stream, k])
        return rng.standard_normal((self.config.batch_size, self.config.generator.z_dim), np.float32)

    def _label_signs(self, k: int) -> dict[str, NDArray[np.float32]]:
        """−1 for each real and generated image whose label is flipped."""
        if not self.config.label_noise:
            return {}
        rng = np.random.default_rng([self.config.seed, _STREAM_LABELS, k])
        flipped = rng.random((2, self.config.batch_size), np.float32) < self.config.label_noise
        signs = np.where(flipped, -1, 1).astype(np.float32)
        return {"sign.real": signs[0], "sign.fake": signs[1]}

    def _augmentations(self, side: str, stream: int, k: int) -> dict[str, NDArray[Any]]:
        config = self.config
        if not config.augment:
            return {}
        rng = np.random.default_rng([config.seed, stream, k])
        draws = augment.draw(rng, config.batch_size, config.augment, (config.size, config.size))
        return {f"{side}.{name}": numbers for name, numbers in draws.arrays().items()}

    def _real(self, inputs: Tensors) -> Tensor:
        """The real images as the critic sees them: after their augmentations."""
        return augment.apply(self.reals.images(inputs), _own(inputs, "real"))

    def _fake(self, inputs: Tensors) -> Tensor:
        """What the generator makes of the latents, in the same way."""
        return augment.apply(self.generator(inputs["z"]).float(), _own(inputs, "fake"))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


@torch.no_grad()
def to_uint8(images: Tensor) -> Images:
    """Float [N, C, H, W] in [−1, 1] → uint8 [N, H, W, C], rounded half to even as in the exported graph."""
    levels = images.float().mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def _means(found: list[Figures]) -> Figures:
    """The mean of each figure over the parts of a batch."""
    return {name: torch.stack([part[name] for part in found]).mean() for name in found[0]}


def _own(inputs: Tensors, side: str) -> Tensors:
    """The augmentations drawn for this side, `real` or `fake`."""
    return {name.removeprefix(f"{side}."): value for name, value in inputs.items() if name.startswith(f"{side}.")}


def _optimiser(network: nn.Module, config: Optimiser, *, captured: bool) -> torch.optim.Optimizer:
    if isinstance(config, SGD):
        return torch.optim.SGD(network.parameters(), lr=config.lr)
    lr = rate_on(next(network.parameters()).device, config.lr) if captured else config.lr
    if isinstance(config, Adam):
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(network.parameters(), lr=lr, betas=betas, capturable=captured, fused=True)
    return torch.optim.RMSprop(network.parameters(), lr=lr, alpha=config.alpha, capturable=captured)
