"""docs/results.md and the pages of the shipped models say what the models' cards say."""

from __future__ import annotations

import pytest
from card_table import table
from conftest import ROOT

from animegen import Generator, ModelCard

NAMES = ("anime-face-64", "anime-pixels-64")
START, END = "<!-- shipped models: generated from their cards -->\n", "<!-- end -->"


@pytest.fixture(scope="module")
def cards() -> list[ModelCard]:
    cards = []
    for name in NAMES:
        with Generator.load(name, device="cpu") as generator:
            cards.append(generator.card)
    return cards


def test_the_table_of_the_shipped_models_is_that_of_their_cards(cards: list[ModelCard]) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page.count(START) == page.count(END) == 1
    shown = page.partition(START)[2].partition(END)[0]
    expected = table(cards, [(ROOT / "models" / f"{name}.onnx").stat().st_size for name in NAMES])
    assert shown.strip() == expected.strip(), f"put this between the two comments of docs/results.md:\n\n{expected}"


@pytest.mark.parametrize("page", ["docs/results.md", "models/anime-face-64.md", "models/anime-pixels-64.md"])
def test_the_two_distances_stand_in_one_sentence(page: str, cards: list[ModelCard]) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    fids = [f"{card.quality['fid']:.1f}" for card in cards]
    sentences = [sentence for sentence in text.split(". ") if all(fid in sentence for fid in fids)]
    assert any("people" in sentence and "variety" in sentence for sentence in sentences)
