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


def engine(name: str) -> str:
    """What computes a model, such as onnxruntime, with its version, and its wheel's name where that is another."""
    wheels = (name, *(f"{name}-{kind}" for kind in ("gpu", "openvino", "directml")))
    return next((f"{wheel} {found}" for wheel in wheels if (found := _version(wheel))), name)


def stamp() -> str:
    """The versions of all that decides on a picture's bytes beside its model, which the ETag names."""
    parts = [f"{name} {_version(name)}" for name in ("numpy", "pillow", "fpng", "av")]
    return ", ".join([f"animegen {__version__}", *parts])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
