"""The weights that stand beside an ONNX file: which files they are, read off the graph without the onnx package.

A file names them by a location. Nothing but a file in the model's own folder is ever read for one: no absolute path, no
`..`, no link that leads out. ONNX Runtime's newer versions refuse those too, its older ones don't.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from animegen.errors import ModelError

# Where tensors stand in onnx.proto: for each message the numbers of the fields that lead to them, and to which message.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2  # of an entry, a StringStringEntryProto
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types
_DEEPEST = 100  # protobuf's own limit on messages within messages
_OWN_FORMAT = b"ORTM"  # at byte 4: a flatbuffer of ONNX Runtime, which keeps its weights inside


def weights_beside(model: bytes, path: Path | None) -> list[Path]:
    """The files that hold weights of the model at `path`, in the order of their locations. None: it has no file.

    Raises:
        ModelError: one isn't there, or isn't in the model's own folder.
    """
    try:
        locations = sorted(set(_locations(memoryview(model)))) if model[4:8] != _OWN_FORMAT else []
    except ValueError as error:
        raise ModelError(f"{path or 'the model'} is not an ONNX model that can be loaded: {error}") from error
    if locations and path is None:
        raise ModelError(f"the model has weights in {locations[0]!r}, beside its file: load it by its path")
    return [_own(path, location) for location in locations if path is not None]


def sha256_of(model: bytes, weights: list[Path]) -> str:
    """The sha256 of a model file, and where weights stand beside it, of its bytes and theirs in order."""
    digest = hashlib.sha256(model)
    for path in weights:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _own(model: Path, location: str) -> Path:
    path = model.parent / location
    try:
        # A cache of links keeps what they lead to in a folder of its own: that of the model's is its own as well.
        folders = {model.parent.resolve(), model.resolve().parent}
        inside = not Path(location).is_absolute() and ".." not in path.relative_to(model.parent).parts
        inside = inside and any(path.resolve().is_relative_to(folder) for folder in folders)
        there = inside and path.is_file()
    except (OSError, ValueError, RuntimeError):  # no name that a file can have, or a loop of links
        inside, there = False, False
    if not inside:
        raise ModelError(f"{model} has weights in {location!r} and must have them in its own folder: they aren't read")
    if not there:
        raise ModelError(f"{model} has weights in {location!r}, which isn't beside it: keep the two files together")
    return path


def _locations(data: memoryview, message: str = "model", depth: int = 0) -> Iterator[str]:
    """The location of each tensor that is not in the file itself."""
    if depth > _DEEPEST:
        raise ValueError("its graph is nested too deeply")
    known = _FIELDS[message]
    for number, value in _fields(data):
        if number not in known:
            continue
        if known[number] == "entry":
            entry = dict(_fields(value))
            if bytes(entry.get(_KEY, b"")) == b"location":
                yield str(bytes(entry.get(_VALUE, b"")), "utf-8", "surrogateescape")
        else:
            yield from _locations(value, known[number], depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that hold bytes, by their numbers; the others are skipped."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _varint(data, place)
            continue
        if kind == _BYTES:
            length, place = _varint(data, place)
        elif kind in {_EIGHT, _FOUR}:
            length = 8 if kind == _EIGHT else 4
        else:
            raise ValueError("it is no protobuf")
        if length > len(data) - place:
            raise ValueError("it is cut off, or no protobuf")
        if kind == _BYTES:
            yield tag >> 3, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("it is cut off, or no protobuf")
