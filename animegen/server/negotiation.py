"""Which of several media types a client wants (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from animegen.server.problems import Problem


def best(accept: str | None, kinds: Sequence[str]) -> str:
    """The kind with the highest weight in an Accept header, the first of them among equals and where it says nothing.

    Raises:
        Problem: 406, as it names none of them.
    """
    if accept is None or not accept.strip():
        return kinds[0]
    ranges = [_parsed(part) for part in accept.split(",")]
    weights = [_weight(kind, ranges) for kind in kinds]
    if max(weights) <= 0:
        raise Problem(406, f"Accept is {accept[:100]!r} and must name {', '.join(kinds)}")
    return kinds[weights.index(max(weights))]


def _parsed(part: str) -> tuple[str, float]:
    """A range, such as image/*, and its weight; one that can't be read has none."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return name, min(max(float(weight), 0.0), 1.0)
    except ValueError:
        return name, 0.0


def _weight(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the most specific range that a kind is in."""
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        found = [weight for own, weight in ranges if own == name]
        if found:
            return max(found)
    return 0.0
