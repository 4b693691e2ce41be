"""What the page of `animegen serve` saves, and the commands it shows, make the library's pixels."""

from __future__ import annotations

import io
import shlex
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from page_server import Visits, pixels, served
from PIL import Image, ImageSequence

from animegen import Generator, grid
from animegen.images.stills import Images, enlarge

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

MODEL = "anime-pixels-64"


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator.load(MODEL, device="cpu", threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def address(generator: Generator) -> Iterator[str]:
    with served({"my-face": generator}) as url:  # commands name the model by its own name
        yield url


def frames(file: Path | io.BytesIO) -> list[Images]:
    """The pictures of a still or an animation: each uint8 [H, W, 3]."""
    with Image.open(file) as picture:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]


def saved(page: Page, folder: Path, choices: Sequence[str], fields: dict[str, str]) -> Path:
    """What the open dialog saves with these choices and fields, under the name that it gives."""
    dialog = page.get_by_role("dialog", name="Take it along")
    for choice in choices:
        dialog.get_by_label(choice, exact=True).check()
    for name, value in fields.items():
        dialog.get_by_label(name, exact=True).fill(value)
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Save").click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def shown(page: Page, tab: str) -> str:
    """The lines of a tab, as its copy button copies them."""
    dialog = page.get_by_role("dialog", name="Take it along")
    dialog.get_by_label(tab, exact=True).check()
    dialog.get_by_role("button", name="Copy").click()
    copied = str(page.evaluate("navigator.clipboard.readText()"))
    assert copied == dialog.locator("code").inner_text()
    return copied


def strip_of(
    generator: Generator,
    toward: Sequence[tuple[int, float]] = (),
    moves: dict[int, float] | None = None,
    directions: slice = slice(3, 4),
    truncation: float = 1,
) -> Images:
    """Seed 5 moved along directions, from where other moves have brought it."""
    z, y = generator.point(5, toward=toward, moves=moves, truncation=truncation)
    vectors = np.array(generator.card.directions[directions], np.float32)
    moved = np.concatenate([z + np.outer(np.arange(-3, 4, dtype=np.float32), vector) for vector in vectors])
    return grid(generator(moved, np.repeat(y[None], len(moved), axis=0)), 7)


Made = Callable[[Generator], Images]
STILLS: dict[str, tuple[str, list[str], dict[str, str], Made]] = {
    "face": (
        "#explore&seed=5&toward=9:0.3&move=0:1.5&psi=0.9",
        ["PNG", "8×"],
        {},
        lambda g: enlarge(g.image(5, toward=[(9, 0.3)], moves={0: 1.5}, truncation=0.9), 8),
    ),
    "webp": ("#explore&seed=5", ["WEBP", "1×"], {}, lambda g: g.image(5)),
    "line": (
        "#morph&a=1&b=2&t=0.37&mode=lerp",
        ["This face", "PNG", "4×"],
        {},
        lambda g: enlarge(g.image(1, toward=[(2, 0.37)], mode="lerp"), 4),
    ),
    "sheet": (
        "#wall",
        ["PNG", "1×"],
        {"Seeds": "0-6,77", "Columns": "4"},
        lambda g: grid(g.sample(seeds=[*range(7), 77]), 4, [*range(7), 77]),
    ),
    "row": (
        "#morph&a=1&b=2",
        ["The row", "PNG", "1×"],
        {"Faces": "5"},
        lambda g: grid(g.interpolate(1, 2, steps=5), 5),
    ),
    "strip": ("#explore&seed=5&move=3:2", ["Direction 3", "PNG", "2×"], {}, lambda g: enlarge(strip_of(g), 2)),
    "strip-of-a-blend": (
        "#explore&seed=5&toward=9:0.3&psi=0.9",
        ["Direction 3", "PNG", "2×"],
        {},
        lambda g: enlarge(strip_of(g, [(9, 0.3)], truncation=0.9), 2),
    ),
    "strip-of-what-is-moved": (
        "#explore&seed=5&move=1:3&move=3:1&move=4:-2",
        ["Direction 3", "PNG", "1×"],
        {},
        lambda g: strip_of(g, moves={1: 3, 4: -2}),
    ),
    "strips-of-what-is-moved": (
        "#explore&seed=5&toward=9:0.3&move=1:3",
        ["All directions", "PNG", "1×"],
        {},
        lambda g: strip_of(g, [(9, 0.3)], {1: 3}, slice(None)),
    ),
}
NO_COMMAND = {"strip-of-a-blend", "strip-of-what-is-moved", "strips-of-what-is-moved"}  # edit takes a seed alone


