"""A generator: seeds or latents in, with labels where the model takes them, uint8 images out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice, tee
from math import prod
from operator import length_hint
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from animegen import latents
from animegen.errors import UsageError
from animegen.images.stills import Images, grid
from animegen.labels import (
    Asked,
    LabelGroup,
    Labels,
    Wanted,
    ask,
    ask_each,
    ask_without_seeds,
    blended_loop,
    draw_labels,
    sheet_cells,
)
from animegen.latents import Latents, Mode
from animegen.model import catalog
from animegen.model.card import ModelCard
from animegen.model.foreign import Overrides, infer
from animegen.model.signature import Signature, of_card
from animegen.runtime import CudaOptions, Device, Session
from animegen.runtime.chunks import batch_size_for
from animegen.runtime.machine import check_memory
from animegen.runtime.travel import reduced
from animegen.seeds import Seeds, check_seed, whole_number

logger = logging.getLogger(__name__)

_LARGE = 2**28  # bytes: below it nobody asks how much memory is left, which takes a quarter of a millisecond


class Generator:
    """A session and the card of the model in it. Safe to share between threads: it keeps no state of its own.

    Images are uint8 [N, H, W, C] arrays, channels last, as Pillow and most viewers want them. Whole numbers may be
    Python's, numpy's or those of another library.

    A copied or pickled one loads its model again where it arrives, with the options that it was loaded with.

    Attributes:
        card: what the model file says of itself.
        signature: how its graph is used.

    Example:
        >>> from animegen import Generator
        >>> with Generator.load() as generator:
        ...     images = generator.sample(4, seed=7)
        >>> images.shape
        (4, 64, 64, 3)
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
    ) -> Generator:
        """Load a model by the name of a shipped one, by the path of its file, or by an address.

        `device` is `auto` (CUDA where it works, and else the CPU), `cpu`, or `cuda`, `tensorrt`, `openvino`,
        `directml` or `coreml`, which fail if the session doesn't end up there. `threads` are CPU threads; by default as
        many as this process may use. A foreign model, one without a card, is used as `foreign.infer` finds it, which
        is logged, and `overrides` correct that. `cuda` are options that hold only if the session is on CUDA.

        Raises:
            ModelError: no such model, or a file that holds no generator.
            UsageError: overrides for a model that has a card, or that contradict the graph.
            DeviceError: the device can't be used.
            MissingPackageError: no ONNX Runtime is installed.
        """
        path = catalog.find_model(model)
        where = path.absolute() if Path(model) == path else model  # a name or an address holds elsewhere too
        load = partial(cls.load, where, device=device, threads=threads, overrides=overrides, cuda=cuda)
        session = Session(path, device=device, threads=threads, cuda=cuda)
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
    def device(self) -> str:
        """Where the session really runs, such as `cpu` or `cuda`."""
        return self._open().device

    @property
    def device_reason(self) -> str:
        """Why it runs there."""
        return self._open().why

    @property
    def sha256(self) -> str:
        """Of the model file, with the weights that stand beside it."""
        return self._open().sha256

    def warm_up(self) -> None:
        """Run each batch size that the device plans for, so that the first request doesn't wait for a plan."""
        z = latents.from_seeds([0], self.card.z_dim)
        for size in self._open().buckets:
            self(np.repeat(z, size, axis=0), batch_size=size)

    @property
    def threads(self) -> int:
        """The CPU threads of the session."""
        return self._open().threads

    @property
    def labels(self) -> tuple[LabelGroup, ...]:
        """The groups of labels that the model takes, with their classes; empty for a model without."""
        return self.card.labels

    def latents(self, seeds: Iterable[int], *, truncation: float = 1.0) -> Latents:
        """The latents of seeds, which this model takes: float32 [len(seeds), z_dim]. `truncation` is as in `sample`.

        Raises:
            UsageError: a seed outside of 0 … 2³²−1, or a truncation outside of 0 … 1.
        """
        return latents.truncate(latents.from_seeds(seeds, self.card.z_dim), truncation)

    def label_vectors(self, seeds: Sequence[int], labels: Wanted | Sequence[Wanted | None] | None = None) -> Labels:
        """The labels of seeds, as this model takes them: float32 [len(seeds), L]; L is 0 for a model without.

        A seed draws a class for each group, by the law of `labels.draw_classes`; what is asked for, of all or of each
        its own, takes its place, and the other groups stay as they are.

        Raises:
            UsageError: a seed outside of 0 … 2³²−1, labels that the model doesn't have, or another number of them than
                of seeds.
        """
        return ask_each(seeds, self.card.z_dim, self.labels, labels, model=self.card.name)

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        seeds: Iterable[int] | None = None,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """The images of `seeds`, or of the `n` seeds from `seed` on: uint8 [N, H, W, C].

        A seed, with the labels asked for, names the same image in any batch and at any place. `truncation` is ψ of
        `latents.truncate`.

        `labels` name a class of some groups, as in `{"hair": "blue"}`, a mix of several, as in
        `{"eyes": {"green": 0.7, "blue": 0.3}}`, or "unknown"; the seed draws those of the other groups.

        Raises:
            UsageError: `n` or `batch_size` below 1, a seed outside of 0 … 2³²−1, a truncation outside of 0 … 1, or
                labels that the model doesn't have.
            DataError: the images, or a batch of them, don't fit into the memory that is left.
        """
        wanted = Seeds.starting(seed, n) if seeds is None else list(map(check_seed, seeds))
        batches = self.stream(wanted, labels=labels, truncation=truncation, batch_size=batch_size)
        return self._together(batches, len(wanted))

    def stream(
        self,
        seeds: Iterable[int],
        *,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[Images]:
        """The images of `seeds`, lazily, in batches uint8 [≤ batch_size, H, W, C]; memory stays constant.

        Raises:
            UsageError, DataError: as `sample`.
        """
        batch_size = self._batch_size(batch_size, length_hint(seeds))
        latents.check_truncation(truncation)  # now, not in the loop
        return self._stream(iter(seeds), self._ask(labels), truncation, batch_size)

    def _stream(self, seeds: Iterator[int], asked: Asked, truncation: float, batch_size: int) -> Iterator[Images]:
        while batch := list(islice(seeds, batch_size)):
            labels = asked.over(draw_labels(batch, self.card.z_dim, self.labels))
            yield self._run(self.latents(batch, truncation=truncation), labels)

    def pairs(
        self,
        seeds: Iterable[int],
        *,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[tuple[int, Images]]:
        """Each seed with its image uint8 [H, W, C], lazily, as sinks take them.

        Raises:
            UsageError, DataError: as `sample`.
        """
        batch_size = self._batch_size(batch_size, length_hint(seeds))
        names, wanted = tee(map(check_seed, seeds))
        batches = self.stream(wanted, labels=labels, truncation=truncation, batch_size=batch_size)
        return zip(names, chain.from_iterable(batches), strict=True)

    def interpolate(
        self,
        *seeds: int,
        steps: int = 8,
        mode: Mode = "slerp",
        labels: Wanted | Sequence[Wanted | None] | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """The images from that of one seed to that of the next, `steps` for each two, ends included.

        Two seeds give uint8 [steps, H, W, C], and each further one steps − 1 more. `labels` are as in `sample`, for
        all seeds or for each its own, and are blended in a straight line:
        `interpolate(3, 3, labels=[{"hair": "blonde"}, {"hair": "blue"}])` keeps the face and changes its hair.

        Raises:
            UsageError: fewer than 2 seeds or steps, an unknown mode, another number of labels than of seeds, or as
                `sample`.
            DataError: as `sample`.
        """
        stops, labels_of_stops = self.latents(seeds, truncation=truncation), self.label_vectors(seeds, labels)
        self._check_memory((len(stops) - 1) * (whole_number("steps", steps) - 1) + 1, images=True)
        path = latents.through(stops, steps, mode), latents.through(labels_of_stops, steps, "lerp")
        return self(*path, batch_size=batch_size)

    def walk(
        self,
        seeds: Iterable[int],
        *,
        frames: int = 144,
        labels: Wanted | Sequence[Wanted | None] | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[Images]:
        """The `frames` of an endless animation that passes the images of `seeds`, lazily: each uint8 [H, W, C].

        The frame after the last is the first one; `latents.loop` is the path. `labels` are as in `interpolate`.

        Raises:
            UsageError: fewer than 2 seeds, fewer frames than seeds, or as `interpolate`.
            DataError: the latents of so many frames don't fit into the memory that is left.
        """
        frames, stops = whole_number("frames", frames), list(seeds)
        self._check_memory(frames, images=False)
        path = latents.loop(self.latents(stops, truncation=truncation), frames)
        return self.frames(path, blended_loop(self.label_vectors(stops, labels), frames), batch_size=batch_size)

    def edit(
        self,
        seed: int,
        direction: int | None,
        amounts: Sequence[float],
        *,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """The image of `seed` moved along one of the card's directions: uint8 [len(amounts), H, W, C].

        With None it is moved along each of them, and the rows follow each other. An amount is a length in latent space,
        where a latent value has a standard deviation of 1; 0 is the seed's own image, and −3 to 3 keeps images within
        what the generator knows. Shen & Zhou 2021, equation 1.

        Raises:
            UsageError: the model has no such direction, an amount that is not finite, or as `sample`.
        """
        count = len(self.card.directions)
        if not count:
            raise UsageError(f"{self.card.name} has no directions to edit along: export it again with this version")
        if direction is not None:
            direction = whole_number("direction", direction, 0, count - 1, why=f" for {self.card.name}")
        chosen = self.card.directions if direction is None else self.card.directions[direction : direction + 1]
        lengths, vectors = np.asarray(amounts, np.float32), np.array(chosen, np.float32)
        moves = np.concatenate([np.outer(lengths, vector) for vector in vectors])
        moved = self.latents([seed], truncation=truncation) + moves
        y = np.repeat(self.label_vectors([seed], labels), len(moved), axis=0)
        return self(moved, y, batch_size=batch_size)

    def sheet(
        self,
        *seeds: int,
        rows: str,
        columns: str | None = None,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """One face in all classes of two groups of labels, `rows` and `columns`: uint8 [rows·columns, H, W, C].

        Without `columns` there is a column for each of `seeds`. `labels` are of other groups, as in `sample`;
        `table` lays the images out with captions.

        Raises:
            UsageError: a group that the model doesn't have, one that is named twice, no seed, several of them beside
                `columns`, or as `sample`.
        """
        cells = sheet_cells(seeds, rows, columns, self.labels, labels, model=self.card.name)
        drawn = [seed for seed, _ in cells]
        y = self.label_vectors(drawn, [wanted for _, wanted in cells])
        return self(self.latents(drawn, truncation=truncation), y, batch_size=batch_size)

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

    def _ask(self, labels: Wanted | None) -> Asked:
        return ask(labels, self.labels, model=self.card.name)

    def _labels_beside(self, z: Latents, labels: Labels | Wanted | None) -> Labels:
        """The labels [..., L] of latents [..., z_dim]."""
        return ask_without_seeds(z.shape[:-1], self.labels, labels, model=self.card.name)

    def _batches(self, z: Latents, y: Labels, batch_size: int) -> Iterator[Images]:
        parts = (slice(start, start + batch_size) for start in range(0, len(z), batch_size))
        return (self._run(z[part], y[part]) for part in parts)

    def _together(self, batches: Iterator[Images], n: int) -> Images:
        self._check_memory(n, images=True)
        channels, height, width = self.card.image_shape
        images = np.empty((n, height, width, channels), np.uint8)
        done = 0
        for batch in batches:
            images[done : done + len(batch)] = batch
            done += len(batch)
        return images

    def _run(self, z: Latents, y: Labels) -> Images:
        return self.signature.run(self._open(), z, y)

    def _batch_size(self, asked: int | None, rows: int) -> int:
        """The rows of a batch, of `rows` in all, 0 where that isn't known."""
        size = batch_size_for(self._open().buckets, asked)
        # The least that a batch takes: its latents as they are drawn, and images as floats before they are levels. What
        # lies between them in the graph is ONNX Runtime's, which says by itself if it can't be had.
        least = min(size, rows) * (12 * self.card.z_dim + 5 * prod(self.card.image_shape))
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
