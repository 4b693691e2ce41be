"""The generators that a server answers from, and what it says of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from animegen.errors import UsageError
from animegen.generator import Generator
from animegen.model.catalog import is_shipped
from animegen.runtime.machine import processor
from animegen.server.encoders import engine
from animegen.server.problems import Problem


@dataclass(frozen=True)
class Served:
    """One generator under the name that requests choose it by."""

    name: str
    generator: Generator

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image as an array: height, width and channels."""
        channels, height, width = self.generator.card.image_shape
        return height, width, channels

    @cached_property
    def sha256(self) -> str:
        """Of the model file."""
        return self.generator.sha256

    @cached_property
    def stamp(self) -> str:
        """Of all that decides on its images: the file and its use, what computes it, and where.

        A CPU is named, as another kind of it may round otherwise; of a GPU, whether it computes in fp16.
        """
        session, use = self.generator.session, self.generator.signature.describe()
        where = processor() if session.device == "cpu" else "fp16" if session.is_half else ""
        return f"{self.sha256} {use} {engine(session.engine)} {session.device} {where}"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """All that a page or another client needs to know of it."""
        generator, card = self.generator, self.generator.card
        return {
            "name": self.name,
            "sha256": self.sha256,
            "z_dim": card.z_dim,
            "image_shape": list(card.image_shape),
            "directions": len(card.directions),
            "labels": [{"name": group.name, "classes": list(group.classes)} for group in generator.labels],
            "licence": card.licence,
            "device": generator.device,
            "engine": generator.engine,
            "shipped": is_shipped(card.name, self.sha256),
            "megabytes": round(generator.session.nbytes / 1e6, 1),
            "card": {key: value for key, value in card.to_json().items() if key != "directions"},
        }


class Models:
    """The served generators by name; the first is meant where none is named."""

    def __init__(self, generators: Generator | Mapping[str, Generator]) -> None:
        if isinstance(generators, Generator):
            generators = {generators.card.name: generators}
        if not generators:
            raise UsageError("a server has no models and must have at least one")
        self._served = {name: Served(name, generator) for name, generator in generators.items()}
        self.default = next(iter(self._served.values()))

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    def choose(self, name: str | None) -> Served:
        """The model of that name.

        Raises:
            Problem: 404, with the names that there are.
        """
        if name is None:
            return self.default
        try:
            return self._served[name]
        except KeyError:
            known = ", ".join(self._served)
            raise Problem(404, f"there is no model {name[:60]!r}: there are {known}") from None
