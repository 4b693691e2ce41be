"""A run from start to end: train, log, draw samples, measure, save, roll back, stop. The maths is in `train.step`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from animegen.files import make_folder
from animegen.progress import track
from train.data import Dataset
from train.errors import TrainingError
from train.run import checkpoint, samples
from train.run.checkpoint import CheckpointCard, EarlierRun
from train.run.log import METRICS, SCORES, SESSIONS, Log, drop_rows_after, open_log, read_rows
from train.run.monitor import Monitor, protocol_of
from train.run.notices import Pace, StuckAlarm, describe, duration, figures_line
from train.step.devices import device_name
from train.step.trainer import Trainer

BEST = "best.safetensors"
_TELLS_AFTER = 10.0  # seconds: the first steps choose kernels and allocate

Ending = Literal["finished", "out of time", "interrupted"]
Stop = Callable[[], bool]  # whether the user has asked to stop

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a session ends, and how often it leaves a trace. Counts are in generator steps."""

    steps: int | None = None  # by default the configuration's
    images: int | None = None  # real ones that the critic has seen
    minutes: float | None = None
    log_every: int = 10
    sample_every: int = 250
    checkpoint_every: int = 250
    fid_every: int = 1000  # where there is a monitor
    rollbacks: int = 3  # over the whole run
    tensorboard: bool = False


@dataclass
class TrainingSession:
    """One start of a run, in the folder `run`. Of several processes only the leading one writes and talks."""

    trainer: Trainer
    dataset: Dataset
    run: Path
    limits: Limits
    resumed: CheckpointCard | None = None  # the state that this session goes on from
    monitor: Monitor | None = None  # measures the EMA generator now and then
    earlier: tuple[EarlierRun, ...] = ()  # the runs that this one started from
    code: str = field(default_factory=checkpoint.code_revision)  # read now: the checkout may move on while it trains
    rollbacks: int = 0
    _began: float = field(default_factory=time.monotonic)

    @property
    def last_step(self) -> int:
        """The step at which this session ends."""
        last = self.limits.steps or self.trainer.total_steps
        if self.limits.images is None:
            return last
        to_see = max(0, self.limits.images - self.trainer.images_before)
        return min(last, math.ceil(to_see / self.trainer.images_a_step))

    def describe(self) -> list[str]:
        """What runs, on what and from where, a line each."""
        return describe(self.trainer, self.dataset.card, self.resumed, self.earlier)

    def fit(self, stop: Stop = lambda: False) -> Ending:
        """Train until a limit or until `stop` says so, and save. The folder then holds all that a resume needs.

        A state that is not finite is thrown away: the run goes back to its last checkpoint and on with half of the
        learning rates, `Limits.rollbacks` times in its life.

        Raises:
            TrainingError: a loss or a gradient is still not finite; the last checkpoint stays as it was.
            OutputError: a checkpoint, a grid or a log line can't be written.
        """
        trainer, leads = self.trainer, self.trainer.group.leads
        if self.resumed is not None:
            self.rollbacks = self.resumed.rollbacks
        if leads:
            make_folder(self.run / samples.FOLDER)
            self._drop_later_rows()
        if trainer.step == 0:
            self.save()  # a full disk shows before the work, and a rollback finds a state to go back to
        began_at = trainer.step
        with open_log(self.run, events=self.limits.tensorboard and leads) as log:
            if leads:
                log.write(SESSIONS, self._start())
            report = _Report(self, log)
            while (ending := self._ending(stop)) is None:
                figures = trainer.train_step()
                if wrong := [name for name, value in figures.items() if not math.isfinite(value)]:
                    self._roll_back(wrong)
                    report.restart()
                else:
                    self._leave_traces(figures, log, report)
        if trainer.step != began_at:
            self._save_samples()
            self.save()
        return ending

    def _leave_traces(self, figures: dict[str, float], log: Log, report: _Report) -> None:
        """What is due after the step that was made last."""
        step, limits = self.trainer.step, self.limits
        if step % limits.log_every == 0 or step == self.last_step:
            report.row(figures)
        if step % limits.sample_every == 0:
            self._save_samples()
        if self.monitor is not None and step % limits.fid_every == 0:
            self._measure(self.monitor, log)
        if step % limits.checkpoint_every == 0:
            self.save()

    def save(self, name: str = checkpoint.NAME, *, fid: dict[str, Any] | None = None) -> None:
        """Write the checkpoint, from the leading process."""
        trainer, data = self.trainer, self.dataset.card
        seconds, sessions = (self.resumed.seconds, self.resumed.sessions) if self.resumed else (0.0, 0)
        card = CheckpointCard(
            format=checkpoint.FORMAT,
            config=trainer.config,
            step=trainer.step,
            images_seen=trainer.images_seen,
            seconds=seconds + self.seconds,
            sessions=sessions + 1,
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
            earlier=self.earlier,
            labels=trainer.label_groups,
            labels_sha256=data.labels_sha256 if trainer.label_groups else "",
        )
        if trainer.group.leads:
            checkpoint.save(self.run / name, trainer, card)
        trainer.group.wait()

    @property
    def seconds(self) -> float:
        """How long this session has lasted."""
        return time.monotonic() - self._began

    @property
    def seconds_left(self) -> float:
        """How long it may still last."""
        return math.inf if self.limits.minutes is None else self.limits.minutes * 60 - self.seconds

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
        if stop():
            ending = "interrupted"
        elif self.trainer.step >= self.last_step:
            ending = "finished"
        elif self.seconds_left <= 0:
            ending = "out of time"
        agreed = self.trainer.group.agree(ending or "", self.trainer.device)
        return next((word for word in get_args(Ending) if word == agreed), None)

    def _roll_back(self, wrong: Sequence[str]) -> None:
        """Return to the last checkpoint, with smaller learning rates; such a state must never be saved."""
        trainer = self.trainer
        what = f"{', '.join(wrong)} is not finite at step {trainer.step}"
        if self.rollbacks >= self.limits.rollbacks:
            raise TrainingError(
                f"{what}, after {self.rollbacks} rollbacks: the last checkpoint stays; "
                "start again with smaller learning rates"
            )
        checkpoint.restore(self.run / checkpoint.NAME, trainer)
        self.rollbacks += 1
        trainer.lr_scale = 0.5**self.rollbacks
        if trainer.group.leads:
            self._drop_later_rows()
            logger.warning(
                f"{what}: back to step {trainer.step}, and on with {trainer.lr_scale:g} of the learning rates "
                f"(rollback {self.rollbacks} of {self.limits.rollbacks})"
            )
        self.save()  # so that a resume remembers it

    def _drop_later_rows(self) -> None:
        """Forget the rows of the steps that the run makes again."""
        for name in (METRICS, SCORES):
            drop_rows_after(self.run / name, self.trainer.step)

    def _measure(self, monitor: Monitor, log: Log) -> None:
        """Measure the EMA generator, and keep its checkpoint if none was better since it is measured in this way."""
        trainer, best, score = self.trainer, "", {}
        if trainer.group.leads:
            score = monitor.score(trainer.ema, trainer.label_groups)
            rows = reversed(read_rows(self.run / SCORES))
            alike = takewhile(lambda row: protocol_of(row) == protocol_of(score), rows)
            before = min((row["fid"] for row in alike), default=math.inf)
            log.write(SCORES, {"step": trainer.step, "images_seen": trainer.images_seen, **score})
            logger.info(f"step {trainer.step}: FID {score['fid']:.4g} ({score['extractor']}, {score['count']} images)")
            best = "yes" if score["fid"] < before else "no"
        if trainer.group.agree(best, trainer.device) == "yes":
            self.save(BEST, fid=score)

    def _save_samples(self) -> None:
        trainer = self.trainer
        if trainer.group.leads:
            samples.save_grid(self.run, trainer.ema, trainer.step, trainer.label_groups)


