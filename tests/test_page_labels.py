"""Labels on the page of `animegen serve`: what is marked, kept and addressed when they or the model change."""

from __future__ import annotations

import io
import re
import shlex
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_server import PHONE, Visits, pixels, served
from PIL import Image

from animegen import Generator
from animegen.labels import draw_classes

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(conditional_model: Path) -> Iterator[dict[str, Generator]]:
    """What is served: the same tiny model with labels under two names."""
    with Generator.load(conditional_model, device="cpu", threads=1) as labelled:
        yield {"faces": labelled, "more": labelled}


@pytest.fixture(scope="module")
def address(models: dict[str, Generator]) -> Iterator[str]:
    with served(models) as url:
        yield url


def heart(page: Page, seed: int) -> Locator:
    """The wall's button that keeps a seed, pressed."""
    return page.locator(f".tile[data-seed='{seed}'] .keep[aria-pressed=true]")


def test_marks_are_those_of_the_labels_and_the_model(visits: Visits) -> None:
    page = visits.visit()
    page.evaluate("animegen.shelf.toggle({seed: 3, toward: [], moves: {}, truncation: 1, labels: {}})")
    page.get_by_label("hair").select_option("blue")
    heart(page, 3).wait_for(state="detached")
    page.get_by_label("hair").select_option("")
    heart(page, 3).wait_for()
    page.get_by_label("Model", exact=True).select_option("more")
    heart(page, 3).wait_for(state="detached")
    expect(page.get_by_role("button", name="Shelf", exact=True)).to_have_text("", use_inner_text=True)
    page.go_back()
    heart(page, 3).wait_for()
    page.get_by_role("button", name="Shelf, 1 kept").wait_for()
    page.locator(".tile[data-seed='5'] .face").click()
    page.get_by_role("button", name="Pin", exact=True).click()
    page.get_by_role("link", name="Wall").click()
    page.locator(".tile[data-seed='5'][data-pin=A]").wait_for()


def test_what_was_seen_of_one_model_stays_seen_of_it(visits: Visits) -> None:
    page = visits.visit()
    page.evaluate("""() => {
      const point = {seed: 3, toward: [], moves: {}, truncation: 1, labels: {}};
      animegen.shelf.seen(point);
      animegen.store.set({model: "more"});
      animegen.shelf.seen(point);
      animegen.store.set({model: "faces"});
    }""")
    page.get_by_role("button", name="Shelf").click()
    shelf = page.get_by_role("dialog", name="Shelf")
    shelf.get_by_label("Seen this visit").check()
    expect(shelf.get_by_label("Seeds list")).to_have_value("3")


def test_labels_stand_in_the_models_order(visits: Visits) -> None:
    page = visits.visit("#explore&seed=3")
    page.get_by_label("hair").select_option("blue")
    page.get_by_label("eyes").select_option("grey")
    page.get_by_role("button", name="Keep", exact=True).click()
    address = page.evaluate("location.href")
    page.get_by_label("hair").select_option("")
    page.get_by_role("button", name="Keep", exact=True).wait_for()
    page.get_by_label("hair").select_option("blue")
    page.get_by_role("button", name="Kept", exact=True).wait_for()
    expect(page).to_have_url(address)
    other = visits.visit("#explore&seed=3&label=eyes=grey&label=hair=blue")
    other.get_by_role("button", name="Link").click()
    expect(other).to_have_url(address)
    assert other.evaluate(
        "[['hair', 'blue'], ['eyes', 'grey']].map((pair, k, all) => (animegen.shelf.toggle("
        "{seed: 7, toward: [], moves: {}, truncation: 1, labels: Object.fromEntries(k ? all.reverse() : all)}),"
        " animegen.shelf.kept.length))"
    ) == [1, 0]
    assert not [url for url in visits.asked if re.search("label=eyes.*label=hair", url)]


def test_a_list_adds_each_face_once(visits: Visits) -> None:
    page = visits.visit()
    page.get_by_role("button", name="Shelf").click()
    shelf = page.get_by_role("dialog", name="Shelf")
    listed = shelf.get_by_label("Seeds list")
    face = "#explore&seed=9&label="
    listed.fill(f"5,5,5-6\n{face}hair=blue&label=eyes=grey\n{face}eyes=grey&label=hair=blue\n{face}hair=none")
    shelf.get_by_role("button", name="Add these").click()
    expect(listed).to_have_value(f"5-6,9\n{face}hair=blue&label=eyes=grey")
    expect(page.locator("#toast")).to_have_text("4 added")
    shelf.locator(".kept .picture.is-shown").nth(3).wait_for()


MIX = "hair=blue:0.5%2Bred:0.25&label=eyes=unknown"


