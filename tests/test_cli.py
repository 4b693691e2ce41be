"""The command, as a user types it: in this process, and each command once in one of its own."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND, Run, assert_error, classifier, run, tiny_card, tiny_graph, write_model
from PIL import Image

from animegen import Generator, ModelError, UsageError, __version__, grid, latents
from animegen.checks import bench
from animegen.cli import main
from animegen.cli.options import ModelOptions


@pytest.fixture
def expected(tiny_model: Path) -> np.ndarray:
    with Generator.load(tiny_model, device="cpu") as generator:
        return grid(generator.sample(10, seed=7))


def test_sample_writes_the_grid_of_the_seeds(
    animegen: Run, tiny_model: Path, tmp_path: Path, expected: np.ndarray
) -> None:
    done = animegen("sample", "--n", 10, "--seed", 7, "--out", "grid.png", "--model", tiny_model, "--batch-size", 3)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert b"device: " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grid.png")), expected)


def test_stdout_is_data(animegen: Run, tiny_model: Path, expected: np.ndarray) -> None:
    done = animegen("sample", "--n", 10, "--seed", 7, "-o", "-", "--model", tiny_model, "--device", "cpu")
    assert done.returncode == 0
    assert done.stderr == b""
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(done.stdout))), expected)
    for form, name in (("webp", "WEBP"), ("jpg", "JPEG")):
        done = animegen("sample", "--n", 1, "-o", "-", "--format", form, "--model", tiny_model)
        assert Image.open(io.BytesIO(done.stdout)).format == name


@pytest.mark.parametrize(
    ("name", "form"), [("a.jpg", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP"), ("a.PNG", "PNG")]
)
def test_pictures_take_the_form_of_their_name(
    animegen: Run, tiny_model: Path, tmp_path: Path, expected: np.ndarray, name: str, form: str
) -> None:
    done = animegen("sample", "--n", 10, "--seed", 7, "--out", name, "--model", tiny_model)
    assert done.returncode == 0, done.stderr.decode()
    with Image.open(tmp_path / name) as picture:
        assert (picture.format, picture.size) == (form, expected.shape[1::-1])
        assert np.abs(np.asarray(picture).astype(int) - expected).mean() < 25


def test_json_is_one_object(animegen: Run, tiny_model: Path) -> None:
    done = animegen("sample", "--n", 10, "--seed", 7, "--model", tiny_model, "--json")
    made = json.loads(done.stdout)
    assert made.pop("seconds") > 0
    assert made == {
        "out": "grid.png", "width": 38, "height": 28, "images": 10, "seeds": "7-16", "model": "tiny", "device": "cpu",
        "engine": "onnxruntime",
    }  # fmt: skip


def test_interpolate_makes_one_row(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    done = animegen("interpolate", "--seed-a", 1, "--seed-b", 2, "--steps", 5, "--model", tiny_model, "--json")
    assert json.loads(done.stdout)["out"] == "interpolation.png"
    with Generator.load(tiny_model, device="cpu") as generator:
        row = grid(generator.interpolate(1, 2, steps=5), columns=5)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "interpolation.png")), row)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sample", "--n", 2, "--out", "sample.png"], "sample.png: 2 images in"),
        (["interpolate", "--seed-a", 1, "--seed-b", 2, "--out", "row.png"], "row.png: 8 images in"),
        (["walk", "--frames", 6, "--out", "walk.gif"], "walk.gif: 6 frames, 24 a second, in"),
        (["edit", "--direction", 0, "--out", "edit.png"], "edit.png: 7 images in"),
        (["info"], "image_shape        3×8×8"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_command_runs_as_a_process(
    animegen_process: Run, edit_model: Path, tmp_path: Path, command: list[str], words: str
) -> None:
    done = animegen_process(*command, "--model", edit_model)
    assert done.returncode == 0, done.stderr.decode()
    assert words in (done.stdout + done.stderr).decode()
    assert [path.name for path in tmp_path.iterdir()] == command[-1:] * ("--out" in command)


@pytest.fixture(scope="module")
def edit_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with two directions."""
    vectors = tuple(map(tuple, np.eye(8)[:2].tolist()))
    return write_model(tmp_path_factory.mktemp("edit") / "tiny.onnx", tiny_card(directions=vectors))


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["sample", "--n", 5, "--labels"], "grid.png"),
        (["sample", "--seeds", "7"], "faces/"),
        (["interpolate", "--seed-a", 1, "--seed-b", 2, "--steps", 3], "row.png"),
        (["edit", "--direction", 0], "edit.png"),
        (["image", "--seed", 9], "image.png"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pictures_at_a_scale(
    animegen: Run, edit_model: Path, tmp_path: Path, command: list[str | int], out: str
) -> None:
    pictures = []
    for name, options in ((out, []), (f"large-{out}", ["--scale", 3])):
        done = animegen(*command, *options, "--model", edit_model, "--out", name)
        assert done.returncode == 0, done.stderr.decode()
        path = next((tmp_path / name).iterdir()) if name.endswith("/") else tmp_path / name
        pictures.append(np.asarray(Image.open(path)))
    np.testing.assert_array_equal(pictures[1], pictures[0].repeat(3, axis=0).repeat(3, axis=1))
    made = animegen("info", next((tmp_path / f"large-{out}").glob("*")) if out.endswith("/") else f"large-{out}")
    assert "--scale 3" in made.stdout.decode()


def test_edit_makes_rows(animegen: Run, edit_model: Path, tmp_path: Path) -> None:
    done = animegen(
        "edit", "--seed", 5, "--direction", 1, "--range", "-2:2", "--steps", 5, "--model", edit_model, "--json"
    )
    assert json.loads(done.stdout)["amounts"] == [-2, -1, 0, 1, 2]
    assert animegen("edit", "--seed", 5, "--all", "-o", "all.png", "--steps", 5, "--model", edit_model).returncode == 0
    with Generator.load(edit_model, device="cpu") as generator:
        one = grid(generator.edit(5, 1, [-2, -1, 0, 1, 2]), columns=5)
        rows = [generator.edit(5, number, [-3, -1.5, 0, 1.5, 3]) for number in (0, 1)]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "edit.png")), one)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "all.png")), grid(np.concatenate(rows), columns=5))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--direction", "--all"]),
        (["--all", "--direction", "0"], ["either"]),
        (["--direction", "2"], ["direction is 2 and must be from 0 to 1"]),
        (["--direction", "0", "--range", "3"], ["'3'", "-3:3"]),
        (["--direction", "0", "--range", "nan:1"], ["nan:1"]),
        (["--direction", "0", "--steps", "2000", "--scale", "64"], ["at 64× is 1,279,872×512", "256 MiB"]),
        (["--direction", "0", "--steps", "2000", "--out", "a.webp"], ["19,998×8", "at most 16,383 on a side as WEBP"]),
        (["--all", "--steps", "6551", "--out", "a.jpg"], ["65,508×18", "at most 65,500 on a side as JPEG"]),
        (["--direction", "0", "--steps", str(10**12)], ["the grid of 1,000,000,000,000 images", "at most 256 MiB"]),
    ],
)
def test_edits_that_cannot_be(
    animegen: Run, edit_model: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    assert_error(animegen("edit", *arguments, "--model", edit_model), 2, *words)
    assert not list(tmp_path.iterdir())


def test_truncation_of_every_command(animegen: Run, edit_model: Path, tmp_path: Path) -> None:
    def made(*command: object) -> np.ndarray:
        done = animegen(*command, "--truncation", 0.5, "--model", edit_model, "--out", "a.png")
        assert done.returncode == 0, done.stderr.decode()
        return np.asarray(Image.open(tmp_path / "a.png"))

    with Generator.load(edit_model, device="cpu") as generator:
        np.testing.assert_array_equal(made("sample", "--n", 2), grid(generator.sample(2, truncation=0.5)))
        np.testing.assert_array_equal(
            made("interpolate", "--seed-a", 1, "--seed-b", 2), grid(generator.interpolate(1, 2, truncation=0.5), 8)
        )
        np.testing.assert_array_equal(
            made("edit", "--direction", 1), grid(generator.edit(0, 1, range(-3, 4), truncation=0.5), 7)
        )
        corners = latents.bilinear(generator.latents([1, 2, 3, 4], truncation=0.5), 3, 3)
        np.testing.assert_array_equal(made("interpolate", "--corners", "1-4", "--steps", 3), grid(generator(corners)))


def test_seeds_grids_labels_and_truncation(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    options = ("--seeds", "3,8-9", "--grid", "2x2", "--truncation", 0.5, "--model", tiny_model)
    assert animegen("sample", *options, "-o", "plain.png").returncode == 0
    assert animegen("sample", *options, "-o", "labelled.png", "--labels").returncode == 0
    with Generator.load(tiny_model, device="cpu") as generator:
        faces = generator.sample(seeds=[3, 8, 9], truncation=0.5)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "plain.png")), grid(faces, 2))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "labelled.png")), grid(faces, 2, [3, 8, 9]))
    assert json.loads(animegen("sample", "--grid", "3x2", "--model", tiny_model, "--json").stdout)["images"] == 6


