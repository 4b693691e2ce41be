"""Opening a run's folder: a new run, or the one that is there, to be continued as it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from animegen.errors import DataError, OutputError, UsageError
from animegen.files import check_parent, is_folder, make_folder, status
from train.config import Config
from train.data import Dataset
from train.run import checkpoint
from train.run.checkpoint import CheckpointCard
from train.run.monitor import Monitor
from train.run.session import Limits, TrainingSession
from train.run.start import begin
from train.step.devices import Precision, choose_precision, device_name
from train.step.precision import quicker
from train.step.processes import ALONE, Group
from train.step.trainer import Trainer


def _lacks_memory(error: Exception) -> bool:
    """Whether torch says by it that there is no memory; on a CPU it has no type of its own for that."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@dataclass(frozen=True)
class Place:
    """Where a session computes, and with how many bits; `compiled` fuses the networks' kernels.

    The precision `auto` is that of the run that is resumed, if it was on such a device; else a GPU's own, or the one
    that is quicker on this CPU.
    """

    device: torch.device
    precision: Precision | Literal["auto"]
    group: Group = ALONE
    compiled: bool = False

    def trainer(self, config: Config, dataset: Dataset, resumed: CheckpointCard | None = None) -> Trainer:
        """A trainer here, in the state before its first step.

        Raises:
            UsageError, DataError: as `Trainer`.
        """

        def build(precision: Precision) -> Trainer:
            try:
                return Trainer(
                    config,
                    dataset.images,
                    device=self.device,
                    precision=precision,
                    group=self.group,
                    compiled=self.compiled,
                    labels=dataset.labels,
                )
            except (MemoryError, RuntimeError) as error:
                if not _lacks_memory(error):
                    raise
                raise UsageError(
                    f"the networks of {config.preset} take more memory than there is on {self.device}: make "
                    "generator.width or critic.width smaller"
                ) from error

        if self.precision != "auto":
            return build(self.precision)
        if resumed is not None and resumed.device == device_name(self.device):
            return build(resumed.precision)
        return build(
            quicker(build, self.device) if self.device.type == "cpu" else choose_precision("auto", self.device)
        )


def start_run(
    run: Path,
    data: Path,
    config: Config,
    *,
    place: Place,
    limits: Limits,
    monitor: Monitor | None = None,
    start: Path | None = None,
) -> TrainingSession:
    """Start a new run in the folder `run`, from random weights.

    Or `start` with the networks and moments of another run (a folder, or a checkpoint in it), or with the generator of
    a model (an .onnx file, or a shipped one's name); on the same data or on other.

    Raises:
        CheckpointError: a start that is missing, damaged, or has other networks or optimisers.
        DataError: no dataset, or one of another size or without the labels that are taken; a reference of another
            size.
        ModelError: a model to start with that is missing or damaged.
        OutputError: the folder holds a run already, or can't be made.
        UsageError: what `Trainer` refuses, or steps after the one at which the learning rates are 0.
    """
    check_run_folder(run)
    if status(run / checkpoint.NAME, OutputError):
        raise OutputError(f"{run} already holds a run: add --resume to continue it, or name another folder")
    dataset = Dataset.open(data)
    _check_sizes(config, data, dataset, monitor)
    trainer = place.trainer(config, dataset)
    _check_steps(trainer, limits, run, f"take --set steps={limits.steps}; ")
    earlier = begin(trainer, start) if start is not None else ()
    make_folder(run)
    return TrainingSession(trainer, dataset, run, limits, monitor=monitor, earlier=earlier)


def check_run_folder(run: Path) -> None:
    """Refuse, before any work, a folder that a run can't be written into.

    Raises:
        OutputError: there is no folder to make it in, or a file in its place.
        CheckpointError: a name that is no UTF-8.
    """
    checkpoint.check_name(run)
    check_parent(run)
    if status(run, OutputError) and not is_folder(run, OutputError):
        raise OutputError(f"{run} is a file and must be a run's folder: name another")


def resume_run(
    run: Path,
    data: Path,
    config: Config | None = None,
    *,
    place: Place,
    limits: Limits,
    monitor: Monitor | None = None,
) -> TrainingSession:
    """Go on with the run in the folder `run`, which keeps its configuration; one that is given must be the same.

    Raises:
        CheckpointError: nothing to resume, a damaged checkpoint, another configuration or other data.
        DataError: no dataset, or a reference of another size.
        UsageError: what `Trainer` refuses, or steps after the one at which the learning rates are 0.
    """
    saved = run / checkpoint.NAME
    resumed = checkpoint.read_card(saved)
    config = config or resumed.config
    dataset = Dataset.open(data)
    checkpoint.check_same(resumed, config, dataset.card)
    _check_sizes(config, data, dataset, monitor)
    trainer = place.trainer(config, dataset, resumed)
    _check_steps(trainer, limits, run, "")
    checkpoint.restore(saved, trainer)
    return TrainingSession(trainer, dataset, run, limits, resumed, monitor, resumed.earlier)


def _check_steps(trainer: Trainer, limits: Limits, run: Path, before: str) -> None:
    if trainer.config.lr_decay and limits.steps is not None and limits.steps > trainer.total_steps:
        raise UsageError(
            f"--steps is {limits.steps} and must be at most {trainer.total_steps}, where the learning rates have "
            f"fallen to 0: {before}to go on after the end, start another run with --from {run}"
        )


def _check_sizes(config: Config, data: Path, dataset: Dataset, monitor: Monitor | None) -> None:
    size, channels = dataset.card.size, dataset.card.channels
    if (size, channels) != (config.size, config.channels):
        raise DataError(
            f"{data} has images of {size}×{size} with {channels} channels and must have {config.size}×{config.size} "
            f"with {config.channels} for the preset {config.preset}: prepare it with --size {config.size} "
            f"--channels {config.channels}"
        )
    if monitor is not None:
        monitor.check_size(config.size)
