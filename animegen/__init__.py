"""GAN image generators as one import: load a model file, name seeds, get uint8 images.

Importing this package is light: numpy and ONNX Runtime are imported when the first generator is loaded.

    >>> from animegen import Generator
    >>> with Generator.load() as generator:
    ...     images = generator.sample(64, seed=0)   # uint8 [64, 64, 64, 3]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from animegen.errors import (
    AnimegenError,
    DataError,
    DeviceError,
    MissingPackageError,
    ModelError,
    OutputError,
    UsageError,
)

if TYPE_CHECKING:
    from animegen.generator import Generator
    from animegen.model.card import ModelCard

__version__ = "0.1.0"

__all__ = [
    "AnimegenError",
    "DataError",
    "DeviceError",
    "Generator",
    "MissingPackageError",
    "ModelCard",
    "ModelError",
    "OutputError",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # PEP 562: what needs numpy is imported when it is first asked for.
    if name == "Generator":
        from animegen.generator import Generator

        return Generator
    if name == "ModelCard":
        from animegen.model.card import ModelCard

        return ModelCard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
