"""From a torch module to an ONNX file that says nothing of this machine, its weights in half the bytes if wanted."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from animegen.files import check_file, replacing
from train.errors import ConfigError

OPSET = 20


def check_target(out: Path) -> None:
    """Refuse, before any work, a model file that can't be written.

    Raises:
        ConfigError: another extension.
        OutputError: its folder isn't there, or it is one.
    """
    if out.suffix != ".onnx":
        raise ConfigError(
            f"{out} has the extension {out.suffix!r} and must be an ONNX file: name one that ends in .onnx"
        )
    check_file(out)


def trace(
    module: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    free: Mapping[int, str],
) -> onnx.ModelProto:
    """The graph of a module in evaluation mode, in one file; `free` names the axes of its inputs that may change.

    Each example must hold two images: torch.export would freeze a batch of one.
    """
    examples = example if isinstance(example, tuple) else (example,)
    # The exporter prints its progress, and warns of what its own dependencies do.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            examples,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(dict(free) for _ in examples),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    model.graph.name = name
    return model


def halve(model: onnx.ModelProto) -> None:
    """Store the weights as fp16 and cast them back in the graph; all arithmetic stays fp32.

    ONNX Runtime folds the casts when it loads the file, so only the file is smaller.
    """
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2:  # biases are few and gain nothing
            continue
        stored = f"{weight.name}.fp16"
        casts.append(helper.make_node("Cast", [stored], [weight.name], to=TensorProto.FLOAT))
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), stored))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def save(model: onnx.ModelProto, metadata: Mapping[str, str], out: Path) -> None:
    """Put the metadata into the model, check it, and write it to `out`: the same model makes the same bytes.

    Raises:
        OutputError: `out` can't be written.
    """
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    with replacing(out) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter noted about this machine: stack traces and paths, which also change the hash."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    entries: list[Any] = [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]
    for entry in [*entries, *model.graph.initializer]:
        del entry.metadata_props[:]
        entry.doc_string = ""
    del model.graph.value_info[:]
