"""What the page computes itself, in a browser: numpy's stream, the laws of labels and points, PNG and GIF files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browsers import floats, served, text_of, with_helpers
from conftest import GROUPS, ROOT
from numpy.typing import NDArray
from PIL import Image

from animegen import Generator, grid, latents, read_metadata
from animegen.labels import LabelGroup, blended_loop, draw_classes, read_labels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page beside the modules of the real one, which are `law`, `labels` and so on in it."""
    with served(ROOT / "animegen" / "server") as address:
        page = with_helpers(browser.new_page())
        page.goto(f"{address}page/favicon.svg")
        page.evaluate(
            """async () => {
              globalThis.law = await import("/page/latents.js");
              globalThis.labels = await import("/page/label-law.js");
              for (const name of ["point-law", "pixels", "png", "gif"])
                globalThis[name.replace("-law", "")] = await import(`/page/local/${name}.js`);
              globalThis.whole = (rows) => toBase64(Float32Array.from(rows.flatMap((row) => [...row])));
              globalThis.picture = ({ width, height, channels, data }) =>
                ({ width, height, channels, data: fromBase64(data) });
            }"""
        )
        yield page


def test_a_seed_names_the_same_latent(page: Page) -> None:
    seeds = [*range(990), *(2**32 - 1 - k for k in range(10))]
    drawn = page.evaluate("(seeds) => whole(seeds.map((seed) => law.latent(seed, 128)))", seeds)
    np.testing.assert_array_equal(floats(drawn).reshape(1000, 128), latents.from_seeds(seeds, 128))


@pytest.mark.parametrize("mode", ["slerp", "lerp"])
def test_paths_are_the_same(page: Page, mode: latents.Mode) -> None:
    a, b, tiny = *latents.from_seeds([1, 2], 128), latents.from_seeds([3], 1)[0]
    zeros, nearly = np.zeros_like(a), a * (1 + np.linspace(0, 1e-7, 128, dtype=np.float32))
    pairs = [(a, b), (b, a), (a, a), (a, 2 * a), (a, -a), (a, zeros), (a, nearly), (tiny, -tiny), (tiny, tiny)]
    pairs += [tuple(latents.from_seeds([k, k + 100], 128)) for k in range(50)]
    made = page.evaluate(
        """([pairs, mode]) => whole(pairs.flatMap((pair) => {
          const [a, b] = pair.map((one) => new Float32Array(fromBase64(one).buffer));
          return law.interpolate(a, b, 8, mode);
        }))""",
        [[list(map(text_of, pair)) for pair in pairs], mode],
    )
    wanted = [latents.interpolate(first, last, 8, mode) for first, last in pairs]
    np.testing.assert_array_equal(floats(made), np.concatenate([path.reshape(-1) for path in wanted]))


def test_truncation_and_loops_are_the_same(page: Page) -> None:
    made = page.evaluate(
        """() => {
          const stops = [5, 6, 7].map((seed) => law.truncate(law.latent(seed, 128), 0.7));
          return whole([...stops, ...law.loop(stops, 50), ...law.loop([stops[0], stops[0].map((x) => -x)], 8)]);
        }"""
    )
    stops = latents.truncate(latents.from_seeds([5, 6, 7], 128), 0.7)
    across = latents.loop(np.stack([stops[0], -stops[0]]), 8)
    wanted = np.concatenate([stops, latents.loop(stops, 50), across])
    np.testing.assert_array_equal(floats(made).reshape(-1, 128), wanted)


MANY = (*GROUPS, LabelGroup("mood", tuple("abcdefghijkl"), (0, 3, 0, 1, 2**31, 7, 0, 9, 11, 2**33, 1, 0)))


@pytest.mark.parametrize("z_dim", [128, 7])  # an odd length leaves the second value of a pair behind
def test_a_seed_draws_the_same_labels(page: Page, z_dim: int) -> None:
    groups = [{"name": one.name, "classes": one.classes, "counts": one.counts, "unknown": one.unknown} for one in MANY]
    drawn = page.evaluate(
        """([zDim, groups]) => Array.from({ length: 1000 }, (_, seed) => labels.drawClasses(seed, zDim, groups))""",
        [z_dim, groups],
    )
    numbers = draw_classes(range(1000), z_dim, MANY)
    assert (numbers == -1).any()
    names = [[*group.classes, None] for group in MANY]  # the last is that of −1
    assert drawn == [[classes[k] for classes, k in zip(names, row, strict=True)] for row in numbers]


