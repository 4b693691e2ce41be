"""Opening a run's folder: a new run of a preset, or the one that is there, to be continued as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from animegen.errors import DataError, OutputError, UsageError
from animegen.files import check_parent
from train.config import Config, load_config
from train.data import Dataset
from train.run import checkpoint
from train.run.monitor import Referee
from train.run.session import Limits, Session
from train.step.processes import ALONE, Group
from train.step.trainer import Precision, Trainer


def open_session(
    run: Path,
    data: Path,
    *,
    config: Config | None,
    resume: bool = False,
    start: Path | None = None,
    device: torch.device,
    precision: Precision,
    limits: Limits,
    group: Group = ALONE,
    referee: Referee | None = None,
    compiled: bool = False,
) -> Session:
    """Start a new run in the folder `run`, or resume the one that is there.

    A resumed run keeps its configuration; one that is given with it must be the same. A new one may `start` with the
    networks and moments of another run (a folder, or a checkpoint in it), on the same data or on other.

    Raises:
        UsageError: no configuration for a new run, or a start for a resumed one; what `Trainer` refuses.
        CheckpointError: nothing to resume or to start from, a damaged checkpoint, another configuration or other data;
            a start with other networks or optimisers.
        DataError: no dataset, or one that doesn't fit the preset; a reference of another size.
        OutputError: the folder holds a run and `resume` is off, or can't be made.
    """
    saved = run / checkpoint.NAME
    if resume and start is not None:
        raise UsageError("--from is for a new run, and --resume goes on with one: leave one of them out")
    earlier = checkpoint.read_card(saved) if resume else None
    if not resume and saved.exists():
        raise OutputError(f"{run} already holds a run: add --resume to continue it, or name another folder")
    if config is None:
        if earlier is None:
            raise UsageError("a new run needs --preset: see python -m train presets")
        config = earlier.config
    dataset = Dataset.open(data)
    if earlier is not None:
        checkpoint.check_same(earlier, config, dataset.card.sha256)
    has, wants = (dataset.card.size, dataset.card.channels), (config.size, config.channels)
    if has != wants:
        raise DataError(
            f"{data} has images of {has[0]}×{has[0]} with {has[1]} channels, and the preset {config.preset} wants "
            f"{wants[0]}×{wants[0]} with {wants[1]}: prepare it with --size {wants[0]} --channels {wants[1]}"
        )
    if referee is not None:
        referee.check_size(config.size)
    trainer = Trainer(config, dataset.images, device=device, precision=precision, group=group, compiled=compiled)
    origins = earlier.origins if earlier is not None else ()
    if earlier is not None:
        checkpoint.restore(saved, trainer)
    else:
        if start is not None:
            origins = checkpoint.start_from(checkpoint.of(start), trainer)
        check_parent(run)
        run.mkdir(exist_ok=True)
    return Session(trainer, dataset, run, limits, earlier, referee, origins)


def configuration(preset: str | None, settings: Sequence[str], *, resume: bool) -> Config | None:
    """The configuration that is asked for; None for the one of the run that is resumed.

    Raises:
        UsageError: settings without a preset to change.
        ConfigError: an unknown preset, or values that can't be.
    """
    if preset is not None:
        return load_config(preset, settings)
    if resume and settings:
        raise UsageError("--set changes a preset, and a resumed run keeps its own values: leave --set out")
    return None
