"""Tensors in the Open Inference Protocol's requests and answers: numbers in JSON, or bytes behind the JSON.

The second is the protocol's binary extension. The header `Inference-Header-Content-Length` then says how long the JSON
is, and each tensor of bytes says how many of the rest are its own; all numbers are little-endian.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.errors import UsageError

HEADER = "Inference-Header-Content-Length"
_JSON, _BINARY = "application/json", "application/octet-stream"
_REFUSED = ("shared_memory_region", "classification")


@dataclass(frozen=True)
class Request:
    """What an inference request asks for.

    Attributes:
        id: what the client calls it; None if it doesn't.
        inputs: the tensors by their names: float32 [N, width].
        binary: whether the answer's tensors are to be bytes.
    """

    id: str | None
    inputs: dict[str, NDArray[np.float32]]
    binary: bool


def read(body: bytes, json_length: str | None, inputs: Mapping[str, int], output: str) -> Request:
    """Read a request for a model that takes `inputs`, each with its width, and gives `output`.

    Raises:
        UsageError: it isn't such a request.
    """
    length = _length(json_length, len(body))
    try:
        said = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request is no JSON: {str(error)[:80]}") from error
    said = _table(said, "the request")
    rest = memoryview(body)[length:]
    tensors: dict[str, NDArray[np.float32]] = {}
    for entry in _list(said.get("inputs"), "inputs"):
        name, values, rest = _tensor(entry, inputs, rest)
        if name in tensors:
            raise UsageError(f"the input {name} stands twice in the request and must stand once")
        tensors[name] = values
    if rest:
        raise UsageError(f"the request has {len(rest)} bytes too many behind its tensors")
    if missing := [name for name in inputs if name not in tensors]:
        raise UsageError(f"the request has no input {missing[0]} and must have {', '.join(inputs)}")
    if len({len(values) for values in tensors.values()}) > 1:
        raise UsageError(f"the inputs {', '.join(inputs)} have different shapes and must be of as many images")
    name_of_request = said.get("id")
    if name_of_request is not None and not isinstance(name_of_request, str):
        raise UsageError("the request's id must be a text")
    return Request(name_of_request, tensors, _wants_bytes(said, output))


def write(
    values: NDArray[np.uint8], name: str, facts: Mapping[str, Any], *, binary: bool
) -> tuple[bytes, dict[str, str]]:
    """An answer of one tensor uint8, its body and headers; `facts` stand beside it."""
    tensor: dict[str, Any] = {"name": name, "datatype": "UINT8", "shape": list(values.shape)}
    if binary:
        data = values.tobytes()
        head = json.dumps({**facts, "outputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}]}).encode()
        return head + data, {HEADER: str(len(head)), "content-type": _BINARY}
    # One image at a time: in one go, the numbers of all would keep every other thread waiting.
    numbers = ",".join(str(image.ravel().tolist())[1:-1] for image in values)
    text = f'{json.dumps(tensor)[:-1]}, "data": [{numbers}]}}'
    return f'{json.dumps(facts)[:-1]}, "outputs": [{text}]}}'.encode(), {"content-type": _JSON}


def _length(text: str | None, most: int) -> int:
    if text is None:
        return most
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
        raise UsageError(f"{HEADER} is {text[:20]!r} and must be the JSON's length, at most {most} here")
    return int(text)


def _tensor(entry: Any, inputs: Mapping[str, int], rest: memoryview) -> tuple[str, NDArray[np.float32], memoryview]:
    """A tensor's name and values, and the bytes that are left for those behind it."""
    entry = _table(entry, "an input")
    name, shape, parameters = entry.get("name"), entry.get("shape"), _parameters(entry)
    if not isinstance(name, str) or name not in inputs:
        raise UsageError(f"an input is called {str(name)[:60]!r} and must be {' or '.join(inputs)}")
    if entry.get("datatype") != "FP32":
        raise UsageError(f"the input {name} is {str(entry.get('datatype'))[:20]} and must be FP32")
    if not _is_shape(shape, inputs[name]):
        raise UsageError(f"the input {name} has the shape {str(shape)[:60]} and must have [N, {inputs[name]}]")
    size = parameters.get("binary_data_size")
    if size is None:
        return name, _numbers(entry.get("data"), name, shape), rest
    if not isinstance(size, int) or size != 4 * shape[0] * shape[1] or size > len(rest):
        raise UsageError(
            f"the input {name} has {str(size)[:20]} bytes of {len(rest)} and must have 4 for each of {shape}"
        )
    values = np.frombuffer(rest[:size], "<f4").reshape(shape).astype(np.float32)
    return name, values, rest[size:]


def _numbers(data: Any, name: str, shape: list[int]) -> NDArray[np.float32]:
    """The values of a list of numbers, which may be nested as the shape is."""
    try:
        values = np.asarray(_list(data, f"the data of {name}"))
        if values.dtype.kind not in "iuf" or values.shape not in {tuple(shape), (shape[0] * shape[1],)}:
            raise UsageError(f"the data of {name} must be numbers, as many as its shape {shape} says")
        with np.errstate(over="ignore"):  # what no float32 is becomes infinite, and is refused as such
            return values.astype(np.float32).reshape(shape)
    except (ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"the data of {name} must be a list of numbers, {shape}") from error


def _wants_bytes(said: Mapping[str, Any], output: str) -> bool:
    """Whether the one output is asked for as bytes: by itself, or else by the request."""
    binary = _parameters(said).get("binary_data_output", False)
    for one in _list(said.get("outputs") or [], "outputs"):
        entry = _table(one, "an output")
        if entry.get("name") != output:
            raise UsageError(f"an output is called {str(entry.get('name'))[:60]!r} and must be {output}")
        binary = _parameters(entry).get("binary_data", binary)
    if not isinstance(binary, bool):
        raise UsageError("binary_data and binary_data_output must be true or false")
    return binary


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = _table(entry.get("parameters") or {}, "parameters")
    for name in _REFUSED:
        if name in parameters:
            raise UsageError(f"the parameter {name} is not taken here: leave it out")
    return parameters


def _is_shape(shape: Any, width: int) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) == 2
        and all(isinstance(axis, int) and not isinstance(axis, bool) for axis in shape)
        and shape[0] >= 1
        and shape[1] == width
    )


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be a JSON object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{what} must be a list")
    return value
