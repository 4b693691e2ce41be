"""What each route may be asked: the parameters of a query, their rules, and their place in the schema.

FastAPI would read the same models by itself, and take 70 µs of a request for it; read here they take a tenth of that.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from animegen.points import MOST_TOWARD
from animegen.seeds import LARGEST

Seed = Annotated[int, Field(ge=0, le=LARGEST)]
Still = Literal["png", "webp", "jpg"]
_IN_PATH: dict[str, Any] = {"in": "path"}
Mode = Literal["slerp", "lerp"]
Asked = TypeVar("Asked", bound="PictureQuery")
_SHARE = r"^\s*\d{1,12}\s*:\s*[-+.\deE]{1,24}\s*$"


class PictureQuery(BaseModel):
    """What every picture may be asked with; an unknown parameter is refused, as it is mostly a misspelt one."""

    model_config = ConfigDict(extra="forbid")

    form: str = Field(..., description="The picture's format.", json_schema_extra=_IN_PATH)
    model: str | None = Field(None, max_length=200, description="The model's name; without it the first one's.")
    v: str | None = Field(
        None,
        max_length=64,
        description="The first 12 digits of the model file's sha256: the answer then never changes.",
    )
    truncation: float = Field(1.0, ge=0, le=1, description="ψ: less than 1 gives shorter latents.")
    label: list[str] = Field(
        default_factory=list, max_length=64, description="GROUP=CLASS or a mix GROUP=A:0.7+B:0.3; once for each group."
    )
    scale: int = Field(1, ge=1, le=16, description="Enlarge it so many times.")
    download: bool = Field(False, description="As a file with a name, which says how it was made.")


class ImageQuery(PictureQuery):
    """One image."""

    form: Still = Field(..., description="The picture's format.", json_schema_extra=_IN_PATH)
    seed: Seed = Field(..., description="The image's name.", json_schema_extra=_IN_PATH)
    toward: list[Annotated[str, Field(pattern=_SHARE)]] = Field(
        default_factory=list,
        max_length=MOST_TOWARD,
        description="SEED:SHARE, which it is brought towards; one after another.",
    )
    mode: Mode = Field("slerp", description="How it is brought there.")
    move: list[Annotated[str, Field(pattern=_SHARE)]] = Field(
        default_factory=list, max_length=512, description="DIRECTION:LENGTH, once for each direction."
    )


class SeedsQuery(PictureQuery):
    """Several seeds: named one by one, or so many from one on."""

    seeds: str | None = Field(None, max_length=8000, pattern=r"^[\d\s,-]+$", description="Such as 0-31,77.")
    seed: Seed | None = Field(None, description="The first of them. 0 without it.")


class GridQuery(SeedsQuery):
    """A grid."""

    form: Still = Field(..., description="The picture's format.", json_schema_extra=_IN_PATH)
    n: int | None = Field(None, ge=1, description="How many. 64 without it.")
    columns: int | None = Field(None, ge=1, description="As square as can be without it.")
    captions: bool = Field(False, description="The seed under each image.")


class MotionQuery(PictureQuery):
    """What moves."""

    fps: float = Field(24.0, gt=0, le=1000, description="Frames a second, of an animation.")


class InterpolateQuery(MotionQuery):
    """The way from one seed's image to another's."""

    form: Literal["png", "jpg", "webp", "gif", "mp4"] = Field(
        ..., description="png and jpg are a row, the others go there and back.", json_schema_extra=_IN_PATH
    )
    a: Seed = Field(..., description="The first image's seed.")
    b: Seed = Field(..., description="The last image's seed.")
    steps: int = Field(8, ge=2, description="Images on the way, both ends included.")
    mode: Mode = Field("slerp")
    label_a: list[str] = Field(
        default_factory=list, max_length=64, description="As label, of the first image, over label."
    )
    label_b: list[str] = Field(
        default_factory=list, max_length=64, description="As label, of the last image, over label."
    )
    fps: float = Field(12.0, gt=0, le=1000, description="Frames a second, of an animation.")


class WalkQuery(MotionQuery, SeedsQuery):
    """An endless animation."""

    form: Literal["webp", "gif", "mp4"] = Field(..., description="The format.", json_schema_extra=_IN_PATH)
    stops: int | None = Field(None, ge=2, description="How many seeds it passes. 6 without it.")
    frames: int = Field(144, ge=2, description="Of the whole loop.")


class EditQuery(ImageQuery):
    """One image moved along directions."""

    seed: Seed = Field(0, description="The image to change.")
    direction: int | None = Field(None, ge=0, description="Its number. A row for each without it.")
    span: str = Field(
        "-3:3",
        alias="range",
        pattern=r"^[-+]?(\d+\.?\d*|\.\d+):[-+]?(\d+\.?\d*|\.\d+)$",
        max_length=40,
        description="How far to move it, in latent space.",
    )
    steps: int = Field(7, ge=2, description="Images in a row, both ends included.")


class SheetQuery(SeedsQuery):
    """One face in all classes of groups of labels."""

    form: Still = Field(..., description="The picture's format.", json_schema_extra=_IN_PATH)
    rows: str = Field(..., min_length=1, max_length=200, description="The group of labels that is the rows.")
    columns: str | None = Field(None, max_length=200, description="That of the columns. One for each seed without it.")
    n: int | None = Field(None, ge=1, description="Columns where columns is not given. 8 without it.")


def read(kind: type[Asked], request: Request) -> Asked:
    """What a request asks for in its path and its query, checked.

    Raises:
        RequestValidationError: it breaks a rule, which becomes 422.
    """
    given: dict[str, Any] = dict(request.scope["path_params"])
    if request.scope["query_string"]:
        lists, parameters = _lists(kind), request.query_params
        for name in parameters:
            # What stands in the path is no parameter of the query.
            own = f"{name} of the query" if name in request.scope["path_params"] else name
            given[own] = parameters.getlist(name) if name in lists else parameters[name]
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_context=False)) from error


@cache
def _lists(kind: type[BaseModel]) -> set[str]:
    return {name for name, field in kind.model_fields.items() if get_origin(field.annotation) is list}


def schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The parameters as OpenAPI has them."""
    whole = kind.model_json_schema()
    required = whole.get("required", ())
    return {"parameters": [_parameter(name, rule, name in required) for name, rule in whole["properties"].items()]}


def _parameter(name: str, rule: dict[str, Any], required: bool) -> dict[str, Any]:
    rule = {key: value for key, value in rule.items() if key not in {"title", "default"} or value is not None}
    description, place = rule.pop("description", None), rule.pop("in", "query")
    if kinds := [kind for kind in rule.pop("anyOf", ()) if kind != {"type": "null"}]:
        rule |= kinds[0]  # what may be left out is no null in a query
    parameter = {"name": name, "in": place, "required": required, "schema": rule}
    return parameter if description is None else {**parameter, "description": description}
