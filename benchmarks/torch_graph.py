"""A generator's ONNX file as a torch module, to time torch with the very weights that ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

_ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "Clip": torch.clamp,
    "Mul": torch.mul,
    "Relu": torch.relu,
    "Round": torch.round,
    "Tanh": torch.tanh,
}
_CONVOLUTIONS: dict[str, Callable[..., Tensor]] = {"Conv": F.conv2d, "ConvTranspose": F.conv_transpose2d}


class TorchGraph(nn.Module):
    """The operators that `train` exports: latents float32 [N, z_dim] → images uint8 [N, C, H, W].

    Raises:
        ValueError: the graph has another operator.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        model = onnx.load(path)
        constants = {
            entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in model.graph.initializer
        }
        self._inputs = [entry.name for entry in model.graph.input]
        self._output = model.graph.output[0].name
        self._steps: list[tuple[str, list[str], str, dict[str, Any]]] = []
        for node in model.graph.node:
            attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            if node.op_type == "Cast" and node.input[0] in constants:  # weights are stored in fp16, and used in fp32
                constants[node.output[0]] = constants.pop(node.input[0]).float()
                continue
            self._steps.append((node.op_type, list(node.input), node.output[0], attributes))
        used = {name for _, inputs, _, _ in self._steps for name in inputs}
        self._places = {name: f"constant_{k}" for k, name in enumerate(constants) if name in used}
        for name, place in self._places.items():
            self.register_buffer(place, constants[name])

    def forward(self, *inputs: Tensor) -> Tensor:
        """The images."""
        values = dict(zip(self._inputs, inputs, strict=True))
        values |= {name: self.get_buffer(place) for name, place in self._places.items()}
        for kind, names, output, attributes in self._steps:
            arguments = [values[name] if name else None for name in names]
            values[output] = _apply(kind, arguments, attributes)
        images: Tensor = values[self._output]
        return images


def _apply(kind: str, arguments: list[Any], attributes: dict[str, Any]) -> Tensor:
    if kind in _ELEMENTWISE:
        return _ELEMENTWISE[kind](*arguments)
    if kind in _CONVOLUTIONS:
        x, weight, *bias = arguments
        strides, pads = attributes["strides"], attributes["pads"][:2]
        return _CONVOLUTIONS[kind](x, weight, *(bias or [None]), strides, pads)
    if kind == "Concat":
        return torch.cat(arguments, dim=attributes["axis"])
    if kind == "Unsqueeze":
        return torch.as_tensor(arguments[0])[..., None, None]
    if kind == "Cast" and attributes["to"] == onnx.TensorProto.UINT8:
        return torch.as_tensor(arguments[0]).to(torch.uint8)
    raise ValueError(f"the graph has the operator {kind}, which TorchGraph doesn't know")
