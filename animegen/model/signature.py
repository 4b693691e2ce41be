"""How a graph wants its latents and gives its images: by the file format, or inferred from a foreign model.

A foreign generator, exported by another project, takes latents [N, Z] or [N, Z, 1, 1] and gives floats in some range,
channels first or last, perhaps for a fixed batch only. What its graph doesn't say is read off a few images of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from animegen import latents
from animegen.errors import ModelError, UsageError
from animegen.images.stills import Images
from animegen.latents import Latents
from animegen.model.card import ModelCard
from animegen.runtime import Session, Tensor, chunks

Layout = Literal["nchw", "nhwc"]
Range = Literal["-1:1", "0:1", "0:255"]

_ENDS: dict[Range, tuple[float, float]] = {"-1:1": (-1, 1), "0:1": (0, 1), "0:255": (0, 255)}
_FLOATS: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_PROBES = 8  # images that a range is read off
_SLACK = 0.05  # how far rounding, or a last layer without tanh, may overshoot a range


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the user knows better than a foreign graph; None where it is to be inferred."""

    z_dim: int | None = None
    layout: Layout | None = None
    range: Range | None = None


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
    """

    input: str
    dtype: type[np.floating[Any]]
    z_shape: tuple[int, ...]
    output: int
    layout: Layout
    range: Range | None
    batch: int | None
    image_shape: tuple[int, int, int]

    def run(self, session: Session, z: Latents) -> Images:
        """The images uint8 [N, H, W, C] of latents float32 [N, z_dim]."""
        sizes = session.buckets if self.batch is None else (self.batch,)
        parts = list(chunks.run(lambda batch: self._call(session, batch), z, sizes, batch_size=len(z)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def describe(self) -> str:
        """One line for the person whose model it is."""
        channels, height, width = self.image_shape
        axes = ", ".join(map(str, ("N" if self.batch is None else self.batch, *self.z_shape)))
        values = "uint8" if self.range is None else f"floats in [{self.range.replace(':', ', ')}]"
        return f"latents [{axes}] → {self.layout} images {channels}×{height}×{width}, {values}"

    def _call(self, session: Session, z: Latents) -> Images:
        shaped = z.reshape(len(z), *self.z_shape).astype(self.dtype, copy=False)
        return to_images(session.run({self.input: shaped})[self.output], self.layout, self.range)


def to_images(values: NDArray[Any], layout: Layout, scale: Range | None) -> Images:
    """A graph's output as uint8 [N, H, W, C]; floats are scaled, rounded half to even and clipped."""
    if layout == "nchw":
        values = values.transpose(0, 2, 3, 1)
    if scale is not None:
        low, high = _ENDS[scale]
        values = np.clip(np.rint((values.astype(np.float32) - low) * (255 / (high - low))), 0, 255)
    # Contiguous: a view would be put in order by each later use.
    return np.ascontiguousarray(values, np.uint8)


def of_card(session: Session, card: ModelCard) -> Signature:
    """The file format's own signature, checked: `z` float32 [N, z_dim] → `images` uint8 [N, C, H, W], only N free.

    Raises:
        ModelError: the graph's tensors are not those that the card speaks of.
    """
    inputs = [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in session.inputs]
    outputs = [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in session.outputs]
    wanted_inputs = [("z", "tensor(float)", (card.z_dim,))]
    wanted_outputs = [("images", "tensor(uint8)", card.image_shape)]
    if inputs != wanted_inputs or outputs != wanted_outputs:
        raise ModelError(
            f"the card of {card.name} speaks of {wanted_inputs} → {wanted_outputs}, and the graph has "
            f"{inputs} → {outputs}: export it again"
        )
    if isinstance(session.inputs[0].shape[0], int):
        raise ModelError(
            f"{card.name} takes batches of {session.inputs[0].shape[0]} and must take any: export it again"
        )
    return Signature(
        input="z",
        dtype=np.float32,
        z_shape=(card.z_dim,),
        output=0,
        layout="nchw",
        range=None,
        batch=None,
        image_shape=card.image_shape,
    )


