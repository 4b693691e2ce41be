"""The card in a model file's metadata."""

from __future__ import annotations

import json

import pytest
from conftest import tiny_card
from hypothesis import given, settings
from hypothesis import strategies as st

from animegen import ModelCard, ModelError

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30)
@given(TEXT.filter(bool), st.dictionaries(TEXT, JSON, max_size=4), st.tuples(*[st.integers(1, 512)] * 3))
def test_metadata_brings_a_card_back(name: str, recipe: dict[str, object], shape: tuple[int, int, int]) -> None:
    card = tiny_card(name=name, recipe=recipe, image_shape=shape)
    metadata = card.to_metadata()
    assert all(key.startswith("animegen.") and isinstance(value, str) for key, value in metadata.items())
    assert ModelCard.from_metadata({**metadata, "other": "left alone"}, origin="x") == card


def test_what_has_a_default_may_be_missing() -> None:
    metadata = tiny_card().to_metadata()
    for key in ("quality", "directions", "latent_law"):
        del metadata[f"animegen.{key}"]
    assert ModelCard.from_metadata(metadata, origin="x") == tiny_card()


def changed(key: str, text: str | None) -> dict[str, str]:
    metadata = tiny_card().to_metadata()
    if text is None:
        del metadata[f"animegen.{key}"]
    else:
        metadata[f"animegen.{key}"] = text
    return metadata


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "without an animegen card"),
        ({"producer": "someone else"}, "without an animegen card"),
        (changed("format_version", "3"), "upgrade animegen"),
        (changed("format_version", '"one"'), "format version is 'one'"),
        (changed("format_version", None), "format version is None"),
        (changed("steps", None), "without steps"),
        (changed("name", "{"), "not JSON"),
        (changed("z_dim", "0"), "z_dim is 0 and must be a positive whole number"),
        (changed("z_dim", "true"), "z_dim is True"),
        (changed("image_shape", "[3, 64]"), "image_shape"),
        (changed("image_shape", "[3, 64, -1]"), "image_shape"),
        (changed("latent_law", '"uniform"'), "latent_law is 'uniform' and must be standard_normal"),
        (changed("name", '""'), "name is ''"),
        (changed("directions", "[[1, 2]]"), "directions"),
        (changed("directions", "3"), "directions is 3"),
        (changed("earlier", "[3]"), "earlier"),
    ],
)
def test_cards_that_cannot_be_believed(metadata: dict[str, str], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        ModelCard.from_metadata(metadata, origin="model.onnx")
    assert "model.onnx" in str(caught.value)


def test_a_card_of_an_earlier_version_has_no_earlier_runs() -> None:
    assert ModelCard.from_metadata(changed("earlier", None), origin="model.onnx").earlier == ()


def test_the_runs_before_it_stand_on_the_page() -> None:
    card = tiny_card(earlier=({"steps": 6, "recipe": ["batch_size: 8 → 16", "seed: 0 → 1"]}, {"steps": 7}))
    rows = dict(card.rows())
    assert (rows["earlier.0.steps"], rows["earlier.1.steps"]) == ("6", "7")
    assert rows["earlier.0.recipe"] == "batch_size: 8 → 16, seed: 0 → 1"
    assert "earlier" not in dict(tiny_card().rows())
    assert ModelCard.from_metadata(card.to_metadata(), origin="model.onnx").rows() == card.rows()


def test_what_else_a_file_says_is_kept_and_shown() -> None:
    taught = json.dumps([{"verdicts": 40, "auc": 0.8}, {"verdicts": 20}])
    metadata = {**changed("judged", taught), "animegen.autoencoder": json.dumps({"values": 64})}
    card = ModelCard.from_metadata(metadata, origin="model.onnx")
    rows = dict(card.rows())
    assert (rows["judged.0.verdicts"], rows["judged.0.auc"], rows["judged.1.verdicts"]) == ("40", "0.8", "20")
    assert rows["autoencoder.values"] == "64"
    assert card.other["autoencoder"] == card.to_json()["autoencoder"] == {"values": 64}
    assert ModelCard.from_metadata(card.to_metadata(), origin="model.onnx") == card
    assert "autoencoder" not in dict(tiny_card().rows())


def test_a_card_for_people() -> None:
    card = tiny_card(recipe={"adam": {"lr": 0.1}}, provenance="From | nowhere.")
    rows = dict(card.rows())
    assert rows["image_shape"] == "3×8×8"
    assert rows["recipe.adam.lr"] == "0.1"
    assert rows["quality"] == "not measured"
    assert card.to_markdown().startswith("# tiny\n\nFrom | nowhere.\n")
    json.dumps(card.to_json())
