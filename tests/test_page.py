"""The page of `animegen serve` in Chromium: wall, morph, explorer, kiosk, shelf, and how it bears trouble."""

from __future__ import annotations

import re
import shlex
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from page_server import DESK, PHONE, SHOWN, Visits, pixels, served

from animegen import Generator

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, Page, Route, expect

pytestmark = pytest.mark.slow

LAST = 2**32 - 1


@pytest.fixture(scope="module")
def models(conditional_model: Path) -> Iterator[dict[str, Generator]]:
    """What is served: the first has 16 directions, the other one labels."""
    with (
        Generator.load("anime-pixels-64", device="cpu", threads=1) as shipped,
        Generator.load(conditional_model, device="cpu", threads=1) as labelled,
    ):
        yield {"anime-pixels-64": shipped, "faces": labelled}


@pytest.fixture(scope="module")
def address(models: dict[str, Generator]) -> Iterator[str]:
    with served(models) as url:
        yield url


@pytest.fixture
def pixels64(models: dict[str, Generator]) -> Generator:
    return models["anime-pixels-64"]


def tile(seed: int) -> str:
    return f".tile[data-seed='{seed}']"


def copied(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def state(page: Page) -> dict[str, Any]:
    found = page.evaluate("animegen.store.state")
    assert isinstance(found, dict)
    return found


def slide(page: Page, selector: str, value: float) -> None:
    """Move a slider to a value, as a pointer does."""
    page.locator(selector).evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


# The wall.


def test_faces_are_there_at_once_with_their_seeds(visits: Visits, pixels64: Generator) -> None:
    page = visits.visit()
    seen = page.evaluate("animegen.wall.seen()")
    assert (seen["first"], seen["last"]) >= (0, 31)
    page.wait_for_function("n => document.querySelectorAll('.picture.is-shown').length >= n", arg=seen["last"] + 1)
    for seed, image in zip((0, 1, 31), pixels64.sample(seeds=[0, 1, 31]), strict=True):
        np.testing.assert_array_equal(pixels(page, f"{tile(seed)} img"), image)
        expect(page.get_by_alt_text(f"face of seed {seed}", exact=True)).to_have_count(1)
        expect(page.locator(f"{tile(seed)} .seed")).to_have_text(str(seed))
    expect(page.locator("#where")).to_contain_text("On the server, CPU")
    expect(page.locator("#speed")).to_have_text(re.compile(r"[\d.]+ ms each"))
    expect(page.locator("#licence")).to_contain_text("Research and personal use only")
    side = page.locator(f"{tile(0)} .picture").bounding_box()
    assert side is not None
    assert 1.8 < side["width"] / 64 < 2.5
    page.get_by_label("3×", exact=True).check()
    page.get_by_label("Sharp", exact=True).check()
    page.wait_for_function("() => document.querySelector('.tile .picture').getBoundingClientRect().width === 192")
    assert page.locator(f"{tile(0)} img").evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"


def test_the_wall_is_endless_and_small(visits: Visits) -> None:
    page = visits.visit()
    page.mouse.move(800, 400)
    for _ in range(12):
        page.mouse.wheel(0, 30_000)
        page.evaluate("new Promise(requestAnimationFrame)")
    page.wait_for_function("() => animegen.store.state.at > 10_000")
    page.wait_for_function(f"() => document.querySelectorAll('.wall {SHOWN}').length > 30")
    assert page.locator(".tile").count() < 200
    assert len([url for url in visits.asked if "/v1/images/" in url]) < 1500  # of the 18,000 that were passed
    seen = page.evaluate("animegen.wall.seen()")
    seeds = [int(seed) for seed in page.locator(".tile .seed").all_inner_texts()]
    assert all(b == a + 1 for a, b in pairwise(seeds))
    assert seeds[0] <= seen["first"] <= seen["last"] <= seeds[-1]


def test_space_explores(visits: Visits) -> None:
    page = visits.visit("#wall&at=40")
    page.keyboard.press("Space")
    assert (state(page)["view"], state(page)["seed"]) == ("explore", 40)


def test_the_keyboard_walks_jumps_and_pins(visits: Visits) -> None:
    page = visits.visit()
    columns = page.evaluate("animegen.wall.seen().columns")
    press = page.keyboard.press
    expected = [("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowLeft", columns), ("ArrowUp", 0)]
    for key, seed in [*expected, ("End", LAST), ("Home", 0)]:
        press(key)
        assert page.evaluate("Number(document.activeElement.closest('.tile').dataset.seed)") == seed
    press("PageDown")
    below = page.evaluate("animegen.wall.current")
    assert below > 3 * columns
    press("PageUp")
    press("Enter")
    press("ArrowRight")
    press("Enter")
    expect(page.locator(f"{tile(0)}[data-pin=A]")).to_have_count(1)
    expect(page.locator(f"{tile(1)}[data-pin=B]")).to_have_count(1)
    page.wait_for_url(re.compile(r"#wall&a=0&b=1"))
    press("Enter")
    assert state(page)["b"] is None
    press("ArrowRight")
    press("f")
    expect(page.locator("#shelf-count")).to_have_text("1")
    press("c")
    assert copied(page) == "2"
    press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()


def test_a_seed_is_typed_thrown_and_copied(visits: Visits) -> None:
    page = visits.visit()
    page.get_by_label("Seed", exact=True).fill("123 456")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"#wall&at=123456"))
    page.locator(f"{tile(123456)} {SHOWN}").wait_for()
    page.locator(f"{tile(123456)} button.seed").click()
    assert copied(page) == "123456"
    expect(page.locator("#live")).to_have_text("Seed 123456 copied")
    page.get_by_role("button", name="A random seed").click()
    page.wait_for_url(lambda url: "at=123456" not in url)
    page.go_back()
    page.locator(f"{tile(123456)} {SHOWN}").wait_for()
    page.get_by_label("Seed", exact=True).fill("4294967296")
    page.keyboard.press("Enter")
    assert page.get_by_label("Seed", exact=True).evaluate("input => input.validationMessage").startswith("A seed is")