def infer(session: Session, overrides: Overrides, *, origin: str) -> Signature:
    """What a graph without a card means, from its tensors and a few of its images.

    Raises:
        ModelError: this is no generator, or it leaves open what no image shows; the message says what to overrule.
        UsageError: an override that contradicts the graph.
    """
    latent, dtype = _latent_input(session, origin)
    z_shape = _z_shape(latent, overrides, origin)
    batch = latent.shape[0] if isinstance(latent.shape[0], int) else None
    output = _image_output(session, origin)
    probes = latents.from_seeds(range(batch or _PROBES), z_shape[0]).reshape(-1, *z_shape).astype(dtype)
    values = session.run({latent.name: probes})[output]
    if values.ndim != 4 or len(values) != len(probes):
        raise ModelError(
            f"{origin} makes {list(values.shape)} of {len(probes)} latents and must make as many images, of 4 axes"
        )
    layout = overrides.layout or _layout(values.shape, origin)
    scale = None if values.dtype == np.uint8 else overrides.range or _range(values, origin)
    height, width, channels = to_images(values, layout, scale).shape[1:]
    if channels not in {1, 3}:
        raise ModelError(f"{origin} makes images of {channels} channels as {layout} and must make 1 or 3: grey or RGB")
    return Signature(
        input=latent.name,
        dtype=dtype,
        z_shape=z_shape,
        output=output,
        layout=layout,
        range=scale,
        batch=batch,
        image_shape=(channels, height, width),
    )


def _latent_input(session: Session, origin: str) -> tuple[Tensor, type[np.floating[Any]]]:
    if len(session.inputs) != 1:
        names = ", ".join(tensor.name for tensor in session.inputs)
        raise ModelError(f"{origin} has the inputs {names or '(none)'} and must have one, the latents")
    (tensor,) = session.inputs
    if tensor.dtype not in _FLOATS or len(tensor.shape) not in {2, 4}:
        raise ModelError(
            f"{origin} takes {tensor.name} as {tensor.dtype} {list(tensor.shape)} and must take latents, "
            "floats [N, Z] or [N, Z, 1, 1]"
        )
    return tensor, _FLOATS[tensor.dtype]


def _z_shape(tensor: Tensor, overrides: Overrides, origin: str) -> tuple[int, ...]:
    length, *ones = tensor.shape[1:]
    if any(isinstance(axis, int) and axis != 1 for axis in ones):
        raise ModelError(
            f"{origin} takes {tensor.name} as {tensor.dtype} {list(tensor.shape)} and must take latents, "
            "floats [N, Z] or [N, Z, 1, 1]"
        )
    z_dim = overrides.z_dim or (length if isinstance(length, int) else None)
    if z_dim is None:
        raise ModelError(f"{origin} doesn't say how long its latents are: say it with --model-z-dim")
    if isinstance(length, int) and z_dim != length:
        raise UsageError(f"--model-z-dim is {z_dim} and must be {length}, as in {origin}: leave it out")
    return (z_dim, *(1 for _ in ones))


def _image_output(session: Session, origin: str) -> int:
    images = [k for k, tensor in enumerate(session.outputs) if len(tensor.shape) == 4]
    if len(images) == 1:
        return images[0]
    given = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in session.outputs)
    raise ModelError(f"{origin} gives {given} and must give images, one output of 4 axes")


def _layout(shape: tuple[int, ...], origin: str) -> Layout:
    first, last = shape[1] in {1, 3}, shape[3] in {1, 3}
    if first == last:
        raise ModelError(
            f"{origin} gives images of shape {list(shape[1:])}: say with --model-layout where channels are"
        )
    return "nchw" if first else "nhwc"


def _range(values: NDArray[Any], origin: str) -> Range:
    low, high = float(values.min()), float(values.max())
    if -1 - _SLACK <= low < -_SLACK and high <= 1 + _SLACK:
        return "-1:1"
    if low >= -_SLACK and 0 < high <= 1 + _SLACK:
        return "0:1"
    if low >= -255 * _SLACK and 50 < high <= 255 * (1 + _SLACK):
        return "0:255"
    raise ModelError(
        f"{origin} gives values from {low:.3g} to {high:.3g}: say with --model-range what black and white are"
    )
