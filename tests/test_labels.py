"""The labels that a seed names: a documented law, as it can be followed with numpy alone."""

from __future__ import annotations

import numpy as np
import pytest

from animegen import UsageError, latents
from animegen.labels import LabelGroup, draw_classes, draw_labels, one_hot

HAIR = LabelGroup("hair", ("blonde", "blue", "red"), (60, 30, 10))
EYES = LabelGroup("eyes", ("closed", "green"), (0, 7))


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


def test_labels_are_one_hot_in_every_group() -> None:
    labels = draw_labels(range(40), 8, [HAIR, EYES])
    assert labels.dtype == np.float32
    assert labels.shape == (40, 5)
    classes = draw_classes(range(40), 8, [HAIR, EYES])
    np.testing.assert_array_equal(labels[:, :3].argmax(1), classes[:, 0])
    np.testing.assert_array_equal(labels[:, 3:].argmax(1), classes[:, 1])
    np.testing.assert_array_equal(labels.sum(1), 2)
    assert one_hot(np.zeros((4, 0), np.int64), []).shape == (4, 0)


def test_no_seeds() -> None:
    assert draw_labels([], 8, [HAIR, EYES]).shape == (0, 5)


def test_a_seed_that_is_none() -> None:
    with pytest.raises(UsageError, match="seed is -1"):
        draw_labels([-1], 8, [HAIR])