# Morph.


def test_dragging_asks_for_one_face_at_a_time_and_shows_the_last(visits: Visits, pixels64: Generator) -> None:
    page = visits.visit("#morph&a=12&b=77&t=0")
    page.locator(f".frames {SHOWN}").nth(8).wait_for()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/images/12.png?toward*", hold)
    for t in (0.11, 0.22, 0.33, 0.44):
        slide(page, ".film input", t)
    page.wait_for_timeout(200)  # were more asked for, they would be here
    assert [("toward=77:0.11" in route.request.url) for route in held] == [True]
    held[0].continue_()
    page.wait_for_function("() => animegen.draw.engine && document.querySelector('.middle .is-coming') !== null")
    page.wait_for_timeout(200)
    assert ["toward=77:0.44" in route.request.url for route in held] == [False, True]
    held[1].continue_()
    page.get_by_alt_text("face of seed 12, 44 % towards 77").and_(page.locator(".middle img")).wait_for()
    np.testing.assert_array_equal(pixels(page, ".middle img"), pixels64.image(12, toward=[(77, 0.44)]))
    page.unroute("**/v1/images/12.png?toward*")
    page.wait_for_url(re.compile(r"t=0\.44"))
    page.get_by_label("Line", exact=True).check()
    page.wait_for_url(re.compile(r"mode=lerp"))
    page.wait_for_function("() => !document.querySelector('.middle .is-coming')")
    np.testing.assert_array_equal(pixels(page, ".middle img"), pixels64.image(12, toward=[(77, 0.44)], mode="lerp"))


def test_it_plays_there_and_back_until_it_is_stopped(visits: Visits) -> None:
    page = visits.visit("#morph&a=12&b=77&t=0.9")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelector('.film input').value > 0.97")
    page.wait_for_function("() => document.querySelector('.film input').value < 0.93")
    page.get_by_role("button", name="Pause").click()
    t = state(page)["t"]
    page.get_by_role("button", name="Swap").click()
    assert (state(page)["a"], state(page)["b"]) == (77, 12)
    assert state(page)["t"] == pytest.approx(1 - t)
    page.get_by_label("Seed of A").fill("5")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("a=5&"))
    page.get_by_role("button", name="Another B").click()
    assert state(page)["b"] != 12


def test_less_motion_is_no_motion(visits: Visits) -> None:
    page = visits.visit("#morph&a=12&b=77", reduced_motion="reduce")
    expect(page.get_by_role("button", name="Play")).to_be_disabled()
    expect(page.get_by_text("less motion")).to_be_visible()
    page.evaluate("location.hash = '#kiosk&stops=3,14,15'")
    page.get_by_alt_text("face of seed 3", exact=True).and_(page.locator(".kiosk .picture img")).wait_for()
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    page.get_by_role("button", name="Next face").click()
    page.get_by_alt_text("face of seed 14", exact=True).and_(page.locator(".kiosk .picture img")).wait_for()
    page.wait_for_timeout(200)  # nothing moves by itself
    assert page.locator(".kiosk .picture img").get_attribute("alt") == "face of seed 14"