POINTS: list[dict[str, Any]] = [
    {"seed": 0},
    {"seed": 42, "truncation": 0.8, "labels": {"hair": "blue"}},
    {"seed": 42, "toward": [[1234, 0.25], [777, 0.25]], "moves": {"0": 1.5}, "truncation": 0.3},
    {"seed": 7, "toward": [[8, 0.5]], "mode": "lerp", "labels": {"eyes": "unknown"}},
    {"seed": 7, "toward": [[8, 1]], "labels": {"hair": {"red": 0.7, "blue": 0.1}}},
    {"seed": 7, "toward": [[8, 0], [7, 0.3]], "moves": {"0": -0.1}},
    {"seed": 9, "labels": {"hair": "red:0.7+blue:0.1", "eyes": "grey"}},
]


@pytest.fixture(scope="module")
def faces(conditional_model: Path) -> Iterator[tuple[Generator, dict[str, Any]]]:
    """A conditional generator, and what config.json says of it."""
    from animegen.deploy.site_config import facts

    with Generator.load(conditional_model, device="cpu") as generator:
        yield generator, facts(generator, [])


def point_in_python(generator: Generator, point: dict[str, Any]) -> list[NDArray[np.float32]]:
    moves = {int(direction): length for direction, length in point.get("moves", {}).items()}
    labels = point.get("labels", {})
    if isinstance(hair := labels.get("hair"), str):  # a mix may come as a text, as people type it
        labels = {**labels, **read_labels([f"hair={hair}"], generator.labels)}
    return list(generator.point(**{**point, "moves": moves, "labels": labels}))


def test_a_point_lies_at_the_same_place(page: Page, faces: tuple[Generator, dict[str, Any]]) -> None:
    generator, model = faces
    made = page.evaluate(
        "([model, points]) => whole(points.map((one) => point.place(model, one)).flatMap(({ z, y }) => [z, y]))",
        [model, POINTS],
    )
    wanted = [part for one in POINTS for part in point_in_python(generator, one)]
    np.testing.assert_array_equal(floats(made), np.concatenate(wanted))


def test_morphs_and_walks_pass_the_same_places(page: Page, faces: tuple[Generator, dict[str, Any]]) -> None:
    generator, model = faces
    made = page.evaluate(
        """(model) => {
          const of = (seed) => ({ seed, truncation: 0.9 });
          const places = [...point.morph(model, of(3), of(4), 6, "slerp"), ...point.walk(model, [5, 6, 7].map(of), 20)];
          return whole(places.flatMap(({ z, y }) => [z, y]));
        }""",
        model,
    )
    z_of, y_of = generator.latents([3, 4, 5, 6, 7], truncation=0.9), generator.label_vectors([3, 4, 5, 6, 7])
    there = latents.interpolate(z_of[0], z_of[1], 6)
    beside = latents.interpolate(y_of[0], y_of[1], 6, "lerp")
    z = latents.there_and_back(there), latents.loop(z_of[2:], 20)
    y = latents.there_and_back(beside), blended_loop(y_of[2:], 20)
    wanted = np.concatenate([np.concatenate(z), np.concatenate(y)], axis=1)
    np.testing.assert_array_equal(floats(made).reshape(wanted.shape), wanted)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seed": 2**32}, "seed is 4294967296 and must be a whole number from 0 to 4294967295"),
        ({"seed": 1, "truncation": 1.5}, "truncation is 1.5 and must be from 0 to 1"),
        ({"seed": 1, "toward": [[2, 2]]}, "the share of seed 2 is 2 and must be from 0 to 1"),
        ({"seed": 1, "moves": {"5": 1}}, "this model has no direction 5"),
        ({"seed": 1, "moves": {"0": "far"}}, "the move along direction 0 is far and must be from -1000 to 1000"),
        ({"seed": 1, "moves": {"0": 1001}}, "the move along direction 0 is 1001 and must be from -1000 to 1000"),
        ({"seed": 1, "toward": [[2, 0.5]] * 33}, "toward has 33 seeds and must have at most 32"),
        ({"seed": 1, "labels": {"nose": "red"}}, "this model has no labels for nose"),
        ({"seed": 1, "labels": {"hair": "green"}}, "hair has no green: choose one of blonde, blue, red"),
        ({"seed": 1, "labels": {"hair": {"red": 0}}}, "sums to 0"),
        ({"seed": 1, "labels": {"hair": "red:much"}}, "must be an ordinary number of 0 or more"),
        ({"seed": 1, "labels": {"hair": {"red": -1}}}, "must be an ordinary number of 0 or more"),
    ],
)
def test_wrong_points_are_told_in_words(
    page: Page, faces: tuple[Generator, dict[str, Any]], wrong: dict[str, Any], words: str
) -> None:
    told = page.evaluate(
        """([model, wrong]) => {
          try { point.place(model, wrong); } catch ({ name, message, status }) { return [name, message, status]; }
        }""",
        [faces[1], wrong],
    )
    assert told is not None
    assert told[::2] == ["EngineError", 400]
    assert words in told[1]


