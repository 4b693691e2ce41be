"""A run from start to end: progress, metrics, sample grids, checkpoints, Ctrl-C. The maths is in `trainer`."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from animegen import latents
from animegen.cli.console import Stop, progress_bar, say, stop_on_signals
from animegen.images import stills as pictures
from train.data import Dataset
from train.errors import TrainingError
from train.networks import parameter_count
from train.objective.penalty import form_for
from train.run import checkpoint
from train.run.checkpoint import CheckpointCard, Origin
from train.run.log import METRICS, SCORES, SESSIONS, Log, drop_rows_after, open_log, read_rows
from train.run.monitor import Referee
from train.step.devices import device_name
from train.step.trainer import Trainer, to_uint8

SAMPLES = "samples"
BEST = "best.safetensors"
_FIXED_SEEDS = range(64)
_STUCK_ROWS = 20
_SAME = 1e-6  # of a spread: fp32 keeps 7 digits of values around 1

Ending = Literal["finished", "out of time", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a session ends, and how often it leaves a trace. Counts are in generator steps."""

    steps: int | None = None  # by default the configuration's
    minutes: float | None = None
    log_every: int = 10
    sample_every: int = 250
    checkpoint_every: int = 250
    fid_every: int = 1000  # where there is a referee
    rollbacks: int = 3  # over the whole run
    tensorboard: bool = False


