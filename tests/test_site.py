"""`animegen web`: what a site holds, where it may be written, and where its runtime comes from. No network."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Run, assert_error, tiny_card, tiny_graph, write_model
from onnx import TensorProto, helper

from animegen import DataError, Generator, ModelError, OutputError, UsageError
from animegen.deploy import browser_runtime
from animegen.deploy.site import write_site
from animegen.deploy.site_config import facts

FILES = [name for build in browser_runtime.BUILDS.values() for name in build]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of the runtime's names; npm, which would fetch others, isn't there."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(f"the file {name}")
    monkeypatch.setenv("PATH", "")
    return folder


@pytest.fixture
def generator(tiny_model: Path) -> Generator:
    return Generator.load(tiny_model, device="cpu")


def read(site: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((site / "config.json").read_text(encoding="utf-8"))
    return config


def test_a_site_holds_the_page_the_model_and_the_runtime(
    animegen: Run, runtime: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = animegen("web", "--out", "site", "--model", tiny_model, "--runtime", runtime, "--json")
    assert done.returncode == 0, done.stderr.decode()
    site = tmp_path / "site"
    files = {path.relative_to(site).as_posix(): path.stat().st_size for path in site.rglob("*") if path.is_file()}
    made = json.loads(done.stdout)
    assert made | {"first_visit": 0} == {
        "path": "site",
        "models": ["tiny"],
        "files": len(files),
        "bytes": sum(files.values()),
        "first_visit": 0,
    }
    config = read(site)
    assert config["engine"] == "local"
    (model,) = config["models"]
    builds = [config["runtime"][kind] for kind in ("wasm", "webgpu")]
    listed = [*model["files"], *(build[part] for build in builds for part in ("module", "binary"))]
    for entry in listed:
        data = (site / entry["path"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert made["first_visit"] < sum(files.values())
    assert (site / model["files"][0]["path"]).read_bytes() == tiny_model.read_bytes()
    assert {Path(name).suffix for name in files if name.startswith("runtime/")} == {
        ".js",
        ".wasm",
    }  # each host knows it
    assert "page/engine-local.js" in files
    assert "page/engine-server.js" not in files
    assert "Cross-Origin-Embedder-Policy: require-corp" in (site / "_headers").read_text()
    index = (site / "index.html").read_text(encoding="utf-8")
    assert index.count('<meta http-equiv="Content-Security-Policy" content="default-src \'self\';') == 1
    assert config["licences"] == sorted(name for name in files if name.startswith("licences/"))
    texts = [(site / name).read_text(encoding="utf-8") for name in config["licences"]]
    for words in ("MIT License", "Microsoft Corporation", "protobuf", model["licence"], model["sha256"]):
        assert any(words in text for text in texts), words


def test_what_config_says_is_what_a_server_says(conditional_model: Path) -> None:
    """A page reads the same keys of both; a site's models have more, which the browser runs them by."""
    pytest.importorskip("fastapi")
    from animegen.server.models import Served

    with Generator.load(conditional_model, device="cpu") as generator:
        served, local = Served("faces", generator).facts, facts(generator, [])
    assert served.keys() <= local.keys()
    for key in served.keys() - {"device", "engine", "megabytes", "labels"}:
        assert local[key] == served[key], key
    for ours, theirs in zip(local["labels"], served["labels"], strict=True):
        assert theirs.items() <= ours.items()


def test_a_model_s_facts_are_enough_to_run_it(conditional_model: Path) -> None:
    with Generator.load(conditional_model, device="cpu") as generator:
        local = facts(generator, [])
        image = generator.sample(1, seed=0).reshape(-1)
    assert local["graph"] == {
        "input": {"name": "z", "type": "float32", "shape": [8]},
        "output": "images",
        "layout": "nchw",
        "range": None,
        "batch": None,
        "labels": {"name": "labels", "type": "float32", "shape": [5], "numbers": False},
        "constants": [],
    }
    assert [group["counts"] for group in local["labels"]] == [[60, 30, 10], [5, 7]]
    assert len(local["vectors"]) == local["directions"] == 1
    probe = local["probe"]
    assert probe["values"] == image[:: probe["step"]].tolist()
    assert probe["step"] % 2
    assert probe["step"] % 3


