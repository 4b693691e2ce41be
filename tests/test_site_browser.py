"""The page without a server, as `animegen web` writes it, in a real browser: the same images, files, and kind errors.

ONNX Runtime Web comes by npm, once for all processes of a test run; without npm or a network the tests are skipped.
"""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import ISOLATED, launched, served, shown, with_helpers
from conftest import tiny_card, tiny_graph, write_model
from numpy.typing import NDArray
from onnx import TensorProto, helper, load_model, numpy_helper, save_model
from PIL import Image

from animegen import AnimegenError, DataError, Generator, Overrides, find_model, grid, read_metadata
from animegen.deploy.browser_runtime import runtime_files
from animegen.deploy.site import write_site
from animegen.images.stills import enlarge
from animegen.labels import draw_classes

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, Page, Playwright, Route, expect

Generators = dict[str, Generator]

SHIPPED = ("anime-face-64", "anime-pixels-64")


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runtime's files, which the first process that needs them fetches."""
    fcntl = pytest.importorskip("fcntl")
    if shutil.which("npm") is None:
        pytest.skip("npm isn't installed")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "onnxruntime-web"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dist").exists():
            try:
                files = runtime_files()
            except AnimegenError as error:
                pytest.skip(str(error))
            (folder / "dist").mkdir()
            for name, data in files.items():
                (folder / "dist" / name).write_bytes(data)
    return folder


def foreign() -> Any:
    """The tiny generator as others write them: [4, 8, 1, 1] → float32 [4, 8, 8, 3] in −1 … 1, and three more inputs."""
    model = tiny_graph()
    graph = model.graph
    for _ in range(4):  # Mul, Add, Round and Cast, which bring the values to levels
        del graph.node[-1]
    del graph.node[0]
    graph.node[0].input[0] = "latent"
    graph.node.insert(0, helper.make_node("Cast", ["flag"], ["zero"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Transpose", ["y"], ["turned"], perm=[0, 2, 3, 1]))
    graph.node.append(helper.make_node("Mul", ["turned", "gain"], ["scaled"]))
    graph.node.append(helper.make_node("Cast", ["kind"], ["number"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Add", ["number", "zero"], ["power"]))
    graph.initializer.append(numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), "across"))
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "darker"))
    graph.node.append(helper.make_node("Pow", ["darker", "power"], ["share"]))
    graph.node.append(helper.make_node("Reshape", ["share", "across"], ["shares"]))
    graph.node.append(helper.make_node("Mul", ["scaled", "shares"], ["pictures"]))
    del graph.input[:]
    del graph.output[:]
    graph.input.append(helper.make_tensor_value_info("latent", TensorProto.FLOAT, [4, 8, 1, 1]))
    graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, []))
    graph.input.append(helper.make_tensor_value_info("flag", TensorProto.INT64, [1]))
    graph.input.append(helper.make_tensor_value_info("kind", TensorProto.INT64, [4]))
    graph.output.append(helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [4, 8, 8, 3]))
    return model


@pytest.fixture(scope="session")
def models(conditional_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Generator]]:
    """Generators of all kinds by their files: the tiny conditional one first, as it is soon there."""
    folder = tmp_path_factory.mktemp("models")
    theirs = write_model(folder / "theirs.onnx", None, foreign())
    whole = write_model(folder / "whole.onnx", tiny_card(name="beside"))
    save_model(
        load_model(whole),
        folder / "beside.onnx",
        save_as_external_data=True,
        location="beside.data",
        size_threshold=100,
    )
    overrides = Overrides(inputs={"gain": 0.9, "flag": 0}, labels="kind", classes=("plain", "dim", "dark"))
    found = {conditional_model: Generator.load(conditional_model, device="cpu")}
    found[folder / "beside.onnx"] = Generator.load(folder / "beside.onnx", device="cpu")
    found[theirs] = Generator.load(theirs, device="cpu", overrides=overrides)
    found |= {find_model(name): Generator.load(name, device="cpu", threads=1) for name in SHIPPED}
    yield found
    for generator in found.values():
        generator.close()


@pytest.fixture(scope="session")
def by_name(models: dict[Path, Generator]) -> Generators:
    return {generator.card.name: generator for generator in models.values()}


