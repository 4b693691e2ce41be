"""The table of docs/results.md: what the cards of model files say of their training and their quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from animegen import ModelCard

METRICS = {
    "FID": "fid",
    "FID∞": "fid_infinity",
    "KID": "kid",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "nearest training face, median distance": "nearest_training_image",
    "the same of real faces": "nearest_between_training_images",
    "share nearer than 99 % of real faces are": "share_nearer_than_training_images",
}


def table(cards: Sequence[ModelCard], sizes: Sequence[int]) -> str:
    """A Markdown table with a column for each card; every metric stands as it does in the card.

    Args:
        cards: of the models, left to right.
        sizes: of their files, in bytes, which no card can know.
    """
    columns = [_column(card, size) for card, size in zip(cards, sizes, strict=True)]
    lines = [["", *(f"`{card.name}`" for card in cards)], ["---"] * (len(columns) + 1)]
    lines += [[label, *(column[label] for column in columns)] for label in columns[0]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _column(card: ModelCard, size: int) -> dict[str, str]:
    quality: dict[str, Any] = dict(card.quality)
    return {
        "data": card.data["name"],
        "training faces": f"{card.data['images']:,}",
        "real images seen": f"{card.images_seen:,}",
        "generator steps": f"{card.steps:,}",
        "minutes of training": str(card.training_minutes),
        "file, MB": f"{size / 1e6:.1f}",
        **{label: str(quality[key]) for label, key in METRICS.items()},
        "measured": f"{quality['images']:,} images, {quality['preparation']}",
        "extractor": f"`{quality['extractor']}`, sha256 `{quality['extractor_sha256'][:12]}…`",
        "against": f"{quality['reference']}, {quality['reference_images']:,} faces",
    }
