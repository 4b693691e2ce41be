"""The page of `animegen serve` where there is little room: phones, long seeds, and what is said over a dialog."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_server import DESK, PHONE, SHOWN, Visits, served
from PIL import Image

from animegen import Generator

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.slow

LAST = 2**32 - 1
SMALL: dict[str, Any] = {**PHONE, "viewport": {"width": 320, "height": 640}}


@pytest.fixture(scope="module")
def address(conditional_model: Path) -> Iterator[str]:
    with Generator.load(conditional_model, device="cpu", threads=1) as generator, served({"faces": generator}) as url:
        yield url


def assert_on_top(box: Locator) -> None:
    """Nothing lies over it: the middle of its upper edge has its own colour."""
    wanted = box.evaluate("box => getComputedStyle(box).backgroundColor")
    with Image.open(io.BytesIO(box.screenshot())) as picture:
        red, green, blue = np.asarray(picture.convert("RGB"))[4, picture.width // 2]
    assert wanted == f"rgb({red}, {green}, {blue})"


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_what_is_said_lies_over_an_open_dialog(visits: Visits, size: dict[str, Any]) -> None:
    page = visits.visit("#explore&seed=1", reduced_motion="reduce", **size)
    page.get_by_role("button", name="Shelf").click()
    shelf = page.get_by_role("dialog", name="Shelf")
    shelf.get_by_label("Seeds list").fill("7-3")
    shelf.get_by_role("button", name="Add these").click()
    toast = page.locator("#toast")
    toast.get_by_text("must run upwards").wait_for()
    assert_on_top(toast)
    toast.wait_for(state="hidden")
    page.route("**/v1/images/**", lambda route: route.abort("connectionrefused"))
    shelf.get_by_label("Seeds list").fill("77")
    shelf.get_by_role("button", name="Add these").click()
    notice = page.locator("#notice")
    notice.get_by_text("Nobody answers").wait_for()
    toast.wait_for(state="hidden")
    assert_on_top(notice)
    expect(notice.get_by_role("button")).to_be_hidden()  # nothing outside a dialog can be pressed
    shelf.get_by_role("button", name="Close").click()
    page.unroute("**/v1/images/**")
    notice.get_by_role("button", name="Try now").click()
    notice.wait_for(state="hidden")
    visits.complaints[:] = [text for text in visits.complaints if "ERR_CONNECTION_REFUSED" not in text]


@pytest.mark.parametrize("size", [SMALL, PHONE], ids=["320", "390"])
def test_long_seeds_have_room(visits: Visits, size: dict[str, Any]) -> None:
    page = visits.visit(f"#explore&seed={LAST}&toward={LAST - 1}:0.5&a={LAST}&b={LAST - 1}", **size)
    wide = (
        "[...document.querySelectorAll('html, #stage, .name, .acts')].filter(box => box.scrollWidth > box.clientWidth)"
    )
    for view in ("wall", "explore", "morph"):
        page.evaluate(f"animegen.store.go({{view: '{view}'}})")
        page.locator(f"#{view} {SHOWN}").first.wait_for()
        assert page.evaluate(wide) == [], view
    for letter in ("A", "B"):
        field = page.get_by_label(f"Seed of {letter}")
        expect(field).to_have_value(re.compile("^42949672"))
        assert field.evaluate("input => input.scrollWidth <= input.clientWidth"), letter
    page.evaluate("animegen.store.go({view: 'explore'})")
    for act in page.locator(".acts button").all():
        place = act.bounding_box()
        assert place is not None
        assert (place["width"], place["height"]) >= (36, 44)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_empty_shelf_names_a_heart_that_is_there(visits: Visits, size: dict[str, Any]) -> None:
    page = visits.visit("#wall", **size)
    page.get_by_role("button", name="Shelf").click()
    shelf = page.get_by_role("dialog", name="Shelf")
    shelf.get_by_text("Nothing kept yet. Open a face: its heart puts it here.").wait_for()
    if size is PHONE:
        assert shelf.evaluate("shelf => shelf.getBoundingClientRect().width") == 390
    shelf.get_by_role("button", name="Close").click()
    page.locator(".tile .face").first.click()
    page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("button", name="Shelf, 1 kept").wait_for()