@pytest.fixture(scope="module")
def site(runtime: Path, models: dict[Path, Generator], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of all of them."""
    return write_site(tmp_path_factory.mktemp("web") / "site", models, runtime=runtime).path


class Watched:
    """A page of a site that writes down what it asks for and what goes wrong in it."""

    def __init__(self, browser: Browser, address: str, headers: dict[str, str] | None = None) -> None:
        self.address, self.headers = address, headers or {}
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.page = with_helpers(browser.new_page())
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda line: self.wrong.append(line.text) if line.type == "error" else None)

    def open_engine(self, query: str = "") -> Any:
        """The engine alone, without the page about it: what it says of itself, or why it can't."""
        self.page.route("**/blank.html*", self._blank)
        self.page.goto(f"{self.address}blank.html{query}")
        return self.page.evaluate(
            """async () => {
              const config = await (await fetch("config.json")).json();
              const { open } = await import(new URL("page/engine-local.js", document.baseURI));
              const steps = [];
              try {
                globalThis.engine = await open(config, { progress: (step) => steps.push(step) });
                const { where, detail, formats } = engine;
                return { where, detail, formats, steps, isolated: crossOriginIsolated };
              } catch ({ name, message, status }) {
                return { name, message, status };
              }
            }"""
        )

    def _blank(self, route: Route) -> None:
        route.fulfill(body="<!doctype html><title>blank</title>", content_type="text/html", headers=self.headers)

    def images(self, model: str, points: list[dict[str, Any]]) -> list[NDArray[np.uint8]]:
        """The engine's images of points, asked for at once."""
        files = self.page.evaluate(
            """async ([name, points]) => {
              const model = engine.models.find((one) => one.name === name);
              const made = await Promise.all(points.map((point) => engine.image(model, point)));
              return Promise.all(made.map(async ({ url }) => blobToBase64(await (await fetch(url)).blob())));
            }""",
            [model, points],
        )
        return [np.asarray(opened(file)) for file in files]

    def save(self, model: str, job: dict[str, Any]) -> bytes:
        """The engine's file of a job."""
        return base64.b64decode(
            self.page.evaluate(
                """async ([name, job]) => {
                  const model = engine.models.find((one) => one.name === name);
                  return blobToBase64(await engine.save(model, job));
                }""",
                [model, job],
            )
        )


def opened(file: str | bytes) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(file) if isinstance(file, str) else file))


def said_by(path: Path, file: bytes) -> dict[str, Any]:
    """What a file says of itself."""
    path.write_bytes(file)
    return read_metadata(path)


def frames_of(file: bytes) -> list[NDArray[np.uint8]]:
    animation, frames = opened(file), []
    for frame in range(getattr(animation, "n_frames", 1)):
        animation.seek(frame)
        frames.append(np.asarray(animation.convert("RGB")))
    return frames


