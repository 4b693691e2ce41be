"""Feature extractors: ONNX files that turn images into the numbers that distances are measured in."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError, ModelError, UsageError
from animegen.files import is_file
from animegen.images.stills import Images
from animegen.model import catalog, fetch
from animegen.runtime import Device, Session, Tensor, chunks
from animegen.runtime.travel import reduced

Features = NDArray[np.float32]

DEFAULT = "anime"
IMAGENET = "imagenet"
INCEPTION = "inception"
AUTO = "auto"  # not one by itself: what is measured, and what it is compared with, say which
CARD_KEY = "animegen-extractor"  # not `animegen.…`, which are the keys of a generator's card
_SHIPPED = {DEFAULT: "anime-tagger", IMAGENET: "imagenet-lite0"}
NAMES = (*_SHIPPED, INCEPTION)
_CHANNELS = (1, 3)

logger = logging.getLogger(__name__)


def inception_file() -> Path:
    """Where `python -m train inception` puts the exported network, and this finds it."""
    return fetch.cache() / "extractors" / f"{INCEPTION}.onnx"


@dataclass(frozen=True)
class _Use:
    """How a graph is used: its tensors' names and places, the layout, and the batch it is bound to, if any."""

    input: str
    channels_first: bool
    shape: tuple[int | None, int | None, int]  # height and width where they are fixed, channels
    batch: int | None
    features: int
    dimensions: int
    tags: int | None


class Extractor:
    """A network that measures images. A call takes uint8 [N, H, W, C] and gives features float32 [N, D].

    On one machine's CPU an image has the same features of a shipped extractor in any batch. A copied or pickled one
    loads its file again where it arrives.

    Attributes:
        name: `anime`, `imagenet`, `inception`, or the name of the file.
        sha256: of the file and of weights beside it, by which statistics know what they were measured with.
        weights_sha256: of the weights it was exported from, where the file says so; empty where not.
        resize: what the graph does to an image before it looks at it, in words.
        tags: the names of the probabilities that `tag` gives, such as `hair:blonde`; empty where there are none.

    Example:
        >>> import numpy as np
        >>> from animegen import Extractor
        >>> Extractor.load("anime", device="cpu")(np.zeros((2, 64, 64, 3), np.uint8)).shape
        (2, 480)
    """

    def __init__(self, session: Session, *, name: str, sha256: str) -> None:
        """Read off the graph and its card how it is used.

        Raises:
            ModelError: the graph is no extractor: it doesn't take uint8 images and give features.
        """
        self._session, self._use = session, _use_of(session, name)
        self._load: Callable[[], Self] | None = None
        card = _card_of(session, name)
        self.name, self.sha256 = name, sha256
        self.weights_sha256: str = card.get("weights_sha256", "")
        self.resize: str = card.get("resize", "unknown: whatever its graph does")
        self.tags: tuple[str, ...] = tuple(card.get("tags", ())) if self._use.tags is not None else ()

    @classmethod
    def load(cls, which: str | Path = DEFAULT, *, device: Device = "auto", threads: int | None = None) -> Self:
        """The shipped `anime` or `imagenet` extractor, the exported `inception`, or the one in an .onnx file.

        `device` and `threads` are as with `Generator.load`; which device `auto` took is logged.

        Raises:
            ModelError: no such extractor, or a file that holds none.
            DeviceError: the device can't be used.
            MissingPackageError: no ONNX Runtime is installed.
        """
        path = _find(which)
        session = Session(path, device=device, threads=threads)
        if device == "auto":
            logger.info("device: %s (%s)", session.device, session.why)
        named = which in NAMES
        extractor = cls(session, name=str(which) if named else path.name, sha256=session.sha256)
        where = which if named else path.absolute()  # a name holds elsewhere too
        extractor._load = partial(cls.load, where, device=device, threads=threads)
        return extractor

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return reduced(self._load, self.sha256, self.name)

    @classmethod
    def of(
        cls, which: Extractor | str | Path = DEFAULT, *, device: Device = "auto", threads: int | None = None
    ) -> Extractor:
        """The extractor that is given, or the one that `load` finds under a name.

        Raises:
            ModelError, DeviceError, MissingPackageError: as `load`.
        """
        return which if isinstance(which, Extractor) else cls.load(which, device=device, threads=threads)

    @property
    def dimensions(self) -> int:
        """D, the number of features of an image."""
        return self._use.dimensions

    @property
    def device(self) -> str:
        """Where it really runs, such as `cpu` or `cuda`."""
        return self._session.device

    @property
    def device_reason(self) -> str:
        """Why it runs there."""
        return self._session.why

    def __call__(self, images: Images, *, batch_size: int | None = None) -> Features:
        """The features float32 [N, D] of images uint8 [N, H, W, C], grey or RGB, `batch_size` of them at once.

        Raises:
            DataError: images of another type, or of a size that the graph doesn't take.
            UsageError: `batch_size` below 1.
        """
        return np.asarray(self._run(images, self._use.features, batch_size), np.float32)

    def tag(self, images: Images, *, batch_size: int | None = None) -> Features:
        """The probability of each of `tags` for images uint8 [N, H, W, C]: float32 [N, len(tags)].

        Raises:
            UsageError: this extractor names no tags, or `batch_size` below 1.
            DataError: as a call.
        """
        if not self.tags or self._use.tags is None:
            raise UsageError(f"{self.name} measures images and names no tags: the {DEFAULT} extractor does")
        return np.asarray(self._run(images, self._use.tags, batch_size), np.float32)

    def _run(self, images: Images, output: int, batch_size: int | None) -> NDArray[Any]:
        images = self._checked(images)
        if self._use.channels_first:
            images = images.transpose(0, 3, 1, 2)
        sizes = (self._use.batch,) if self._use.batch is not None else self._session.buckets
        width = self._use.dimensions if output == self._use.features else len(self.tags)

        def call(batch: NDArray[Any]) -> NDArray[Any]:
            return self._session.run({self._use.input: batch})[output].reshape(len(batch), -1)

        lanes = self._session.lanes
        parts = chunks.run(call, images, sizes, batch_size=batch_size, lanes=lanes)
        return np.concatenate([np.zeros((0, width), np.float32), *parts])

    def _checked(self, images: Images) -> Images:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in _CHANNELS:
            raise DataError(f"images are {images.dtype} {list(images.shape)} and must be uint8 [N, H, W, 1 or 3]")
        height, width, channels = self._use.shape
        if images.shape[3] < channels:
            images = np.repeat(images, channels, axis=3)  # grey, as pictures in grey are read
        if images.shape[3] != channels:
            raise DataError(f"{self.name} takes grey images, and these have {images.shape[3]} channels")
        if (height or images.shape[1], width or images.shape[2]) != images.shape[1:3]:
            raise DataError(
                f"{self.name} takes images of {width}×{height} only, and these have {images.shape[2]}×"
                f"{images.shape[1]}: say --size {height} for pictures"
            )
        return images


