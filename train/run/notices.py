"""What a session says in words: what runs, how fast and how well, and when a critic has nothing to teach."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

import torch

from train.data import DatasetCard
from train.networks import parameter_count
from train.objective.penalty import form_for
from train.run.checkpoint import CheckpointCard, EarlierRun
from train.step.devices import device_name
from train.step.trainer import Trainer

_ROWS = 10  # that a speed is the mean over
_STUCK_ROWS = 20
_SAME = 1e-6  # of a spread: fp32 keeps 7 digits of values around 1


def describe(
    trainer: Trainer, data: DatasetCard, resumed: CheckpointCard | None, earlier: tuple[EarlierRun, ...]
) -> list[str]:
    """What runs, on what and from where, a line each."""
    config, where, processes = trainer.config, device_name(trainer.device), trainer.group.world
    compiled = ", compiled" if trainer.compiled else ""
    penalty = f"penalty in {form_for(trainer.critic)}" if config.penalised else "no penalty"
    lines = [
        f"{config.preset} on {where}, {trainer.precision}{compiled}, {torch.get_num_threads()} CPU threads, {penalty}; "
        f"generator {parameter_count(trainer.generator):,} and critic "
        f"{parameter_count(trainer.critic):,} weights; {data.count:,} images from {data.source}"
    ]
    if trainer.label_groups:
        groups = ", ".join(
            f"{group.name} ({len(group.classes)} classes, {group.unknown:,} images unknown)"
            for group in trainer.label_groups
        )
        lines.append(f"labels: {groups}")
    if processes > 1:
        lines.append(f"{processes} processes, each with {config.batch_size // processes} images of a batch")
    if resumed is not None:
        lines.append(f"resumed at step {resumed.step} after {resumed.seconds / 60:.0f} minutes of training")
        before = (resumed.device, resumed.precision, resumed.threads, resumed.processes)
        if before != (where, trainer.precision, torch.get_num_threads(), processes):
            lines.append(
                f"the run was on {resumed.device}, {resumed.precision}, {resumed.threads} CPU threads, "
                f"{resumed.processes} processes: elsewhere sums round differently, so from here it is no longer "
                "bit-equal to an uninterrupted run"
            )
    elif earlier:
        start = earlier[-1]
        lines.append(f"from {start.config.preset} at step {start.step}, {start.images_seen:,} real images seen")
    return lines


def figures_line(figures: Mapping[str, float], images_per_second: float, seconds_left: float) -> str:
    """The figures of a step that a person watches."""
    slope = f"|∇| {figures['gradient_norm']:.2f}  " if "gradient_norm" in figures else ""
    return (
        f"loss {figures['critic_loss']:.2f}  W {figures['wasserstein']:.2f}  "
        f"{slope}{images_per_second:.0f} images/s  {duration(seconds_left)} left"
    )


def duration(seconds: float) -> str:
    """A time in words, to the minute."""
    minutes = max(0, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


class Pace:
    """Steps a second, over the last rows of figures."""

    def __init__(self, step: int) -> None:
        self.restart(step)

    def restart(self, step: int) -> None:
        """Count from this step and now."""
        self._recent = deque([(step, time.monotonic())], maxlen=_ROWS + 1)

    def at(self, step: int) -> float:
        """The steps a second, now that `step` is done."""
        self._recent.append((step, time.monotonic()))
        (first, began), (last, now) = self._recent[0], self._recent[-1]
        return (last - first) / max(now - began, 1e-9)


class StuckAlarm:
    """Notices a critic that has had the same value for every image for a while: nothing is learnt from it."""

    def __init__(self) -> None:
        self._rows = 0

    def after(self, figures: Mapping[str, float]) -> str | None:
        """The alarm, at the row at which it goes off."""
        self._rows = self._rows + 1 if figures["spread"] < _SAME else 0
        if self._rows != _STUCK_ROWS:
            return None
        return (
            f"the critic is stuck: for {_STUCK_ROWS} rows its values of real and generated images are within "
            f"{figures['spread']:.1g} of each other, so the generator learns nothing; stop, and try a smaller "
            "learning rate or clip"
        )
