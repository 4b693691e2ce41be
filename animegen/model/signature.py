"""How a graph takes latents and labels and gives images: by the file format. `foreign` infers it for other models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from animegen.errors import ModelError, UsageError
from animegen.images.stills import Images
from animegen.labels import Labels
from animegen.latents import Latents
from animegen.model.card import ModelCard
from animegen.runtime import Session, chunks

Layout = Literal["nchw", "nhwc"]
Range = Literal["-1:1", "0:1", "0:255"]

_ENDS: dict[Range, tuple[float, float]] = {"-1:1": (-1, 1), "0:1": (0, 1), "0:255": (0, 255)}


@dataclass(frozen=True, kw_only=True)
class LabelInput:
    """Where labels go. `shape` is without N: (L,) of one-hot floats, or () or (1,) of a class's number."""

    name: str
    dtype: type[np.generic]
    shape: tuple[int, ...]

    @property
    def takes_numbers(self) -> bool:
        """Whether it takes a class's number, and so no mixes."""
        return issubclass(self.dtype, np.integer)

    def check(self, labels: Labels) -> None:
        """Refuse labels float32 [N, L] that it can't take.

        Raises:
            UsageError: a mix or an unknown class, where it takes a class's number.
        """
        if self.takes_numbers and not ((labels.max(1, initial=0) == 1) & (labels.sum(1) == 1)).all():
            raise UsageError(
                f"{self.name} has a mix or an unknown class and must have one class for each image: name one, as "
                f"{self.name}=CLASS"
            )

    def of(self, labels: Labels) -> NDArray[Any]:
        """Labels float32 [N, L] as it takes them."""
        if not self.takes_numbers:
            return np.ascontiguousarray(labels, self.dtype)
        return np.asarray(labels.argmax(1).reshape(len(labels), *self.shape), self.dtype)


@dataclass(frozen=True, kw_only=True)
class Constant:
    """An input that has one value for all images. In `shape` None stands for N."""

    name: str
    dtype: type[np.generic]
    shape: tuple[int | None, ...]
    value: float

    def of(self, n: int) -> NDArray[Any]:
        """Its array for `n` images."""
        return np.full([n if axis is None else axis for axis in self.shape], self.value, self.dtype)


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The use of one graph.

    Attributes:
        input: the name of the latents' tensor.
        dtype: the latents' type.
        z_shape: a latent's shape without N: (Z,) or (Z, 1, 1).
        output: the place of the images among the outputs.
        layout: channels first or last.
        range: the values of black and white; None for uint8, which needs no scaling.
        batch: the only batch that the graph takes, or None.
        image_shape: channels, height, width.
        labels: where labels go; None for a model without.
        constants: what else it takes.
    """

    input: str
    dtype: type[np.floating[Any]]
    z_shape: tuple[int, ...]
    output: int
    layout: Layout
    range: Range | None
    batch: int | None
    image_shape: tuple[int, int, int]
    labels: LabelInput | None = None
    constants: tuple[Constant, ...] = ()

    def run(self, session: Session, z: Latents, labels: Labels) -> Images:
        """The images uint8 [N, H, W, C] of latents float32 [N, z_dim] and labels float32 [N, L].

        Raises:
            UsageError: labels that the graph can't take.
        """
        if self.labels is not None:
            self.labels.check(labels)
        sizes = session.buckets if self.batch is None else (self.batch,)
        rows = z if self.labels is None else np.concatenate([z, labels], axis=1)
        if not sizes:
            return self._call(session, rows)
        parts = list(chunks.run(lambda batch: self._call(session, batch), rows, sizes, batch_size=len(z)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def describe(self) -> str:
        """One line for the person whose model it is."""
        channels, height, width = self.image_shape
        axes = ", ".join(map(str, ("N" if self.batch is None else self.batch, *self.z_shape)))
        values = "uint8" if self.range is None else f"floats in [{self.range.replace(':', ', ')}]"
        more = [f"labels {self.labels.name}"] if self.labels else []
        more += [f"{constant.name} = {constant.value:g}" for constant in self.constants if 0 not in constant.shape]
        inputs = ", ".join([f"latents [{axes}]", *more])
        return f"{inputs} → {self.layout} images {channels}×{height}×{width}, {values}"

    def call(self, session: Session, rows: NDArray[np.float32]) -> list[NDArray[Any]]:
        """The graph's outputs for rows [N, z_dim + L] of latents and labels, N being what the graph takes."""
        z, labels = rows[:, : self.z_shape[0]], rows[:, self.z_shape[0] :]
        inputs: dict[str, NDArray[Any]] = {
            self.input: np.ascontiguousarray(z.reshape(len(z), *self.z_shape), self.dtype)
        }
        if self.labels is not None:
            inputs[self.labels.name] = self.labels.of(labels)
        return session.run(inputs | {constant.name: constant.of(len(z)) for constant in self.constants})

    def _call(self, session: Session, rows: NDArray[np.float32]) -> Images:
        return to_images(self.call(session, rows)[self.output], self.layout, self.range)


def to_images(values: NDArray[Any], layout: Layout, scale: Range | None) -> Images:
    """A graph's output as uint8 [N, H, W, C]; floats are scaled, rounded half to even and clipped."""
    if layout == "nchw":
        values = _channels_last(values)
    if scale is not None:
        low, high = _ENDS[scale]
        values = np.clip(np.rint((values.astype(np.float32) - low) * (255 / (high - low))), 0, 255)
    # Contiguous: a view would be put in order by each later use.
    return np.ascontiguousarray(values, np.uint8)


def _channels_last(values: NDArray[Any]) -> NDArray[Any]:
    """[N, C, H, W] as [N, H, W, C], a channel at a time: a quarter of the time that a transposed copy takes."""
    n, channels, height, width = values.shape
    last = np.empty((n, height, width, channels), values.dtype)
    for channel in range(channels):
        last[..., channel] = values[:, channel]
    return last


def of_card(session: Session, card: ModelCard) -> Signature:
    """The file format's own signature, checked: `z` float32 [N, z_dim] → `images` uint8 [N, C, H, W], only N free.

    A model with labels also takes `labels` float32 [N, L], L being the classes of all its groups.

    Raises:
        ModelError: the graph's tensors are not those that the card speaks of.
    """
    inputs = sorted((tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in session.inputs)
    outputs = [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in session.outputs]
    classes = sum(len(group.classes) for group in card.labels)
    wanted_inputs = [("labels", "tensor(float)", (classes,))] * bool(classes) + [("z", "tensor(float)", (card.z_dim,))]
    wanted_outputs = [("images", "tensor(uint8)", card.image_shape)]
    if inputs != wanted_inputs or outputs != wanted_outputs:
        raise ModelError(
            f"the card of {card.name} speaks of {wanted_inputs} → {wanted_outputs}, and the graph has "
            f"{inputs} → {outputs}: export it again"
        )
    for tensor in session.inputs:
        if isinstance(tensor.shape[0], int):
            raise ModelError(f"{card.name} takes batches of {tensor.shape[0]} and must take any: export it again")
    return Signature(
        input="z",
        dtype=np.float32,
        z_shape=(card.z_dim,),
        output=0,
        layout="nchw",
        range=None,
        batch=None,
        image_shape=card.image_shape,
        labels=LabelInput(name="labels", dtype=np.float32, shape=(classes,)) if classes else None,
    )
