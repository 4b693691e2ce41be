"""A run's whole state in one safetensors file: written beside, flushed, renamed. No pickle."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from animegen.files import replacing, sha256
from train.config import Config, differences
from train.data import DatasetCard, DatasetGroup
from train.errors import CheckpointError
from train.networks import GeneratorNetwork
from train.step.devices import Precision
from train.step.trainer import Trainer

FORMAT = 3
NAME = "checkpoint.safetensors"

# torch's names of an optimiser's moments for each parameter, besides Adam's and RMSprop's step.
_MOMENTS = {torch.optim.Adam: ("exp_avg", "exp_avg_sq"), torch.optim.RMSprop: ("square_avg",), torch.optim.SGD: ()}


class EarlierRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that another one started from."""

    config: Config
    step: int
    images_seen: int  # those of the runs before it included
    seconds: float
    data_sha256: str
    data_source: str
    code: str
    checkpoint_sha256: str


class CheckpointCard(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a checkpoint, as JSON in the file's metadata."""

    format: int
    config: Config
    step: int
    images_seen: int  # those of the earlier runs included
    seconds: float  # spent training so far, over all sessions
    sessions: int  # how often the run was started
    rollbacks: int  # how often it went back to a checkpoint, each time with half of the learning rates
    data_sha256: str
    data_source: str
    data_count: int
    data_resize: str
    code: str  # the commit that trained the last session
    device: str
    precision: Precision
    threads: int
    processes: int = 1
    fid: dict[str, Any] | None = None  # of the generator in the file, where it was measured, with its protocol
    earlier: tuple[EarlierRun, ...] = ()  # the runs that it started from, oldest first
    labels: tuple[DatasetGroup, ...] = ()  # those that the networks take
    labels_sha256: str = ""  # of all labels of the dataset, where some are taken

    @property
    def classes(self) -> list[int]:
        """How many classes each group of labels has."""
        return [len(group.classes) for group in self.labels]


def save(path: Path, trainer: Trainer, card: CheckpointCard) -> None:
    """Write the whole state of `trainer`; until the last moment the file before it stays.

    Raises:
        CheckpointError: a card that no run could read again.
        OutputError: no space, or no right to write.
    """
    text = _written(card)
    _make_moments(trainer)
    with replacing(path) as temporary:
        try:
            save_file(_tensors(trainer), temporary, {"animegen": text})
        except SafetensorError as error:  # it wraps a full disk
            raise OSError(str(error)) from error


def _written(card: CheckpointCard) -> str:
    """The card as JSON, which is read again before it is kept: JSON has no word for some values."""
    try:
        text = msgspec.json.encode(card).decode()
        if msgspec.json.decode(text, type=CheckpointCard) == card:
            return text
        reason = "another one would be read"
    except (msgspec.MsgspecError, OverflowError, UnicodeEncodeError) as error:
        reason = str(error)
    raise CheckpointError(f"no checkpoint was written, as its card could not be read again ({reason})")


class _Format(msgspec.Struct):
    """What every format of the card has, whatever else changes."""

    format: int


def of(run: Path) -> Path:
    """The checkpoint of a path: a run's folder has its last one, and a checkpoint is its own."""
    return run if run.suffix == ".safetensors" else run / NAME


def check_name(path: Path) -> None:
    """Refuse a path that safetensors can't open: it takes UTF-8 only.

    Raises:
        CheckpointError: the path has other bytes.
    """
    name = os.fsencode(path)
    try:
        name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{name.decode('utf-8', 'backslashreplace')} is a name that is no UTF-8, which a checkpoint's must be: "
            "rename it, or go into the folder and name the rest from there"
        ) from error


def read_card(path: Path) -> CheckpointCard:
    """The facts of a checkpoint.

    Raises:
        CheckpointError: it is missing, can't be read, is damaged, or of another format.
    """
    check_name(path)
    try:
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{path} does not exist: name the folder of a run that python -m train fit has written"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from error
    try:
        with safe_open(path, "pt") as file:
            text = file.metadata()["animegen"]
        version = msgspec.json.decode(text, type=_Format).format
        if version != FORMAT:  # seen first: the facts of another format can't be read
            raise CheckpointError(
                f"{path} has checkpoint format {version} and must have format {FORMAT}: take the version of this "
                "program that wrote it, or start a new run"
            )
        return msgspec.json.decode(text, type=CheckpointCard)
    except (SafetensorError, OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint ({error}): restore it from a copy or start a new run"
        ) from error


def changes(card: CheckpointCard, config: Config, data: DatasetCard) -> list[str]:
    """Each difference of a run from one of this configuration on this data: of values, the data, its labels."""
    found = differences(card.config, config)
    if card.data_sha256 != data.sha256:
        found.append(f"data: sha256 {card.data_sha256[:12]}… ({card.data_source}) → {data.sha256[:12]}…")
    if card.labels and (card.labels_sha256 != data.labels_sha256 or not set(card.labels) <= set(data.labels)):
        found.append(
            f"labels: {_in_words(card.labels)}, sha256 {card.labels_sha256[:12]}… → {_in_words(data.labels)}, "
            f"sha256 {data.labels_sha256[:12]}…"
        )
    return found


def check_same(card: CheckpointCard, config: Config, data: DatasetCard) -> None:
    """Refuse to continue a run as another one.

    Raises:
        CheckpointError: the configuration, the data or its labels differ; every difference is listed.
    """
    if found := changes(card, config, data):
        raise CheckpointError(
            f"the run was started with another configuration: {'; '.join(found)}. "
            "Resume with the old values, or start a new run in another folder"
        )