def half_model() -> Any:
    """The tiny generator for latents in half precision."""
    model = tiny_graph()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.node[0].input[0] = "wide"
    model.graph.node.insert(0, helper.make_node("Cast", ["z"], ["wide"], to=TensorProto.FLOAT))
    return model


def test_what_a_browser_can_t_run_is_refused(animegen: Run, runtime: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "half.onnx", None, half_model())
    done = animegen("web", "--model", path, "--runtime", runtime)
    assert done.returncode == 1
    assert "error: half takes z as float16 and must take one of bool, float32" in done.stderr.decode()
    assert not (tmp_path / "site").exists()


def test_a_model_that_is_too_large_is_refused(
    generator: Generator, tiny_model: Path, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("animegen.deploy.site_config._LARGEST", 100)
    with pytest.raises(ModelError, match="and must have at most 0 for a browser"):
        write_site(tmp_path / "site", {tiny_model: generator}, runtime=runtime)


def test_models_of_one_name_are_refused(generator: Generator, tiny_model: Path, runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two models are named tiny"):
        write_site(tmp_path / "site", {tiny_model: generator, tmp_path: generator}, runtime=runtime)
    with pytest.raises(UsageError, match="no models"):
        write_site(tmp_path / "site", {}, runtime=runtime)


def test_a_site_is_written_anew_and_what_is_not_its_own_stays(
    generator: Generator, tiny_model: Path, runtime: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    write_site(site, {tiny_model: generator}, runtime=runtime)
    before = read(site)["runtime"]
    (site / "CNAME").write_text("faces.example")
    (site / ".git" / "refs").mkdir(parents=True)
    (site / "page" / "old.js").write_text("of an older version")
    (runtime / FILES[1]).write_text("another build")
    write_site(site, {tiny_model: generator}, runtime=runtime, webgpu=False)
    after = read(site)["runtime"]
    assert before["wasm"]["binary"]["path"] != after["wasm"]["binary"]["path"]  # so no cache mixes the two
    assert "webgpu" not in after
    assert len(list((site / "runtime").iterdir())) == 1
    assert (site / "CNAME").read_text() == "faces.example"
    assert (site / ".git" / "refs").is_dir()
    assert not (site / "page" / "old.js").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"runtime", "site"}  # nothing half made beside it


def test_an_error_leaves_the_site_that_was_there(
    generator: Generator, tiny_model: Path, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    write_site(site, {tiny_model: generator}, runtime=runtime)
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    write, count = Path.write_bytes, iter(range(100))

    def full(path: Path, data: bytes) -> int:
        if next(count) == 5:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"can't be written: No space left on device"):
        write_site(site, {tiny_model: generator}, runtime=runtime)
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"runtime", "site"}


def test_a_folder_of_other_things_is_left_alone(animegen: Run, runtime: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("another page")
    (tmp_path / "site" / "notes.txt").write_text("notes")
    arguments = ("web", "--model", tiny_model, "--runtime", runtime)
    assert_error(animegen(*arguments), 1, "site holds index.html and is no site of animegen", "--force")
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"index.html", "notes.txt"}
    assert animegen(*arguments, "--force").returncode == 0
    assert read(tmp_path / "site")["engine"] == "local"
    assert (tmp_path / "site" / "notes.txt").read_text() == "notes"


def test_places_where_no_site_can_be(animegen: Run, runtime: Path, tmp_path: Path) -> None:
    assert_error(animegen("web", "--out", "."), 1, "holds the current folder", "name one inside it")
    assert_error(animegen("web", "--out", "no/site"), 1, "no is not a folder", "make it first")
    (tmp_path / "file").touch()
    assert_error(animegen("web", "--out", "file"), 1, "file is a file and must be a folder")


def test_a_folder_without_the_runtime_s_files(animegen: Run, runtime: Path, tiny_model: Path, tmp_path: Path) -> None:
    def told(folder: Path, *words: str) -> None:
        done = animegen("web", "--model", tiny_model, "--runtime", folder)
        error = done.stderr.decode().splitlines()[-1]
        assert done.returncode == 1
        assert all(word in error for word in ("error: ", *words)), error

    told(tmp_path / "none", "none is not a folder")
    (runtime / FILES[3]).unlink()
    told(runtime, f"has no {FILES[3]}", "--no-webgpu")
    (runtime / FILES[1]).unlink()
    told(runtime, f"has no {FILES[1]}")


def test_a_folder_may_be_the_one_that_npm_installs_into(runtime: Path, tmp_path: Path) -> None:
    place = tmp_path / "project" / "node_modules" / "onnxruntime-web" / "dist"
    place.parent.mkdir(parents=True)
    runtime.rename(place)
    for folder in (tmp_path / "project", tmp_path / "project" / "node_modules", place.parent, place):
        assert browser_runtime.runtime_files(folder).keys() == set(FILES)


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a script in npm's place."""

    def write(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return write


def packed(path: Path) -> Path:
    """An archive as npm packs it, of tiny files."""
    with tarfile.open(path, "w:gz") as archive:
        for name in FILES:
            (path.parent / name).write_text(f"packed {name}")
            archive.add(path.parent / name, f"package/dist/{name}")
    return path


def test_npm_fetches_what_the_lock_file_names(
    npm: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "onnxruntime-web-9.9.9.tgz")
    npm(f'printf "%s " "$@" > {tmp_path}/asked; cp {archive} .')
    hashed = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    package = browser_runtime.Package("9.9.9", f"sha512-{hashed}")
    monkeypatch.setattr(browser_runtime, "locked", lambda: package)
    files = browser_runtime.runtime_files(webgpu=False)
    assert files == {name: f"packed {name}".encode() for name in FILES[:2]}
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("pack onnxruntime-web@9.9.9 --ignore-scripts")


def test_an_archive_of_another_hash_is_refused(npm: Callable[[str], None], tmp_path: Path) -> None:
    archive = packed(tmp_path / browser_runtime.locked().archive)
    npm(f"cp {archive} .")
    with pytest.raises(DataError, match="is not the file whose hash the lock file has"):
        browser_runtime.runtime_files()
    with pytest.raises(DataError, match="is not the file whose hash the lock file has"):
        browser_runtime.runtime_files(tmp_path)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo npm error code ENOTFOUND >&2; echo npm error network request failed >&2; exit 1",
            "(network request failed): try again online, or name a folder",
        ),
        ("exit 0", "(it says nothing): try again online"),
    ],
)
def test_npm_s_failures_are_one_line(
    npm: Callable[[str], None], animegen: Run, tiny_model: Path, tmp_path: Path, script: str, words: str
) -> None:
    npm(script)
    done = animegen("web", "--model", tiny_model)
    error = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 1
    assert error.startswith("error: npm failed to fetch onnxruntime-web")
    assert words in error
    assert not (tmp_path / "site").exists()