@pytest.mark.parametrize("name", STILLS)
def test_stills_are_the_librarys_pixels(
    visits: Visits, generator: Generator, animegen: Run, tmp_path: Path, name: str
) -> None:
    fragment, choices, fields, made = STILLS[name]
    page = visits.visit(fragment)
    if "Direction 3" in choices:
        page.locator("#direction-3").focus()
    seen = pixels(page, ".strip .cell:first-child img") if "Direction 3" in choices else None
    page.get_by_role("button", name="Save and take along").click()
    file = saved(page, tmp_path, choices, fields)
    expected = made(generator)
    if seen is not None and "1×" in choices:
        np.testing.assert_array_equal(expected[:64, :64], seen)
    np.testing.assert_array_equal(frames(file), [expected])
    height, width, _ = expected.shape
    expect(page.locator(".facts")).to_contain_text(f"{width:,} × {height:,} pixels")

    curl = shlex.split(shown(page, "curl"))
    assert curl[:3] == ["curl", "-fo", file.name]
    with urllib.request.urlopen(curl[3]) as answer:  # noqa: S310 (the address of this test's own server)
        np.testing.assert_array_equal(frames(io.BytesIO(answer.read())), [expected])

    file.unlink()
    exec(shown(page, "Python"), {})
    np.testing.assert_array_equal(frames(file), [expected])

    tabs = page.locator("input[name=same]").evaluate_all("inputs => inputs.map(input => input.value)")
    if name in NO_COMMAND:
        assert tabs == ["curl", "Python"]
        return
    command = shlex.split(shown(page, "Command"))
    assert animegen(*command[1:]).returncode == 0
    np.testing.assert_array_equal(frames(file), [expected])


MOTIONS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "morph.gif": ("#morph&a=1&b=2&psi=0.8", ["GIF", "4×"], {"Faces one way": "5", "A second": "10"}),
    "morph.webp": ("#morph&a=1&b=2&mode=lerp", ["WEBP", "1×"], {"Faces one way": "4"}),
    "walk.gif": ("#kiosk&stops=3,14,15", ["GIF", "1×"], {"Frames": "9"}),
    "walk.webp": ("#kiosk&stops=3,14,15", ["WEBP", "4×"], {"Frames": "6", "A second": "12"}),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_animations_are_those_of_the_command(visits: Visits, animegen: Run, tmp_path: Path, name: str) -> None:
    fragment, choices, fields = MOTIONS[name]
    page = visits.visit(fragment, reduced_motion="reduce")
    if fragment.startswith("#kiosk"):
        page.get_by_role("button", name="Save the walk").click()
    else:
        page.get_by_role("button", name="Save and take along").click()
    file = saved(page, tmp_path, choices, fields)
    pictures = frames(file)
    steps = int(fields.get("Faces one way", 0))
    assert len(pictures) == (2 * steps - 2 if steps else int(fields["Frames"]))
    for tab in ("Command", "Python"):
        file.unlink()
        line = shown(page, tab)
        if tab == "Command":
            assert animegen(*shlex.split(line)[1:]).returncode == 0
        else:
            exec(line, {})
        np.testing.assert_array_equal(frames(file), pictures)


def test_only_what_can_be_made_is_offered(visits: Visits, tmp_path: Path) -> None:
    page = visits.visit(viewport={"width": 3840, "height": 2160})
    page.get_by_role("button", name="Save and take along").click()
    dialog = page.get_by_role("dialog", name="Take it along")
    expect(dialog.get_by_label("Seeds", exact=True)).to_have_value("0-255")  # of the 300 that are seen
    with Image.open(saved(page, tmp_path, [], {})) as sheet:
        assert sheet.height < 2160
    dialog.get_by_role("button", name="Close").click()
    page.evaluate("location.hash = '#kiosk&stops=3,14,15'")
    page.get_by_role("button", name="Save the walk").click()
    expect(dialog.get_by_label("4×", exact=True)).to_be_checked()
    expect(dialog.get_by_label("8×", exact=True)).to_be_disabled()
    dialog.get_by_label("Frames", exact=True).fill("100")
    expect(dialog.get_by_label("8×", exact=True)).to_be_enabled()


def test_an_mp4_where_there_is_an_encoder(visits: Visits, animegen: Run, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    page = visits.visit("#morph&a=1&b=2")
    page.get_by_role("button", name="Save and take along").click()
    file = saved(page, tmp_path, ["MP4", "1×"], {"Faces one way": "5"})

    def decoded() -> list[Any]:
        with av.open(file) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    pictures = decoded()
    assert np.shape(pictures) == (8, 64, 64, 3)
    file.unlink()
    assert animegen(*shlex.split(shown(page, "Command"))[1:]).returncode == 0
    np.testing.assert_array_equal(decoded(), pictures)
