"""What a site's config.json says: as the server's, and beside it what a browser needs to run the models itself."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from animegen.errors import ModelError
from animegen.generator import Generator
from animegen.model.catalog import is_shipped
from animegen.runtime.weights import weights_beside

# ONNX Runtime Web's tensors; half-precision ones want arrays that not every browser has.
_TYPES = {"float32", "float64", "int64", "int32", "bool"}
_OUTPUTS = {"tensor(uint8)", "tensor(float)", "tensor(double)"}
_LARGEST = 2**30  # bytes: WebAssembly has at most 4 GiB for the file, the weights and what lies between
_PROBES = 128  # about so many values of an image tell right pictures from those of a faulty graphics card

LIMITS = {"images": 256, "frames": 600, "pixels": 2**25}  # of one saved file: what a phone's browser can hold


def model_files(path: Path) -> dict[str, bytes]:
    """A model's file and the weights that stand beside it, by the names that the graph knows them by.

    Raises:
        ModelError: too large for a browser, or weights that aren't there.
    """
    data = path.read_bytes()
    files = {path.name: data}
    files |= {beside.relative_to(path.parent).as_posix(): beside.read_bytes() for beside in weights_beside(data, path)}
    size = sum(map(len, files.values()))
    if size > _LARGEST:
        raise ModelError(f"{path} has {size / 1e6:,.0f} MB and must have at most {_LARGEST / 1e6:,.0f} for a browser")
    return files


def entry(path: str, data: bytes, **more: Any) -> dict[str, Any]:
    """A file of the site as config.json lists it, so that the page can tell it from another."""
    return {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **more}


def facts(generator: Generator, files: list[dict[str, Any]]) -> dict[str, Any]:
    """What config.json says of a model, whose `files` are listed as by `entry`.

    Raises:
        ModelError: the model has tensors that a browser has no arrays for.
    """
    card = generator.card
    image = generator.sample(1, seed=0).reshape(-1)
    step = max(1, len(image) // _PROBES) | 1
    step += 2 * (step % 3 == 0)  # so that all channels and columns are among them
    return {
        "name": card.name,
        "sha256": generator.sha256,
        "z_dim": card.z_dim,
        "image_shape": list(card.image_shape),
        "directions": len(card.directions),
        "labels": [
            {
                "name": group.name,
                "classes": list(group.classes),
                "counts": list(group.counts),
                "unknown": group.unknown,
            }
            for group in generator.labels
        ],
        "licence": card.licence,
        "device": "browser",
        "engine": "onnxruntime-web",
        "shipped": is_shipped(card.name, generator.sha256),
        "megabytes": round(sum(file["bytes"] for file in files) / 1e6, 1),
        "card": {key: value for key, value in card.to_json().items() if key != "directions"},
        "files": files,
        "vectors": [_as_read(vector) for vector in card.directions],
        "graph": _graph(generator),
        "probe": {"step": step, "values": image[::step].tolist()},
    }


def _as_read(vector: tuple[float, ...]) -> list[float]:
    """The float32 values of a direction, in as few digits as tell them apart."""
    return [float(str(value)) for value in np.array(vector, np.float32)]


def _graph(generator: Generator) -> dict[str, Any]:
    """How the graph takes latents and labels and gives images."""
    signature, name = generator.signature, generator.card.name
    labels = signature.labels
    output = generator.session.outputs[signature.output]
    if output.dtype not in _OUTPUTS:
        raise ModelError(f"{name} gives {output.dtype} and must give uint8, float or double for a browser")
    return {
        "input": _tensor(name, signature.input, signature.dtype, signature.z_shape),
        "output": output.name,
        "layout": signature.layout,
        "range": signature.range,
        "batch": signature.batch,
        "labels": labels
        and {**_tensor(name, labels.name, labels.dtype, labels.shape), "numbers": labels.takes_numbers},
        "constants": [
            {**_tensor(name, one.name, one.dtype, one.shape), "value": one.value} for one in signature.constants
        ],
    }


def _tensor(model: str, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> dict[str, Any]:
    kind = np.dtype(dtype).name
    if kind not in _TYPES:
        raise ModelError(
            f"{model} takes {name} as {kind} and must take one of {', '.join(sorted(_TYPES))} for a browser: "
            "export it so, or serve it with animegen serve"
        )
    return {"name": name, "type": kind, "shape": list(shape)}