def as_picture(image: NDArray[np.uint8]) -> dict[str, Any]:
    height, width, channels = image.shape
    return {"width": width, "height": height, "channels": channels, "data": text_of(image)}


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_holds_the_pixels_and_where_they_come_from(page: Page, channels: int, tmp_path: Path) -> None:
    image = np.random.default_rng(channels).integers(0, 256, (9, 7, channels), np.uint8)
    made = page.evaluate(
        "async (one) => blobToBase64(await png.png(pixels.enlarge(picture(one), 3), { name: 'ü', n: 1 }))",
        as_picture(image),
    )
    read = np.asarray(opened(made)).reshape(27, 21, channels)
    np.testing.assert_array_equal(read, image.repeat(3, 0).repeat(3, 1))
    (tmp_path / "a.png").write_bytes(base64.b64decode(made))
    assert read_metadata(tmp_path / "a.png") == {"name": "ü", "n": 1}


def test_a_grid_is_laid_out_as_in_python(page: Page) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    plain, captioned = page.evaluate(
        """async (images) => {
          const all = images.map(picture);
          const files = [pixels.grid(all, 3), pixels.grid(all, 3, [10, 11, 12, 13, 14])].map((one) => png.png(one));
          return Promise.all((await Promise.all(files)).map(blobToBase64));
        }""",
        list(map(as_picture, images)),
    )
    np.testing.assert_array_equal(np.asarray(opened(plain)), grid(images, 3))
    read, wanted = np.asarray(opened(captioned)), grid(images, 3, labels=[10, 11, 12, 13, 14])
    assert read.shape == wanted.shape
    np.testing.assert_array_equal(read[:8], wanted[:8])
    assert (read[8:20, :8] == 0).any()  # the digits


def test_a_gif_shows_the_frames(page: Page, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (200, 3), np.uint8)[rng.integers(0, 200, (40, 40))]
    ramp = np.linspace(0, 255, 64)
    smooth = np.stack(np.broadcast_arrays(ramp[:, None], ramp, 128.0), axis=-1).astype(np.uint8)[:40, :40]
    made = page.evaluate(
        """async (frames) => {
          const [few, smooth] = frames.map(picture);
          return blobToBase64(gif.gif([few, smooth, few], { fps: 30, scale: 2, metadata: { n: 1 } }));
        }""",
        [as_picture(few), as_picture(smooth)],
    )
    animation = opened(made)
    assert (animation.format, animation.size, animation.info["loop"]) == ("GIF", (80, 80), 0)
    times, shown = [], []
    for frame in range(getattr(animation, "n_frames", 1)):
        animation.seek(frame)
        times.append(animation.info["duration"])
        shown.append(np.asarray(animation.convert("RGB"))[::2, ::2])
    assert times == [30, 40, 30]  # 3⅓ hundredths each
    np.testing.assert_array_equal(shown[0], few)
    np.testing.assert_array_equal(shown[2], few)
    assert np.sqrt(((shown[1].astype(float) - smooth) ** 2).mean()) < 4
    (tmp_path / "a.gif").write_bytes(base64.b64decode(made))
    assert read_metadata(tmp_path / "a.gif") == {"n": 1}
