"""Labels: where they come from, how a dataset keeps them, and what is handed to networks."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from conftest import Run, assert_error, picture_zip, write_mnist
from extractor_models import extractor_graph, write_extractor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch")

from animegen import DataError, UsageError
from train.data import UNKNOWN, Dataset, DatasetGroup, DatasetLabels, origins, prepare
from train.data.tags import LabelTable, classes_in, read_tags

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "grey": (90, 90, 90)}


def write_colours(path: Path, names: Sequence[str]) -> Path:
    """A zip of 8×8 pictures in one colour each: that which stands in their names; "broken" is none."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            colour = next((value for key, value in COLOURS.items() if key in name), None)
            buffer = io.BytesIO(b"")
            if colour:
                Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
            archive.writestr(name, buffer.getvalue())
    return path


def write_table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def words_of(labels: DatasetLabels | None) -> dict[str, list[str]]:
    """The class of each picture by group, in words; "" where it is unknown."""
    assert labels is not None
    return {
        group.name: [group.classes[number] if number != UNKNOWN else "" for number in labels.values[:, column]]
        for column, group in enumerate(labels.groups)
    }


def labels_of(*groups: tuple[str, Sequence[str]]) -> DatasetLabels:
    labels = DatasetLabels.of(dict(groups))
    assert labels is not None
    return labels


# --- class folders and the labels of published datasets ---


@pytest.mark.parametrize("unpacked", [False, True])
def test_class_folders(unpacked: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["cat/red1.png", "cat/red2.png", "cat/red3.png", "dog/green.png", "dog/broken.png", "dog/grey.png"]
    source = write_colours(tmp_path / "pets.zip", [*names, "owl/blue.png", "Unknown/red.png"])
    if unpacked:
        shutil.unpack_archive(source, tmp_path / "pets")
        source = tmp_path / "pets"
    with caplog.at_level(logging.INFO):
        card = prepare(source, tmp_path / "packed", size=8)
    dataset = Dataset.open(tmp_path / "packed")
    assert dataset.card == card
    assert card.labels == (DatasetGroup(name="class", classes=("cat", "dog"), counts=(3, 2), unknown=2),)
    assert (card.labelled_by, card.filling) == ("class folders", None)
    assert words_of(dataset.labels) == {"class": ["", *["cat"] * 3, *["dog"] * 2, ""]}  # Unknown and owl
    assert dataset.labels is not None
    assert dataset.labels.values.dtype == np.int16
    assert "class: one image only, so unknown: owl" in caplog.messages
    assert "rare, with fewer than 100 images: class: cat (3), dog (2)" in caplog.messages


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["a/1.png", "b/1.png"], ["a", "b"]),
        (["root/a/1.png", "root/b/1.png"], ["a", "b"]),
        (["test/a/1.png", "test/b/1.png", "train/a/1.png", "train/b/1.png"], ["a", "b", "a", "b"]),
        (["train/a/images/1.png", "train/b/images/1.png"], ["a", "b"]),
        (["a/1.png", "a/2.png"], None),
        (["1.png", "2.png"], None),
        (["1.png", "a/2.png"], None),
        (["a/1.png", "a/b/2.png"], None),
    ],
)
def test_which_folders_are_classes(names: list[str], classes: list[str] | None, tmp_path: Path) -> None:
    labels = origins.find(write_colours(tmp_path / "a.zip", names)).labels
    assert {group: list(each) for group, each in labels.items()} == ({"class": classes} if classes else {})


def test_linked_folders_are_classes_and_locked_ones_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one/red1.png", "one/red2.png", "two/blue1.png", "two/blue2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), name.partition("/")[2].rstrip(".png12")).save(tmp_path / name)
    faces = tmp_path / "faces"
    faces.mkdir()
    (faces / "reds").symlink_to("../one")
    (faces / "blues").symlink_to(tmp_path / "two")
    (faces / "gone").symlink_to("../three")
    prepare(faces, tmp_path / "packed", size=8)
    dataset = Dataset.open(tmp_path / "packed")
    assert dataset.card.broken == ["gone/"]
    assert words_of(dataset.labels) == {"class": ["blues"] * 2 + ["reds"] * 2}

    # The tests may be those of root, whom no permission stops.
    scan = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry[str]]:
        if path == faces / "blues/":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    card = prepare(faces, tmp_path / "half", size=8)
    assert (card.count, card.broken, card.labels) == (2, ["blues/", "gone/"], ())


