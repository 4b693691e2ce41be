"""Images that no seed names: brought towards other seeds', and moved along directions."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error
from hypothesis import given
from hypothesis import strategies as st

from animegen import Generator, UsageError, latents
from animegen.images.stills import enlarge
from animegen.latents import Mode
from animegen.points import check_toward, read_moves, read_toward

SEEDS = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(SEEDS, st.floats(0, 1)), max_size=5))
def test_what_is_written_is_read(pairs: list[tuple[int, float]]) -> None:
    assert read_toward([f"{seed}:{share!r}" for seed, share in pairs]) == pairs


@given(st.dictionaries(st.integers(0, 99), st.floats(-1000, 1000)))
def test_moves_that_are_written_are_read(moves: dict[int, float]) -> None:
    assert read_moves([f"{number}:{length!r}" for number, length in moves.items()]) == moves


@given(st.text(max_size=12))
def test_any_other_text_is_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        pairs = read_toward([text])
    except UsageError as error:
        message = str(error)
    assert "\n" not in message
    assert message or check_toward(pairs) == pairs


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["5"], "toward is '5' and must be a seed and a share"),
        (["5:1.5"], "the share of seed 5 is 1.5 and must be a number from 0 to 1"),
        (["4294967296:0.5"], "seed is 4294967296"),
        (["5:nan"], "must be a seed and a share"),
        (["1:0.5"] * 33, "33 seeds and must have at most 32"),
    ],
)
def test_shares_that_cannot_be(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_toward(texts)


def test_moves_that_cannot_be(conditional_model: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="direction 0 has two moves"):
        read_moves(["0:1", "0:2"])
    with Generator.load(conditional_model) as generator:
        with pytest.raises(UsageError, match="direction is 1 and must be from 0 to 0 for faces"):
            generator.image(3, moves={1: 1.0})
        with pytest.raises(UsageError, match="the move along direction 0 is nan and must be a number"):
            generator.image(3, moves={0: float("nan")})
        with pytest.raises(UsageError, match="share of seed 1 is 'half'"):
            generator.image(3, toward=[(1, "half")])  # type: ignore[list-item]
    with Generator.load(tiny_model) as generator, pytest.raises(UsageError, match="tiny has no directions"):
        generator.image(3, moves={0: 1.0})


def test_a_share_of_0_is_the_seed_and_one_of_1_the_other(conditional_model: Path) -> None:
    with Generator.load(conditional_model) as generator:
        three, nine = generator.sample(seeds=[3, 9], truncation=0.8)
        np.testing.assert_array_equal(generator.image(3, truncation=0.8), three)
        np.testing.assert_array_equal(generator.image(3, toward=[(9, 0)], truncation=0.8), three)
        np.testing.assert_array_equal(generator.image(3, toward=[(5, 0.3), (9, 1)], truncation=0.8), nine)


def test_a_point_lies_where_interpolations_and_edits_pass(conditional_model: Path) -> None:
    wanted = {"hair": "red"}
    with Generator.load(conditional_model) as generator:
        modes: tuple[Mode, Mode] = ("slerp", "lerp")
        for mode in modes:
            row = generator.interpolate(3, 9, steps=5, mode=mode, labels=wanted)
            for image, share in zip(row, np.linspace(0, 1, 5), strict=True):
                np.testing.assert_array_equal(generator.image(3, toward=[(9, share)], mode=mode, labels=wanted), image)
        edited = generator.edit(3, 0, [-2, 2])
        for image, length in zip(edited, [-2, 2], strict=True):
            np.testing.assert_array_equal(generator.image(3, moves={0: length}), image)


def test_the_order_of_moves_changes_nothing() -> None:
    with Generator.load("anime-pixels-64") as generator:
        moves = {direction: 0.1 + direction / 3 for direction in range(len(generator.card.directions))}
        there, back = (generator.point(1, moves=dict(part))[0] for part in (moves.items(), reversed(moves.items())))
    np.testing.assert_array_equal(there, back)


def test_seeds_are_taken_one_after_another() -> None:
    with Generator.load("anime-pixels-64") as generator:
        z, labels = generator.point(1, toward=[(2, 0.5), (3, 0.25)])
        one, two, three = generator.latents([1, 2, 3])
    half_way = latents.interpolate(one, two, 3)[1]
    np.testing.assert_array_equal(z, latents.interpolate(half_way, three, 5)[1])
    assert z.dtype == np.float32
    assert labels.shape == (sum(len(group.classes) for group in generator.labels),)


def test_threads_draw_their_own_latents() -> None:
    expected = latents.from_seeds(range(400), 64)
    found: list[latents.Latents] = []
    threads = [threading.Thread(target=lambda: found.append(latents.from_seeds(range(400), 64))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for z in found:
        np.testing.assert_array_equal(z, expected)


@given(SEEDS, SEEDS)
def test_a_stream_that_is_seeded_anew_keeps_nothing(before: int, seed: int) -> None:
    latents.stream(before).standard_normal(3)  # an odd number: numpy keeps the second value of a pair
    drawn = latents.stream(seed).standard_normal(5)
    np.testing.assert_array_equal(drawn, np.random.RandomState(seed).standard_normal(5))


@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 3, 4]))
def test_an_enlarged_picture_has_squares_for_pixels(side: int, scale: int, channels: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (side, side + 1, channels), np.uint8)
    large = enlarge(image, scale)
    assert large.shape == (side * scale, (side + 1) * scale, channels)
    for y in range(scale):
        for x in range(scale):
            np.testing.assert_array_equal(large[y::scale, x::scale], image)


def test_a_picture_that_would_be_too_large_is_not_made() -> None:
    with pytest.raises(UsageError, match=r"at 64× is 262,144×262,144 pixels and must take at most 256 MiB"):
        enlarge(np.zeros((4096, 4096, 3), np.uint8), 64)


def test_the_command_makes_what_the_library_makes(animegen: Run, conditional_model: Path, tmp_path: Path) -> None:
    words = "--seed 3 --toward 9:0.25 --toward 4:0.5 --move 0:-1.5 --mode lerp --label hair=blue"
    done = animegen("image", "--model", conditional_model, *words.split(), "--scale", "2", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["toward"], facts["moves"], facts["width"]) == ([[9, 0.25], [4, 0.5]], {"0": -1.5}, 16)
    from PIL import Image

    with Generator.load(conditional_model) as generator:
        made = generator.image(3, toward=[(9, 0.25), (4, 0.5)], mode="lerp", moves={0: -1.5}, labels={"hair": "blue"})
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image.png"))[::2, ::2], made)
    again = animegen("info", "image.png").stdout.decode().split("again")[1].split()
    assert "--mode lerp --move 0:-1.5 --scale 2 --seed 3 --toward 9:0.25 --toward 4:0.5" in " ".join(again)


def test_wrong_words(animegen: Run) -> None:
    assert_error(animegen("image", "--toward", "5"), 2, "toward is '5'", "1234:0.25")
    assert_error(animegen("image", "--move", "9999:1"), 2, "direction is 9999", "anime-face-64")
    assert_error(animegen("image", "--out", "x.gif"), 2, "x.gif")
