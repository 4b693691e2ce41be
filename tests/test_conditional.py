"""Models that take labels: format 2 of the file, and what can be asked of it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import GROUPS, ROOT, Run, assert_error, conditional_graph, tiny_card, tiny_graph, write_model
from PIL import Image

from animegen import Generator, ModelCard, ModelError, UsageError, table
from animegen.images.stills import GAP, LABEL, table_shape
from animegen.labels import Labels, Wanted, draw_labels, usual

ByHand = Callable[[list[int], Labels], np.ndarray]
BLUE: Wanted = {"hair": "blue"}


@pytest.fixture(scope="module")
def faces(conditional_model: Path) -> Generator:
    """The conditional generator, loaded once."""
    return Generator.load(conditional_model, device="cpu")


@pytest.fixture(scope="module")
def by_hand(conditional_model: Path) -> ByHand:
    """The images of seeds with labels, of the graph alone."""
    session = onnxruntime.InferenceSession(conditional_model, providers=["CPUExecutionProvider"])

    def images(seeds: list[int], labels: Labels) -> np.ndarray:
        z = np.stack([np.random.RandomState(seed).standard_normal(8) for seed in seeds]).astype(np.float32)
        return np.asarray(session.run(None, {"z": z, "labels": labels})[0]).transpose(0, 2, 3, 1)

    return images


# --- the file ---


def test_a_card_says_which_labels_the_model_takes(conditional_model: Path, faces: Generator) -> None:
    assert faces.labels == GROUPS
    assert faces.card.format_version == 2
    assert faces.card.to_json()["labels"][0] == {
        "name": "hair", "classes": ("blonde", "blue", "red"), "counts": (60, 30, 10),
    }  # fmt: skip
    assert ("labels.hair", "blonde (60), blue (30), red (10)") in faces.card.rows()
    again = ModelCard.from_metadata(faces.card.to_metadata(), origin="it")
    assert again == faces.card
    assert faces.card.to_metadata()["animegen.format_version"] == "2"


def test_a_model_without_labels_stays_format_1(tiny_model: Path) -> None:
    card = tiny_card()
    assert card.format_version == 1
    assert "animegen.labels" not in card.to_metadata()
    with Generator.load(tiny_model, device="cpu") as generator:
        assert generator.labels == ()
        assert generator.card.format_version == 1
        assert generator.label_vectors([1, 2]).shape == (2, 0)


@pytest.mark.parametrize(
    "groups",
    [
        {"hair": ["blue", "red"]},
        ["hair"],
        [{"name": "hair", "classes": ["blue"], "counts": [3]}],
        [{"name": "hair", "classes": ["blue", "blue"], "counts": [3, 4]}],
        [{"name": "hair", "classes": ["blue", "red"], "counts": [3]}],
        [{"name": "hair", "classes": ["blue", "red"], "counts": [0, 0]}],
        [{"name": "hair", "classes": ["blue", "red"], "counts": [-1, 2]}],
        [{"name": "hair", "classes": ["blue", 3], "counts": [1, 2]}],
        [{"name": "", "classes": ["blue", "red"], "counts": [1, 2]}],
        [{"name": "hair", "classes": ["blue", "red"], "counts": [1, 2]}] * 2,
    ],
)
def test_groups_that_cannot_be_believed(groups: Any) -> None:
    metadata = {**tiny_card(labels=GROUPS).to_metadata(), "animegen.labels": json.dumps(groups)}
    with pytest.raises(ModelError, match=r"labels is .* and must be a list of groups"):
        ModelCard.from_metadata(metadata, origin="it")


def test_a_card_whose_groups_do_not_fit_its_graph(tmp_path: Path) -> None:
    wrong = {
        "more": (tiny_card(labels=GROUPS), conditional_graph(6)),
        "none in the graph": (tiny_card(labels=GROUPS), tiny_graph()),
        "none in the card": (tiny_card(), conditional_graph()),
    }
    for name, (card, graph) in wrong.items():
        path = write_model(tmp_path / f"{name}.onnx", card, graph)
        with pytest.raises(ModelError, match=r"the card of tiny speaks of .*, and the graph has .*: export it again"):
            Generator.load(path, device="cpu")


# --- asking for labels ---


def test_a_seed_alone_names_an_image_and_its_labels(faces: Generator, by_hand: ByHand) -> None:
    seeds = list(range(30))
    drawn = draw_labels(seeds, 8, GROUPS)
    expected = by_hand(seeds, drawn)
    np.testing.assert_array_equal(faces.label_vectors(seeds), drawn)
    np.testing.assert_array_equal(faces.sample(30), expected)
    np.testing.assert_array_equal(np.concatenate(list(faces.stream(seeds, batch_size=7))), expected)
    np.testing.assert_array_equal(faces.sample(seeds=[7, 7, 3], batch_size=1), expected[[7, 7, 3]])


def test_what_is_asked_for_takes_the_place_of_what_the_seed_draws(faces: Generator, by_hand: ByHand) -> None:
    seeds = list(range(12))
    asked = draw_labels(seeds, 8, GROUPS)
    asked[:, :3] = [0, 1, 0]
    np.testing.assert_array_equal(faces.sample(12, labels=BLUE), by_hand(seeds, asked))
    asked[:, 3:] = [0.75, 0.25]
    labels: Wanted = {"hair": "blue", "eyes": {"green": 3, "grey": 1}}
    np.testing.assert_array_equal(faces.sample(12, labels=labels), by_hand(seeds, asked))
    asked[:, 3:] = 0
    labels = {"hair": "blue", "eyes": "unknown"}
    np.testing.assert_array_equal(faces.sample(12, labels=labels), by_hand(seeds, asked))
    for (seed, image), same in zip(faces.pairs(seeds, labels=labels), faces.sample(12, labels=labels), strict=True):
        np.testing.assert_array_equal(image, same, err_msg=str(seed))


def test_a_path_may_keep_the_face_and_change_the_hair(faces: Generator, by_hand: ByHand) -> None:
    row = faces.interpolate(3, 3, steps=5, labels=[{"hair": "blonde"}, BLUE])
    labels = np.repeat(draw_labels([3], 8, GROUPS), 5, axis=0)
    labels[:, :3] = np.array([[1, 0, 0], [0.75, 0.25, 0], [0.5, 0.5, 0], [0.25, 0.75, 0], [0, 1, 0]])
    np.testing.assert_array_equal(row, by_hand([3] * 5, labels))
    np.testing.assert_array_equal(row[0], faces.sample(seed=3, labels={"hair": "blonde"})[0])
    between = faces.interpolate(3, 4, steps=3)
    np.testing.assert_array_equal(between[[0, 2]], faces.sample(2, seed=3))
    same = faces.interpolate(3, 4, 5, steps=3, labels=BLUE)
    np.testing.assert_array_equal(same[[0, 2, 4]], faces.sample(3, seed=3, labels=BLUE))
    with pytest.raises(UsageError, match="2 labels stand for 3 seeds and must be one for each"):
        faces.interpolate(3, 4, 5, labels=[BLUE, BLUE])


def test_a_walk_passes_its_seeds_with_their_labels(faces: Generator) -> None:
    frames = np.stack(list(faces.walk([3, 4, 5], frames=12, labels=[BLUE, None, {"eyes": "grey"}])))
    stops = [faces.sample(seed=3, labels=BLUE), faces.sample(seed=4), faces.sample(seed=5, labels={"eyes": "grey"})]
    assert np.abs(frames[::4].astype(int) - np.concatenate(stops)).max() <= 1
    assert len(list(faces.walk([3, 4], frames=4, labels=BLUE))) == 4


def test_an_edit_keeps_the_labels(faces: Generator) -> None:
    images = faces.edit(3, 0, [-2, 0, 2], labels=BLUE)
    np.testing.assert_array_equal(images[1], faces.sample(seed=3, labels=BLUE)[0])
    assert (images[0] != images[2]).any()


def test_latents_without_a_seed_take_the_usual_classes(faces: Generator, by_hand: ByHand) -> None:
    z = faces.latents([1, 2])
    assert usual(GROUPS).tolist() == [1, 0, 0, 0, 1]
    np.testing.assert_array_equal(faces(z), by_hand([1, 2], np.tile(usual(GROUPS), (2, 1))))
    np.testing.assert_array_equal(faces(z, BLUE), faces(z, {"hair": "blue", "eyes": "grey"}))
    np.testing.assert_array_equal(faces(z, faces.label_vectors([1, 2])), faces.sample(2, seed=1))
    np.testing.assert_array_equal(np.stack(list(faces.frames(z, BLUE))), faces(z, BLUE))
    both = np.stack(list(faces.frames(np.stack([z, z], axis=1), np.zeros((2, 2, 5), np.float32))))
    np.testing.assert_array_equal(both[:, :8, :8], faces(z, np.zeros((2, 5), np.float32)))
    for labels in (np.zeros((3, 5), np.float32), np.zeros((2, 4), np.float32), np.full((2, 5), np.nan, np.float32)):
        with pytest.raises(UsageError, match=r"labels have the shape .* and must be ordinary numbers \[2, 5\]"):
            faces(z, labels)


def test_no_seeds_give_no_images(faces: Generator) -> None:
    assert faces.sample(seeds=[], labels=BLUE).shape == (0, 8, 8, 3)
    assert faces.label_vectors([], []).shape == (0, 5)
    assert faces(faces.latents([]), BLUE).shape == (0, 8, 8, 3)


def test_labels_that_the_model_does_not_have(faces: Generator, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="labels name 'hat' and must name hair, eyes, which faces takes"):
        faces.sample(labels={"hat": "red"})
    with pytest.raises(UsageError, match="hair is 'pink' and must be one of blonde, blue, red, or unknown"):
        faces.stream([1], labels={"hair": "pink"})  # now, not at the first image
    with Generator.load(tiny_model, device="cpu") as generator:
        for call in (generator.stream, generator.pairs, generator.walk, generator.label_vectors):
            with pytest.raises(UsageError, match="must be left out: tiny takes none; search finds seeds"):
                call([1, 2], labels=BLUE)


# --- the table ---


def test_a_sheet_is_one_face_in_all_classes(faces: Generator) -> None:
    sheet = faces.sheet(3, rows="hair", columns="eyes")
    assert sheet.shape == (6, 8, 8, 3)
    for k, (hair, eyes) in enumerate((hair, eyes) for hair in GROUPS[0].classes for eyes in GROUPS[1].classes):
        np.testing.assert_array_equal(sheet[k], faces.sample(seed=3, labels={"hair": hair, "eyes": eyes})[0])
    several = faces.sheet(3, 9, rows="eyes", labels=BLUE)
    np.testing.assert_array_equal(several[3], faces.sample(seed=9, labels={"hair": "blue", "eyes": "grey"})[0])


def test_sheets_that_cannot_be_made(faces: Generator) -> None:
    cases: tuple[tuple[tuple[int, ...], dict[str, Any], str], ...] = (
        ((3,), {"rows": "hat"}, "labels name 'hat' and must name hair, eyes"),
        ((3,), {"rows": "hair", "columns": "hair"}, "hair is named twice"),
        ((3,), {"rows": "hair", "labels": BLUE}, "hair is named twice"),
        ((3, 4), {"rows": "hair", "columns": "eyes"}, "2 seeds and must have one"),
        ((), {"rows": "hair"}, "0 seeds and must have one"),
    )
    for seeds, options, words in cases:
        with pytest.raises(UsageError, match=words):
            faces.sheet(*seeds, **options)


def test_a_table_has_captions() -> None:
    images = np.zeros((6, 20, 30, 3), np.uint8)
    laid = table(images, ["blonde", "blue", "red"], ["green", "grey"])
    height, width = 3 * 20 + 2 * GAP, 2 * 30 + GAP
    left = laid.shape[1] - width
    assert laid.shape == (LABEL + height, left + width, 3)
    assert (laid[LABEL : LABEL + 20, left : left + 30] == 0).all()
    assert (laid[:LABEL, :left] == 255).all()
    for strip in (laid[:LABEL, left : left + 30], laid[:LABEL, left + 32 :], laid[LABEL : LABEL + 20, :left]):
        assert 0 < (strip < 128).sum() < strip.size / 2
    assert table(images[:, ..., :1], [1, 2, 3], [4, 5]).shape[2] == 1
    assert table_shape(["blonde", "blue", "red"], ["green", "grey"], (20, 30, 3)) == laid.shape
    assert np.array_equal(table(images, ["blonde", "blue", "red\n"], ["green", "grey"]), laid)  # captions have one line
    with pytest.raises(UsageError, match="6 images stand for 2 rows of 2"):
        table(images, [1, 2], [3, 4])


# --- the commands ---


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_commands_take_labels(animegen: Run, conditional_model: Path, faces: Generator, tmp_path: Path) -> None:
    done = animegen("sample", "--model", conditional_model, "--device", "cpu", "--n", "3", "--out", "faces/", "--json",
                    "--label", "hair=blue", "--label", "eyes=green:0.75+grey:0.25")  # fmt: skip
    labels: Wanted = {"hair": "blue", "eyes": {"green": 0.75, "grey": 0.25}}
    assert json.loads(done.stdout)["labels"] == labels
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names == [f"seed0000000{k}-hair-blue-eyes-green-0.75+grey-0.25.png" for k in range(3)]
    np.testing.assert_array_equal(pixels(tmp_path / "faces" / names[2]), faces.sample(seed=2, labels=labels)[0])
    plain = animegen("sample", "--model", conditional_model, "--device", "cpu", "--n", "3", "--out", "faces/")
    assert plain.returncode == 0  # beside the others, under names of their own
    again = animegen("sample", "--model", conditional_model, "--device", "cpu", "--n", "3", "--out", "faces/",
                     "--label", "hair=blue", "--label", "eyes=green:0.75+grey:0.25", "--skip-existing")  # fmt: skip
    assert again.stderr.decode().startswith("faces/: 0 images")

    for command, options in {
        "interpolate": ["--seed-a", "3", "--label-a", "hair=blonde", "--label-b", "hair=blue", "--steps", "3"],
        "walk": ["--seeds", "3,4", "--frames", "4", "--label", "hair=blue", "--out", "out.gif"],
        "edit": ["--seed", "3", "--direction", "0", "--steps", "3", "--label", "hair=blue"],
    }.items():
        out = [] if command == "walk" else ["--out", f"{command}.png"]
        done = animegen(command, "--model", conditional_model, "--device", "cpu", "--json", *options, *out)
        facts = json.loads(done.stdout)
        expected = [{"hair": "blonde"}, {"hair": "blue"}] if command == "interpolate" else {"hair": "blue"}
        assert facts["labels"] == expected
    row = pixels(tmp_path / "interpolate.png")
    np.testing.assert_array_equal(row[:, :8], faces.sample(seed=3, labels={"hair": "blonde"})[0])
    np.testing.assert_array_equal(row[:, -8:], faces.sample(seed=3, labels=BLUE)[0])
    np.testing.assert_array_equal(pixels(tmp_path / "edit.png")[:, 10:18], faces.sample(seed=3, labels=BLUE)[0])


def test_interpolations_of_every_kind_take_labels(
    animegen: Run, conditional_model: Path, faces: Generator, tmp_path: Path
) -> None:
    common = ("interpolate", "--model", conditional_model, "--device", "cpu", "--steps", "3")
    animegen(*common, "--corners", "1,2,3,4", "--label", "hair=blue", "--out", "corners.png")
    sheet = pixels(tmp_path / "corners.png")
    np.testing.assert_array_equal(sheet[-8:, -8:], faces.sample(seed=4, labels=BLUE)[0])
    animegen(*common, "--corners", "1,2,3,4", "--out", "corners.png")
    np.testing.assert_array_equal(pixels(tmp_path / "corners.png")[-8:, :8], faces.sample(seed=3)[0])
    animegen(*common, "--seeds", "1,2,3", "--out", "way.png")
    np.testing.assert_array_equal(pixels(tmp_path / "way.png")[:, 20:28], faces.sample(seed=2)[0])
    done = animegen(*common, "--label-a", "hair=red", "--seed-b", "7", "--seed-b", "8", "--out", "way.gif")
    assert done.returncode == 0
    assert_error(animegen(*common, "--seeds", "1,2", "--label-a", "hair=red"), 2, "leave --seeds and --corners out")
    over = ("--label", "hair=blue", "--label-b", "hair=red", "--label", "eyes=grey")
    facts = json.loads(animegen(*common, "--seed-a", "7", *over, "--json").stdout)
    assert facts["labels"] == [{"hair": "blue", "eyes": "grey"}, {"hair": "red", "eyes": "grey"}]
    assert_error(
        animegen(*common, "--seed-a", "7", "--seed-b", "8", "--label", "hair=red", "--label", "hair=blue"),
        2,
        "two labels",
    )


def test_the_sheet_command(
    animegen: Run, animegen_process: Run, conditional_model: Path, faces: Generator, tmp_path: Path
) -> None:
    common = ("sheet", "--model", conditional_model, "--device", "cpu", "--json")
    facts = json.loads(animegen_process(*common, "--rows", "hair", "--columns", "eyes", "--seed", "3").stdout)
    assert (facts["rows"], facts["columns"]) == ({"hair": ["blonde", "blue", "red"]}, {"eyes": ["green", "grey"]})
    expected = table(faces.sheet(3, rows="hair", columns="eyes"), GROUPS[0].classes, GROUPS[1].classes)
    np.testing.assert_array_equal(pixels(tmp_path / "sheet.png"), expected)
    facts = json.loads(animegen(*common, "--rows", "eyes", "--n", "3", "--label", "hair=blue").stdout)
    assert facts["columns"] == {"seed": ["0", "1", "2"]}
    wide = ("--rows", "eyes", "--n", "1635", "--out", "wide.webp")  # its images alone would fit
    assert_error(animegen(*common, *wide), 2, "the table of 3,270 images", "at most 16,383")
    assert_error(animegen(*common, "--rows", "hat"), 2, "labels name 'hat' and must name hair, eyes")
    assert_error(
        animegen("sheet", "--rows", "hair", "--device", "cpu"), 2, "a sheet is of labels, and anime-face-64 takes none"
    )


def test_pictures_say_their_labels_and_are_made_again(animegen: Run, conditional_model: Path, tmp_path: Path) -> None:
    shutil.copy(conditional_model, tmp_path / "faces.onnx")  # the model's name, by which the line calls it
    mixed = ["--label", "hair=blue", "--label", "eyes=green:0.75+grey:0.25"]
    commands = {
        "sample": ["--n", "3", "--out", "made/", *mixed],
        "interpolate": ["--label-a", "hair=blonde", "--label-b", "hair=blue", "--out", "made.png"],
        "edit": ["--seed", "3", "--all", *mixed, "--out", "made.png"],
        "sheet": ["--rows", "eyes", "--columns", "hair", "--seed", "3", "--out", "made.png"],
    }
    for command, options in commands.items():
        assert animegen(command, "--model", "faces.onnx", "--device", "cpu", *options).returncode == 0
        path = tmp_path / "made.png"
        if command == "sample":
            path = tmp_path / "made" / "seed00000002-hair-blue-eyes-green-0.75+grey-0.25.png"
        told = json.loads(animegen("info", path, "--json").stdout)
        if command in {"sample", "edit"}:
            assert told["options"]["label"] == mixed[1::2]
        assert animegen(*shlex.split(told["again"])[1:]).returncode == 0
        np.testing.assert_array_equal(pixels(tmp_path / "again.png"), pixels(path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--label", "hair"], "label is 'hair' and must be a group and a class"),
        (["--label", "hair=pink"], "hair is 'pink' and must be one of blonde, blue, red, or unknown"),
        (["--label", "hat=red"], "labels name 'hat' and must name hair, eyes"),
        (["--label", "hair=blue", "--label", "hair=red"], "hair has two labels and must have one"),
        (["--label", "hair=blue:0+red:0"], "hair is a mix that sums to 0"),
        (["--label", "hair=blue:x"], "hair has 'x' of blue and must have a number"),
    ],
)
def test_labels_that_mean_nothing(animegen: Run, conditional_model: Path, options: list[str], words: str) -> None:
    done = animegen("sample", "--model", conditional_model, "--device", "cpu", "--n", "1", *options)
    assert_error(done, 2, words)


def test_info_shows_the_groups(animegen: Run, conditional_model: Path) -> None:
    assert "labels.eyes" in animegen("info", "--model", conditional_model).stdout.decode()
    card = json.loads(animegen("info", "--model", conditional_model, "--json").stdout)
    assert card["labels"][0] == {"name": "hair", "classes": ["blonde", "blue", "red"], "counts": [60, 30, 10]}
    assert card["labels"][1] == {"name": "eyes", "classes": ["green", "grey"], "counts": [5, 7], "unknown": 4}


@pytest.mark.parametrize("page", ["docs/library.md", "docs/model-format.md"])
def test_what_the_documents_say_of_labels_is_so(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if "mnist-28" in block)
    names: dict[str, Any] = {}
    exec(compile(block, page, "exec"), names)
    with Generator.load("mnist-28", device="cpu") as generator:
        if "format" in page:
            np.testing.assert_array_equal(names["images"][0].transpose(1, 2, 0), generator.sample(seed=7)[0])
        else:
            np.testing.assert_array_equal(names["images"], generator.sheet(0, 1, 2, rows="class"))