def test_names_that_are_no_utf8(train: Run, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9")
    for folder, name, colour in (
        (b"r\xf6t", b"red1.png", "red"),
        (b"r\xf6t", b"r\xe9d.png", "red"),
        (b"bl\xe5", b"1.png", "blue"),
        (b"bl\xe5", b"2.png", "blue"),
    ):
        (source / os.fsdecode(folder)).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(source / os.fsdecode(folder) / os.fsdecode(name))
    (source / os.fsdecode(b"r\xf6t") / os.fsdecode(b"br\xf6ken.png")).write_bytes(b"")
    done = train("prepare", source, "--size", 8, "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr.decode()
    assert r"r\xf6t/br\xf6ken.png (it is empty)" in done.stderr.decode()
    dataset = Dataset.open(tmp_path / "packed")
    assert (dataset.card.source, dataset.card.broken) == (r"caf\xe9", [r"r\xf6t/br\xf6ken.png"])
    assert words_of(dataset.labels) == {"class": [r"bl\xe5"] * 2 + [r"r\xf6t"] * 2}

    table = tmp_path / os.fsdecode(b"l\xe4bels.tsv")
    write_table(table, "file\thair", "r\\xe9d.png\tred", "red1.png\tred", "1.png\tblue", "2.png\tblue")
    extractor = write_extractor(tmp_path / os.fsdecode(b"\xe9xtractor.onnx"))
    other = tmp_path / os.fsdecode(b"p\xe4cked")
    done = train("prepare", source, "--size", 8, "--labels", table, "--fill-labels", extractor, "--out", other)
    assert done.returncode == 0, done.stderr.decode()
    card = Dataset.open(other).card
    assert card.labelled_by == r"l\xe4bels.tsv"
    assert card.filling is not None
    assert card.filling.extractor == r"\xe9xtractor.onnx"


def test_mnist_has_digits(tmp_path: Path) -> None:
    write_mnist(tmp_path, 6)
    (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(
        (0x801).to_bytes(4) + (6).to_bytes(4) + bytes([9, 0, 9, 3, 0, 9])
    )
    card = prepare(Path(f"mnist:{tmp_path}"), tmp_path / "packed", size=28)
    assert card.labels == (DatasetGroup(name="digit", classes=("0", "9"), counts=(2, 3), unknown=1),)
    assert card.labelled_by == "MNIST's own"
    assert words_of(Dataset.open(tmp_path / "packed").labels) == {"digit": ["9", "0", "9", "", "0", "9"]}
    table = write_table(tmp_path / "a.tsv", "file\tx", "1.png\ta")
    with pytest.raises(UsageError, match="no file names to look up in"):
        prepare(Path(f"mnist:{tmp_path}"), tmp_path / "other", size=28, labels=table)


@pytest.mark.parametrize("labels", ["own", "none"])
def test_a_dataset_without_labels_stays_what_it_was(labels: Literal["own", "none"], tmp_path: Path) -> None:
    names = ["reds/red1.png", "reds/red2.png", *(["greys/grey1.png", "greys/grey2.png"] if labels == "none" else [])]
    prepare(write_colours(tmp_path / "a.zip", names), tmp_path / "packed", size=8, labels=labels)
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == ["dataset.json", "images.npy"]
    card = (tmp_path / "packed" / "dataset.json").read_text(encoding="utf-8")
    keys = ["format", "count", "size", "channels", "resize", "source", "sha256", "broken", "ignored"]
    assert list(json.loads(card)) == keys
    assert Dataset.open(tmp_path / "packed").labels is None


# --- tables ---


def test_a_table_of_groups_and_tags(train: Run, tmp_path: Path) -> None:
    names = [f"faces/red{number}.png" for number in range(6)]
    source = write_colours(tmp_path / "faces.zip", [*names, "faces/broken.png"])
    table = write_table(
        tmp_path / "tags.tsv",
        "\ufefffile\tartist\ttags\r",
        "red0.png\tann\tblonde long hair and purple eyes\r",
        "faces/red1.png\tbob\tblonde blue hair",
        "",
        "./red2.png\t\tblue hair and purple eyes and smile",
        "red3.png\tann\tblue hair",
        "red3.png\tbob\tred eyes",
        "red4.png\tbob\tblonde hair and red eyes",
        "broken.png\tann\tgreen hair",
        "gone.png\tann\tgreen hair",
    )
    done = train("prepare", source, "--labels", table, "--size", 8, "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr.decode()
    messages = done.stderr.decode().splitlines()
    for line in (
        "files of tags.tsv that are not among the pictures: 1",
        "pictures without a row in tags.tsv, whose labels are unknown: 1",
        "pictures with two classes of one group, which is unknown: artist 1, hair 1",
        "warning: length: one image only, so unknown: long",
        "warning: artist: one image only, so unknown: ann",
        "rare, with fewer than 100 images: eyes: purple (2), red (2); hair: blonde (2), blue (2)",
        "hair: blonde 2, blue 2; unknown 33.3%",
    ):
        assert line in messages
    dataset = Dataset.open(tmp_path / "packed")
    assert dataset.card.labelled_by == "tags.tsv"
    assert words_of(dataset.labels) == {
        "eyes": ["purple", "", "purple", "red", "red", ""],
        "hair": ["blonde", "", "blue", "blue", "blonde", ""],
    }


def test_a_table_comes_before_class_folders(tmp_path: Path) -> None:
    source = write_colours(tmp_path / "a.zip", ["x/red.png", "x/blue.png", "y/red.png", "y/blue.png"])
    rows = ("x/red.png\tred", "x/blue.png\tblue", "y/red.png\tred", "y/blue.png\tblue")
    table = write_table(tmp_path / "a.tsv", "file\tcolour", *rows)
    prepare(source, tmp_path / "packed", size=8, labels=table)
    assert words_of(Dataset.open(tmp_path / "packed").labels) == {"colour": ["blue", "red", "blue", "red"]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "begins with nothing and must begin with a header: file, a tab, and tags"),
        (["name\ttags", "red1.png\tred hair"], "begins with name, tags and must begin with a header"),
        (["red1.png\tred hair", "red2.png\tblue hair"], "begins with red1.png, red hair and must begin with a header"),
        (["file"], "begins with file and must"),
        (["file\thair\thair"], "each once"),
        (["file\t\thair"], "begins with file, , hair and must"),
        (["file\thair", "red1.png"], "has 1 cells in line 2 and must have 2, a tab between them: file, hair"),
        (["file\thair", "red1.png\tred", "", "red2.png\ta\tb"], "has 3 cells in line 4 and must have 2"),
        (["file\thair", "\tred"], "names no file in line 2"),
        (["file\thair", "red1.png\tred", "red1.png\tred"], "names red1.png in line 2 and again in line 3: keep one"),
        (["file\thair", "9.png\tred"], "names no file of the pictures: they are called such as a/red1.png"),
        (["file\thair"], "names no file of the pictures: .* and it names none"),
        (["file\thair", "red2.png\tred"], "names red2.png in line 2, which is a/red2.png and b/red2.png: name the fol"),
        (["file\thair", "red1.png\tred", "a/red2.png\tblue"], "no group with two classes of two images or more"),
        (["file\thair=x", "red1.png\tred"], "the group 'hair=x' has '=' in its name or classes: rename it"),
        (["file\thair", "red1.png\tr\x07d"], r"the group 'hair' has 'r\\x07d' in its name or classes"),
    ],
)
def test_tables_that_cannot_be(rows: Sequence[str], words: str, tmp_path: Path) -> None:
    source = write_colours(tmp_path / "a.zip", ["a/red1.png", "a/red2.png", "b/red2.png"])
    with pytest.raises(DataError, match=words) as caught:
        prepare(source, tmp_path / "packed", size=8, labels=write_table(tmp_path / "t.tsv", *rows))
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "t.tsv"]


def test_bad_requests_in_one_line(train: Run, tmp_path: Path) -> None:
    source, out = picture_zip(tmp_path / "faces.zip", 3), ("--size", 16, "--out", tmp_path / "packed")
    assert_error(train("prepare", source, *out, "--labels", tmp_path / "no.tsv"), 1, "no.tsv can't be read")
    assert_error(train("prepare", source, *out, "--labels", source), 1, "faces.zip can't be read")
    assert_error(train("prepare", source, *out, "--fill-labels", "anime"), 2, "no labels, so there are no classes")
    table = write_table(tmp_path / "t.tsv", "file\tartist", "0.png\tann", "1.png\tann", "2.png\tbob")
    fill = ("--labels", table, "--fill-labels")
    assert_error(train("prepare", source, *out, *fill, "no"), 1, "no extractor 'no'")
    plain = write_extractor(tmp_path / "plain.onnx", extractor_graph(tags=False))
    assert_error(train("prepare", source, *out, *fill, plain), 1, "plain.onnx names no tags, and the labels are artist")
    tiny = write_extractor(tmp_path / "tiny.onnx")
    assert_error(train("prepare", source, *out, *fill, tiny), 1, "tiny.onnx names hair, eyes, and the labels are")


WORDS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="/"), min_size=1, max_size=8)
CELLS = WORDS.map(str.strip).filter(lambda word: word not in {"", ".", "unknown", "file", "tags"})


