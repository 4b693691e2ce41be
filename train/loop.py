"""A run from start to end: progress, metrics, sample grids, checkpoints, Ctrl-C. The maths is in `trainer`."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from animegen import images as pictures
from animegen import latents
from animegen.console import Stop, progress_bar, say, stop_on_signals
from animegen.errors import OutputError
from animegen.files import replacing
from train import checkpoint
from train.checkpoint import CheckpointCard
from train.data import Dataset
from train.devices import device_name
from train.errors import TrainingError
from train.networks import parameter_count
from train.penalty import form_for
from train.trainer import Metrics, Trainer, to_uint8

METRICS = "metrics.jsonl"
SAMPLES = "samples"
_FIXED_SEEDS = range(64)

Ending = Literal["finished", "out of time", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a session ends, and how often it leaves a trace. Counts are in generator steps."""

    steps: int | None = None  # by default the configuration's
    minutes: float | None = None
    log_every: int = 10
    sample_every: int = 250
    checkpoint_every: int = 250


@dataclass
class Session:
    """One start of a run, in the folder `run`."""

    trainer: Trainer
    dataset: Dataset
    run: Path
    limits: Limits
    earlier: CheckpointCard | None = None  # the state that this session resumed from
    code: str = field(default_factory=checkpoint.code_revision)  # read now: the checkout may move on while it trains
    _began: float = field(default_factory=time.monotonic)

    @property
    def last_step(self) -> int:
        """The generator step at which this session ends."""
        return self.limits.steps or self.trainer.config.steps

    def describe(self) -> list[str]:
        """What runs, on what and from where, in lines for a person."""
        trainer, card = self.trainer, self.dataset.card
        where, threads = device_name(trainer.device), torch.get_num_threads()
        lines = [
            f"{trainer.config.preset} on {where}, {trainer.precision}, {threads} CPU threads, penalty in "
            f"{form_for(trainer.critic)}; generator {parameter_count(trainer.generator):,} and critic "
            f"{parameter_count(trainer.critic):,} weights; {card.count:,} images from {card.source}"
        ]
        if self.earlier is not None:
            was = self.earlier
            lines.append(f"resumed at step {was.step} after {was.seconds / 60:.0f} minutes of training")
            if (was.device, was.precision, was.threads) != (where, trainer.precision, threads):
                lines.append(
                    f"the run was on {was.device}, {was.precision}, {was.threads} CPU threads: elsewhere sums round "
                    "differently, so from here it is no longer bit-equal to an uninterrupted run"
                )
        return lines

    def fit(self) -> Ending:
        """Train until a limit or a signal, and save. The folder then holds all that a resume needs.

        Raises:
            TrainingError: a loss is not finite; the last checkpoint stays as it was.
            OutputError: a checkpoint, a grid or a log line can't be written.
        """
        (self.run / SAMPLES).mkdir(exist_ok=True)
        _drop_metrics_after(self.run / METRICS, self.trainer.step)
        with stop_on_signals() as stop, progress_bar("figures", time_left=False) as bar:
            task = bar.add_task(self.run.name, total=self.last_step, completed=self.trainer.step, figures="")
            recent: deque[tuple[int, float]] = deque([(self.trainer.step, time.monotonic())], maxlen=11)
            metrics = None
            while (ending := self._ending(stop)) is None:
                metrics = self.trainer.train_step()
                step = self.trainer.step
                if step % self.limits.log_every == 0 or step == self.last_step:
                    recent.append((step, time.monotonic()))
                    figures = self._log(self._finite(metrics), recent)
                    bar.update(task, completed=step, figures=figures)
                    if bar.disable:
                        say(f"step {step}/{self.last_step} {figures}")
                if step % self.limits.sample_every == 0:
                    self._sample()
                if step % self.limits.checkpoint_every == 0:
                    self._finite(metrics)
                    self.save()
        if metrics is not None:
            self._finite(metrics)
            self._sample()
            self.save()
        return ending

    def save(self) -> None:
        """Write the checkpoint."""
        trainer, data = self.trainer, self.dataset.card
        earlier_seconds, earlier_sessions = (self.earlier.seconds, self.earlier.sessions) if self.earlier else (0.0, 0)
        card = CheckpointCard(
            format=checkpoint.FORMAT,
            config=trainer.config,
            step=trainer.step,
            images_seen=trainer.images_seen,
            seconds=earlier_seconds + time.monotonic() - self._began,
            sessions=earlier_sessions + 1,
            data_sha256=data.sha256,
            data_source=data.source,
            data_count=data.count,
            data_resize=data.resize,
            code=self.code,
            device=device_name(trainer.device),
            precision=trainer.precision,
            threads=torch.get_num_threads(),
        )
        checkpoint.save(self.run / checkpoint.NAME, trainer, card)

    def _ending(self, stop: Stop) -> Ending | None:
        if stop.requested:
            return "interrupted"
        if self.trainer.step >= self.last_step:
            return "finished"
        if self._seconds_left() <= 0:
            return "out of time"
        return None

    def _seconds_left(self) -> float:
        if self.limits.minutes is None:
            return math.inf
        return self._began + self.limits.minutes * 60 - time.monotonic()

    def _finite(self, metrics: Metrics) -> dict[str, float]:
        """The step's figures, of which none may be infinite or NaN: such a state must not reach a checkpoint."""
        numbers = metrics.numbers()
        wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"{', '.join(wrong)} is not finite at step {self.trainer.step}: the last checkpoint is kept; "
                "resume from it, or start again with smaller learning rates"
            )
        return numbers

    def _log(self, numbers: dict[str, float], recent: deque[tuple[int, float]]) -> str:
        step = self.trainer.step
        (first, began), (last, now) = recent[0], recent[-1]
        steps_a_second = (last - first) / max(now - began, 1e-9)
        speed = steps_a_second * self.trainer.config.n_critic * self.trainer.config.batch_size
        left = min((self.last_step - step) / max(steps_a_second, 1e-9), self._seconds_left())
        row = {
            "step": step,
            "images_seen": self.trainer.images_seen,
            **numbers,
            "images_per_second": round(speed, 2),
            "seconds": round(now - self._began, 1),
        }
        try:
            with (self.run / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(f"{self.run / METRICS} can't be written: {error.strerror}") from error
        return (
            f"loss {numbers['critic_loss']:.2f}  W {numbers['wasserstein']:.2f}  "
            f"|∇| {numbers['gradient_norm']:.2f}  {speed:.0f} images/s  {_duration(left)} left"
        )

    @torch.no_grad()
    def _sample(self) -> None:
        z = torch.from_numpy(latents.from_seeds(_FIXED_SEEDS, self.trainer.config.generator.z_dim))
        sheet = pictures.grid(to_uint8(self.trainer.ema(z.to(self.trainer.device))))
        pictures.save(sheet, self.run / SAMPLES / f"step{self.trainer.step:08d}.png")


def _drop_metrics_after(path: Path, step: int) -> None:
    """Forget the rows of steps that a resumed run will make again; a row cut in half goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):
            continue
    with replacing(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _duration(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