def test_ways_of_interpolating(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    def sheet(name: str, *options: object) -> np.ndarray:
        done = animegen("interpolate", *options, "--steps", 4, "--out", name, "--model", tiny_model)
        assert done.returncode == 0, done.stderr.decode()
        return np.asarray(Image.open(tmp_path / name))

    with Generator.load(tiny_model, device="cpu") as generator:
        one, two = generator.interpolate(1, 2, steps=4), generator.interpolate(2, 5, steps=4)
        way = generator.interpolate(1, 2, 5, steps=4)
        corners = generator.sample(seeds=[1, 2, 3, 4])
    rows = sheet("rows.png", "--seed-a", 1, "--seed-b", 2, "--seed-a", 2, "--seed-b", 5)
    np.testing.assert_array_equal(rows, grid(np.concatenate([one, two]), columns=4))
    np.testing.assert_array_equal(sheet("way.png", "--seeds", "1,2,5"), grid(way, columns=7))
    between = sheet("corners.png", "--corners", "1,2,3,4")
    assert between.shape == (38, 38, 3)
    for k, (y, x) in enumerate([(0, 0), (0, 30), (30, 0), (30, 30)]):
        np.testing.assert_array_equal(between[y : y + 8, x : x + 8], corners[k])


def test_animations(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    done = animegen("interpolate", "--seeds", "1,2", "--steps", 4, "--out", "a.gif", "--model", tiny_model, "--json")
    made = json.loads(done.stdout)
    assert (made["frames"], made["fps"]) == (6, 12)  # there and back
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 6  # type: ignore[attr-defined]
    ways = ("--seed-a", 1, "--seed-b", 2, "--seed-a", 3, "--seed-b", 4, "--steps", 3)
    assert animegen("interpolate", *ways, "--out", "ways.webp", "--model", tiny_model).returncode == 0
    with Image.open(tmp_path / "ways.webp") as animation:
        assert (animation.n_frames, animation.size) == (4, (18, 8))  # type: ignore[attr-defined]
    walk = ("walk", "--seed", 3, "--stops", 3, "--frames", 9, "--model", tiny_model)
    for form in ("webp", "mp4"):
        done = animegen(*walk, "--scale", 4, "--out", f"walk.{form}")
        assert done.returncode == 0, done.stderr.decode()
    with Image.open(tmp_path / "walk.webp") as animation:
        assert (animation.n_frames, animation.size) == (9, (32, 32))  # type: ignore[attr-defined]
    assert animegen(*walk, "-o", "-", "--format", "gif").stdout[:6] == b"GIF89a"


def test_many_images_one_by_one(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    with Generator.load(tiny_model, device="cpu") as generator:
        expected = generator.sample(20, seed=5)
    options = ("sample", "--seed", 5, "--n", 20, "--model", tiny_model, "--json")
    done = animegen(*options, "--out", "faces/")
    made = json.loads(done.stdout)
    assert (made["images"], made["asked"], made["stopped"], made["seeds"]) == (20, 20, False, "5-24")
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names[0] == "seed00000005.png"
    for name, image in zip(names, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "faces" / name)), image)
    assert animegen(*options, "--out", "faces.npz").returncode == 0
    with np.load(tmp_path / "faces.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["images"], expected)
        np.testing.assert_array_equal(arrays["seeds"], np.arange(5, 25))
    # A second job in the same folder must say what it wants.
    again = animegen("sample", "--seed", 24, "--n", 3, "--out", "faces", "--model", tiny_model)
    assert_error(again, 1, "seed00000024.png is there already")
    for option, made_now in (("--skip-existing", 2), ("--force", 3)):
        done = animegen("sample", "--seed", 24, "--n", 3, "--out", "faces", "--model", tiny_model, option, "--json")
        assert json.loads(done.stdout)["images"] == made_now


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(("out", "begun"), [("faces/", "faces/seed*.png"), ("faces.zip", ".faces.zip*")])
def test_ctrl_c_keeps_what_is_whole_and_the_rest_can_follow(
    animegen: Run, tiny_model: Path, tmp_path: Path, out: str, begun: str
) -> None:
    command = [COMMAND, "sample", "--n", "1000000", "--model", tiny_model, "--out", out, "--batch-size", "8"]
    with subprocess.Popen([str(part) for part in command], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not any(path.name.startswith("seed") or path.stat().st_size for path in tmp_path.glob(begun)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "--skip-existing makes the rest" in said
    entries = [path.name for path in tmp_path.iterdir()]
    assert entries == [out.rstrip("/")]

    def names() -> list[str]:
        if out.endswith("/"):
            return sorted(path.name for path in (tmp_path / out).iterdir())
        with zipfile.ZipFile(tmp_path / out) as archive:
            assert archive.testzip() is None
            return sorted(archive.namelist())

    made = len(names())
    assert names() == [f"seed{seed:08d}.png" for seed in range(made)]
    rest = animegen("sample", "--n", made + 5, "--model", tiny_model, "--out", out, "--skip-existing", "--json")
    assert json.loads(rest.stdout)["images"] == 5
    assert len(names()) == made + 5


def test_two_processes_fill_one_folder(tiny_model: Path, tmp_path: Path) -> None:
    command = [str(COMMAND), "sample", "--n", "200", "--model", str(tiny_model), "--out", "faces/", "--skip-existing"]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names == [f"seed{seed:08d}.png" for seed in range(200)]


def test_info_prints_the_card(animegen: Run, tiny_model: Path) -> None:
    assert json.loads(animegen("info", "--model", tiny_model, "--json").stdout)["z_dim"] == 8
    assert "image_shape        3×8×8\n" in animegen("info", "--model", tiny_model).stdout.decode()
    assert animegen("info", "--model", tiny_model, "--markdown").stdout.decode() == tiny_card().to_markdown()


def test_options_come_from_the_environment(animegen: Run, tiny_model: Path) -> None:
    done = animegen("sample", "--json", env={"ANIMEGEN_SAMPLE_MODEL": str(tiny_model), "ANIMEGEN_SAMPLE_N": "3"})
    assert json.loads(done.stdout)["images"] == 3


def test_version_and_module(animegen: Run) -> None:
    assert animegen("--version").stdout.decode().split() == ["animegen,", "version", __version__]
    assert run(sys.executable, "-m", "animegen", "--version").stdout == animegen("--version").stdout


@pytest.mark.parametrize("name", main.commands)
def test_every_command_has_examples_that_it_understands(animegen: Run, name: str) -> None:
    text = animegen(name, "-h").stdout.decode()
    examples = [line.split() for line in re.findall(r"^ *(?:Example: )?(animegen .*)$", text, re.MULTILINE)]
    assert "Example: animegen" in text
    for program, command, *arguments in examples:
        assert (program, command) == ("animegen", name)
        context = main.commands[name].make_context(name, arguments)  # as it is typed, without being run
        context.close()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["sample", "--n", "0"], 2, ["--n", "1<=x"]),
        (["sample", "--seed", "-1"], 2, ["-1", "4294967295"]),
        (["sample", "--seed", str(2**32)], 2, [str(2**32), "4294967295"]),
        (["sample", "--seed", str(2**32 - 2), "--n", "3"], 2, ["is 4294967296 and must be at most", "fewer"]),
        (["sample", "--seed", "one"], 2, ["'one'"]),
        (["sample", "--batch-size", "0"], 2, ["--batch-size"]),
        (["sample", "--device", "tpu"], 2, ["tpu", "cuda"]),
        (["sample", "--out", "nowhere/grid.png"], 1, ["nowhere is not a folder", "make it first"]),
        (["sample", "--out", "grid.bmp"], 2, [".bmp", ".png"]),
        (["sample", "--out", "grid"], 2, ["without an extension"]),
        (["sample", "--out", "-", "--json"], 2, ["stdout"]),
        (["sample", "--out", ""], 2, ["'--out'", "is empty and must name a file"]),
        (["evaluate", "--out", " "], 2, ["is empty and must name a file"]),
        (["sample", "--format", "jpg", "--out", "grid.png"], 2, ["--format is jpg and grid.png", "leave --format out"]),
        (["sample", "--format", "png", "--out", "a.npz"], 2, ["--format is png and a.npz"]),
        (["sample", "--model-labels", "c=cat,,dog"], 2, ["has a class without a name"]),
        (["info", "a.png", "--model", "b.onnx"], 2, ["a.png is named, and --model b.onnx too"]),
        (["info", "--json", "--markdown"], 2, ["take one of them"]),
        (["sample", "--model", "no.onnx"], 1, ["no.onnx"]),
        (["info", "--model", "no.onnx"], 1, ["no.onnx"]),
        (["sample", "--out", "faces"], 2, ["faces/"]),
        (["sample", "--seeds", "7-3"], 2, ["write 3-7"]),
        (["sample", "--seeds", "1", "--seed", "2"], 2, ["--seeds", "--n"]),
        (["sample", "--seeds", "1", "--n", "2"], 2, ["--seeds", "--n"]),
        (["sample", "--n", "1000000"], 2, ["9,998×9,998", "folder"]),
        (["sample", "--n", "4000000000"], 2, ["632,458×632,458"]),
        (["sample", "--n", "2000", "--grid", "2000x1", "--out", "a.webp"], 2, ["WEBP", "19,998×8"]),
        (["sample", "--grid", "8"], 2, ["'8'", "8x4"]),
        (["sample", "--grid", "0x4"], 2, ["0x4"]),
        (["sample", "--grid", "1x745", "--labels", "--out", "a.webp"], 2, ["8×16,388", "WEBP"]),
        (["sample", "--grid", "2x2", "--n", "5"], 2, ["4 cells and must have at least 5"]),
        (["edit", "--direction", "0", "--range", "-1001:3"], 2, ["'-1001:3' must be from -1000 to 1000"]),
        (["edit", "--direction", "0", "--range", "3"], 2, ["--range", "'3'", "-3:3"]),
        (["sample", "--truncation", "1.5"], 2, ["--truncation"]),
        (["sample", "--force"], 2, ["--force", "grid.png"]),
        (["sample", "--out", "faces/", "--labels"], 2, ["--labels"]),
        (["sample", "--out", "faces/", "--force", "--skip-existing"], 2, ["--skip-existing"]),
        (["sample", "--out", "faces.npz", "--skip-existing"], 2, ["one go"]),
        (["sample", "--out", "no/faces/"], 1, ["make it first"]),
        (["sample", "--out", "no/faces.zip"], 1, ["make it first"]),
        (["interpolate", "--seed-a", "1"], 2, ["--seed-b"]),
        (["interpolate"], 2, ["--corners"]),
        (["interpolate", "--seeds", "1,2", "--corners", "1,2,3,4"], 2, ["one of the three"]),
        (["interpolate", "--seeds", "1"], 2, ["2 to 1000"]),
        (["interpolate", "--corners", "1,2,3"], 2, ["3 seeds and must have 4"]),
        (["interpolate", "--seed-a", "1", "--seed-b", "2", "--steps", "20000", "--out", "a.jpg"], 2, ["199,998×8"]),
        (["interpolate", "--seed-a", "1", "--seed-b", "2", "--steps", str(10**12)], 2, ["at most 256 MiB"]),
        (["interpolate", "--seeds", "0-999", "--steps", "1000", "--out", "a.jpg"], 2, ["998,002 images", "65,500"]),
        (["interpolate", "--corners", "1-4", "--steps", "2000"], 2, ["4,000,000 images", "19,998×19,998"]),
        (["interpolate", "--seeds", "1,2", "--steps", "60000", "--out", "a.gif"], 2, ["119,998 frames", "100,000"]),
        (
            ["interpolate", "--seeds", "1,2", "--steps", "40000", "--scale", "16", "--out", "a.webp"],
            2,
            ["79,998", "GiB"],
        ),
        (["walk", "--frames", "100001"], 2, ["100,001 frames and must have from 1 to 100,000"]),
        (["walk", "--frames", "100000", "--scale", "16"], 2, ["128×128 pixels takes 7.6 GiB", ".mp4"]),
        (["interpolate", "--corners", "1,2,3,4", "--out", "a.gif"], 2, ["animation"]),
        (["interpolate", "--seeds", "1,2", "--out", "a.gif", "--fps", "100"], 2, ["fps is 100", "to 50 for a GIF"]),
        (["bench", "--batch-sizes", "1,x"], 2, ["--batch-sizes is 1,x and must be", "1,8,32"]),
        (["bench", "--batch-sizes", "0"], 2, ["4096"]),
        (["bench", "--batch-sizes", "9" * 5000], 2, ["4096"]),
        (["walk", "--out", "walk.png"], 2, [".png", ".mp4"]),
        (["walk", "--stops", "9", "--frames", "8"], 2, ["frames is 8 and must be at least 9"]),
        (["walk", "--seeds", "0-4000000"], 2, ["4000001 stops and must have at most 1000"]),
        (["walk", "--seeds", "1,2", "--stops", "3"], 2, ["--stops"]),
        (["interpolate", "--seed-a", "1", "--seed-b", "2", "--steps", "1"], 2, ["--steps"]),
        (["smaple"], 2, ["smaple"]),
        (["--nonsense"], 2, ["--nonsense"]),
    ],
)
def test_bad_input_is_one_line(
    animegen: Run, tiny_model: Path, tmp_path: Path, arguments: list[str], status: int, words: list[str]
) -> None:
    wanted = (
        ["--model", tiny_model]
        if arguments[0] in {"sample", "interpolate", "walk"} and "--model" not in arguments
        else []
    )
    assert_error(animegen(*arguments, *wanted), status, *words)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file_is_told_before_any_work(animegen: Run, tmp_path: Path) -> None:
    for command, name in (("sample", "a.jpg/b.png"), ("walk", "a.gif"), ("stats", "a.npz"), ("edit", "a.png")):
        (tmp_path / name).mkdir(parents=True)
        more = ("--all",) if command == "edit" else ()
        done = animegen(command, "--model", "none.onnx", "--out", name, *more)  # the model is asked for later
        assert_error(done, 1, f"{name} is a folder: name a file")


def test_files_that_hold_no_generator(animegen: Run, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    assert_error(animegen("sample", "--model", "text.onnx"), 1, "text.onnx", "not an ONNX model")
    write_model(tmp_path / "other.onnx", None, classifier())
    assert_error(animegen("sample", "--model", "other.onnx"), 1, "other.onnx", "must take latents")
    assert not (tmp_path / "grid.png").exists()


def test_a_foreign_generator_runs_and_says_what_was_inferred(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "plain.onnx", None, tiny_graph("noise"))
    for model, name in ((tmp_path / "plain.onnx", "plain.png"), (tiny_model, "own.png")):
        done = animegen("sample", "--n", 6, "--model", model, "--device", "cpu", "--out", name, "--no-metadata")
        assert done.returncode == 0, done.stderr.decode()
        said = done.stderr.decode().splitlines()
        assert (len(said) == 2) == (name == "plain.png")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "own.png").read_bytes()
    done = animegen("info", "--model", "plain.onnx")
    assert "inferred latents [N, 8] → nchw images 3×8×8, uint8" in done.stderr.decode()
    wrong = animegen("sample", "--model", "plain.onnx", "--model-z-dim", 9)
    assert_error(wrong, 2, "--model-z-dim is 9 and must be 8")
    wrong = animegen("sample", "--model", tiny_model, "--model-range", "0:1")
    assert_error(wrong, 2, "has a card")


def test_bench_says_what_it_measured(animegen_process: Run, tiny_model: Path) -> None:
    options = ("bench", "--batch-sizes", "1,4", "--seconds", 0.01, "--model", tiny_model, "--device", "cpu")
    done = animegen_process(*options, "--json")
    assert done.returncode == 0, done.stderr.decode()
    figures = json.loads(done.stdout)
    assert (figures["device"], figures["model"]) == ("cpu", "tiny")
    assert [speed["batch_size"] for speed in figures["speeds"]] == [1, 4]
    for speed in figures["speeds"]:
        assert speed["calls"] >= 5
        assert 0 < speed["fastest_ms"] <= speed["median_ms"] <= speed["slowest_ms"]
        assert speed["images_per_second"] == pytest.approx(speed["batch_size"] / speed["median_ms"] * 1000, rel=0.01)
    if sys.platform == "linux":
        assert 10 < figures["start"]["peak_megabytes"] < 250


def test_bench_starts_what_it_timed(animegen: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def noted(arguments: list[str]) -> bench.Start:
        started.append(arguments)
        return bench.Start(3, 0.5, None)

    monkeypatch.setattr(bench, "cold_start", noted)
    options = ("--model", tiny_model, "--device", "cpu", "--threads", 1, "--batch-size", 3, "--engine", "onnxruntime")
    foreign = ("--model-range", "0:1", "--model-input", "psi=0.5", "--model-labels", "c=smile,frown", "--fp16")
    with pytest.raises(UsageError, match="device is cpu and must be cuda"):
        animegen("--debug", "bench", *options, *foreign)
    assert animegen("bench", "--batch-sizes", "1", "--seconds", 0.01, *options).returncode == 0
    assert started == [[*map(str, options[:-2]), "--engine", "onnxruntime"]]
    asked = ModelOptions("a.onnx", "cuda", None, None, {"z_dim": None, "range": "0:1", "inputs": {"psi": 0.5}, "labels": "c", "classes": ("smile", "frown")}, {"half": True})  # fmt: skip  # noqa: E501
    assert asked.arguments() == ["--model", "a.onnx", "--device", "cuda", *foreign[:2], *foreign[4:6], *foreign[2:4], "--fp16"]  # fmt: skip  # noqa: E501


def test_a_start_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"--model \S*none\.onnx ends with the status 1"):
        bench.cold_start(["--model", str(tmp_path / "none.onnx")], runs=1)


def test_bench_as_a_table(animegen: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "cold_start", lambda *_: bench.Start(3, 0.5, None))
    done = animegen("bench", "--batch-sizes", "2", "--seconds", 0.01, "--model", tiny_model)
    assert re.search(r"^    2 +[\d.]+ +[\d.]+  \([\d.]+ to [\d.]+, \d+\)$", done.stdout.decode(), re.MULTILINE)
    assert "a new process makes its first image in 0.50 s (median of 3)\n" in done.stdout.decode()


def test_debug_lets_the_error_through(animegen: Run) -> None:
    with pytest.raises(ModelError, match=r"no model 'no\.onnx'"):
        animegen("--debug", "sample", "--model", "no.onnx")


def test_cuda_asked_for_is_cuda_or_an_error(animegen: Run, tiny_model: Path) -> None:
    done = animegen("sample", "--n", 1, "--device", "cuda", "--model", tiny_model, "--json")
    if done.returncode == 0:
        assert json.loads(done.stdout)["device"] == "cuda"
    else:
        assert_error(done, 1, "cuda was asked for", "--device cpu")


def test_auto_says_one_line_of_the_device(animegen: Run, tiny_model: Path) -> None:
    done = animegen("sample", "--n", 1, "--model", tiny_model)
    device, made = done.stderr.decode().splitlines()
    assert device.startswith("device: ")
    assert made.startswith("grid.png: ")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_full_disk_leaves_nothing(tiny_model: Path, tmp_path: Path) -> None:
    import resource

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    old = tmp_path / "grid.png"
    old.write_bytes(b"what was here before")
    done = run(COMMAND, "sample", "--model", tiny_model, cwd=tmp_path, preexec_fn=small_files_only)
    assert_error(done, 1, "grid.png can't be written", "File too large")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
    assert old.read_bytes() == b"what was here before"


def test_an_unwritable_path(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.png").mkdir()
    assert_error(animegen("sample", "--model", tiny_model), 1, "grid.png is a folder")
    (tmp_path / "file").write_text("a file, no folder")
    assert_error(animegen("sample", "--model", tiny_model, "-o", "file/grid.png"), 1, "file is not a folder")
    proc = Path("/proc/self")
    if proc.is_dir():  # no one can make files there, not even root
        assert_error(animegen("sample", "--model", tiny_model, "-o", proc / "grid.png"), 1, "can't be written")
