"""What a model file says of itself: the `animegen.*` strings in its ONNX metadata, as one checked record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any

from animegen.errors import ModelError
from animegen.labels import LabelGroup

FORMAT_VERSION = 2  # the newest that is read; a model without labels is written as 1, which older versions read too
LATENT_LAW = "standard_normal"  # numpy.random.RandomState(seed).standard_normal(z_dim) as float32
_PREFIX = "animegen."
_RULES = {
    "z_dim": "a positive whole number",
    "image_shape": "three positive whole numbers: channels, height and width",
    "latent_law": LATENT_LAW,
    "name": "a text with at least one character",
    "earlier": "a list of tables",
    "directions": "a list of vectors with z_dim numbers each",
    "labels": "a list of groups, each with a name, two or more classes and a count of each",
}


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The facts of one generator. In the file each field is a JSON value under `animegen.<field>`.

    Attributes:
        name: the model's own name, such as `anime-face-64`.
        z_dim: the number of latent values an image is made from.
        image_shape: channels, height and width.
        objective: what it was trained with, such as `wgan-gp`.
        recipe: the whole configuration of the run.
        steps: generator steps trained, those of `earlier` runs included, as in the two below.
        images_seen: real images that the critic saw, repeats counted.
        training_minutes: time spent training, over all sessions.
        data: name, image count, resize rule and sha256 of the training data.
        licence: who may use the model, and how.
        provenance: where the training pictures come from.
        code_revision: the commit that trained it.
        checkpoint_sha256: of the checkpoint file it was exported from.
        parity: how far ONNX Runtime and torch are apart, measured at export.
        quality: measured figures with their protocol; empty when nothing was measured.
        earlier: the runs that it started from, oldest first: each one's steps, the images seen by its end, its data and
            commit, and how its recipe differs, as `key: its value → the value in recipe`.
        directions: unit vectors in latent space along which images change most, strongest first.
        labels: the groups of labels that it takes beside the latent, in their order in the graph's input.
        latent_law: how a seed becomes a latent.
        format_version: of this card: 2 with labels, 1 without, 0 for a foreign model.
        other: what else the file says, by keys that this version gives no meaning to; shown and kept as it is.
    """

    name: str
    z_dim: int
    image_shape: tuple[int, int, int]
    objective: str
    recipe: Mapping[str, Any]
    steps: int
    images_seen: int
    training_minutes: float
    data: Mapping[str, Any]
    licence: str
    provenance: str
    code_revision: str
    checkpoint_sha256: str
    parity: Mapping[str, Any]
    quality: Mapping[str, Any] = field(default_factory=dict)
    earlier: tuple[Mapping[str, Any], ...] = ()
    directions: tuple[tuple[float, ...], ...] = ()
    labels: tuple[LabelGroup, ...] = ()
    latent_law: str = LATENT_LAW
    format_version: int = 1
    other: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labels and self.format_version == 1:
            object.__setattr__(self, "format_version", 2)

    @classmethod
    def of_foreign(
        cls, name: str, z_dim: int, image_shape: tuple[int, int, int], labels: tuple[LabelGroup, ...] = ()
    ) -> ModelCard:
        """A card for a model that has none: what the graph shows, and nothing else. Its format version is 0."""
        return cls(
            name=name,
            z_dim=z_dim,
            image_shape=image_shape,
            objective="unknown",
            recipe={},
            steps=0,
            images_seen=0,
            training_minutes=0.0,
            data={},
            licence="unknown",
            provenance="A foreign model without an animegen card.",
            code_revision="unknown",
            checkpoint_sha256="",
            parity={},
            labels=labels,
            format_version=0,
        )

    @staticmethod
    def is_in(metadata: Mapping[str, str]) -> bool:
        """Whether a model file's metadata holds a card, of whatever version."""
        return any(key.startswith(_PREFIX) for key in metadata)

    def to_metadata(self) -> dict[str, str]:
        """The strings that export writes into the model file."""
        return {_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in self.to_json().items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, origin: str) -> ModelCard:
        """Read and check the strings of a model file; `origin` names it in errors. Unknown keys go to `other`.

        Raises:
            ModelError: no card, a card of a newer version, or one with a missing or wrong value.
        """
        strings = {key.removeprefix(_PREFIX): text for key, text in metadata.items() if key.startswith(_PREFIX)}
        if not strings:
            raise ModelError(
                f"{origin} is an ONNX model without an animegen card: export it with python -m train export"
            )
        try:
            values = {key: json.loads(text) for key, text in strings.items()}
        except json.JSONDecodeError as error:
            raise ModelError(f"{origin} has a card that is not JSON ({error}): export it again") from error
        version = values.get("format_version")
        if not isinstance(version, int) or version < 1:
            raise ModelError(
                f"{origin} has a card whose format version is {version!r} and must be 1 or 2: export it again"
            )
        if version > FORMAT_VERSION:
            raise ModelError(
                f"{origin} has a card of format version {version}, and this animegen reads up to {FORMAT_VERSION}: "
                "upgrade animegen"
            )
        known = {entry.name for entry in fields(cls)} - {"other"}
        missing = {entry.name for entry in fields(cls) if _is_required(entry)} - values.keys()
        if missing:
            raise ModelError(f"{origin} has a card without {', '.join(sorted(missing))}: export it again")
        shape, directions = values["image_shape"], values.get("directions", [])
        right = {
            "z_dim": _is_count(values["z_dim"]),
            "image_shape": isinstance(shape, list) and len(shape) == 3 and all(map(_is_count, shape)),
            "latent_law": values.get("latent_law", LATENT_LAW) == LATENT_LAW,
            "name": isinstance(values["name"], str) and values["name"] != "",
            "earlier": _is_history(values.get("earlier", [])),
            "directions": isinstance(directions, list) and all(_is_vector(v, values["z_dim"]) for v in directions),
            "labels": _are_groups(values.get("labels", [])),
        }
        wrong = [f"{key} is {repr(values[key])[:80]} and must be {_RULES[key]}" for key in right if not right[key]]
        if wrong:
            raise ModelError(f"{origin} has a card whose {', whose '.join(wrong)}: export it again")
        values["image_shape"] = tuple(shape)
        values["earlier"] = tuple(values.get("earlier", ()))
        values["directions"] = tuple(map(tuple, directions))
        values["labels"] = tuple(
            LabelGroup(group["name"], tuple(group["classes"]), tuple(group["counts"]), group.get("unknown", 0))
            for group in values.get("labels", ())
        )
        other = {key: value for key, value in values.items() if key not in known}
        return cls(**{key: value for key, value in values.items() if key in known}, other=other)

    def to_json(self) -> dict[str, Any]:
        """The card as plain values, for `--json`: what else the file says stands beside the rest."""
        values: dict[str, Any] = asdict(self)
        other: dict[str, Any] = values.pop("other")
        if not self.labels:
            del values["labels"]  # so that a file of format 1 is what it was
        for group in values.get("labels", ()):
            if not group["unknown"]:
                del group["unknown"]
        return values | other

    def rows(self) -> list[tuple[str, str]]:
        """Every value as a dotted key and a text, in the card's order."""
        return list(_rows(self.to_json()))

    def to_markdown(self) -> str:
        """The card as a page for people."""
        lines = [
            f"# {self.name}",
            "",
            self.provenance,
            "",
            f"Licence: {self.licence}",
            "",
            "| fact | value |",
            "|---|---|",
        ]
        shown = {"name", "provenance", "licence"}
        lines += [f"| {key} | {value.replace('|', chr(92) + '|')} |" for key, value in self.rows() if key not in shown]
        return "\n".join(lines) + "\n"


