"""A model as a folder of a Triton Inference Server's model repository: its graph, and how Triton is to serve it.

Triton knows nothing of seeds and pictures: a client sends latents, and labels where the model takes them, and gets the
graph's own output, of the file format's models uint8 [N, C, H, W].
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

from animegen import __version__
from animegen.deploy.files import model_files
from animegen.errors import ModelError, UsageError
from animegen.files import check_parent, make_folder, replacing_folder
from animegen.generator import Generator
from animegen.model import catalog
from animegen.model.foreign import Overrides
from animegen.runtime import Tensor
from animegen.runtime.devices import CUDA_BUCKETS
from animegen.seeds import whole_number

_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(double)": "TYPE_FP64",
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(uint8)": "TYPE_UINT8",
}
_LARGEST_BATCH = 2**16
_NAME_LENGTH = 100


@dataclass(frozen=True)
class _Port:
    """An input or output as Triton sees it. `shape` has −1 for a free axis, and the batch first."""

    name: str
    type: str
    shape: tuple[int, ...]


def export(
    model: str | Path,
    repository: str | Path,
    *,
    name: str | None = None,
    max_batch_size: SupportsIndex = CUDA_BUCKETS[-1],
    overrides: Overrides | None = None,
) -> Path:
    """Add a model to a Triton repository, which is made if it isn't there; returns the model's folder.

    `model` and `overrides` are as in `Generator.load`. The folder has the model's name or `name`, and holds
    `config.pbtxt` and `1/model.onnx`, with the weights that stand beside it.

    Raises:
        UsageError: a name that no folder of a repository can have, or a batch outside of 1 … 65,536.
        ModelError: no such model, or a graph that Triton can't be told of.
        OutputError: the repository holds a model of this name, or it can't be written.
    """
    most = whole_number("max_batch_size", max_batch_size, 1, _LARGEST_BATCH)
    path, repository = catalog.find_model(model), Path(repository)
    with Generator.load(path, device="cpu", threads=1, overrides=overrides) as generator:
        name = check_name(generator.card.name if name is None else name)
        text = config(generator, name, max_batch_size=most)
    check_parent(repository)
    make_folder(repository)
    with replacing_folder(repository / name) as folder:
        (folder / "1").mkdir()
        for file, place in model_files(path, "model.onnx"):
            (folder / "1" / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / "1" / place)
        (folder / "config.pbtxt").write_text(text, encoding="utf-8", newline="\n")
    return repository / name


def check_name(name: str) -> str:
    """Return a model's name as a folder and an address can bear it.

    Raises:
        UsageError: it has other signs, or is too long.
    """
    if len(name) > _NAME_LENGTH or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name, re.ASCII):
        raise UsageError(
            f"the model's name is {name[:_NAME_LENGTH]!r} and must be letters, digits, '_', '-' and '.', at most "
            f"{_NAME_LENGTH} and no '.' or '-' first: give it one with --name"
        )
    return name


def config(generator: Generator, name: str, *, max_batch_size: int = CUDA_BUCKETS[-1]) -> str:
    """The text of `config.pbtxt`: a ModelConfig in protobuf's text form.

    Where the graph takes batches of any size Triton forms them, and each size that CUDA plans for is warmed up; else it
    passes each request on as it comes.

    Raises:
        ModelError: an input of a type or a size that Triton has no word for.
    """
    inputs = [_port(tensor, generator) for tensor in generator.session.inputs]
    output = generator.session.outputs[generator.signature.output]
    ports = [*inputs, _Port(output.name, _type(output), (_batch(output), *_image_axes(generator)))]
    batches = all(port.shape[:1] == (-1,) for port in ports)
    most = max_batch_size if batches else 0
    warm = [size for size in CUDA_BUCKETS if size <= most] or [max(1, most)]
    lines = [
        *(f"# {line}" for line in _notes(generator)),
        f"name: {_quoted(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {most}",
        *(_declared("input", port, batches=batches) for port in inputs),
        _declared("output", ports[-1], batches=batches),
        *(_dynamic_batching([size for size in warm if size > 1]) if batches else []),
        # The place where it runs is Triton's to choose: a GPU where it has one.
        "instance_group [ { count: 1 kind: KIND_AUTO } ]",
        *(_warm_up(size, inputs, batches=batches) for size in warm),
        *(
            f"parameters {{ key: {_quoted(f'animegen.{key}')} value {{ string_value: {_quoted(value)} }} }}"
            for key, value in {"version": __version__, "sha256": generator.sha256}.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _notes(generator: Generator) -> Iterator[str]:
    """What a client must know, for the person who reads the file."""
    card, signature = generator.card, generator.signature
    yield f"Made by animegen {__version__}. A seed's {signature.input} is, as {signature.dtype.__name__},"
    yield f"numpy.random.RandomState(seed).standard_normal({card.z_dim})."
    yield f"The images are {signature.layout.upper()}, {signature.range or 'uint8'}, and no picture files."
    if signature.labels is not None:
        unit = "the class's number" if signature.labels.takes_numbers else "1 for the class, or a mix, and 0 for others"
        yield f"{_quoted(signature.labels.name)[1:-1]} are {unit}:"
        yield from (
            f"  {_quoted(group.name)}: {', '.join(_quoted(known) for known in group.classes)}"
            for group in generator.labels
        )
    for constant in signature.constants:
        yield f"{_quoted(constant.name)[1:-1]} was {constant.value:g} for all images."


def _port(tensor: Tensor, generator: Generator) -> _Port:
    axes = tensor.shape[1:]
    if tensor.name == generator.signature.input:
        axes = generator.signature.z_shape
    elif generator.signature.labels is not None and tensor.name == generator.signature.labels.name:
        axes = generator.signature.labels.shape
    sizes = tuple(axis if isinstance(axis, int) else -1 for axis in axes)
    if 0 in sizes or tensor.shape[:1] == (0,):
        raise ModelError(
            f"{generator.card.name} takes {tensor.name}, which has no values, and Triton needs some in each input: "
            "export the model without it"
        )
    return _Port(tensor.name, _type(tensor), (_batch(tensor), *sizes) if tensor.shape else ())


def _image_axes(generator: Generator) -> tuple[int, int, int]:
    channels, height, width = generator.card.image_shape
    return (channels, height, width) if generator.signature.layout == "nchw" else (height, width, channels)


def _batch(tensor: Tensor) -> int:
    first = tensor.shape[0] if tensor.shape else 1
    return first if isinstance(first, int) else -1


def _type(tensor: Tensor) -> str:
    if tensor.dtype not in _TYPES:
        raise ModelError(
            f"{tensor.name} is {tensor.dtype} and must be of a type that this version exports: "
            f"{', '.join(sorted(_TYPES))}"
        )
    return _TYPES[tensor.dtype]


def _declared(kind: str, port: _Port, *, batches: bool) -> str:
    """An input or output. A batch stands before `dims` unsaid, and `dims` may not be empty."""
    shape = port.shape[1:] if batches else port.shape
    dims = f"dims: [ {_numbers(shape or (1,))} ]" + ("" if shape else " reshape { shape: [ ] }")
    return f"{kind} [ {{ name: {_quoted(port.name)} data_type: {port.type} {dims} }} ]"


def _dynamic_batching(sizes: Sequence[int]) -> Iterator[str]:
    """Batches of the sizes that CUDA plans for; a bounded queue that refuses what would come too late."""
    yield "dynamic_batching {"
    if sizes:
        yield f"  preferred_batch_size: [ {_numbers(sizes)} ]"
    yield "  max_queue_delay_microseconds: 5000"
    yield "  default_queue_policy {"
    yield "    timeout_action: REJECT"
    yield "    default_timeout_microseconds: 2000000"
    yield "    max_queue_size: 4096"
    yield "  }"
    yield "}"


def _warm_up(size: int, inputs: Sequence[_Port], *, batches: bool) -> str:
    zeros = []
    for port in inputs:
        shape = [1 if axis < 0 else axis for axis in (port.shape[1:] if batches else port.shape)] or [1]
        zeros.append(
            f"inputs {{ key: {_quoted(port.name)} "
            f"value {{ data_type: {port.type} dims: [ {_numbers(shape)} ] zero_data: true }} }}"
        )
    return f'model_warmup [ {{ name: "batch of {size}" batch_size: {size} {" ".join(zeros)} }} ]'


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _quoted(text: str) -> str:
    """A text as protobuf quotes it: every byte of UTF-8 that is no plain sign as its number in octal."""
    plain = set(range(32, 127)) - {ord('"'), ord("\\")}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
