"""Models of other projects: how their graphs are used, as far as it can be inferred, and what the user says of it.

A foreign generator takes latents [N, Z] or [N, Z, 1, 1] and gives floats in some range, channels first or last, perhaps
for a fixed batch only. What its graph doesn't say is read off a few images of it. Inputs beside the latents are labels,
or have one value for all images; which, the user says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from animegen import latents
from animegen.errors import ModelError, UsageError
from animegen.labels import LabelGroup, draw_labels
from animegen.model.signature import Constant, LabelInput, Layout, Range, Signature, to_images
from animegen.runtime import Session, Tensor
from animegen.seeds import whole_number

CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}
_FLOATS: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_OTHERS: dict[str, type[np.generic]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
LONGEST_LATENT = 2**20
_PROBES = 8  # images that a range is read off
_SLACK = 0.05  # how far rounding, or a last layer without tanh, may overshoot a range


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the user knows better than a foreign graph; None or empty where it is to be inferred.

    Attributes:
        z_dim: the length of a latent.
        layout: where its channels are.
        range: its black and white.
        output: the name of the output that gives images.
        inputs: inputs that have one value for all images, such as `{"truncation_psi": 0.7}`.
        labels: the name of the input that takes labels.
        classes: their names; numbers where they are left out.
    """

    z_dim: int | None = None
    layout: Layout | None = None
    range: Range | None = None
    output: str | None = None
    inputs: Mapping[str, float] = field(default_factory=dict)
    labels: str | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a length that no latent has, and what is no layout or range.

        Raises:
            UsageError: the length is no whole number from 1 to 2²⁰, or the layout or range is unknown.
        """
        for name, value, known in (("layout", self.layout, get_args(Layout)), ("range", self.range, get_args(Range))):
            if value is not None and value not in known:
                raise UsageError(f"{name} is {value!r} and must be {' or '.join(known)}")
        if self.z_dim is not None:
            object.__setattr__(self, "z_dim", whole_number("z_dim", self.z_dim, 1, LONGEST_LATENT))


def infer(session: Session, overrides: Overrides, *, origin: str) -> tuple[Signature, tuple[LabelGroup, ...]]:
    """What a graph without a card means, from its tensors and a few of its images, and the labels that it takes.

    Raises:
        ModelError: this is no generator, or it leaves open what no image shows; the message says what to overrule.
        UsageError: an override that contradicts the graph.
    """
    groups, labels = _labels(session, overrides, origin)
    constants = _constants(session, overrides, origin)
    latent, dtype = _latent_input(session, {overrides.labels, *(constant.name for constant in constants)}, origin)
    z_shape = _z_shape(latent, overrides, origin)
    batch = latent.shape[0] if isinstance(latent.shape[0], int) else None
    signature = Signature(
        input=latent.name,
        dtype=dtype,
        z_shape=z_shape,
        output=_image_output(session, overrides, origin),
        layout="nchw",
        range=None,
        batch=batch,
        image_shape=(0, 0, 0),
        labels=labels,
        constants=constants,
    )
    seeds = range(batch or _PROBES)
    probes = [latents.from_seeds(seeds, z_shape[0]), draw_labels(seeds, z_shape[0], groups)]
    values = signature.call(session, np.concatenate(probes, axis=1))[signature.output]
    if values.ndim != 4 or len(values) != len(seeds):
        raise ModelError(
            f"{origin} makes {list(values.shape)} of {len(seeds)} latents and must make as many images, of 4 axes"
        )
    layout = overrides.layout or _layout(values.shape, origin)
    scale = None if values.dtype == np.uint8 else overrides.range or _range(values, origin)
    height, width, channels = to_images(values, layout, scale).shape[1:]
    if channels not in CHANNELS:
        raise ModelError(
            f"{origin} makes images of {channels} channels as {layout} and must make 1, 3 or 4: grey, RGB or RGBA"
        )
    return replace(signature, layout=layout, range=scale, image_shape=(channels, height, width)), groups


def _find(tensors: list[Tensor], name: str, option: str, what: str, origin: str) -> Tensor:
    """The tensor of a name that the user gave."""
    for tensor in tensors:
        if tensor.name == name:
            return tensor
    known = ", ".join(tensor.name for tensor in tensors)
    raise UsageError(f"{option} is {name} and must be one of the {what} of {origin}: {known}")


def _labels(session: Session, overrides: Overrides, origin: str) -> tuple[tuple[LabelGroup, ...], LabelInput | None]:
    """The group of labels that the user named the input of, and how that takes them."""
    if overrides.labels is None:
        return (), None
    tensor = _find(session.inputs, overrides.labels, "--model-labels", "inputs", origin)
    axes = tensor.shape[1:]
    names = overrides.classes
    if tensor.dtype in _FLOATS and len(axes) == 1:
        if isinstance(axes[0], int):
            names = names or tuple(map(str, range(axes[0])))
        if isinstance(axes[0], int) and len(names) != axes[0]:
            raise UsageError(
                f"--model-labels names {len(names)} classes and must name {axes[0]}, as {origin} takes them"
            )
        shape: tuple[int, ...] = (len(names),)
    elif tensor.dtype in {"tensor(int64)", "tensor(int32)"} and axes in {(), (1,)}:
        shape = (1,) * len(axes)
    else:
        raise ModelError(
            f"{origin} takes {_in_words(tensor)} and must take labels as floats [N, L] or as whole numbers [N]"
        )
    if len(set(names)) != len(names) or len(names) < 2:
        raise UsageError(
            f"--model-labels names {len(names)} classes and must name two or more different ones: "
            f"--model-labels {tensor.name}=A,B"
        )
    group = LabelGroup(tensor.name, tuple(names), (1,) * len(names))
    dtype = {**_FLOATS, **_OTHERS}[tensor.dtype]
    return (group,), LabelInput(name=tensor.name, dtype=dtype, shape=shape)


def _constants(session: Session, overrides: Overrides, origin: str) -> tuple[Constant, ...]:
    """The inputs that the user gave a value, and those that hold none."""
    for name in overrides.inputs:
        _find(session.inputs, name, "--model-input", "inputs", origin)
    constants = []
    for tensor in session.inputs:
        if tensor.name in overrides.inputs or 0 in tensor.shape:
            value = overrides.inputs.get(tensor.name, 0)
            dtype = {**_FLOATS, **_OTHERS}.get(tensor.dtype)
            if dtype is None or not math.isfinite(value) or any(not isinstance(axis, int) for axis in tensor.shape[1:]):
                raise UsageError(f"--model-input {tensor.name} is {value:g}, and {origin} takes {_in_words(tensor)}")
            shape = tuple(axis if isinstance(axis, int) else None for axis in tensor.shape)
            constants.append(Constant(name=tensor.name, dtype=dtype, shape=shape, value=value))
    return tuple(constants)


def _latent_input(session: Session, others: set[str | None], origin: str) -> tuple[Tensor, type[np.floating[Any]]]:
    """The one input that is left for latents."""
    left = [tensor for tensor in session.inputs if tensor.name not in others]
    if len(left) > 1:
        raise ModelError(
            f"{origin} takes {', '.join(map(_in_words, left))} and must have one input left for latents: give others a "
            "value with --model-input NAME=VALUE, or name the labels with --model-labels NAME"
        )
    if not left:
        raise ModelError(f"{origin} has no input left for latents and must have one")
    (tensor,) = left
    if tensor.dtype not in _FLOATS or len(tensor.shape) not in {2, 4}:
        raise ModelError(f"{origin} takes {_in_words(tensor)} and must take latents, floats [N, Z] or [N, Z, 1, 1]")
    return tensor, _FLOATS[tensor.dtype]


def _in_words(tensor: Tensor) -> str:
    kind = tensor.dtype.removeprefix("tensor(").removesuffix(")")
    return f"{tensor.name} as {kind} [{', '.join('N' if axis is None else str(axis) for axis in tensor.shape)}]"


def _z_shape(tensor: Tensor, overrides: Overrides, origin: str) -> tuple[int, ...]:
    length, *ones = tensor.shape[1:]
    if any(isinstance(axis, int) and axis != 1 for axis in ones):
        raise ModelError(f"{origin} takes {_in_words(tensor)} and must take latents, floats [N, Z] or [N, Z, 1, 1]")
    z_dim = overrides.z_dim or (length if isinstance(length, int) else None)
    if z_dim is None:
        raise ModelError(f"{origin} doesn't say how long its latents are: say it with --model-z-dim")
    if isinstance(length, int) and z_dim != length:
        raise UsageError(f"--model-z-dim is {z_dim} and must be {length}, as in {origin}: leave it out")
    return (z_dim, *(1 for _ in ones))


def _image_output(session: Session, overrides: Overrides, origin: str) -> int:
    if overrides.output is not None:
        return session.outputs.index(_find(session.outputs, overrides.output, "--model-output", "outputs", origin))
    images = [k for k, tensor in enumerate(session.outputs) if len(tensor.shape) == 4]
    if len(images) == 1:
        return images[0]
    given = ", ".join(map(_in_words, session.outputs))
    hint = ": say with --model-output which" if images else ""
    raise ModelError(f"{origin} gives {given} and must give images, one output of 4 axes{hint}")


def _layout(shape: tuple[int, ...], origin: str) -> Layout:
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
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