class _Report:
    """Each row of a session's figures: into the log, as the note of its progress, and to the alarm."""

    def __init__(self, session: TrainingSession, log: Log) -> None:
        self._session, self._log, self._alarm = session, log, StuckAlarm()
        self._shown = session.trainer.step
        self._pace = Pace(self._shown)
        self._has_told = False
        leads = session.trainer.group.leads
        self._advance = track("fit", session.last_step, done=self._shown) if leads else None

    def restart(self) -> None:
        """Go on from a step before."""
        self._pace.restart(self._session.trainer.step)

    def _tell_once(self, steps_per_second: float) -> None:
        """How long all that the configuration asks for takes here, as soon as the pace says something."""
        session, trainer = self._session, self._session.trainer
        if self._has_told or session.seconds < _TELLS_AFTER:
            return
        self._has_told = True
        whole = trainer.total_steps / max(steps_per_second, 1e-9)
        images = trainer.images_before + trainer.total_steps * trainer.images_a_step
        ends = "" if session.last_step >= trainer.total_steps else f"; this session ends at {session.last_step:,}"
        logger.info(
            f"all of {trainer.total_steps:,} steps, {images:,} real images, take about {duration(whole)} here{ends}"
        )

    def row(self, figures: dict[str, float]) -> None:
        """The figures of the step that was made last."""
        session, trainer, step = self._session, self._session.trainer, self._session.trainer.step
        if self._advance is None:
            return
        steps_per_second = self._pace.at(step)
        speed = steps_per_second * trainer.images_a_step
        self._tell_once(steps_per_second)
        left = min((session.last_step - step) / max(steps_per_second, 1e-9), session.seconds_left)
        self._log.write(
            METRICS,
            {
                "step": step,
                "images_seen": trainer.images_seen,
                **figures,
                "images_per_second": round(speed, 2),
                "seconds": round(session.seconds, 1),
            },
        )
        if alarm := self._alarm.after(figures):
            logger.warning(alarm)
        self._advance(step - self._shown, note=figures_line(figures, speed, left))
        self._shown = step
