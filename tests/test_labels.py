"""The labels that a seed names: a documented law, as it can be followed with numpy alone."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from animegen import UsageError, latents
from animegen.labels import (
    UNKNOWN,
    LabelGroup,
    ask,
    blended_loop,
    draw_classes,
    draw_labels,
    file_suffix,
    label_texts,
    one_hot,
    read_labels,
)

HAIR = LabelGroup("hair", ("blonde", "blue", "red"), (60, 30, 10))
EYES = LabelGroup("eyes", ("closed", "green"), (0, 7))
LENGTH = LabelGroup("length", ("long", "short"), (20, 30), unknown=50)


def test_the_law_is_the_documented_one() -> None:
    for seed in (0, 1, 7, 2**32 - 1):
        for z_dim in (1, 5, 128):
            stream = np.random.RandomState(seed)
            z = stream.standard_normal(z_dim)
            np.testing.assert_array_equal(latents.from_seeds([seed], z_dim)[0], z.astype(np.float32))
            u, v = stream.random_sample(), stream.random_sample()
            hair = 0 if u < 0.6 else 1 if u < 0.9 else 2
            assert draw_classes([seed], z_dim, [HAIR, EYES]).tolist() == [[hair, 1]]
            other = 0 if v < 0.6 else 1 if v < 0.9 else 2  # the groups in order, a value each
            assert draw_classes([seed], z_dim, [EYES, HAIR]).tolist() == [[1, other]]
            length = 0 if v < 0.2 else 1 if v < 0.5 else -1
            assert draw_classes([seed], z_dim, [HAIR, LENGTH]).tolist() == [[hair, length]]


def test_a_seed_names_the_labels_it_named_before() -> None:
    # A change here would give every seed of every conditional model another image.
    classes = draw_classes(range(20), 128, [HAIR])[:, 0]
    assert "".join(map(str, classes)) == "11000011110010110000"


def test_a_row_is_its_seed_s_alone() -> None:
    together = draw_classes(range(50), 16, [HAIR, EYES])
    alone = [draw_classes([seed], 16, [HAIR, EYES])[0] for seed in reversed(range(50))]
    np.testing.assert_array_equal(together[::-1], alone)


def test_classes_come_as_often_as_in_training() -> None:
    classes = draw_classes(range(3000), 8, [HAIR, EYES])
    shares = np.bincount(classes[:, 0], minlength=3) / 3000
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    assert set(classes[:, 1]) == {1}  # no training image had the other
    lengths = draw_classes(range(3000), 8, [LENGTH])[:, 0]
    assert [(lengths == k).mean() for k in (0, 1, -1)] == pytest.approx([0.2, 0.3, 0.5], abs=0.03)


def test_labels_are_one_hot_in_every_group() -> None:
    labels = draw_labels(range(40), 8, [HAIR, EYES])
    assert labels.dtype == np.float32
    assert labels.shape == (40, 5)
    classes = draw_classes(range(40), 8, [HAIR, EYES])
    np.testing.assert_array_equal(labels[:, :3].argmax(1), classes[:, 0])
    np.testing.assert_array_equal(labels[:, 3:].argmax(1), classes[:, 1])
    np.testing.assert_array_equal(labels.sum(1), 2)
    assert one_hot(np.zeros((4, 0), np.int64), []).shape == (4, 0)
    assert one_hot(np.array([[1, -1], [-1, 0]]), [HAIR, LENGTH]).tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]


def test_no_seeds() -> None:
    assert draw_labels([], 8, [HAIR, EYES]).shape == (0, 5)


def test_a_seed_that_is_none() -> None:
    with pytest.raises(UsageError, match="seed is -1"):
        draw_labels([-1], 8, [HAIR])


# --- labels that are asked for ---

CLASS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(lambda name: name != UNKNOWN)
GROUP = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="=:,"), min_size=1)


@st.composite
def groups(draw: st.DrawFn) -> list[LabelGroup]:
    """Groups of different names."""
    names = draw(st.lists(GROUP, min_size=1, max_size=3, unique=True))
    classes = [tuple(draw(st.lists(CLASS, min_size=2, max_size=4, unique=True))) for _ in names]
    return [LabelGroup(name, known, (1,) * len(known)) for name, known in zip(names, classes, strict=True)]


@given(st.data())
def test_a_text_means_what_a_table_means(data: st.DataObject) -> None:
    known = data.draw(groups())
    asked = data.draw(st.lists(st.sampled_from(known), unique=True))
    wanted = {group.name: data.draw(st.sampled_from([*group.classes, UNKNOWN])) for group in asked}
    assert read_labels(label_texts(wanted), known) == wanted
    given = ask(wanted, known)
    first = 0
    for group in known:
        part = slice(first, first := first + len(group.classes))
        assert given.given[part].all() == given.given[part].any() == (group.name in wanted)
        one = [float(name == wanted.get(group.name)) for name in group.classes]
        assert given.values[part].tolist() == one
    assert given.values.dtype == np.float32


@given(st.lists(st.floats(0, 1e300) | st.integers(0, 9), min_size=3, max_size=3))
def test_a_mix_sums_to_1_and_keeps_its_shares(shares: list[float]) -> None:
    wanted = {"hair": dict(zip(HAIR.classes, shares, strict=True))}
    if not any(shares):
        with pytest.raises(UsageError, match="hair is a mix that sums to 0"):
            ask(wanted, [HAIR, EYES])
        return
    values = ask(wanted, [HAIR, EYES]).values
    assert values[:3].sum() == pytest.approx(1, abs=1e-6)
    assert (values >= 0).all()
    assert values[3:].tolist() == [0, 0]
    assert np.argmax(values) == np.argmax(shares)


@given(st.text(), st.lists(st.text(), max_size=2))
def test_any_text_is_labels_or_a_line(text: str, more: list[str]) -> None:
    try:
        wanted = read_labels([text, *more], [HAIR, EYES])
        values = ask(wanted, [HAIR, EYES]).values
    except UsageError:
        return
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("hair=blue", "blue"),
        ("hair=unknown", "unknown"),
        ("hair=blue+red", {"blue": 1, "red": 1}),
        ("hair=blue:.7+red:3", {"blue": 0.7, "red": 3}),
        ("hair=blue+blue:2", "blue"),  # a mix of one class is that class
        ("hair=red:3+blue:.7", {"blue": 0.7, "red": 3}),
        (" hair = blue ", "blue"),
        ("hair= blue : .7 + red : 3", {"blue": 0.7, "red": 3}),
        ("hair=blue:0", {"blue": 0}),
        ("sign=a+b:1", "a+b:1"),  # a class of that name
        ("sign=a+b:1:2+c", {"a": 1, "b:1": 2, "c": 1}),
    ],
)
def test_labels_as_they_are_typed(text: str, label: str | dict[str, float]) -> None:
    sign = LabelGroup("sign", ("a+b:1", "c"), (1, 1))
    assert read_labels([text], [HAIR, sign]) == {text.partition("=")[0].strip(): label}


def test_labels_have_one_order_whatever_is_typed() -> None:
    texts = ["hair=red:1+blue:2", "eyes=green"]
    for typed in (texts, texts[::-1], ["eyes=green:3", "hair=blue:2+red"]):
        wanted = read_labels(typed, [HAIR, EYES])
        assert label_texts(wanted) == ["hair=blue:2+red:1", "eyes=green"]
        assert file_suffix(wanted) == "-hair-blue-2+red-1-eyes-green"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"hair": {"blue": -0.5}}, "hair has -0.5 of blue and must have an ordinary number of 0 or more"),
        ({"hair": {"blue": math.nan}}, "hair has nan of blue"),
        ({"hair": {"blue": "much"}}, "hair has 'much' of blue"),
        ({"hair": {"pink": 1}}, "hair is 'pink' and must be one of blonde, blue, red, or unknown"),
        ({"hair": {"blue": 1, "unknown": 1}}, "hair mixes unknown and must mix classes: blonde, blue, red"),
        ({"hair": {}}, "hair is a mix that sums to 0"),
        ("hair=blue", "labels are 'hair=blue' and must be a table"),
        ({"hat": "blue"}, "labels name 'hat' and must name hair, eyes"),
    ],
)
def test_labels_that_are_refused(labels: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ask(labels, [HAIR, EYES])


def test_classes_may_be_numbers() -> None:
    digit = LabelGroup("digit", tuple("0123456789"), (1,) * 10)
    for label in (3, np.int64(3), "3"):
        assert ask({"digit": label}, [digit]).values.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]  # type: ignore[dict-item]


def test_labels_as_part_of_a_file_s_name() -> None:
    assert file_suffix({}) == ""
    assert file_suffix({"hair": "blue", "eyes": {"green": 0.7, "grey": 3}}) == "-hair-blue-eyes-green-0.7+grey-3"
    assert file_suffix({"hair/": "so: \\ blue*"}) == "-hair%2f-so%3a%20%5c%20blue%2a"
    assert file_suffix({"hair": "a/b"}) != file_suffix({"hair": "a_b"})
    long = [file_suffix({"hair": dict.fromkeys(map(str, range(60)), share)}) for share in (0.25, 0.5)]
    assert all(re.fullmatch(r"-labels-[0-9a-f]{16}", suffix) for suffix in long)
    assert long[0] != long[1]


@given(st.dictionaries(st.sampled_from(HAIR.classes), st.floats(0, 1e300) | st.integers(0, 9), min_size=2))
def test_a_mix_is_typed_as_it_is(mix: dict[str, float]) -> None:
    assert read_labels(label_texts({"hair": mix}), [HAIR])["hair"] == mix


def test_a_closed_way_of_labels() -> None:
    stops = np.eye(3, dtype=np.float32)
    way = blended_loop(stops, 12)
    np.testing.assert_array_equal(way[::4], stops)
    np.testing.assert_allclose(way.sum(1), 1, rtol=1e-6)
    assert way[2].tolist() == [0.5, 0.5, 0]
    np.testing.assert_allclose(way[11], [0.84375, 0, 0.15625])