def _find(which: str | Path) -> Path:
    if which == INCEPTION:
        path = inception_file()
        if not is_file(path, ModelError):
            raise ModelError(
                f"the {INCEPTION} extractor is not exported yet ({path} is missing): in a checkout with what "
                "train/requirements.txt names, run python -m train inception, which says where it looks for weights"
            )
        return path
    if which in _SHIPPED:
        shipped = catalog.extractors().get(_SHIPPED[str(which)])
        if shipped is None:
            raise ModelError(f"the {which} extractor is not part of this installation: install animegen again")
        return shipped
    path = Path(which)
    if not is_file(path, ModelError):
        raise ModelError(f"no extractor {str(which)!r}: {', '.join(NAMES)}, or the path of an .onnx file")
    return path


def _card_of(session: Session, name: str) -> dict[str, Any]:
    try:
        card = json.loads(session.metadata.get(CARD_KEY, "{}"))
    except json.JSONDecodeError as error:
        raise ModelError(f"{name} has an extractor's card that is not JSON ({error}): export it again") from error
    if not isinstance(card, dict):
        raise ModelError(f"{name} has an extractor's card that must be a JSON table: export it again")
    return card


def _use_of(session: Session, name: str) -> _Use:
    inputs = [f"{tensor.dtype} {list(tensor.shape)}" for tensor in session.inputs]
    image = session.inputs[0] if len(inputs) == 1 else None
    if image is None or image.dtype != "tensor(uint8)" or len(image.shape) != 4:
        raise ModelError(
            f"{name} takes {', '.join(inputs) or 'nothing'}, so it is no extractor: it must take uint8 images of 4 "
            "axes, [N, C, H, W] or [N, H, W, C], with its scaling in the graph"
        )
    first, last = image.shape[1] in _CHANNELS, image.shape[3] in _CHANNELS
    if first == last:
        raise ModelError(f"{name} takes images {list(image.shape)} and must have 1 or 3 channels on axis 1, or on 3")
    height, width = (_fixed(axis) for axis in (image.shape[2:] if first else image.shape[1:3]))
    features, dimensions = _features_of(session.outputs, name)
    tags = [k for k, tensor in enumerate(session.outputs) if tensor.name == "tags"]
    return _Use(
        input=image.name,
        channels_first=first,
        shape=(height, width, _fixed(image.shape[1] if first else image.shape[3]) or 3),
        batch=_fixed(image.shape[0]),
        features=features,
        dimensions=dimensions,
        tags=tags[0] if tags else None,
    )


def _features_of(outputs: list[Tensor], name: str) -> tuple[int, int]:
    """The place and length of the features: the output of that name, or else the first that gives a vector an image."""
    for k in sorted(range(len(outputs)), key=lambda k: outputs[k].name != "features"):
        length, *ones = outputs[k].shape[1:] or (None,)
        if "float" in outputs[k].dtype and isinstance(length, int) and all(axis == 1 for axis in ones):
            return k, length
    given = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in outputs)
    raise ModelError(f"{name} gives {given}, so it is no extractor: it must give floats [N, D] of a fixed D")


def _fixed(axis: int | str | None) -> int | None:
    return axis if isinstance(axis, int) else None