@pytest.fixture(scope="module")
def table_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "t.tsv"


@given(data=st.data(), groups=st.lists(CELLS, min_size=1, max_size=4, unique=True))
def test_a_table_reads_as_it_is_written(table_path: Path, data: st.DataObject, groups: list[str]) -> None:
    row = st.tuples(*(st.just("") | CELLS for _ in groups))
    rows: Mapping[str, tuple[str, ...]] = data.draw(st.dictionaries(CELLS, row, min_size=1, max_size=6))
    lines = ["\t".join(("file", *groups)), *("\t".join((file, *cells)) for file, cells in rows.items())]
    table = LabelTable.read(write_table(table_path, *lines))
    pictures = sorted([*(f"faces/{file}" for file in rows), "faces/another/."])
    found = table.look_up(pictures)
    assert list(found) == groups == list(table.groups)
    for place, picture in enumerate(pictures):
        expected = rows.get(picture.removeprefix("faces/"), ("",) * len(groups))
        assert tuple(found[group][place] for group in groups) == expected


def test_tags_count_only_where_they_are_clear(tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "tags.tsv",
        "file\ttags",
        "1.jpg\tblonde long hair and purple eyes",
        "2.jpg\tblue red short hair",
        "3.jpg\tblue long blue short hair and red eyes",
        "4.jpg\tbicolored eyes",
        "5.jpg\t",
    )
    assert read_tags(table) == {
        "1.jpg": {"hair": "blonde", "length": "long", "eyes": "purple"},
        "2.jpg": {"length": "short"},
        "3.jpg": {"hair": "blue", "eyes": "red"},
        "4.jpg": {"eyes": "bicolored"},
        "5.jpg": {},
    }
    assert LabelTable.read(table).groups == ("eyes", "hair", "length")
    assert classes_in("smile") == classes_in("") == {}


