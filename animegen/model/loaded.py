"""A model file in a session: latents in, with labels where the model takes them, uint8 images out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from animegen import latents
from animegen.errors import UsageError
from animegen.images.stills import Images, grid
from animegen.labels import LabelGroup, Labels, Wanted, ask_without_seeds
from animegen.latents import Latents
from animegen.model import catalog
from animegen.model.card import ModelCard
from animegen.model.foreign import Overrides, infer
from animegen.model.signature import Signature, of_card
from animegen.runtime import CudaOptions, Device, Session
from animegen.runtime.chunks import batch_size_for, slices
from animegen.runtime.devices import Engine
from animegen.runtime.machine import check_memory
from animegen.runtime.travel import reduced

logger = logging.getLogger(__name__)

_LARGE = 2**28  # bytes: below it nobody asks how much memory is left, which takes a quarter of a millisecond


class LoadedModel:
    """A session and the card of the model in it; `Generator` adds what seeds make of it.

    It keeps no state of its own. Whoever copies or pickles one loads its file again.

    Attributes:
        card: what the model file says of itself.
        signature: how its graph is used.
    """

    def __init__(self, session: Session, card: ModelCard, signature: Signature | None = None) -> None:
        """Join a session and a card; without a signature the graph must follow the file format.

        Raises:
            ModelError: the graph's tensors are not those that the card speaks of.
        """
        self.card = card
        self.signature = signature or of_card(session, card)
        self._session: Session | None = session
        self._load: Callable[[], Self] | None = None

    @classmethod
    def load(
        cls,
        model: str | Path = catalog.DEFAULT,
        *,
        device: Device = "auto",
        threads: int | None = None,
        overrides: Overrides | None = None,
        cuda: CudaOptions | None = None,
        engine: Engine = "onnxruntime",
        images: int = 0,
    ) -> Self:
        """Load a model by the name of a shipped one, by the path of its file, or by an address.

        `device` is `auto` (CUDA where it works, and else the CPU), `cpu`, or `cuda`, `tensorrt`, `directml` or
        `coreml`, which fail if the session doesn't end up there. `threads` are CPU threads; by default as many as this
        process may use. A foreign model, one without a card, is used as `foreign.infer` finds it, which is logged, and
        `overrides` correct that. `cuda` are options that hold only if the session is on CUDA.

        `engine` is what computes the model on a CPU: `onnxruntime`, `openvino` where that is installed, or `auto`. With
        `images`, how many are expected, `auto` tries both if the job is long, and takes the faster one for good; else
        it is `onnxruntime`. A seed's images by the two are at most one grey level apart on 99.9 % of the pixels.

        Raises:
            ModelError: no such model, or a file that holds no generator.
            UsageError: overrides for a model that has a card, or that contradict the graph.
            DeviceError: the device can't be used.
            MissingPackageError: no ONNX Runtime is installed, or not the engine.
        """
        path = catalog.find_model(model)
        where = path.absolute() if Path(model) == path else model  # a name or an address holds elsewhere too
        session = Session(path, device=device, threads=threads, cuda=cuda, engine=engine, images=images)
        load = partial(
            cls.load, where, device=device, threads=threads, overrides=overrides, cuda=cuda, engine=session.engine
        )
        overrides = overrides or Overrides()
        if ModelCard.is_in(session.metadata):
            if overrides != Overrides():
                raise UsageError(f"{path} has a card that says how it is used: leave the --model-… options out")
            return cls(session, ModelCard.from_metadata(session.metadata, origin=str(path)))._loaded_by(load)
        signature, groups = infer(session, overrides, origin=str(path))
        logger.info("model: no card in %s, inferred %s", model, signature.describe())
        card = ModelCard.of_foreign(path.stem, signature.z_shape[0], signature.image_shape, groups)
        return cls(session, card, signature)._loaded_by(load)

    def _loaded_by(self, load: Callable[[], Self]) -> Self:
        self._load = load
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return reduced(self._load, self.sha256, self.card.name)

    @property
    def is_foreign(self) -> bool:
        """Whether the model came without a card, so that its use was inferred."""
        return self.card.format_version == 0

    @property
    def session(self) -> Session:
        """The graph on its device.

        Raises:
            UsageError: the generator is closed.
        """
        return self._open()

    @property
    def device(self) -> str:
        """Where the session really runs, such as `cpu` or `cuda`."""
        return self._open().device

    @property
    def device_reason(self) -> str:
        """Why it runs there."""
        return self._open().why

    @property
    def engine(self) -> str:
        """What computes the model: `onnxruntime` or `openvino`."""
        return self._open().engine

    @property
    def engine_reason(self) -> str:
        """What `auto` found when it tried engines; empty where it tried none."""
        return self._open().engine_why

    @property
    def sha256(self) -> str:
        """Of the model file, with the weights that stand beside it."""
        return self._open().sha256

    def warm_up(self) -> None:
        """Run each batch size that the device plans for, so that the first request doesn't wait for a plan."""
        z = latents.from_seeds([0], self.card.z_dim)
        self._open().warm_up()
        for size in self._open().buckets or (1,):
            self(np.repeat(z, size, axis=0), batch_size=size)

    @property
    def threads(self) -> int:
        """The CPU threads of the session."""
        return self._open().threads

    @property
    def labels(self) -> tuple[LabelGroup, ...]:
        """The groups of labels that the model takes, with their classes; empty for a model without."""
        return self.card.labels

    def __call__(self, z: Latents, labels: Labels | Wanted | None = None, *, batch_size: int | None = None) -> Images:
        """The images of latents [N, z_dim], which become float32: uint8 [N, H, W, C].

        `labels` are [N, L], as `label_vectors` gives them, or are named as in `sample`. No seed draws those of the
        other groups: they are the classes that were seen most often in training.

        Raises:
            UsageError: another shape, a value that is not finite, `batch_size` below 1, or labels that the model
                doesn't have.
        """
        z = self._checked(z, axes=(2,))
        y = self._labels_beside(z, labels)
        return self._together(self._batches(z, y, self._batch_size(batch_size, len(z))), len(z))

    def frames(
        self, z: Latents, labels: Labels | Wanted | None = None, *, batch_size: int | None = None
    ) -> Iterator[Images]:
        """The image uint8 [H, W, C] of each of the latents [N, z_dim], lazily, as `save_animation` takes them.

        Of latents [N, K, z_dim] each frame is a grid of K images, so that K paths are seen side by side. `labels` are
        as in a call.

        Raises:
            UsageError: as a call.
        """
        z = self._checked(z, axes=(2, 3))
        y = self._labels_beside(z, labels)
        z_of_each = z.reshape(-1, self.card.z_dim)
        y_of_each = y.reshape(len(z_of_each), y.shape[-1])
        batches = self._batches(z_of_each, y_of_each, self._batch_size(batch_size, len(z_of_each)))
        images = chain.from_iterable(batches)
        if z.ndim == 2:
            return _Frames(images, len(z))
        return _Frames((grid(np.stack(list(islice(images, z.shape[1])))) for _ in range(len(z))), len(z))

    def close(self) -> None:
        """Let go of the session and its memory; the generator can't be used after that."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, z: Latents, axes: tuple[int, ...]) -> Latents:
        z = np.asarray(z, np.float32)
        if z.ndim not in axes or z.shape[-1] != self.card.z_dim or 0 in z.shape[1:]:
            wanted = " or ".join(f"[{'N, K, ' if n == 3 else 'N, '}{self.card.z_dim}]" for n in axes)
            raise UsageError(f"latents have the shape {list(z.shape)} and must have {wanted} for {self.card.name}")
        if not np.isfinite(z).all():
            raise UsageError("latents hold values that are not finite and must hold ordinary numbers")
        return z

    def _labels_beside(self, z: Latents, labels: Labels | Wanted | None) -> Labels:
        """The labels [..., L] of latents [..., z_dim]."""
        return ask_without_seeds(z.shape[:-1], self.labels, labels, model=self.card.name)

    def _batches(self, z: Latents, y: Labels, batch_size: int) -> Iterator[Images]:
        return self._open().lanes.map(lambda part: self._run(z[part], y[part]), slices(len(z), batch_size))

    def _together(self, batches: Iterator[Images], n: int) -> Images:
        self._check_memory(n, images=True)
        first = next(batches, None)
        if first is not None and len(first) == n:
            return first
        channels, height, width = self.card.image_shape
        images = np.empty((n, height, width, channels), np.uint8)
        done = 0
        for batch in chain([] if first is None else [first], batches):
            images[done : done + len(batch)] = batch
            done += len(batch)
        return images

    def _run(self, z: Latents, y: Labels) -> Images:
        return self.signature.run(self._open(), z, y)

    def _batch_size(self, asked: int | None, rows: int) -> int:
        """The rows of a batch, of `rows` in all, 0 where that isn't known."""
        session = self._open()
        sizes = session.buckets if self.signature.batch is None else (self.signature.batch,)
        size = batch_size_for(sizes, asked, rows=rows, lanes=session.lanes.count)
        # The least that a batch takes: its latents as they are drawn, and images as floats before they are levels. What
        # lies between them in the graph is ONNX Runtime's, which says by itself if it can't be had.
        least = session.lanes.count * min(size, rows) * (12 * self.card.z_dim + 5 * prod(self.card.image_shape))
        _check(least, f"batches of {min(size, rows):,} images")
        return size

    def _check_memory(self, count: int, *, images: bool) -> None:
        """Refuse more images at once, or else more latents of a path, than there is memory for."""
        # On a spline a latent is four stops and sums of them in float64.
        each = prod(self.card.image_shape) if images else 64 * self.card.z_dim
        _check(count * each, f"{count:,} images" if images else f"the latents of {count:,} frames")

    def _open(self) -> Session:
        if self._session is None:
            raise UsageError("the generator is closed: load it again")
        return self._session


def _check(needed: int, what: str) -> None:
    if needed > _LARGE:
        check_memory(needed, what)


class _Frames(Iterator[Images]):
    """Frames that are made as they are asked for, of which it is known how many will come."""

    def __init__(self, frames: Iterator[Images], count: int) -> None:
        self._frames, self._left = frames, count

    def __next__(self) -> Images:
        frame = next(self._frames)
        self._left -= 1
        return frame

    def __length_hint__(self) -> int:
        return self._left
