"""Pictures as bytes, fast: a PNG by fpng where it can, and else as the library encodes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from animegen import __version__
from animegen.images.stills import Images, encode

try:
    from fpng import from_ndarray
except ImportError:  # it has wheels for the usual systems only
    from_ndarray = None

MEDIA_TYPES = {
    "png": "image/png",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "mp4": "video/mp4",
}


def still(image: Images, form: str, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of uint8 [H, W, C]. A PNG of 64×64 without metadata takes 16 µs instead of 300.

    fpng writes RGB and RGBA only; of one channel it makes a file that nothing reads.
    """
    if form == "png" and metadata is None and from_ndarray is not None and image.shape[-1] in {3, 4}:
        return bytes(from_ndarray(np.ascontiguousarray(image)))
    return encode(image, form, metadata=metadata)


def engine() -> str:
    """The installed ONNX Runtime with its version, and its wheel's name if that is not the usual one."""
    return next((f"{name} {found}" for name in _ENGINES if (found := _version(name))), "onnxruntime")


def stamp() -> str:
    """The versions of all that decides on a picture's bytes, which its ETag names."""
    parts = [f"{name} {_version(name)}" for name in ("numpy", "pillow", "fpng", "av")]
    return ", ".join([f"animegen {__version__}", engine(), *parts])


_ENGINES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