# The explorer.


def test_more_like_this_and_the_way_back(visits: Visits, pixels64: Generator) -> None:
    page = visits.visit()
    page.locator(f"{tile(5)} .face").click()
    expect(page.get_by_role("heading", name="5", exact=True)).to_be_visible()
    relatives = page.locator(".relatives button")
    expect(relatives).to_have_count(8)
    page.locator(f".relatives button {SHOWN}").nth(7).wait_for()
    lineage = [state(page)["toward"]]
    for place in (2, 6):
        relatives.nth(place).click()
        lineage.append(state(page)["toward"])
    (first, share), (second, again) = lineage[-1]
    assert (share, again) == (0.25, 0.25)
    assert lineage[1] == [[first, 0.25]]
    made = pixels64.image(5, toward=[(first, 0.25), (second, 0.25)])
    np.testing.assert_array_equal(pixels(page, ".portrait img"), made)
    page.go_back()
    assert state(page)["toward"] == lineage[1]
    page.locator(f".relatives button {SHOWN}").nth(7).wait_for()
    slide(page, "#near", 0.6)
    page.get_by_role("button", name="Eight others").click()
    assert (state(page)["near"], state(page)["round"]) == (0.6, 1)
    page.go_back()
    page.go_back()
    assert state(page)["toward"] == []
    page.go_back()
    assert state(page)["view"] == "wall"
    page.go_forward()
    page.go_forward()
    assert state(page)["toward"] == lineage[1]
    page.get_by_role("button", name="seed 5", exact=True).click()
    assert state(page)["toward"] == []


def test_directions_and_variety(visits: Visits, pixels64: Generator) -> None:
    page = visits.visit("#explore&seed=5")
    sliders = page.locator(".sliders input")
    assert len(pixels64.card.directions) == 16
    expect(sliders).to_have_count(16)
    sliders.nth(3).focus()
    expect(page.get_by_text("number 3")).to_be_visible()
    strip = page.locator(".strip").first
    strip.get_by_role("button", name="−2").click()
    slide(page, "#direction-0", 1.5)
    page.wait_for_url(re.compile(r"move=0:1\.5&move=3:-2"))
    np.testing.assert_array_equal(pixels(page, ".portrait img"), pixels64.image(5, moves={0: 1.5, 3: -2}))
    page.wait_for_timeout(50)
    np.testing.assert_array_equal(pixels(page, ".strip .cell:last-child img"), pixels64.image(5, moves={0: 3, 3: -2}))
    page.locator("label[for=direction-7]").hover()
    page.get_by_text("number 7").wait_for()
    page.get_by_role("button", name="Reset").click()
    assert state(page)["moves"] == {}
    page.locator(".strip").nth(1).get_by_role("button", name="0.4").click()
    np.testing.assert_array_equal(pixels(page, ".portrait img"), pixels64.image(5, truncation=0.4))
    expect(page.locator("#psi-value")).to_have_text("0.40")
    slide(page, "#psi", 0.7)
    page.wait_for_url(re.compile(r"psi=0\.7"))


def test_labels_where_the_model_has_some(visits: Visits, models: dict[str, Generator]) -> None:
    page = visits.visit("#explore&seed=3")
    expect(page.locator("#labels")).to_be_hidden()
    page.get_by_label("Model", exact=True).select_option("faces")
    hair = page.get_by_label("hair")
    hair.locator("option", has_text="as the seed draws: blonde").wait_for(state="attached")
    expect(hair.locator("option")).to_have_text(["as the seed draws: blonde", "blonde", "blue", "red"])
    hair.select_option("blue")
    page.wait_for_url(re.compile(r"label=hair=blue&model=faces"))
    np.testing.assert_array_equal(pixels(page, ".portrait img"), models["faces"].image(3, labels={"hair": "blue"}))
    hair.select_option("")
    page.wait_for_function("() => Object.keys(animegen.store.state.labels).length === 0")
    np.testing.assert_array_equal(pixels(page, ".portrait img"), models["faces"].image(3))
    expect(page.locator("#licence")).to_have_text("MIT")