def restore(path: Path, trainer: Trainer) -> CheckpointCard:
    """Bring `trainer` to the state in the file, in which its next step is the one the saved run would have made.

    Raises:
        CheckpointError: as `read_card`, or the tensors are not those of this configuration.
    """
    card = read_card(path)
    _load(path, trainer)
    trainer.step = card.step
    trainer.lr_scale = 0.5**card.rollbacks
    trainer.images_before = card.earlier[-1].images_seen if card.earlier else 0
    return card


def start_from(path: Path, trainer: Trainer) -> tuple[EarlierRun, ...]:
    """Give a new run's trainer the networks, moving average and moments in the file, and return the runs before it.

    Raises:
        CheckpointError: as `read_card`, or the networks, labels or optimisers are not those of the trainer.
    """
    card = read_card(path)
    before, now = ([(group.name, group.classes) for group in groups] for groups in (card.labels, trainer.label_groups))
    if before != now:
        raise CheckpointError(
            f"{path} takes the labels {_in_words(card.labels)} and must take those of this run, "
            f"{_in_words(trainer.label_groups)}, with the same classes: change labels or the data, "
            "or start from random weights"
        )
    _load(path, trainer)
    trainer.images_before = card.images_seen
    last = EarlierRun(
        config=card.config,
        step=card.step,
        images_seen=card.images_seen,
        seconds=card.seconds,
        data_sha256=card.data_sha256,
        data_source=card.data_source,
        code=card.code,
        checkpoint_sha256=sha256(path),
    )
    return (*card.earlier, last)


def load_generator(path: Path) -> tuple[GeneratorNetwork, CheckpointCard]:
    """The frozen EMA generator of a checkpoint, in evaluation mode, and the checkpoint's facts.

    Raises:
        CheckpointError: as `read_card`, or the tensors are not those of its configuration.
    """
    card = read_card(path)
    generator = GeneratorNetwork(card.config, card.classes)
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith("ema.")]  # noqa: SIM118 (not a dictionary)
        weights = {name.removeprefix("ema."): file.get_tensor(name) for name in names}
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} holds the tensors of another network: restore it from a copy") from error
    return generator.requires_grad_(False).eval(), card


def code_revision() -> str:
    """The commit of this checkout, with `+` where tracked files were changed.

    Outside of git, as in a container or on a machine that was given the files alone, it is the environment variable
    ANIMEGEN_REVISION, or `unknown`.
    """
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", "train", "animegen"],
            cwd=folder.parent,
            capture_output=True,
            check=False,
        ).returncode
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("ANIMEGEN_REVISION", "unknown")
    return commit + ("+" if changed else "")


def _load(path: Path, trainer: Trainer) -> None:
    """Every tensor of the file into the trainer."""
    with safe_open(path, "pt") as file:
        saved = {_renamed(name, trainer): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    _make_moments(trainer)
    wanted = _tensors(trainer, contiguous=False)
    if saved.keys() != wanted.keys() or any(saved[name].shape != wanted[name].shape for name in saved):
        raise CheckpointError(
            f"{path} holds the tensors of other networks or optimisers: keep the values of [generator] and [critic], "
            "whether class_critic is 0, and the optimisers' algorithms, or start from random weights"
        )
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(saved[name])


def _renamed(name: str, trainer: Trainer) -> str:
    """The name of a tensor today: a critic without labels was a single chain up to commit 86d8b6a."""
    if (match := re.fullmatch(r"critic\.(\d+)\.(.+)", name)) is None:
        return name
    place, first = int(match[1]), len(trainer.critic.features)
    chain = f"features.{place}" if place < first else f"value.{place - first}"
    return f"critic.{chain}.{match[2]}"


def _in_words(groups: Sequence[DatasetGroup]) -> str:
    return ", ".join(f"{group.name} ({len(group.classes)} classes)" for group in groups) or "none"


def _tensors(trainer: Trainer, *, contiguous: bool = True) -> dict[str, Tensor]:
    """Every tensor of the state by name; contiguous copies for the file, or the tensors themselves."""
    tensors: dict[str, Tensor] = {}
    for part, network in _networks(trainer).items():
        tensors |= {f"{part}.{name}": value for name, value in network.state_dict().items()}
    for part, optimiser in _optimisers(trainer).items():
        for i, parameter in enumerate(optimiser.param_groups[0]["params"]):
            moments = optimiser.state.get(parameter, {})
            tensors |= {f"{part}.{i}.{name}": value for name, value in moments.items() if value is not None}
    if contiguous:
        return {name: value.detach().contiguous() for name, value in tensors.items()}
    return tensors


def _make_moments(trainer: Trainer) -> None:
    """An optimiser makes its state at its first step; make what is missing now, in the parameters' memory order."""
    for optimiser in _optimisers(trainer).values():
        names, (group,) = _MOMENTS[type(optimiser)], optimiser.param_groups
        for parameter in group["params"] if names else ():
            if parameter in optimiser.state:
                continue
            moments = {name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in names}
            # A CUDA graph counts the steps on the GPU.
            counted_on = parameter.device if group["capturable"] else "cpu"
            optimiser.state[parameter] = {"step": torch.zeros((), device=counted_on), **moments}


def _networks(trainer: Trainer) -> dict[str, nn.Module]:
    return {"generator": trainer.generator, "critic": trainer.critic, "ema": trainer.ema}


def _optimisers(trainer: Trainer) -> dict[str, torch.optim.Optimizer]:
    return {"generator_optimiser": trainer.generator_optimiser, "critic_optimiser": trainer.critic_optimiser}
