"""GAN image generators as one import: load a model file, name seeds, get uint8 images.

    >>> from animegen import Generator, grid, save_image
    >>> with Generator.load() as generator:
    ...     images = generator.sample(64, seed=0)   # uint8 [64, 64, 64, 3]
    >>> save_image(grid(images), "grid.png")        # doctest: +SKIP

- To make images: `Generator`, `Seeds`, `latents`, `find_model`, `shipped_models`, `ModelCard`, `Overrides`,
  `CudaOptions`.
- To keep them: `grid`, `table`, `save_image`, `encode`, `save_animation`, `open_sink`; `read_metadata` of what was
  kept.
- To measure them: `fid`, `measure`, `evaluate`, `search`, `open_images`, `ImageSet`, `Extractor`, `Reference`.
- To follow long work: `report_progress`; notices go to the logger `animegen`.
- Errors: `AnimegenError` and its kinds.

Importing this package is light: a name's module, and numpy and ONNX Runtime with it, is imported at its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from animegen import latents
    from animegen.errors import (
        AnimegenError,
        DataError,
        DeviceError,
        MissingPackageError,
        ModelError,
        OutputError,
        UsageError,
    )
    from animegen.generator import Generator
    from animegen.images.animation import save_animation
    from animegen.images.metadata import read_metadata
    from animegen.images.sets import ImageSet, open_images
    from animegen.images.sinks import open_sink
    from animegen.images.stills import encode, grid, save_image, table
    from animegen.model.card import ModelCard
    from animegen.model.catalog import find_model, shipped_models
    from animegen.model.foreign import Overrides
    from animegen.progress import report_progress
    from animegen.quality.evaluation import evaluate
    from animegen.quality.extractors import Extractor
    from animegen.quality.fid import fid
    from animegen.quality.measure import measure
    from animegen.quality.reference import Reference
    from animegen.quality.search import search
    from animegen.runtime import CudaOptions
    from animegen.seeds import Seeds

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 (as people look a name up: whatever its case)
    "__version__",
    "AnimegenError",
    "CudaOptions",
    "DataError",
    "DeviceError",
    "encode",
    "evaluate",
    "Extractor",
    "fid",
    "find_model",
    "Generator",
    "grid",
    "ImageSet",
    "latents",
    "measure",
    "MissingPackageError",
    "ModelCard",
    "ModelError",
    "open_images",
    "open_sink",
    "OutputError",
    "Overrides",
    "read_metadata",
    "Reference",
    "report_progress",
    "save_animation",
    "save_image",
    "search",
    "Seeds",
    "shipped_models",
    "table",
    "UsageError",
]

_MODULES = {
    "AnimegenError": "animegen.errors",
    "CudaOptions": "animegen.runtime",
    "DataError": "animegen.errors",
    "DeviceError": "animegen.errors",
    "encode": "animegen.images.stills",
    "evaluate": "animegen.quality.evaluation",
    "Extractor": "animegen.quality.extractors",
    "fid": "animegen.quality.fid",
    "find_model": "animegen.model.catalog",
    "Generator": "animegen.generator",
    "grid": "animegen.images.stills",
    "ImageSet": "animegen.images.sets",
    "latents": "animegen.latents",
    "measure": "animegen.quality.measure",
    "MissingPackageError": "animegen.errors",
    "ModelCard": "animegen.model.card",
    "ModelError": "animegen.errors",
    "open_images": "animegen.images.sets",
    "open_sink": "animegen.images.sinks",
    "OutputError": "animegen.errors",
    "Overrides": "animegen.model.foreign",
    "read_metadata": "animegen.images.metadata",
    "Reference": "animegen.quality.reference",
    "report_progress": "animegen.progress",
    "save_animation": "animegen.images.animation",
    "save_image": "animegen.images.stills",
    "search": "animegen.quality.search",
    "Seeds": "animegen.seeds",
    "shipped_models": "animegen.model.catalog",
    "table": "animegen.images.stills",
    "UsageError": "animegen.errors",
}


if not TYPE_CHECKING:  # a type checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        """What a public name stands for, imported when it is first asked for (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(_MODULES[name])
        public = module if _MODULES[name] == f"{__name__}.{name}" else getattr(module, name)
        globals()[name] = public
        return public


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name not in __all__)]