@dataclass
class Session:
    """One start of a run, in the folder `run`."""

    trainer: Trainer
    dataset: Dataset
    run: Path
    limits: Limits
    earlier: CheckpointCard | None = None  # the state that this session resumed from
    referee: Referee | None = None  # measures the EMA generator now and then
    origins: tuple[Origin, ...] = ()  # the runs that this one started from
    code: str = field(default_factory=checkpoint.code_revision)  # read now: the checkout may move on while it trains
    rollbacks: int = 0
    _began: float = field(default_factory=time.monotonic)
    _stuck: int = 0  # logged rows in a row in which the critic said the same of every image

    @property
    def last_step(self) -> int:
        """The step at which this session ends."""
        return self.limits.steps or self.trainer.total_steps

    def describe(self) -> list[str]:
        """What runs, on what and from where, in lines for a person."""
        trainer, card, config = self.trainer, self.dataset.card, self.trainer.config
        where, threads, processes = device_name(trainer.device), torch.get_num_threads(), trainer.group.world
        compiled = ", compiled" if trainer.compiled else ""
        penalised = config.objective == "wgan-gp" or config.gamma > 0
        penalty = f"penalty in {form_for(trainer.critic)}" if penalised else "no penalty"
        lines = [
            f"{config.preset} on {where}, {trainer.precision}{compiled}, {threads} CPU threads, {penalty}; "
            f"generator {parameter_count(trainer.generator):,} and critic "
            f"{parameter_count(trainer.critic):,} weights; {card.count:,} images from {card.source}"
        ]
        if processes > 1:
            lines.append(f"{processes} processes, each with {config.batch_size // processes} images of a batch")
        if self.origins and self.earlier is None:
            start = self.origins[-1]
            lines.append(f"from {start.config.preset} at step {start.step}, {start.images_seen:,} real images seen")
        if self.earlier is not None:
            was = self.earlier
            lines.append(f"resumed at step {was.step} after {was.seconds / 60:.0f} minutes of training")
            before, now = (
                (was.device, was.precision, was.threads, was.processes),
                (where, trainer.precision, threads, processes),
            )
            if before != now:
                lines.append(
                    f"the run was on {was.device}, {was.precision}, {was.threads} CPU threads, {was.processes} "
                    "processes: elsewhere sums round differently, so from here it is no longer bit-equal to an "
                    "uninterrupted run"
                )
        return lines

    def fit(self) -> Ending:
        """Train until a limit or a signal, and save. The folder then holds all that a resume needs.

        A state that is not finite is thrown away: the run goes back to its last checkpoint and on with half of the
        learning rates, `Limits.rollbacks` times in its life.

        Raises:
            TrainingError: a loss or a gradient is still not finite; the last checkpoint stays as it was.
            OutputError: a checkpoint, a grid or a log line can't be written.
        """
        trainer, group = self.trainer, self.trainer.group
        if self.earlier is not None:
            self.rollbacks = self.earlier.rollbacks
        if group.leads:
            (self.run / SAMPLES).mkdir(exist_ok=True)
            drop_rows_after(self.run / METRICS, trainer.step)
            drop_rows_after(self.run / SCORES, trainer.step)
        if trainer.step == 0:
            self.save()  # a full disk shows before the work, and a rollback finds a state to go back to
        began_at = trainer.step
        events = self.limits.tensorboard and group.leads
        with (
            open_log(self.run, events) as log,
            stop_on_signals() as stop,
            progress_bar("figures", time_left=False) as bar,
        ):
            if group.leads:
                log.write(SESSIONS, self._start())
            bar.disable = bar.disable or not group.leads
            task = bar.add_task(self.run.name, total=self.last_step, completed=trainer.step, figures="")
            recent: deque[tuple[int, float]] = deque([(trainer.step, time.monotonic())], maxlen=11)
            while (ending := self._ending(stop)) is None:
                figures = trainer.train_step()
                step = trainer.step
                if wrong := [name for name, value in figures.items() if not math.isfinite(value)]:
                    self._roll_back(wrong)
                    recent = deque([(trainer.step, time.monotonic())], maxlen=11)
                    continue
                if step % self.limits.log_every == 0 or step == self.last_step:
                    recent.append((step, time.monotonic()))
                    said = self._log(log, figures, recent)
                    bar.update(task, completed=step, figures=said)
                    if bar.disable and group.leads:
                        say(f"step {step}/{self.last_step} {said}")
                if step % self.limits.sample_every == 0:
                    self._sample()
                if self.referee is not None and step % self.limits.fid_every == 0:
                    self._judge(log)
                if step % self.limits.checkpoint_every == 0:
                    self.save()
        if trainer.step != began_at:
            self._sample()
            self.save()
        return ending

    def save(self, name: str = checkpoint.NAME, *, fid: dict[str, Any] | None = None) -> None:
        """Write the checkpoint, from the leading process."""
        trainer, data = self.trainer, self.dataset.card
        earlier_seconds, earlier_sessions = (self.earlier.seconds, self.earlier.sessions) if self.earlier else (0.0, 0)
        card = CheckpointCard(
            format=checkpoint.FORMAT,
            config=trainer.config,
            step=trainer.step,
            images_seen=trainer.images_seen,
            seconds=earlier_seconds + time.monotonic() - self._began,
            sessions=earlier_sessions + 1,
            rollbacks=self.rollbacks,
            data_sha256=data.sha256,
            data_source=data.source,
            data_count=data.count,
            data_resize=data.resize,
            code=self.code,
            device=device_name(trainer.device),
            precision=trainer.precision,
            threads=torch.get_num_threads(),
            processes=trainer.group.world,
            fid=fid,
            origins=self.origins,
        )
        if trainer.group.leads:
            checkpoint.save(self.run / name, trainer, card)
        trainer.group.wait()

    def _start(self) -> dict[str, Any]:
        """What a later reader of the figures wants to know of this start: from here it may be another machine."""
        return {
            "step": self.trainer.step,
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": device_name(self.trainer.device),
            "precision": self.trainer.precision,
            "compiled": self.trainer.compiled,
            "threads": torch.get_num_threads(),
            "processes": self.trainer.group.world,
            "code": self.code,
        }

    def _ending(self, stop: Stop) -> Ending | None:
        ending: Ending | None = None
        if stop.requested:
            ending = "interrupted"
        elif self.trainer.step >= self.last_step:
            ending = "finished"
        elif self._seconds_left() <= 0:
            ending = "out of time"
        agreed = self.trainer.group.agree(ending or "", self.trainer.device)
        return next((word for word in get_args(Ending) if word == agreed), None)

    def _seconds_left(self) -> float:
        if self.limits.minutes is None:
            return math.inf
        return self._began + self.limits.minutes * 60 - time.monotonic()

    def _roll_back(self, wrong: Sequence[str]) -> None:
        """Return to the last checkpoint, with smaller learning rates; such a state must never be saved."""
        trainer, saved, broken_at = self.trainer, self.run / checkpoint.NAME, self.trainer.step
        what = f"{', '.join(wrong)} is not finite at step {broken_at}"
        if self.rollbacks >= self.limits.rollbacks:
            raise TrainingError(
                f"{what}, after {self.rollbacks} rollbacks: the last checkpoint is kept; "
                "start again with smaller learning rates"
            )
        checkpoint.restore(saved, trainer)
        self.rollbacks += 1
        trainer.lr_scale = 0.5**self.rollbacks
        if trainer.group.leads:
            drop_rows_after(self.run / METRICS, trainer.step)
            drop_rows_after(self.run / SCORES, trainer.step)
            say(
                f"{what}: back to step {trainer.step}, and on with {trainer.lr_scale:g} of the learning rates "
                f"(rollback {self.rollbacks} of {self.limits.rollbacks})"
            )
        self.save()  # so that a resume remembers it

    def _log(self, log: Log, figures: dict[str, float], recent: deque[tuple[int, float]]) -> str:
        trainer, step = self.trainer, self.trainer.step
        (first, began), (last, now) = recent[0], recent[-1]
        steps_a_second = (last - first) / max(now - began, 1e-9)
        speed = steps_a_second * trainer.config.n_critic * trainer.config.batch_size
        left = min((self.last_step - step) / max(steps_a_second, 1e-9), self._seconds_left())
        self._watch(figures)
        log.write(
            METRICS,
            {
                "step": step,
                "images_seen": trainer.images_seen,
                **figures,
                "images_per_second": round(speed, 2),
                "seconds": round(now - self._began, 1),
            },
        )
        slope = f"|∇| {figures['gradient_norm']:.2f}  " if "gradient_norm" in figures else ""
        return (
            f"loss {figures['critic_loss']:.2f}  W {figures['wasserstein']:.2f}  "
            f"{slope}{speed:.0f} images/s  {_duration(left)} left"
        )

    def _watch(self, figures: dict[str, float]) -> None:
        """Raise the alarm when the critic has said the same of every image for a while: nothing is learnt from it."""
        self._stuck = self._stuck + 1 if figures["spread"] < _SAME else 0
        if self._stuck == _STUCK_ROWS and self.trainer.group.leads:
            say(
                f"warning: the critic is stuck: for {_STUCK_ROWS} rows its values of real and generated images are "
                f"within {figures['spread']:.1g} of each other, so the generator learns nothing; "
                "stop, and try a smaller learning rate or clip"
            )

    def _judge(self, log: Log) -> None:
        """Measure the EMA generator, and keep its checkpoint if it is the best so far."""
        assert self.referee is not None
        trainer = self.trainer
        if trainer.group.leads:
            score = self.referee.score(trainer.ema, trainer.config.generator.z_dim, trainer.device)
            best = min((row["fid"] for row in read_rows(self.run / SCORES)), default=math.inf)
            log.write(SCORES, {"step": trainer.step, "images_seen": trainer.images_seen, **score})
            say(f"step {trainer.step}: FID {score['fid']:.4g} ({score['extractor']}, {score['count']} images)")
            better = "yes" if score["fid"] < best else "no"
        else:
            better, score = "", {}
        if trainer.group.agree(better, trainer.device) == "yes":
            self.save(BEST, fid=score)

    @torch.no_grad()
    def _sample(self) -> None:
        if self.trainer.group.leads:
            z = torch.from_numpy(latents.from_seeds(_FIXED_SEEDS, self.trainer.config.generator.z_dim))
            sheet = pictures.grid(to_uint8(self.trainer.ema(z.to(self.trainer.device))))
            pictures.save(sheet, self.run / SAMPLES / f"step{self.trainer.step:08d}.png")


def _duration(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
