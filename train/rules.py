"""What a setting may be, in words that are made from the types: what was given, the rule, what to write."""

from __future__ import annotations

import difflib
import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, inspect

from train.errors import ConfigError


class SettingError(ConfigError):
    """What is wrong with the value of one key, or with the key."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def explained(kind: type[Struct], table: Mapping[str, Any], message: str) -> SettingError:
    """What msgspec says of a table of the kind, as what was given, the rule, and what to write."""
    place = re.search(r" - at `\$\.?(.*)`$", message)
    names = re.sub(r"\[.*?\]", "", place[1]).split(".") if place and place[1] else []
    if unknown := re.search(r"unknown field `(.*?)`", message):
        names.append(unknown[1])
    elif missing := re.search(r"missing required field `(.*?)`", message):
        names.append(missing[1])
    key, rules = ".".join(names), _rules(inspect.type_info(kind), table)
    if unknown:
        return SettingError(key, f"{key} is no setting: {_near(names, rules)}")
    rule = "a finite number" if "out of range" in message else _in_words(rules[key])
    if missing:
        *within, name = names
        return SettingError(".".join(within), f"{'.'.join(within)} has no {name}, which must be {rule}: add {key}")
    value: Any = table
    for name in names:
        value = value[name]
    given = str(value).lower() if isinstance(value, bool) else reprlib.repr(value)  # as TOML writes it; shortened
    return SettingError(key, f"{key} is {given} and must be {rule}{_to_write(key, value, rules[key])}")


def _rules(kind: inspect.Type, table: Any, prefix: str = "") -> dict[str, inspect.Type]:
    """Every key of a table of settings, those within others too, with its type; of an optimiser, its algorithm's."""
    found: dict[str, inspect.Type] = {prefix.removesuffix("."): kind} if prefix else {}
    if isinstance(kind, inspect.UnionType):
        choices = [choice for choice in kind.types if isinstance(choice, inspect.StructType)]
        if not choices:
            return found
        found[f"{prefix}algorithm"] = inspect.LiteralType(tuple(choice.tag for choice in choices))
        chosen = table.get("algorithm") if isinstance(table, Mapping) else None
        kind = next((choice for choice in choices if choice.tag == chosen), choices[0])
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            within = table.get(field.name) if isinstance(table, Mapping) else None
            found |= _rules(field.type, within, f"{prefix}{field.name}.")
    return found


def _near(names: Sequence[str], rules: Mapping[str, inspect.Type]) -> str:
    """The keys that an unknown one may mean, or else all beside it."""
    *within, name = names
    prefix = "".join(f"{part}." for part in within)
    beside = [key for key in rules if key.startswith(prefix) and "." not in key.removeprefix(prefix)]
    for keys in (beside, list(rules)):
        if alike := difflib.get_close_matches(name, [key.rpartition(".")[2] for key in keys], n=1):
            return f"do you mean {' or '.join(key for key in keys if key.rpartition('.')[2] == alike[0])}?"
    return f"there are {', '.join(key for key in beside if key != 'preset')}"


def _in_words(kind: inspect.Type) -> str:
    """What a value must be."""
    rule = "a table"
    match kind:
        case inspect.BoolType():
            rule = "true or false"
        case inspect.IntType() | inspect.FloatType():
            bounds = {"at least": kind.ge, "above": kind.gt, "at most": kind.le, "below": kind.lt}
            words = [f"{word} {bound:,}" for word, bound in bounds.items() if bound is not None]
            rule = f"a {'whole ' if isinstance(kind, inspect.IntType) else ''}number, {' and '.join(words)}"
        case inspect.LiteralType():
            rule = f"one of {', '.join(map(str, kind.values))}"
        case inspect.VarTupleType():
            rule = f"a list, each part {_in_words(kind.item_type)}"
        case inspect.StrType():
            rule = "text"
        case inspect.UnionType() if not any(isinstance(choice, inspect.StructType) for choice in kind.types):
            rule = _in_words(kind.types[0])
    return rule


def _to_write(key: str, value: Any, kind: inspect.Type) -> str:
    """How to write a value that is meant and was written otherwise."""
    match kind:
        case inspect.VarTupleType() if isinstance(value, str):
            parts = [part.strip() for part in value.split(",") if part.strip()]
            better = json.dumps(parts, ensure_ascii=False)
        case inspect.StrType():
            better = json.dumps(str(value), ensure_ascii=False)
        case inspect.IntType() if isinstance(value, float) and value.is_integer():
            better = f"{value:.0f}"
        case inspect.FloatType() if isinstance(value, str) and re.fullmatch(r"[+-]?\.\d+|[+-]?\d+\.", value):
            better = str(float(value))
        case inspect.StructType():
            return f": set one of its keys, such as {key}.{kind.fields[0].name}"
        case inspect.UnionType() if _in_words(kind) == "a table":
            return f": set one of its keys, such as {key}.algorithm"
        case _:
            return ""
    return f": write {key}={better}"
