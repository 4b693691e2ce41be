"""The files of a model, for whoever takes it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from animegen.runtime.weights import weights_beside


def model_files(model: Path, graph: str) -> Iterator[tuple[Path, Path]]:
    """The files of a model, each with its place elsewhere: the graph as `graph`, and the weights that stand beside it.

    The weights keep their names, as the graph knows them by these.

    Raises:
        ModelError: weights that aren't there, or aren't in the model's own folder.
    """
    yield model, Path(graph)
    for path in weights_beside(model.read_bytes(), model):
        yield path, path.relative_to(model.parent)
