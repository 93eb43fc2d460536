"""Prometheus' text format, line by line: a line that cannot be read costs itself, and no line costs more than its length.

The client library's parser takes a page as a whole, of which one bad line leaves nothing; it also guesses where the
grammar is clear (a label without its closing bracket), and is many times slower.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

LONGEST_LINE = 8192
"""Characters of a line; one with all the labels of a pod has some 2,000."""

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
# possessive: without a way back, time grows with the length alone
_LABEL = r'[ \t]*+[A-Za-z_]\w*+[ \t]*+=[ \t]*+"(?:[^"\\]|\\.)*+"[ \t]*+'
_SAMPLE = re.compile(
    rf"([A-Za-z_:][\w:]*+)[ \t]*+(?:\{{((?:{_LABEL},)*+(?:{_LABEL})?+)[ \t]*+\}})?+[ \t]*+([^ \t#{{}}]++)(?:[ \t]++(-?\d++))?+[ \t]*+",
    re.ASCII,
)
_PAIR = re.compile(r'([A-Za-z_]\w*+)[ \t]*+=[ \t]*+"((?:[^"\\]|\\.)*+)"', re.ASCII)
_ESCAPED = re.compile(r'\\[\\n"]')
_UNESCAPED = {r"\\": "\\", r"\n": "\n", r"\"": '"'}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a page."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is none of the format: what may be its metric's name, how it begins, whether the page ended within it."""

    name: str
    line: str
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line that tells a sample, not looked at but for its beginning; without a `name` it is none of the format."""

    name: str
    text: str
    whole: bool = True

    def parse(self) -> Sample | BadLine:
        """Return what it tells.

        The format ends each line with a line feed. What follows the last one was cut off, even where it reads well: 400
        may have been 4000.
        """
        told = _SAMPLE.fullmatch(self.text) if self.whole and len(self.text) <= LONGEST_LINE else None
        if told is not None and "_" not in told[3]:  # Python reads 1_000, the format does not
            try:
                labels = {pair[1]: _plain(pair[2]) for pair in _PAIR.finditer(told[2] or "")}
                return Sample(told[1], labels, float(told[3]))
            except ValueError:
                pass
        return BadLine(self.name[:200], self.text[:200], not self.whole)


def lines(text: str) -> Iterator[Line]:
    """Yield each line of a page that is neither empty nor a comment."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        line = text[start : None if end < 0 else end].strip()
        start = len(text) if end < 0 else end + 1
        if line and line[0] != "#":
            found = _NAME.match(line)
            yield Line(found[0] if found else "", line, end >= 0)


def samples(text: str, names: Collection[str], most: int) -> Iterator[Sample | BadLine]:
    """Yield the samples of some metrics, and the lines that cannot be read; after `most` lines it ends."""
    for line in islice(lines(text), most):
        if line.name in names or not line.name or not line.whole:
            yield line.parse()


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda m: _UNESCAPED[m[0]], text) if "\\" in text else text
