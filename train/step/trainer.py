"""One round of training: what the critic's and the generator's step do to the networks.

A step is a function of the weights and of what `draws` gives it, so on one GPU it runs as a CUDA graph.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from animegen.errors import DataError, UsageError
from animegen.images.stills import Images
from train.config import ALL_LABELS, Config
from train.data import DatasetGroup, DatasetLabels
from train.networks import initial_networks
from train.objective import augment, penalty
from train.objective.losses import OBJECTIVES, class_loss, wasserstein_estimate
from train.step import draws
from train.step.cuda_graph import CudaGraph, Eager, Figures, Tensors
from train.step.devices import Precision
from train.step.draws import Arrays
from train.step.optimisers import build_optimiser, capturable, decay, set_learning_rate
from train.step.processes import ALONE, Group, parts
from train.step.real_images import RealImages


class Trainer:
    """Generator, critic, the generator's moving average (EMA) and both optimisers on one device.

    Attributes:
        step: rounds of critic and generator steps done.
        lr_scale: a factor on both learning rates, which a rollback makes smaller.
        labels: of the dataset, those that the networks take; None for an unconditional run.
        images_before: real images that its critic had seen in the run that it started from.
        updates: what each kind of step does with the arrays it draws, by name: CUDA graphs where `captures`.
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
        labels: DatasetLabels | None = None,
    ) -> None:
        """Start from the weights that the configuration's seed names; `compiled` fuses the networks' kernels.

        `labels` are all those that the dataset has, of which the configuration may take some.

        Raises:
            UsageError: the batch can't be divided among the processes; `compiled` where there are no CUDA graphs, or
                with a critic whose penalty needs a second backward pass, which torch.compile doesn't have.
            DataError: fewer images than a batch; labels that the dataset doesn't have.
        """
        self.config = config
        self.device = device
        self.precision = precision
        self.group = group
        self.step = 0
        self.lr_scale = 1.0
        self.images_before = 0
        self.total_steps = config.total_steps(len(images))
        self._parts = parts(config.batch_size, group, config.accumulate)
        self.objective = OBJECTIVES[config.objective]
        self.labels = _taken(config, labels)
        generator, critic = initial_networks(config, self._classes)
        # Channels last: a tenth faster on a CPU here, and what tensor cores want with bf16.
        self.generator = generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False).eval()
        # Among several processes sums go between the parts of a step, which no graph holds.
        optimisers = (config.generator_optimiser, config.critic_optimiser)
        self.captures = device.type == "cuda" and group.world == 1 and all(map(capturable, optimisers))
        self.generator_optimiser = build_optimiser(self.generator, optimisers[0], captured=self.captures)
        self.critic_optimiser = build_optimiser(self.critic, optimisers[1], captured=self.captures)
        self.compiled = compiled
        self._input_gradient, self._evaluate = penalty.input_gradient, self.critic.values_and_scores
        if compiled:
            self._compile()
        update = CudaGraph if self.captures else Eager
        self.updates: dict[str, CudaGraph | Eager] = {
            "critic": update(partial(self._update_critic, penalised=False), device),
            "critic, penalised": update(partial(self._update_critic, penalised=True), device),
            "generator": update(self._update_generator, device),
            "ema": update(self._update_ema, device),
        }
        self._real_images = RealImages(images, config.batch_size, device, resident=self.captures, labels=self.labels)
        self._ahead: dict[tuple[str, int], Arrays] = {}

    @property
    def images_seen(self) -> int:
        """Real images that the critic has seen so far."""
        return self.images_before + self.step * self.images_a_step

    @property
    def images_a_step(self) -> int:
        """How many real images the critic sees in a step."""
        return self.config.n_critic * self.config.batch_size

    @property
    def label_groups(self) -> tuple[DatasetGroup, ...]:
        """The groups of labels that the networks take."""
        return self.labels.groups if self.labels is not None else ()

    @property
    def _classes(self) -> list[int]:
        return [len(group.classes) for group in self.label_groups]

    def _compile(self) -> None:
        if not self.captures:
            raise UsageError("--compile is for one process on a GPU, with Adam or RMSprop: leave it out")
        if self.config.penalised and penalty.form_for(self.critic) != "closed form":
            raise UsageError(
                f"--compile can't differentiate a critic with the norm {self.config.critic.norm!r} twice: leave it out"
            )
        self.generator.compile()
        self._evaluate = torch.compile(self.critic.values_and_scores)
        self._input_gradient = torch.compile(penalty.input_gradient)

    def train_step(self) -> dict[str, float]:
        """One round: `n_critic` critic steps, then `n_generator` generator steps, each with its EMA update.

        Gulrajani et al. 2017, Algorithm 1. The figures are those of the last step of each kind, averaged over the
        processes; reading them waits for the device.
        """
        scale = self.lr_scale * decay(self.config, self.step, self.total_steps)
        set_learning_rate(self.generator_optimiser, self.config.generator_optimiser.lr * scale)
        set_learning_rate(self.critic_optimiser, self.config.critic_optimiser.lr * scale)
        figures: Figures = {}
        for k in self._round(self.config.n_critic):
            figures |= self.critic_step(k)
        for k in self._round(self.config.n_generator):
            figures |= self.generator_step(k)
            self.average_weights(k)
        self.step += 1
        if self.captures:  # the GPU is busy: draw what it will ask for next
            self._ahead = {("critic", k): self._draw("critic", k) for k in self._round(self.config.n_critic)}
            self._ahead |= {("generator", k): self._draw("generator", k) for k in self._round(self.config.n_generator)}
        values = self.group.average(torch.stack([value.float() for value in figures.values()]))
        return dict(zip(figures, values.tolist(), strict=True))

    def critic_step(self, k: int) -> Figures:
        """Critic step `k` of the run. Its gradients stay in the critic until its next step."""
        penalised = self.config.penalised and k % self.config.penalty_every == 0
        return self.updates["critic, penalised" if penalised else "critic"](self._arrays("critic", k))

    def generator_step(self, k: int) -> Figures:
        """Generator step `k` of the run. Its gradients stay in the generator until its next step."""
        return self.updates["generator"](self._arrays("generator", k))

    def average_weights(self, k: int) -> None:
        """The EMA after generator step `k`."""
        # A short horizon first, as the average would otherwise remember its random start for long.
        decay = self.config.ema if self.images_before else min(self.config.ema, (1 + k) / (10 + k))
        self.updates["ema"]({"weight": np.array(1 - decay, np.float32)})

    def _round(self, steps: int) -> range:
        """The numbers of this round's steps of one kind, of which a round has so many."""
        return range(self.step * steps, (self.step + 1) * steps)

    def _arrays(self, side: str, k: int) -> Arrays:
        return self._ahead.pop((side, k), None) or self._draw(side, k)

    def _draw(self, side: str, k: int) -> Arrays:
        draw = draws.critic_step if side == "critic" else draws.generator_step
        return self._real_images.load(draw(self.config, k, len(self._real_images)))

    def _update_critic(self, inputs: Tensors, *, penalised: bool) -> Figures:
        self.critic_optimiser.zero_grad()
        figures = self._means(partial(self._critic_gradients, penalised=penalised), inputs)
        figures["critic_gradient"] = self._descend(self.critic, self.critic_optimiser)
        if self.config.objective == "wgan":
            with torch.no_grad():
                for name, parameter in self.critic.named_parameters():  # Arjovsky et al. 2017, Algorithm 1, line 7
                    if not name.startswith("classifier."):  # whose scores are no part of the distance
                        parameter.clamp_(-self.config.clip, self.config.clip)
        return figures

    def _critic_gradients(self, inputs: Tensors, rows: slice, *, penalised: bool) -> Figures:
        """Add the gradients of the critic's loss on some rows of the batch, weighted by their share of it."""
        with torch.no_grad(), self._autocast():
            x_fake, x_real = self._x_fake(inputs), self._x_real(inputs)
        with self._autocast():
            (c_real, c_fake), (scores, _) = self._evaluated(inputs, x_real, x_fake)
        if self.config.label_noise:  # 1 − σ(c) is σ(−c)
            loss = self.objective.critic(c_real * inputs["sign.real"], c_fake * inputs["sign.fake"])
        else:
            loss = self.objective.critic(c_real, c_fake)
        figures = {
            "wasserstein": wasserstein_estimate(c_real, c_fake),
            "real_probability": c_real.sigmoid().mean(),
            "fake_probability": c_fake.sigmoid().mean(),
            "spread": torch.cat([c_real, c_fake]).std(),
        }
        if scores is not None:
            figures["class_loss"] = class_loss(scores, inputs["labels"], self._classes)
            loss = loss + self.config.class_critic * figures["class_loss"]
        if penalised:
            figures |= self._penalty(x_real, x_fake, inputs, rows)
            loss = loss + self.config.penalty_weight * figures["penalty"]
        (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {"critic_loss": loss.detach(), **{name: value.detach() for name, value in figures.items()}}

    def _penalty(self, x_real: Tensor, x_fake: Tensor, inputs: Tensors, rows: slice) -> Figures:
        """The penalty of wgan-gp, or R1 + R2, weighted so that its mean over the parts of the batch is the batch's."""
        # A batch is a random draw, so its first images estimate the same expectation, at less cost.
        penalised = math.ceil(self.config.penalty_share * self.config.batch_size)
        here = len(range(*rows.indices(penalised)))
        if not here:
            nothing = torch.zeros((), device=self.device)
            return {"penalty": nothing} | ({"gradient_norm": nothing} if self.config.objective == "wgan-gp" else {})
        weight = here / penalised * (self.config.batch_size / len(x_real))
        part = slice(here)
        x_real, x_fake = x_real[part], x_fake[part]
        labels = inputs["labels"][part] if "labels" in inputs else None
        if self.config.objective == "wgan-gp":
            x_hat = penalty.interpolates(x_real, x_fake, inputs["epsilon"][part])
            with self._autocast():
                gradient = self._input_gradient(self.critic, x_hat, labels)
            value, norm = penalty.gradient_penalty(gradient)
            return {"penalty": weight * value, "gradient_norm": weight * norm}
        sides = [x_real, x_fake] if self.critic.batched else [torch.cat([x_real, x_fake])]
        both = None if labels is None else labels.repeat(2 // len(sides), 1)
        with self._autocast():
            gradients = [self._input_gradient(self.critic, side, both) for side in sides]
        return {"penalty": weight * 2 * penalty.zero_centred_penalty(torch.cat(gradients))}

    def _update_generator(self, inputs: Tensors) -> Figures:
        self.critic.requires_grad_(False)  # its weight gradients would be computed only to be thrown away
        self.generator_optimiser.zero_grad()
        figures = self._means(lambda part, _: self._generator_gradients(part), inputs)
        self.critic.requires_grad_(True)
        figures["generator_gradient"] = self._descend(self.generator, self.generator_optimiser)
        return figures

    def _generator_gradients(self, inputs: Tensors) -> Figures:
        """Add the gradients of the generator's loss on some rows of the batch, weighted by their share of it."""
        with self._autocast():
            x_fake = self._x_fake(inputs)
            if self.objective.relativistic:
                (c_real, c_fake), (_, scores) = self._evaluated(inputs, self._x_real(inputs), x_fake)
            else:
                (c_fake,), (scores,) = self._evaluated(inputs, x_fake)
                c_real = c_fake.detach()  # not looked at
        loss = self.objective.generator(c_real, c_fake)
        if scores is not None:
            loss = loss + self.config.class_generator * class_loss(scores, inputs["labels"], self._classes)
        (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {"generator_loss": loss.detach()}

    @torch.no_grad()
    def _update_ema(self, inputs: Tensors) -> Figures:
        averaged, current = self.ema.state_dict(), self.generator.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], inputs["weight"])
            else:
                value.copy_(current[name])
        return {}

    def _means(self, add_gradients: Callable[[Tensors, slice], Figures], inputs: Tensors) -> Figures:
        """Go through the parts of the batch that this process computes; the mean of each figure over them."""
        figures = [add_gradients({name: value[rows] for name, value in inputs.items()}, rows) for rows in self._parts]
        return {name: torch.stack([part[name] for part in figures]).mean() for name in figures[0]}

    def _descend(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
        """Step with the mean gradient of the processes; its norm."""
        self.group.average_gradients(network)
        norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        optimiser.step()
        return norm

    def _evaluated(self, inputs: Tensors, *sides: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """The critic's values of each side's images, and their scores; in one pass, unless they'd share statistics.

        Every side has the step's labels.
        """
        labels = inputs.get("labels")
        if self.critic.batched:
            pairs = [self._evaluate(x, labels) for x in sides]
        else:
            values, scores = self._evaluate(torch.cat(sides), None if labels is None else labels.repeat(len(sides), 1))
            parts = [None] * len(sides) if scores is None else scores.chunk(len(sides))
            pairs = list(zip(values.chunk(len(sides)), parts, strict=True))
        return tuple(values.float() for values, _ in pairs), tuple(
            None if scores is None else scores.float() for _, scores in pairs
        )

    def _x_real(self, inputs: Tensors) -> Tensor:
        """The real images as the critic sees them: augmented."""
        return augment.apply(self._real_images.images(inputs), _augmentations(inputs, "real"))

    def _x_fake(self, inputs: Tensors) -> Tensor:
        """What the generator makes of the latents and labels, in the same way."""
        x = self.generator(inputs["z"], inputs.get("labels"))
        return augment.apply(x.float(), _augmentations(inputs, "fake"))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def _taken(config: Config, labels: DatasetLabels | None) -> DatasetLabels | None:
    """The groups of the dataset's labels that the configuration takes."""
    if not config.labels:
        return None
    if labels is None:
        raise DataError(
            f"the dataset has no labels and must have {', '.join(config.labels)} for the preset {config.preset}: "
            "prepare it from class folders or with --labels, or train without them, with --set labels=[]"
        )
    return labels if config.labels == (ALL_LABELS,) else labels.select(config.labels)


def _augmentations(inputs: Tensors, side: str) -> Tensors:
    """Those drawn for this side, `real` or `fake`."""
    return {name.removeprefix(f"{side}."): value for name, value in inputs.items() if name.startswith(f"{side}.")}