# --- what is unknown, filled ---


def test_an_extractor_names_what_it_is_sure_of(train: Run, tmp_path: Path) -> None:
    names = ["red0", "red1", "red2", "red3", "green0", "green1", "green2", "blue0", "grey0", "grey1", "red4"]
    source = write_colours(tmp_path / "a.zip", [f"{name}.png" for name in names])
    # red0 stays what the table says; no picture is called blue, so none becomes it; grey is no colour for sure.
    rows = ["red0\tgreen\tlight", "red1\tred\tdark", "red2\tred\t", "green0\tgreen\tlight", "grey0\tgrey\tdark"]
    rows = [row.replace("\t", ".png\t", 1) for row in [*rows, "grey1\tgrey\t"]]
    table = write_table(tmp_path / "t.tsv", "file\thair\teyes\tartist", *(f"{row}\tann" for row in rows))
    extractor = write_extractor(tmp_path / "tiny.onnx")
    fill = ("--labels", table, "--fill-labels", extractor)
    done = train("prepare", source, *fill, "--size", 8, "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr.decode()
    messages = done.stderr.decode()
    assert "filled by tiny.onnx, of all images: hair 36.4%, eyes 0.0%" in messages
    assert "hair: green 4, grey 2, red 4; unknown 9.1%, 36.4% were filled" in messages
    assert "warning: artist has fewer than two classes of two images or more, and is left out" in messages
    dataset = Dataset.open(tmp_path / "packed")
    hair = zip(sorted(names), words_of(dataset.labels)["hair"], strict=True)
    own = {"red0": "green", "blue0": ""}
    assert dict(hair) == {name: own.get(name, name[:-1]) for name in names}
    assert [(group.name, group.filled) for group in dataset.card.labels] == [("hair", 4), ("eyes", 0)]
    filling = dataset.card.filling
    assert filling is not None
    assert (filling.extractor, filling.probability) == ("tiny.onnx", 0.9)
    assert filling.shares == {"hair": 0.3636, "eyes": 0.0}


# --- as they are kept ---


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four pictures in two classes."""
    folder = tmp_path_factory.mktemp("labelled")
    source = write_colours(folder / "a.zip", ["a/red1.png", "a/red2.png", "b/red1.png", "b/red2.png"])
    prepare(source, folder / "packed", size=8)
    return folder / "packed"


def test_the_hash_is_of_shape_and_values() -> None:
    one = labels_of(("hair", ["a", "a", "b", "b"]))
    assert one.sha256() == labels_of(("eyes", ["c", "c", "d", "d"])).sha256()
    assert one.sha256() != labels_of(("hair", ["a", "b", "a", "b"])).sha256()
    assert one.sha256() != DatasetLabels(one.groups, one.values.reshape(2, 2)).sha256()
    # Little-endian, whatever the machine: a dataset that is carried elsewhere still opens.
    assert one.sha256() == hashlib.sha256("int16 4×1\n".encode() + bytes([0, 0, 0, 0, 1, 0, 1, 0])).hexdigest()


def test_labels_that_are_damaged(labelled: Path, tmp_path: Path) -> None:
    values = np.load(labelled / "labels.npy")
    card = json.loads((labelled / "dataset.json").read_text(encoding="utf-8"))
    group = card["labels"][0]

    def refused(words: str, values: np.ndarray | None, groups: list[dict[str, object]] = card["labels"]) -> None:
        folder = shutil.copytree(labelled, tmp_path / "copy", dirs_exist_ok=True)
        (folder / "labels.npy").unlink()
        if values is not None:
            np.save(folder / "labels.npy", values)
        sha256 = card["labels_sha256"] if "sha256" in words or values is None else DatasetLabels((), values).sha256()
        (folder / "dataset.json").write_text(json.dumps({**card, "labels": groups, "labels_sha256": sha256}))
        with pytest.raises(DataError, match=words) as caught:
            Dataset.open(folder)
        assert "\n" not in str(caught.value)

    refused("labels.npy can't be read", None)
    refused("isn't what dataset.json has the sha256 of", values[::-1])
    refused("isn't what dataset.json has the sha256 of", values.astype(np.int64))
    refused("isn't what dataset.json has the sha256 of", values.ravel())
    refused("has 4 images and 3 labels", values[:3], [{**group, "counts": [2, 1]}])
    for other in (
        {**group, "counts": [3, 1]},
        {**group, "unknown": 1},
        {**group, "classes": ["b", "a"]},
        {**group, "classes": ["a", "a"]},
        {**group, "classes": ["a"], "counts": [4]},
    ):
        refused("the groups in dataset.json don't fit", values, [other])
    refused("the groups in dataset.json don't fit", values, [group, group])
    refused("the groups in dataset.json don't fit", values - 2)
    refused("can't be read", values, [{**group, "size": 3}])


def test_groups_are_selected_by_name() -> None:
    labels = labels_of(("hair", ["a", "a", "b", "b"]), ("eyes", ["c", "d", "c", "d"]), ("length", ["l", "l", "", ""]))
    assert [group.name for group in labels.groups] == ["hair", "eyes"]
    assert words_of(labels.select(["eyes"])) == {"eyes": ["c", "d", "c", "d"]}
    chosen = labels.select(("eyes", "hair"))
    assert [group.name for group in chosen.groups] == ["eyes", "hair"]
    assert chosen.values.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    with pytest.raises(DataError, match="no labels called nose: it has hair, eyes"):
        labels.select(["hair", "nose"])
    with pytest.raises(DataError, match="name hair twice"):
        labels.select(["hair", "hair"])


@given(st.data())
def test_one_hot_says_what_is_known_and_nothing_else(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=3))
    count = data.draw(st.integers(1, 8))
    row = st.tuples(*(st.integers(UNKNOWN, size - 1) for size in sizes))
    values = np.array(data.draw(st.lists(row, min_size=count, max_size=count)), np.int16)
    groups = tuple(
        DatasetGroup.of(f"g{column}", tuple("abcde"[:size]), values[:, column]) for column, size in enumerate(sizes)
    )
    labels = DatasetLabels(groups, values)
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=12)), np.int64)
    vectors = labels.one_hot(rows)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(rows), sum(sizes)) == (len(rows), labels.size)
    for vector, row_of in zip(vectors, values[rows], strict=True):
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        assert [part.argmax() if part.any() else UNKNOWN for part in parts] == row_of.tolist()
        assert {part.sum() for part in parts} <= {0, 1}
