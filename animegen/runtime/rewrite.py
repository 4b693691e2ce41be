"""fp16, made in memory from an fp32 model: such a file must never reach a CPU, which would only cast it back."""

from __future__ import annotations

from pathlib import Path

from animegen.errors import MissingPackageError, ModelError
from animegen.runtime import wheels
from animegen.runtime.reasons import reason


def to_half(model: bytes | Path) -> bytes:
    """The model with fp16 weights and arithmetic, all of them inside; its inputs and outputs keep their types.

    A path is that of a model with weights beside it, which were checked.

    Raises:
        MissingPackageError: the onnx package, which rewrites the graph, is not installed.
        ModelError: onnx refuses the weights beside it.
    """
    wheels.onnxruntime()  # by its one door
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise MissingPackageError("--fp16 rewrites the model with the onnx package: pip install onnx") from error
    if isinstance(model, bytes):
        whole = onnx.load_from_string(model)
    else:
        try:
            whole = onnx.load(model)
        except Exception as error:
            raise ModelError(f"{model} can't be rewritten as fp16: {reason(error)}") from error
    halved = convert_float_to_float16(whole, keep_io_types=True)
    data: bytes = halved.SerializeToString()
    return data