def test_a_link_is_the_picture(visits: Visits) -> None:
    page = visits.visit("#explore&seed=5&toward=9:0.3&move=0:-1.2&psi=0.9&label=eyes=grey&model=faces&a=4&b=8")
    face = pixels(page, ".portrait img")
    page.get_by_role("button", name="Link").click()
    link = copied(page)
    there = visits.visit(link.removeprefix(visits.address))
    np.testing.assert_array_equal(pixels(there, ".portrait img"), face)
    assert state(there) == state(page)
    missing = visits.visit("#wall&model=gone")
    expect(missing.locator("#notice").get_by_text("the model gone")).to_be_visible()
    assert state(missing)["model"] == "anime-pixels-64"


# The shelf.


def test_what_is_kept_stays_and_travels_as_a_list(visits: Visits) -> None:
    page = visits.visit()
    page.locator(tile(2)).hover()
    page.get_by_role("button", name="Keep seed 2", exact=True).click()
    page.evaluate("location.hash = '#explore&seed=9&toward=4:0.25'")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.wait_for_function(
        "() => animegen.shelf.has({seed: 9, toward: [[4, 0.25]], moves: {}, truncation: 1, labels: {}})"
    )
    page.reload()
    page.get_by_role("button", name="Shelf, 2 kept").click()
    shelf = page.get_by_role("dialog", name="Shelf")
    shelf.locator(SHOWN).nth(1).wait_for()
    listed = shelf.get_by_label("Seeds list")
    expect(listed).to_have_value("2\n#explore&seed=9&toward=4:0.25")
    listed.fill("0-3,77")
    shelf.get_by_role("button", name="Add these").click()
    expect(listed).to_have_value("2,0-1,3,77\n#explore&seed=9&toward=4:0.25")
    shelf.get_by_role("button", name="Copy").click()
    assert copied(page) == listed.input_value()
    with page.expect_download() as saved:
        shelf.get_by_role("button", name="Save").click()
    assert Path(saved.value.path()).read_text() == f"{listed.input_value()}\n"
    listed.fill("7-3")
    shelf.get_by_role("button", name="Add these").click()
    expect(page.locator("#toast")).to_have_text("“7-3” must run upwards: write 3-7")
    shelf.get_by_role("button", name="Take seed 2 off").click()
    shelf.get_by_label("Seen this visit").check()
    shelf.get_by_title("face of seed 9, 25 % towards 4").wait_for()
    shelf.get_by_label("Kept", exact=True).check()
    shelf.get_by_title("face of seed 77").click()
    expect(page.get_by_role("heading", name="77")).to_be_visible()


def test_what_is_seen_joins_an_open_shelf(visits: Visits) -> None:
    page = visits.visit("#explore&seed=9")
    page.evaluate("animegen.shelf.open()")
    shelf = page.get_by_role("dialog", name="Shelf")
    shelf.get_by_label("Seen this visit").check()
    page.evaluate("location.hash = '#explore&seed=12'")
    shelf.get_by_title("face of seed 12").wait_for()  # as soon as it was looked at for long enough
    expect(shelf.get_by_label("Seeds list")).to_have_value(re.compile("^12"))