def assert_alike(made: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> None:
    """Within one grey level, and that rarely: WebAssembly's sums round otherwise than those of the CPU."""
    apart = np.abs(made.astype(int) - wanted)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.001


@pytest.fixture(scope="module")
def engine(browser: Browser, site: Path) -> Iterator[Watched]:
    """The engine where threads are allowed."""
    with served(site, ISOLATED) as address:
        watched = Watched(browser, address, ISOLATED)
        said = watched.open_engine()
        assert (said["where"], said["isolated"]) == ("wasm", True), said
        assert said["detail"].startswith("WebAssembly, ")
        last = said["steps"][-2]
        assert said["steps"][-1] is None
        assert (last["model"], last["loaded"]) == ("faces", last["total"])
        yield watched
        watched.page.close()


@pytest.mark.parametrize("name", ["faces", "beside", "theirs", *SHIPPED])
def test_a_seed_names_the_same_image(engine: Watched, by_name: Generators, name: str) -> None:
    generator = by_name[name]
    seeds = [0, 1, 42, 2**32 - 1, 7]
    for image, wanted in zip(
        engine.images(name, [{"seed": seed} for seed in seeds]), generator.sample(seeds=seeds), strict=True
    ):
        assert_alike(image, wanted)


def test_points_give_the_same_images(engine: Watched, by_name: Generators) -> None:
    face: dict[str, Any] = {"seed": 42, "toward": [[1234, 0.25], [777, 0.5]], "truncation": 0.8}
    (made,) = engine.images("anime-face-64", [{**face, "moves": {"0": 1.5, "3": -2}}])
    assert_alike(made, by_name["anime-face-64"].image(moves={0: 1.5, 3: -2}, **face))
    labelled: dict[str, Any] = {"seed": 3, "toward": [[4, 0.5]], "mode": "lerp"}
    labelled["labels"] = {"hair": {"red": 0.5, "blue": 0.5}}
    (made,) = engine.images("faces", [labelled])
    assert_alike(made, by_name["faces"].image(**labelled))


def test_a_class_s_number_is_what_some_models_take(engine: Watched, by_name: Generators) -> None:
    for kind in ("plain", "dim", "dark"):
        (made,) = engine.images("theirs", [{"seed": 1, "labels": {"kind": kind}}])
        assert_alike(made, by_name["theirs"].image(1, labels={"kind": kind}))
    told = engine.page.evaluate(
        """async () => {
          const model = engine.models.find(({ name }) => name === "theirs");
          const asked = ["unknown", "dim"].map((kind) => engine.image(model, { seed: 1, labels: { kind } }));
          return (await Promise.allSettled(asked)).map(({ reason }) => reason && [reason.message, reason.status]);
        }"""
    )
    assert told == [["kind takes one class for each image, and no mixes", 400], None]


def test_one_wrong_point_leaves_the_others_alone(engine: Watched) -> None:
    told = engine.page.evaluate(
        """async () => {
          const [model] = engine.models;
          const points = [{ seed: 1 }, { seed: -1 }, { seed: 1, labels: { nose: "red" } }, { seed: 2 }];
          const stopped = new AbortController();
          const asked = points.map((point) => engine.image(model, point));
          asked.push(engine.image(model, { seed: 3 }, { signal: stopped.signal }));
          stopped.abort();
          const made = await Promise.allSettled(asked);
          return made.map(({ value, reason }) => (value ? "made" : [reason.name, reason.status ?? null]));
        }"""
    )
    assert told == ["made", ["EngineError", 400], ["EngineError", 400], "made", ["AbortError", None]]


def test_a_save_may_be_given_up(engine: Watched) -> None:
    told = engine.page.evaluate(
        """async (job) => {
          const given = new AbortController();
          const saved = engine.save(engine.models[0], job, { signal: given.signal });
          given.abort();
          const name = await saved.catch((error) => error.name);
          const { url } = await engine.image(engine.models[0], { seed: 1 }, { urgent: true });
          engine.release(url);
          return [name, url.startsWith("blob:")];
        }""",
        {"kind": "walk", "form": "gif", "seeds": [1, 2], "frames": 600, "fps": 20, "scale": 1},
    )
    assert told == ["AbortError", True]


def test_files_hold_the_same_images(engine: Watched, by_name: Generators, tmp_path: Path) -> None:
    generator = by_name["anime-pixels-64"]
    job: dict[str, Any] = {"scale": 4, "truncation": 0.9, "labels": {}}
    still = {**job, "kind": "image", "point": {"seed": 5}}
    wanted = enlarge(generator.image(5), 4)
    for form in ("png", "webp", "jpg"):
        file = engine.save("anime-pixels-64", {**still, "form": form})
        assert opened(file).format == {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}[form]
        if form == "jpg":
            assert np.abs(np.asarray(opened(file)).astype(int) - wanted).mean() < 3
        else:
            assert_alike(np.asarray(opened(file).convert("RGB")), wanted)
        made = said_by(tmp_path / f"a.{form}", file)
        assert (made["command"], made["options"]["seed"], made["options"]["scale"]) == ("image", 5, 4)
    large = {**job, "kind": "grid", "seeds": list(range(64)), "columns": 8, "captions": True, "form": "webp"}
    assert opened(engine.save("faces", {**large, "scale": 4})).size == (4 * 78, 4 * 174)
    sheet = {**job, "scale": 1, "kind": "grid", "seeds": [3, 1, 4], "columns": 2, "captions": False, "form": "png"}
    wanted = grid(generator.sample(seeds=[3, 1, 4], truncation=0.9), 2)
    assert_alike(np.asarray(opened(engine.save("anime-pixels-64", sheet))), wanted)
    made = said_by(tmp_path / "a.png", engine.save("anime-pixels-64", {**sheet, "scale": 2}))
    assert (made["command"], made["options"]["scale"]) == ("sample", 2)


def test_a_strip_says_its_command_where_there_is_one(engine: Watched, by_name: Generators, tmp_path: Path) -> None:
    strip: dict[str, Any] = {"kind": "strip", "direction": 0, "range": [-3, 3], "steps": 3, "form": "png"}
    strip |= {"scale": 2, "truncation": 1, "labels": {}}
    for moves, command in (({"1": 0}, "edit"), ({"1": 2}, None)):
        points = [{"seed": 5, "moves": {**moves, "0": amount}} for amount in (-3, 0, 3)]
        file = engine.save("anime-pixels-64", {**strip, "point": {"seed": 5, "moves": moves}, "points": points})
        wanted = [by_name["anime-pixels-64"].image(5, moves={1: moves["1"], 0: amount}) for amount in (-3, 0, 3)]
        assert_alike(np.asarray(opened(file)), enlarge(grid(np.stack(wanted), 3), 2))
        if command:
            assert said_by(tmp_path / "a.png", file)["command"] == command
        else:
            with pytest.raises(DataError, match="says nothing"):
                said_by(tmp_path / "a.png", file)


@pytest.mark.parametrize("form", ["gif", "webp", "mp4"])
def test_animations_hold_the_same_images(engine: Watched, by_name: Generators, form: str, tmp_path: Path) -> None:
    generator = by_name["anime-pixels-64"]
    assert form in engine.page.evaluate("engine.formats.motion")
    morph = {"kind": "morph", "a": 1, "b": 2, "steps": 4, "mode": "slerp", "fps": 10, "scale": 2, "truncation": 1}
    file = engine.save("anime-pixels-64", {**morph, "form": form})
    way = generator.interpolate(1, 2, steps=4)
    if form == "mp4":
        av = pytest.importorskip("av")
        with av.open(io.BytesIO(file)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert container.streams.video[0].average_rate == 10
    else:
        frames = frames_of(file)
    assert len(frames) == 6
    made = said_by(tmp_path / f"a.{form}", file)
    assert (made["command"], made["model"], made["options"]["seed-a"]) == ("interpolate", "anime-pixels-64", [1])
    for frame, wanted in zip(frames, [*way, way[2], way[1]], strict=True):
        assert np.abs(frame.astype(int) - enlarge(wanted, 2)).mean() < 8


def test_a_walk_and_a_limit(engine: Watched, by_name: Generators) -> None:
    walk = {"kind": "walk", "seeds": [1, 2, 3], "frames": 5, "fps": 10, "scale": 1, "truncation": 1, "form": "gif"}
    for frame, wanted in zip(
        frames_of(engine.save("faces", walk)), by_name["faces"].walk([1, 2, 3], frames=5), strict=True
    ):
        assert_alike(frame, wanted)  # a tiny image has few colours
    told = engine.page.evaluate(
        "(job) => engine.save(engine.models[0], job).catch(({ message, status }) => [message, status])",
        {**walk, "frames": 601},
    )
    assert told == ["601 frames at once is more than a browser should hold: at most 600", 413]


def test_nothing_outside_is_asked(engine: Watched) -> None:
    """Runs last of those with this engine in a process of its own tests; each further request would be in the list."""
    outside = [url for url in engine.asked if not url.startswith((engine.address, "blob:"))]
    assert not outside
    assert not any("jspi" in url for url in engine.asked)  # no graphics card, no 17 MB
    assert not engine.wrong


def test_the_page_works_on_a_plain_host(browser: Browser, site: Path, by_name: Generators) -> None:
    """Without headers, in a folder below the host's root: the wall, the way from A to B, and a saved file."""
    with served(site.parent) as address:
        watched = Watched(browser, f"{address}site/")
        page: Page = watched.page
        page.goto(f"{watched.address}#morph&a=1&b=2&t=0.25&model=anime-pixels-64")
        picture = page.locator("#morph .middle img[src^='blob:']")
        picture.wait_for()
        generator = by_name["anime-pixels-64"]
        assert_alike(shown(picture), generator.image(1, toward=[(2, 0.25)]))
        expect(page.locator(".status")).to_contain_text("WebAssembly, 1 thread")
        page.locator("#morph").get_by_role("button", name="Save").click()
        dialog = page.locator("#save")
        dialog.get_by_label("This face").check()
        with page.expect_download() as download:
            dialog.get_by_role("button", name="Save").click()
        image = np.asarray(Image.open(download.value.path()))
        assert_alike(image, enlarge(generator.image(1, toward=[(2, 0.25)]), image.shape[0] // 64))
        assert not [url for url in watched.asked if not url.startswith((watched.address, "blob:"))]
        assert not watched.wrong
        page.close()


def test_the_page_asks_for_labels_without_a_server(browser: Browser, site: Path, by_name: Generators) -> None:
    """A mix that the address says, what the seed draws, and a strip that keeps its move."""
    generator, labels = by_name["faces"], {"hair": {"blue": 0.5, "red": 0.25}}
    with served(site) as address:
        watched = Watched(browser, address)
        page: Page = watched.page
        page.goto(f"{address}#explore&seed=3&move=0:2&label=hair=blue:0.5%2Bred:0.25&model=faces")
        picture = page.locator(".portrait img[src^='blob:']")
        picture.wait_for()
        assert_alike(shown(picture), generator.image(3, labels=labels, moves={0: 2}))
        eyes = draw_classes([3], generator.card.z_dim, generator.labels)[0, 1]
        drawn = generator.labels[1].classes[eyes] if eyes >= 0 else "unknown"
        page.locator("#label-eyes option", has_text=f"as the seed draws: {drawn}").wait_for(state="attached")
        page.get_by_role("button", name="Save and take along").click()
        page.locator("#save").get_by_label("All directions").check()
        page.locator("#save").get_by_label("1×", exact=True).check()
        with page.expect_download() as download:
            page.locator("#save").get_by_role("button", name="Save").click()
        wanted = [generator.image(3, labels=labels, moves={0: 2 + amount}) for amount in range(-3, 4)]
        assert_alike(np.asarray(Image.open(download.value.path())), grid(np.stack(wanted), 7))
        assert not watched.wrong
        page.close()


def test_a_page_that_can_t_load_says_why(browser: Browser, site: Path) -> None:
    def damaged(route: Route) -> None:
        data = bytearray(route.fetch().body())
        data[100] ^= 1
        route.fulfill(body=bytes(data))

    cases = {
        ("**/*.wasm", lambda route: route.fulfill(status=404)): ("ONNX Runtime can't be fetched (404)", 404),
        ("**/faces.onnx", lambda route: route.abort()): ("faces can't be fetched: check the connection", 0),
        ("**/faces.onnx", damaged): ("faces is not the file that this page was made with", 500),
        ("**/worker.js", lambda route: route.abort()): ("the page's worker failed", 500),
    }
    with served(site) as address:
        for (where, what), (words, status) in cases.items():
            watched = Watched(browser, address)
            watched.page.route(where, what)
            said = watched.open_engine()
            assert said.get("name") == "EngineError", said
            assert words in said["message"]
            assert said["status"] == status
            watched.page.close()


def test_a_graphics_card_draws_the_same_or_is_left_out(playwright: Playwright, site: Path, by_name: Generators) -> None:
    """Chromium's software adapter stands for one: it is slow, so tiny images, and used only when it is asked for."""

    def taken_for_real(route: Route) -> None:
        script = route.fetch().text()
        route.fulfill(body=script.replace("forced ||", "true ||"), content_type="text/javascript")

    def otherwise(route: Route) -> None:
        config = route.fetch().json()
        probe = config["models"][0]["probe"]
        probe["values"] = [255 - value for value in probe["values"]]
        route.fulfill(json=config)

    flags = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader")
    browser = launched(playwright, *flags)
    with served(site) as address:
        card = Watched(browser, address)
        said = card.open_engine("?engine=webgpu")
        assert (said.get("where"), said.get("detail")) == ("webgpu", "WebGPU"), said
        assert any("jspi" in url for url in card.asked)
        (made,) = card.images("faces", [{"seed": 3}])
        assert_alike(made, by_name["faces"].image(3))
        faulty = Watched(browser, address)
        faulty.page.route("**/runtime.js", taken_for_real)
        faulty.page.route("**/config.json", otherwise)
        assert faulty.open_engine()["where"] == "wasm"
        assert any("jspi" in url for url in faulty.asked)
    browser.close()