def test_without_npm_the_line_says_what_to_do(animegen: Run, runtime: Path, tiny_model: Path) -> None:
    done = animegen("web", "--model", tiny_model)
    assert done.returncode == 1
    error = done.stderr.decode().splitlines()[-1]
    assert error.startswith("error: onnxruntime-web comes by npm, which isn't installed: install Node.js, or name")


def test_the_lock_file_names_versions_and_hashes_alone() -> None:
    folder = ROOT / "animegen" / "deploy" / "browser"
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(entry["integrity"].startswith("sha512-") for name, entry in locked.items() if name)
    assert "resolved" not in str(locked)  # the registry is npm's own affair


def test_several_models_with_weights_beside_them(
    animegen: Run, runtime: Path, tiny_model: Path, conditional_model: Path, tmp_path: Path
) -> None:
    from onnx import load_model, save_model

    outside = tmp_path / "beside.onnx"
    model = load_model(tiny_model)
    helper.set_model_props(model, tiny_card(name="beside / it").to_metadata())
    save_model(model, outside, save_as_external_data=True, location="beside.data", size_threshold=100)
    arguments = [part for path in (outside, conditional_model) for part in ("--model", path)]
    done = animegen("web", *arguments, "--runtime", runtime)
    assert done.returncode == 0, done.stderr.decode()
    first, second = read(tmp_path / "site")["models"]
    assert [part["name"] for part in first["files"]] == ["beside.onnx", "beside.data"]
    assert first["files"][0]["path"].startswith("models/beside___it-")
    assert second["name"] == "faces"
    sizes = [(tmp_path / "site" / part["path"]).stat().st_size for part in first["files"]]
    assert sizes == [outside.stat().st_size, (tmp_path / "beside.data").stat().st_size]
    assert np.isclose(first["megabytes"], sum(sizes) / 1e6, atol=0.05)
