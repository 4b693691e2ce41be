"""A generator: seeds or latents in, uint8 images out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, tee
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from animegen import latents
from animegen.errors import UsageError
from animegen.images.stills import Images
from animegen.latents import Latents, Mode
from animegen.model import catalog
from animegen.model.card import ModelCard
from animegen.model.signature import Overrides, Signature, infer, of_card
from animegen.runtime import CudaOptions, Device, Session
from animegen.seeds import Seeds

BATCH_SIZE = 16  # on a CPU an image costs the same in any batch, and small batches keep memory low; CUDA has buckets


class Generator:
    """A session and the card of the model in it. Safe to share between threads: it keeps no state of its own.

    Images are uint8 [N, H, W, C] arrays, channels last, as Pillow and most viewers want them.

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
        """Load a model by the name of a shipped one or by the path of its file.

        `device` is `auto` (CUDA where it works, and else the CPU), `cpu`, or `cuda`, `tensorrt`, `openvino`,
        `directml` or `coreml`, which fail if the session doesn't end up there. `threads` are CPU threads; by default as
        many as this process may use. A foreign model, one without a card, is used as `signature.infer` finds it, and
        `overrides` correct that. `cuda` are options that hold only if the session is on CUDA.

        Raises:
            ModelError: no such model, or a file that holds no generator.
            UsageError: overrides for a model that has a card, or that contradict the graph.
            DeviceError: the device can't be used.
            MissingPackageError: no ONNX Runtime is installed.
        """
        path = catalog.find_model(model)
        session = Session(path, device=device, threads=threads, cuda=cuda)
        overrides = overrides or Overrides()
        if ModelCard.is_in(session.metadata):
            if overrides != Overrides():
                raise UsageError(f"{path} has a card that says how it is used: leave the --model-… options out")
            return cls(session, ModelCard.from_metadata(session.metadata, origin=str(path)))
        signature = infer(session, overrides, origin=str(path))
        card = ModelCard.of_foreign(path.stem, signature.z_shape[0], signature.image_shape)
        return cls(session, card, signature)

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

    def warm_up(self) -> None:
        """Run each batch size that the device plans for, so that the first request doesn't wait for a plan."""
        z = latents.from_seeds([0], self.card.z_dim)
        for size in self._open().buckets:
            self(np.repeat(z, size, axis=0), batch_size=size)

    @property
    def threads(self) -> int:
        """The CPU threads of the session."""
        return self._open().threads

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        seeds: Iterable[int] | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """The images of `seeds`, or of the `n` seeds from `seed` on: uint8 [N, H, W, C].

        A seed names the same image in any batch and at any place. `truncation` is ψ of `latents.truncate`.

        Raises:
            UsageError: `n` or `batch_size` below 1, a seed outside of 0 … 2³²−1, or a truncation outside of 0 … 1.
        """
        wanted = Seeds.starting(seed, n) if seeds is None else list(seeds)
        height, width = self.card.image_shape[1:]
        images = np.empty((len(wanted), height, width, self.card.image_shape[0]), np.uint8)
        done = 0
        for batch in self.stream(wanted, truncation=truncation, batch_size=batch_size):
            images[done : done + len(batch)] = batch
            done += len(batch)
        return images

    def stream(
        self, seeds: Iterable[int], *, truncation: float = 1.0, batch_size: int | None = None
    ) -> Iterator[Images]:
        """The images of `seeds`, lazily, in batches uint8 [≤ batch_size, H, W, C]; memory stays constant.

        Raises:
            UsageError: as `sample`.
        """
        batch_size = self._batch_size(batch_size)
        latents.truncate(np.zeros((0, self.card.z_dim), np.float32), truncation)  # refuse it now, not in the loop
        return self._stream(iter(seeds), truncation, batch_size)

    def _stream(self, seeds: Iterator[int], truncation: float, batch_size: int) -> Iterator[Images]:
        while batch := list(islice(seeds, batch_size)):
            yield self._run(latents.truncate(latents.from_seeds(batch, self.card.z_dim), truncation))

    def pairs(
        self, seeds: Iterable[int], *, truncation: float = 1.0, batch_size: int | None = None
    ) -> Iterator[tuple[int, Images]]:
        """Each seed with its image uint8 [H, W, C], lazily, as `sinks` take them.

        Raises:
            UsageError: as `sample`.
        """
        names, drawn = tee(seeds)
        batches = self.stream(drawn, truncation=truncation, batch_size=batch_size)
        return zip(names, chain.from_iterable(batches), strict=True)

    def interpolate(
        self, seed_a: int, seed_b: int, *, steps: int = 8, mode: Mode = "slerp", batch_size: int | None = None
    ) -> Images:
        """`steps` images from that of one seed to that of another, ends included: uint8 [steps, H, W, C].

        Raises:
            UsageError: fewer than 2 steps, an unknown mode, or a seed outside of 0 … 2³²−1.
        """
        a, b = latents.from_seeds([seed_a, seed_b], self.card.z_dim)
        return self(latents.interpolate(a, b, steps, mode), batch_size=batch_size)

    def edit(self, seed: int, direction: int, amounts: Sequence[float], *, batch_size: int | None = None) -> Images:
        """The image of `seed` moved along one of the card's directions: uint8 [len(amounts), H, W, C].

        An amount is a length in latent space, where a latent value has a standard deviation of 1; 0 is the
        seed's own image, and −3 to 3 keeps images within what the generator knows. Shen & Zhou 2021, equation 1.

        Raises:
            UsageError: the model has no such direction, no amounts, or one that is not finite.
        """
        count = len(self.card.directions)
        if not 0 <= direction < count:
            allowed = f"it has 0 to {count - 1}" if count else "it has none: export it again with this version"
            raise UsageError(f"{self.card.name} has no direction {direction}: {allowed}")
        (z,) = latents.from_seeds([seed], self.card.z_dim)
        vector = np.array(self.card.directions[direction], np.float32)
        return self(z + np.outer(np.asarray(amounts, np.float32), vector), batch_size=batch_size)

    def __call__(self, z: Latents, *, batch_size: int | None = None) -> Images:
        """The images of latents [N, z_dim], which become float32: uint8 [N, H, W, C].

        Raises:
            UsageError: another shape, a value that is not finite, or `batch_size` below 1.
        """
        return np.stack(list(self.frames(z, batch_size=batch_size)))

    def frames(self, z: Latents, *, batch_size: int | None = None) -> Iterator[Images]:
        """The image uint8 [H, W, C] of each of the latents [N, z_dim], lazily, as `motion.save` takes them.

        Raises:
            UsageError: as a call.
        """
        batch_size = self._batch_size(batch_size)
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.card.z_dim or len(z) == 0:
            raise UsageError(
                f"latents have the shape {list(z.shape)}, and {self.card.name} takes [N, {self.card.z_dim}]"
            )
        if not np.isfinite(z).all():
            raise UsageError("latents hold values that are not finite: a latent is made of ordinary numbers")
        batches = (self._run(z[start : start + batch_size]) for start in range(0, len(z), batch_size))
        return chain.from_iterable(batches)

    def close(self) -> None:
        """Let go of the session and its memory; the generator can't be used after that."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, z: Latents) -> Images:
        return self.signature.run(self._open(), z)

    def _batch_size(self, asked: int | None) -> int:
        if asked is None:
            return max(self._open().buckets, default=BATCH_SIZE)
        if asked < 1:
            raise UsageError(f"batch_size is {asked}: at least 1")
        return asked

    def _open(self) -> Session:
        if self._session is None:
            raise UsageError("the generator is closed: load it again")
        return self._session
