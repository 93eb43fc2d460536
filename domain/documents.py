"""YAML and JSON documents that people or programs hand in, read within bounds and with the line of every key.

A document is bounded before anything is built of it: in bytes, in depth, and in entries with every alias counted as
often as it is used, so that no small file becomes a large one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from domain.errors import ConfigurationError, Problem, brief

KeyPath = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"[-+0-9_.:,eExXoO]{100,}")
_SPLIT = "Split it, or shorten it."


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a document may be; `entries` counts keys, values and list items, aliases as often as used."""

    bytes: int = 4 * 1024 * 1024
    depth: int = 30
    entries: int = 200_000


CONFIGURATION = Bounds()
"""Every configuration file: some 10,000 devices."""


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """What a file holds: plain `data`, and where each key stands."""

    data: Any
    _root: Any

    def line(self, path: KeyPath) -> int | None:
        """Return the line, from 1, at which a key path stands, or None where the file does not have it."""
        return _line(self._root, path)


def read_document(path: Path, bounds: Bounds = CONFIGURATION) -> Document:
    """Return what a YAML or JSON file holds.

    Raises
    ------
    ConfigurationError
        If the file is absent, is too large or too deep, or is not YAML: file, line and remedy.
    """
    return parse_document(_text(path, bounds), str(path), bounds)


def parse_document(text: str, name: str, bounds: Bounds = CONFIGURATION) -> Document:
    """Return what a YAML or JSON text holds; `name` is what messages call it.

    Raises
    ------
    ConfigurationError
        If it is too large or too deep, or is not YAML: line and remedy.
    """
    if len(text) > bounds.bytes:
        raise _fault(name, f"is longer than {bounds.bytes:,} characters", _SPLIT)
    try:
        _measure(text, name, bounds)
        loader = _LOADER(text)
        try:
            root = loader.get_single_node()
            _unambiguous(root, name)
            return Document(None if root is None else _built(loader, root, name), root)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        remedy = "Remove it; the file must be plain text in UTF-8."
        raise _fault(
            name, f"holds a character that YAML does not allow ({error.reason})", remedy, line
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise _fault(
            name,
            f"is not valid YAML ({error.problem})",
            "Check the indentation and the quotes there.",
            None if mark is None else mark.line + 1,
        ) from error
    except yaml.YAMLError as error:
        raise _fault(name, f"is not valid YAML ({brief(str(error))})") from error


def _text(path: Path, bounds: Bounds) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise _fault(str(path), "is not a file", "Name the file itself.")
        with path.open("rb") as file:
            raw = file.read(bounds.bytes + 1)
    except FileNotFoundError:
        raise _fault(str(path), "does not exist", "See config/examples for a folder to start from.") from None
    except (OSError, ValueError) as error:
        raise _fault(str(path), f"cannot be read ({error})") from error
    if len(raw) > bounds.bytes:
        raise _fault(str(path), f"is larger than {bounds.bytes:,} bytes", _SPLIT)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fault(str(path), "is not text in UTF-8", "Save it as UTF-8.", line) from error


def _measure(text: str, name: str, bounds: Bounds) -> None:
    """See to the bounds by the parser's events, of which none is kept."""
    size: dict[str, int] = {}  # entries below each anchor, aliases within counted as often as used
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in open_nodes}:
                raise _fault(
                    name, f"'*{brief(event.anchor)}' stands within itself", "Write it out.", _at(event)
                )
            total += size.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                size[event.anchor] = 1
            if event.implicit[0] and _NUMBER.fullmatch(event.value):
                raise _fault(name, "holds a number of over 100 digits", "Put it in quotes.", _at(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            total += 1
            open_nodes.append((event.anchor, total))
            if len(open_nodes) > bounds.depth:
                raise _fault(
                    name, f"is nested more than {bounds.depth} deep", "Check the brackets.", _at(event)
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                size[anchor] = total - before + 1
        if total > bounds.entries:
            raise _fault(name, f"holds more than {bounds.entries:,} entries", _SPLIT, _at(event))


def _unambiguous(root: Any, name: str) -> None:
    """Refuse a key that stands twice in one mapping: YAML would take the last without a word."""
    for mapping in _nodes(root, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if key.value in seen:
                first = seen[key.value]
                raise _fault(
                    name, f"{brief(key.value)} stands twice, first in line {first}", "Keep one.", line
                )
            seen[key.value] = line


def _built(loader: Any, root: Any, name: str) -> Any:
    try:
        return loader.construct_document(root)
    except yaml.YAMLError:
        raise
    except (
        Exception
    ) as error:  # the library's constructors fail in ways of their own on '!!int ""', '2026-13-45'
        for scalar in _nodes(root, yaml.ScalarNode):
            try:
                loader.construct_object(scalar, deep=True)
            except Exception:
                what = f"{brief(scalar.value)} cannot be read as {scalar.tag.rpartition(':')[2]}"
                raise _fault(name, what, "Put it in quotes.", scalar.start_mark.line + 1) from error
        raise _fault(name, f"is not valid YAML ({brief(str(error))})") from error


def _nodes(root: Any, kind: type[yaml.Node]) -> Iterator[Any]:
    """Return every node of a kind once, however often aliases name it, in the order of the file."""
    waiting, seen = [root] if root is not None else [], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, kind):
            yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)


def _line(node: Any, path: KeyPath) -> int | None:
    found: int | None = None if node is None else node.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                return None
            found, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            found = node.start_mark.line + 1
        else:
            return None
    return found


def _at(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _fault(name: str, message: str, remedy: str = "", line: int | None = None) -> ConfigurationError:
    return ConfigurationError(Problem(name, "", message, remedy, line))