def _rows(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            if value:
                yield from _rows(value, f"{prefix}{key}.")
            else:
                yield prefix + key, "not measured"
        elif key == "directions":
            yield prefix + key, str(len(value))
        elif key == "labels" and not prefix:
            yield from ((f"{key}.{group['name']}", _counted(group)) for group in value)
        elif key == "earlier" or (value and _is_history(value)):
            for k, run in enumerate(value):
                yield from _rows(run, f"{prefix}{key}.{k}.")
        elif isinstance(value, list | tuple):
            yield prefix + key, "×".join(map(str, value)) if key == "image_shape" else ", ".join(map(str, value))
        else:
            yield prefix + key, str(value)


def _counted(group: Mapping[str, Any]) -> str:
    """The classes of a group, with how often each was seen in training."""
    counted = [*zip(group["classes"], group["counts"], strict=True)]
    if "unknown" in group:
        counted.append(("of unknown class", group["unknown"]))
    return ", ".join(f"{name} ({count:,})" for name, count in counted)


def _are_groups(value: Any) -> bool:
    """Whether these are groups of labels, of different names."""
    return (
        isinstance(value, list)
        and all(isinstance(group, dict) and _is_group(**group) for group in value)
        and len({group["name"] for group in value}) == len(value)
    )


def _is_group(name: Any = "", classes: Any = (), counts: Any = (), unknown: Any = 0, **_newer: Any) -> bool:
    """Whether a group has a name, two classes or more, counts of them that aren't all 0, and one of unknown ones."""
    return (
        isinstance(name, str)
        and name != ""
        and isinstance(classes, list)
        and isinstance(counts, list)
        and all(isinstance(known, str) and known for known in classes)
        and len(set(classes)) == len(classes) == len(counts) >= 2
        and all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in (*counts, unknown))
        and sum(counts) > 0
    )


def _is_required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _is_vector(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(isinstance(x, int | float) for x in value)


def _is_history(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(record, dict) for record in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
