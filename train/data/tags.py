"""Tables of files and their classes, tab-separated under a header, and phrases such as "blonde hair and red eyes"."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from animegen.errors import DataError

logger = logging.getLogger(__name__)

_FILE, _TAGS = "file", "tags"  # columns with a meaning; any other is a group
_LENGTHS = ("long", "short")

Classes = dict[str, set[str]]  # by their groups, all that a row names


@dataclass(frozen=True)
class _Row:
    line: int
    classes: Classes


@dataclass(frozen=True)
class LabelTable:
    """What a table says of each file.

    Attributes:
        path: where it was read.
        groups: its columns in their order, then the nouns of its tags in order of name.
        rows: each file's line and classes.
    """

    path: Path
    groups: tuple[str, ...]
    rows: Mapping[str, _Row]

    @classmethod
    def read(cls, path: Path) -> LabelTable:
        """Read a table whose first column is `file`.

        A column called `tags` holds phrases (`classes_in`). In any other a cell is a class of the column's group,
        and an empty one is unknown.

        Raises:
            DataError: no such table, a line of another form, or a file that is named twice where there are no tags.
        """
        columns, lines = _cells(path)
        rows: dict[str, _Row] = {}
        for number, (file, *cells) in lines:
            if not file:
                raise DataError(f"{path} names no file in line {number}: the first column is the file's name")
            classes = _classes_of(columns, cells)
            name = str(PurePosixPath(file))
            if name not in rows:
                rows[name] = _Row(number, classes)
            elif _TAGS in columns:
                for group, named in classes.items():
                    rows[name].classes.setdefault(group, set()).update(named)
            else:
                raise DataError(f"{path} names {file} in line {rows[name].line} and again in line {number}: keep one")
        nouns = {group for row in rows.values() for group in row.classes} - set(columns)
        return cls(path, (*(column for column in columns if column != _TAGS), *sorted(nouns)), rows)

    def look_up(self, pictures: Sequence[str]) -> dict[str, list[str]]:
        """For each group the class of each picture, in the pictures' order; "" where it is not known, or not clear.

        A file may be named with its folders or without them. Where a picture has two classes of one group (of several
        heads, or by a label that was merged from some), that group is left open: a class must be the only one to be
        learnt from. What the table and the pictures don't have in common is logged.

        Raises:
            DataError: no file of the table is among the pictures, or one without its folder is two of them.
        """
        files = self._match(pictures)
        if not files:
            known, named = (next(iter(files), "none") for files in (pictures, self.rows))
            raise DataError(
                f"{self.path} names no file of the pictures: they are called such as {known}, and it names {named}"
            )
        classes = {group: [""] * len(pictures) for group in self.groups}
        unclear: Counter[str] = Counter()
        for place, file in files.items():
            for group, names in self.rows[file].classes.items():
                if len(names) == 1:
                    (classes[group][place],) = names
                else:
                    unclear[group] += 1
        self._report(len(self.rows) - len(files), len(pictures) - len(files), unclear)
        return classes

    def _match(self, pictures: Sequence[str]) -> dict[int, str]:
        """The file of the table by the picture's place: of the same name, or else of the same last parts."""
        exact = self.rows.keys() & set(pictures)
        files: dict[int, str] = {}
        first: dict[str, int] = {}
        for place, picture in enumerate(pictures):
            endings = (name for name in _endings(picture) if name in self.rows and name not in exact)
            file = picture if picture in exact else next(endings, None)
            if file is None:
                continue
            if file in first:
                raise DataError(
                    f"{self.path} names {file} in line {self.rows[file].line}, which is {pictures[first[file]]} and "
                    f"{picture}: name the folder too"
                )
            first[file] = place
            files[place] = file
        return files

    def _report(self, absent: int, without: int, unclear: Counter[str]) -> None:
        name = self.path.name
        if absent:
            logger.info("files of %s that are not among the pictures: %d", name, absent)
        if without:
            logger.info("pictures without a row in %s, whose labels are unknown: %d", name, without)
        if unclear:
            groups = ", ".join(f"{group} {count}" for group, count in sorted(unclear.items()))
            logger.info("pictures with two classes of one group, which is unknown: %s", groups)


def classes_in(phrases: str) -> Classes:
    """The classes that phrases name: the noun is the group, each adjective a class, and hair has a length of its own.

    >>> classes_in("blonde long hair and purple eyes")
    {'hair': {'blonde'}, 'length': {'long'}, 'eyes': {'purple'}}
    """
    classes: Classes = {}
    for phrase in phrases.split(" and "):
        *adjectives, noun = phrase.split() or [""]
        for word in adjectives:
            classes.setdefault("length" if noun == "hair" and word in _LENGTHS else noun, set()).add(word)
    return classes


def read_tags(path: Path) -> dict[str, dict[str, str]]:
    """The clear classes of each file in a table: of each group the only one that is named.

    Raises:
        DataError: as `LabelTable.read`.
    """
    table = LabelTable.read(path)
    return {
        file: {group: next(iter(named)) for group, named in row.classes.items() if len(named) == 1}
        for file, row in table.rows.items()
    }


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The columns after `file`, and the cells of each line that isn't empty, with its number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read ({error}): name a table of files and their classes") from error
    # Lines end as editors end them: splitlines would cut a cell at signs that only look like an end.
    header, *lines = ([cell.strip() for cell in line.split("\t")] for line in text.split("\n"))
    first, *columns = header
    if first != _FILE or not columns or "" in columns or len(set(header)) != len(header):
        raise DataError(
            f"{path} begins with {', '.join(header) or 'nothing'} and must begin with a header: {_FILE}, a tab, and "
            f"{_TAGS} or the names of groups, each once"
        )
    rows = [(number, cells) for number, cells in enumerate(lines, 2) if cells != [""]]
    for number, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"{path} has {len(cells)} cells in line {number} and must have {len(header)}, a tab between them: "
                f"{', '.join(header)}"
            )
    return columns, rows


def _classes_of(columns: Sequence[str], cells: Sequence[str]) -> Classes:
    classes: Classes = {}
    for column, cell in zip(columns, cells, strict=True):
        for group, named in (classes_in(cell) if column == _TAGS else {column: {cell} - {""}}).items():
            if named:
                classes.setdefault(group, set()).update(named)
    return classes


def _endings(picture: str) -> Iterator[str]:
    """A name with ever fewer of its folders."""
    rest = picture
    while rest:
        yield rest
        rest = rest.partition("/")[2]