def test_mixes_and_unknown_labels_stay(visits: Visits, models: dict[str, Generator]) -> None:
    page = visits.visit(f"#explore&seed=3&label={MIX}")
    expected = models["faces"].image(3, labels={"hair": {"blue": 0.5, "red": 0.25}, "eyes": "unknown"})
    np.testing.assert_array_equal(pixels(page, ".portrait img"), expected)
    hair, eyes = page.get_by_label("hair"), page.get_by_label("eyes")
    expect(hair.locator("option:checked")).to_have_text("67 % blue, 33 % red")
    expect(eyes.locator("option:checked")).to_have_text("unknown")
    # None of its classes was unknown in training.
    expect(hair.locator("option", has_text=re.compile("^unknown$"))).to_have_count(0)
    page.get_by_role("button", name="Link").click()
    expect(page).to_have_url(re.compile(re.escape(f"&label={MIX}&model=faces") + "$"))
    page.get_by_role("button", name="Save and take along").click()
    page.locator("#save").get_by_label("1×", exact=True).check()
    page.locator("#save").get_by_label("curl", exact=True).check()
    line = shlex.split(page.locator("#save code").inner_text())
    with urllib.request.urlopen(line[3]) as answer, Image.open(io.BytesIO(answer.read())) as picture:  # noqa: S310
        np.testing.assert_array_equal(np.asarray(picture), expected)
    page.locator("#save").get_by_label("Python", exact=True).check()
    expect(page.locator("#save code")).to_contain_text('labels={"hair": {"blue": 0.5, "red": 0.25}, "eyes": "unknown"}')
    page.locator("#save").get_by_label("Command", exact=True).check()
    expect(page.locator("#save code")).to_contain_text("--label hair=blue:0.5+red:0.25 --label eyes=unknown")
    page.locator("#save").get_by_role("button", name="Close").click()
    hair.select_option("red")
    expect(hair.locator("option", has_text="67 % blue, 33 % red")).to_have_count(0)
    expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize("label", ["hair=green", "hair=blue:much", "hair=blue:0", "nose=red"])
def test_labels_that_are_not_there_are_told(visits: Visits, label: str) -> None:
    page = visits.visit(f"#explore&seed=3&label={label}&label=eyes=grey")
    notice = page.locator("#notice")
    notice.get_by_text(f"faces has no {label.replace('=', ' ')}: it is left out.").wait_for()
    assert page.evaluate("animegen.store.state.labels") == {"eyes": "grey"}
    notice.get_by_role("button", name="All right").click()
    expect(notice).to_be_hidden()


def test_a_saved_file_s_name_says_labels_and_variety(visits: Visits) -> None:
    page = visits.visit("#explore&seed=3&psi=0.8&label=eyes=grey&label=hair=blue:0.5%2Bred:0.25")
    page.get_by_role("button", name="Save and take along").click()
    page.locator("#save").get_by_label("1×", exact=True).check()
    with page.expect_download() as download:
        page.locator("#save").get_by_role("button", name="Save").click()
    assert download.value.suggested_filename == "faces-3-hair-blue-0.5+red-0.25-eyes-grey-psi-0.8.png"


def test_what_a_seed_draws_is_said_beside_it(visits: Visits, models: dict[str, Generator]) -> None:
    page = visits.visit("#explore&seed=3")
    generator, first = models["faces"], page.get_by_label("hair").locator("option").first
    for seed in (3, 4, 5):
        page.evaluate(f"animegen.explore({seed})")
        drawn = draw_classes([seed], generator.card.z_dim, generator.labels)[0]
        for group, k in zip(generator.labels, drawn, strict=True):
            name = group.classes[k] if k >= 0 else "unknown"
            page.get_by_label(group.name).locator("option", has_text=f"as the seed draws: {name}").wait_for(
                state="attached"
            )
    page.locator(".relatives button").first.click()  # a blend of what several draw
    page.wait_for_function("document.querySelector('#label-hair option').text === 'as the seed draws'")
    page.get_by_role("link", name="Wall").click()
    expect(first).to_have_text("as the seed draws")


def test_a_phone_says_what_is_chosen_while_its_options_are_closed(visits: Visits) -> None:
    page = visits.visit(**PHONE)
    chosen = page.locator("#chosen")
    expect(chosen).to_be_hidden()
    page.evaluate("animegen.store.go({labels: {hair: 'blue:1+red:1', eyes: 'grey'}, psi: 0.8})")
    expect(chosen).to_have_text("hair 50 % blue, 50 % red · eyes grey · ψ 0.80")
    chosen.click()
    expect(page.get_by_label("eyes")).to_be_visible()
    page.get_by_label("eyes").select_option("green")
    page.keyboard.press("Escape")
    chosen.get_by_text("eyes green").wait_for()
