"""The proof that an ONNX graph computes what torch computes, at several batch sizes, before and after rounding."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from animegen import latents
from animegen.labels import LabelGroup, draw_labels
from animegen.runtime import Session
from train.errors import ExportError
from train.export.graph import to_levels
from train.networks import GeneratorNetwork

Weights = Literal["fp32", "fp16"]

BATCHES = (1, 2, 7, 64)
# The largest difference before rounding, in grey levels of 255, that an export may have anywhere. fp32: other
# summation orders only; measured 0.0004 on the shipped network. fp16: weights of 11 bits; 1 bounds the uint8
# images to one grey level.
TOLERANCE: dict[Weights, float] = {"fp32": 0.02, "fp16": 1.0}


def prove(
    model: onnx.ModelProto, generator: GeneratorNetwork, weights: Weights = "fp32", groups: Sequence[LabelGroup] = ()
) -> dict[str, Any]:
    """Compare ONNX Runtime on the CPU with torch at every batch size of `BATCHES`, before and after rounding.

    Of a generator with labels, `groups`, each batch is compared with those that its seeds draw, with unknown ones, and
    with mixes.

    Returns how the weights are stored, the largest differences, and the share of values that differ after rounding.

    Raises:
        ExportError: a difference before rounding above `TOLERANCE`, or above one grey level after it.
    """
    session = Session(_with_levels(model).SerializeToString(), device="cpu")
    tolerance, worst, worst_rounded, differing, total = TOLERANCE[weights], 0.0, 0, 0, 0
    for inputs in _inputs(generator.z_dim, groups):
        batch = len(inputs["z"])
        images, levels = session.run(inputs)
        with torch.no_grad():
            expected = to_levels(generator(*map(torch.from_numpy, inputs.values())))
        expected_images = expected.round().clamp(0, 255).to(torch.uint8).numpy()
        if images.shape != expected_images.shape:
            raise ExportError(
                f"the export is not the trained generator: at batch {batch} ONNX Runtime gives the shape "
                f"{images.shape} and torch {expected_images.shape}; nothing was written"
            )
        # A NaN fails the comparison below, as it is not within any tolerance.
        worst = max(worst, float(np.abs(levels - expected.numpy()).max()), key=lambda v: (np.isnan(v), v))
        apart = np.abs(images.astype(np.int16) - expected_images)
        worst_rounded = max(worst_rounded, int(apart.max()))
        differing += int((apart > 0).sum())
        total += apart.size
        if not worst <= tolerance or worst_rounded > 1:
            raise ExportError(
                f"the export is not the trained generator: at batch {batch} ONNX Runtime and torch are {worst:.4g} "
                f"grey levels apart before rounding (allowed: {tolerance}) and {worst_rounded} after it (allowed: 1); "
                "nothing was written"
            )
    return {
        "weights": weights,
        "batches": list(BATCHES),
        "max_grey_levels": worst_rounded,
        "max_before_rounding": float(f"{worst:.3g}"),
        "share_differing": float(f"{differing / total:.3g}"),
    }


def _inputs(z_dim: int, groups: Sequence[LabelGroup]) -> list[dict[str, NDArray[np.float32]]]:
    """What is compared, by the names of the graph's inputs."""
    batches: list[dict[str, NDArray[np.float32]]] = []
    for batch in BATCHES:
        z = latents.from_seeds(range(batch), z_dim)
        if not groups:
            batches.append({"z": z})
            continue
        some, others = (draw_labels(range(first, first + batch), z_dim, groups) for first in (0, batch))
        batches += [{"z": z, "labels": labels} for labels in (some, 0 * some, (some + others) * np.float32(0.5))]
    return batches


def _with_levels(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with one more output: the values that go into the rounding."""
    probe = copy.deepcopy(model)
    (rounding,) = (node for node in probe.graph.node if node.op_type == "Round")
    probe.graph.output.append(helper.make_tensor_value_info(rounding.input[0], TensorProto.FLOAT, None))
    return probe
