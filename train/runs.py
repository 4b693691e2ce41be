"""Opening a run's folder: a new run of a preset, or the one that is there, to be continued as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from animegen.errors import DataError, OutputError, UsageError
from animegen.files import check_parent
from train import checkpoint
from train.checkpoint import CheckpointCard
from train.config import Config, load_config
from train.data import Dataset
from train.loop import Limits, Session
from train.processes import ALONE, Group
from train.referee import Referee
from train.trainer import Precision, Trainer


def open_session(
    run: Path,
    data: Path,
    *,
    preset: str | None,
    settings: Sequence[str] = (),
    resume: bool = False,
    device: torch.device,
    precision: Precision,
    limits: Limits,
    group: Group = ALONE,
    referee: Referee | None = None,
) -> Session:
    """Start a new run of a preset in the folder `run`, or resume the one that is there.

    A resumed run keeps its configuration; a `preset` given with it must be the same one.

    Raises:
        UsageError: no preset for a new run, or settings without one.
        CheckpointError: nothing to resume, a damaged checkpoint, another configuration or other data.
        DataError: no dataset, or one that doesn't fit the preset.
        OutputError: the folder holds a run and `resume` is off, or can't be made.
    """
    saved = run / checkpoint.NAME
    earlier = checkpoint.read_card(saved) if resume else None
    if not resume and saved.exists():
        raise OutputError(f"{run} already holds a run: add --resume to continue it, or name another folder")
    config = _configuration(preset, settings, earlier)
    dataset = Dataset.open(data)
    if earlier is not None:
        checkpoint.check_same(earlier, config, dataset.card.sha256)
    has, wants = (dataset.card.size, dataset.card.channels), (config.size, config.channels)
    if has != wants:
        raise DataError(
            f"{data} has images of {has[0]}×{has[0]} with {has[1]} channels, and the preset {config.preset} wants "
            f"{wants[0]}×{wants[0]} with {wants[1]}: prepare it with --size {wants[0]}"
        )
    trainer = Trainer(config, dataset.images, device=device, precision=precision, group=group)
    if earlier is not None:
        checkpoint.restore(saved, trainer)
    else:
        check_parent(run)
        run.mkdir(exist_ok=True)
    return Session(trainer, dataset, run, limits, earlier, referee)


def _configuration(preset: str | None, settings: Sequence[str], earlier: CheckpointCard | None) -> Config:
    if preset is not None:
        return load_config(preset, settings)
    if earlier is None:
        raise UsageError("a new run needs --preset: see python -m train presets")
    if settings:
        raise UsageError("--set changes a preset, and a resumed run keeps its own values: leave --set out")
    return earlier.config
