"""Seeds as people type them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from animegen import Seeds, UsageError
from animegen.seeds import LARGEST, check_seed, whole_number

SEED = st.integers(0, LARGEST)
PARTS = st.lists(
    st.tuples(SEED, st.integers(0, 50)).map(lambda p: range(p[0], min(p[0] + p[1], LARGEST) + 1)), min_size=1
)


@given(PARTS)
def test_a_list_is_read_as_it_was_written(parts: list[range]) -> None:
    expected = [seed for part in parts for seed in part]
    read = Seeds.parse(" , ".join(f"{part[0]} - {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts))
    assert list(read) == expected
    assert len(read) == len(expected)
    assert [read[k] for k in range(len(read))] == expected
    assert (read[-1], read[1:4]) == (expected[-1], expected[1:4])
    assert list(Seeds.parse(str(read))) == expected


def test_a_billion_seeds_take_no_memory() -> None:
    many = Seeds.parse(f"5,0-{LARGEST}")
    assert len(many) == 2**32 + 1
    assert (many[0], many[1], many[2**32]) == (5, 0, LARGEST)
    with pytest.raises(IndexError):
        many[2**32 + 1]


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        read = Seeds.parse(text)
    except UsageError:
        assert set(text) - set("0123456789") or int(text or "-1") > LARGEST or not text
    else:
        assert 1 <= len(read) <= LARGEST + 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0-31,77"),
        ("7-3", "write 3-7"),
        ("1,,2", "0-31,77"),
        ("1,", "0-31,77"),
        ("-1", "0-31,77"),
        ("1-2-3", "'1-2-3'"),
        ("1.5", "'1.5'"),
        ("0x10", "0x10"),
        ("٣", "0-31,77"),
        (str(2**32), "4294967295"),
        ("0-4294967296", "4294967296"),
        ("9" * 5000, "must be numbers and ranges"),
    ],
)
def test_what_is_no_list_of_seeds(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Seeds.parse(text)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "7", True, None])
def test_what_is_no_seed(seed: object) -> None:
    with pytest.raises(UsageError, match="from 0 to 4294967295"):
        check_seed(seed)  # type: ignore[arg-type]


class Integer:
    """One of another library, as far as Python knows it."""

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize("seed", [np.uint32(7), np.int8(7), np.array(7), Integer()])
def test_integers_of_any_kind_are_seeds(seed: Any) -> None:
    assert (check_seed(seed), type(check_seed(seed))) == (7, int)
    assert list(Seeds.starting(seed, seed)) == [*range(7, 14)]
    assert whole_number("n", seed, 7, 7) == 7
    with pytest.raises(UsageError, match=r"^n is 7 and must be at least 8, so it goes$"):
        whole_number("n", seed, 8, why=", so it goes")
    with pytest.raises(UsageError, match=r"^n is 7 and must be from 1 to 6$"):
        whole_number("n", seed, most=6)


def test_a_sum_of_bounded_integers_does_not_wrap_around() -> None:
    assert list(Seeds.starting(np.uint16(65_534), np.uint8(4))) == [65_534, 65_535, 65_536, 65_537]


@pytest.mark.parametrize(
    ("seed", "n", "words"), [(0, 0, "n is 0 and must be at least 1"), (2**32 - 1, 2, "4294967296"), (-1, 1, "-1")]
)
def test_ranges_that_cannot_be(seed: int, n: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Seeds.starting(seed, n)


def test_the_last_range() -> None:
    assert list(Seeds.starting(2**32 - 2, 2)) == [2**32 - 2, 2**32 - 1]