def test_a_file_of_seeds_is_opened(visits: Visits, tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("5-6\n#explore&seed=9&toward=4:0.25\n")
    page = visits.visit()
    page.get_by_role("button", name="Shelf").click()
    shelf = page.get_by_role("dialog", name="Shelf")
    with page.expect_file_chooser() as chosen:
        shelf.get_by_role("button", name="Open a file").click()
    chosen.value.set_files(tmp_path / "seeds.txt")
    shelf.get_by_title("face of seed 9, 25 % towards 4").wait_for()
    expect(shelf.get_by_label("Seeds list")).to_have_value("5-6\n#explore&seed=9&toward=4:0.25")


def test_light_and_dark_are_chosen_and_kept(visits: Visits) -> None:
    page = visits.visit(color_scheme="light")
    ink = "getComputedStyle(document.body).color"
    light = page.evaluate(ink)
    seen = []
    for _ in range(3):
        page.locator("button.icon[data-theme-toggle]").click()
        seen.append((page.evaluate("document.documentElement.dataset.theme ?? 'system'"), page.evaluate(ink)))
    assert [theme for theme, _ in seen] == ["light", "dark", "system"]
    assert [colour == light for _, colour in seen] == [True, False, True]
    for _ in range(2):
        page.locator("button.icon[data-theme-toggle]").click()
    page.reload()
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")


# The kiosk.


def test_the_kiosk_walks_in_a_circle(visits: Visits, pixels64: Generator) -> None:
    page = visits.visit()
    page.get_by_role("link", name="Kiosk").click()
    page.wait_for_url(re.compile(r"#kiosk&stops=\d+"))
    first = pixels(page, ".kiosk .picture img")
    stops = state(page)["stops"]
    assert len(stops) == 6
    np.testing.assert_array_equal(first, pixels64.image(stops[0]))
    page.wait_for_function("() => / towards /.test(document.querySelector('.kiosk .picture img').alt)")
    page.get_by_role("button", name="Pause").click()
    for _ in stops:
        page.get_by_role("button", name="Next face").click()
    page.get_by_alt_text(f"face of seed {stops[0]}", exact=True).and_(page.locator(".kiosk .picture img")).wait_for()
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => document.fullscreenElement === document.documentElement")
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => document.fullscreenElement === null")
    page.keyboard.press("Escape")
    assert state(page)["view"] == "wall"


# Trouble.


def test_a_server_that_is_away_is_waited_for(visits: Visits) -> None:
    page = visits.visit()
    page.wait_for_function(f"() => document.querySelectorAll('.wall {SHOWN}').length > 40")
    page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    page.get_by_label("Seed", exact=True).fill("9000")
    page.keyboard.press("Enter")
    page.locator("#notice").get_by_text("Nobody answers. What is here stays").wait_for()
    page.keyboard.press("Home")
    page.locator(f"{tile(0)} {SHOWN}").wait_for()
    page.keyboard.press("End")
    page.unroute("**/v1/**")
    page.locator("#notice-act").dispatch_event("click")  # hidden, if a try of its own came first
    page.locator(f"{tile(LAST)} {SHOWN}").wait_for()
    page.locator("#notice").wait_for(state="hidden")
    visits.complaints[:] = [text for text in visits.complaints if "ERR_CONNECTION_REFUSED" not in text]


def test_a_busy_server_is_given_its_time(visits: Visits) -> None:
    page = visits.visit("#explore&seed=1")
    waits = ["60"]  # of all that is asked for at once; then one face at a time tries

    def busy(route: Route) -> None:
        wait = waits[0] if waits else None
        if wait == "1":
            waits.clear()  # before the answer, during which the next request comes
        if wait is None:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": wait}, json={"detail": "too much at once"})

    page.wait_for_load_state("networkidle")
    page.route("**/v1/images/**", busy)
    page.evaluate("location.hash = '#explore&seed=8'")
    page.locator("#notice").get_by_text("It goes on in 60 seconds").wait_for()
    waits[:] = ["1"]
    page.get_by_role("button", name="Try now").click()  # and then it waits for a second by itself
    page.get_by_alt_text("face of seed 8", exact=True).first.wait_for()
    page.locator("#notice").wait_for(state="hidden")
    visits.complaints[:] = [text for text in visits.complaints if "503" not in text]


def test_a_server_that_wants_a_token_is_given_it(browser: Browser, models: dict[str, Generator]) -> None:
    word = "open;%41,sesame"
    with served(models, token=word) as address:
        these = Visits(browser, address)
        page = these.visit(wait=False)
        notice = page.locator("#notice")
        notice.get_by_text("This server asks for its token").wait_for()
        page.get_by_label("Token").fill("another-word")
        page.get_by_role("button", name="Go on").click()
        notice.get_by_text("That is not this server’s token").wait_for()
        page.get_by_label("Token").fill(word)
        page.get_by_role("button", name="Go on").click()
        page.locator(f"{tile(0)} {SHOWN}").wait_for()
        page.get_by_role("button", name="Save and take along").click()
        page.get_by_label("curl").check()
        line = page.locator("#save code").inner_text()
        assert word not in line
        _, _, _, option, header, url = shlex.split(line.replace("$TOKEN", word))
        assert option == "-H"
        request = urllib.request.Request(url, headers=dict([header.split(": ")]))  # noqa: S310 (this test's own server)
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            assert answer.status == 200
        these.complaints[:] = [text for text in these.complaints if "401" not in text]
        these.close()


@pytest.mark.parametrize(
    ("status", "words"), [(404, "The models here have changed"), (401, "This server asks for its token now")]
)
def test_a_server_that_has_changed_is_told_and_loaded_anew(visits: Visits, status: int, words: str) -> None:
    page = visits.visit()
    page.wait_for_load_state("networkidle")
    page.route("**/v1/images/**", lambda route: route.fulfill(status=status, json={"detail": "v is 'a', not 'b'"}))
    page.get_by_label("Seed", exact=True).fill("9000")
    page.keyboard.press("Enter")
    notice = page.locator("#notice")
    notice.get_by_text(words).wait_for()
    page.locator(f"{tile(9000)} .is-broken").wait_for()
    page.unroute("**/v1/images/**")
    notice.get_by_role("button", name="Load again").click()
    page.locator(f"{tile(9000)} {SHOWN}").wait_for()
    expect(notice).to_be_hidden()
    visits.complaints[:] = [text for text in visits.complaints if str(status) not in text]


def test_what_took_too_long_is_told_at_once(visits: Visits) -> None:
    page = visits.visit()
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        wait = {"Retry-After": "1"} if len(asked) == 1 else {}
        route.fulfill(
            status=503, headers=wait, json={"detail": "it took longer than 30 seconds: ask for less, or later"}
        )

    page.route("**/v1/grid.png*", refuse)
    page.get_by_role("button", name="Save and take along").click()
    page.locator("#save").get_by_role("button", name="Save").click()
    page.locator("#save").get_by_role("alert").get_by_text("Busy: it is tried again in 1 s.").wait_for()
    page.locator("#save").get_by_role("alert").get_by_text("ask for less, or later.").wait_for()
    assert len(asked) == 2
    visits.complaints[:] = [text for text in visits.complaints if "503" not in text]


def test_what_is_too_much_is_told(visits: Visits) -> None:
    page = visits.visit()
    page.get_by_role("button", name="Save and take along").click()
    dialog = page.get_by_role("dialog", name="Take it along")
    dialog.get_by_label("Seeds", exact=True).fill("0-999")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("alert").filter(has_text="256").wait_for()
    dialog.get_by_label("Seeds", exact=True).fill("0-99999")
    expect(dialog.get_by_role("alert")).to_contain_text("ask for fewer")
    visits.complaints[:] = [text for text in visits.complaints if "status of 4" not in text]


# The whole.


def test_it_works_below_another_path(visits: Visits, address: str) -> None:
    page = visits.visit(below="faces/")
    page.evaluate("location.hash = '#explore&seed=3'")
    page.locator(f".relatives {SHOWN}").nth(8).wait_for()
    assert all(url.startswith((f"{address}faces/", "blob:")) for url in visits.asked)


def test_it_is_small_and_plain(visits: Visits) -> None:
    page = visits.visit()
    sizes = page.evaluate(
        "() => performance.getEntries().filter(entry => entry.encodedBodySize && !entry.name.includes('/v1/'))"
        ".reduce(([sent, whole], entry) => [sent + entry.encodedBodySize, whole + entry.decodedBodySize], [0, 0])"
    )
    assert sizes[0] < 60_000
    assert sizes[1] < 150_000
    folder = ROOT / "animegen" / "server" / "page"
    files = [file for file in folder.iterdir() if file.is_file() and file.name != "engine-local.js"]
    markup = (folder / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?! type=\"module\" src=\"page/)", markup)
    assert not [file.name for file in files if re.search(r"https?://(?!www\.w3\.org/)", file.read_text())]


AXE_VIEWS = ["#wall&a=1&b=2", "#explore&seed=42&toward=7:0.25&label=hair=red&model=faces", "#morph&a=1&b=2", "#kiosk"]


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visits: Visits, size: dict[str, Any], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # Still, so that nothing is looked at half faded.
    page = visits.visit(color_scheme=scheme, reduced_motion="reduce", **size)

    def check(what: str) -> None:
        found = axe.run(page).response["violations"]
        assert not [(what, each["id"], [node["html"][:160] for node in each["nodes"]]) for each in found]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what

    for fragment in AXE_VIEWS:
        page.evaluate("fragment => { location.hash = fragment; }", fragment)
        page.locator(f".view:not([hidden]) {SHOWN}").first.wait_for()
        check(fragment)
    page.evaluate("location.hash = '#wall'")
    for dialog in ("save", "shelf", "keys", *(["options"] if size is PHONE else [])):
        page.locator(f"#open-{dialog}").dispatch_event("click")
        check(dialog)
        page.keyboard.press("Escape")
