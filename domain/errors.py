"""The one tree of errors.

A library's exception is translated into one of these where it enters. `retryable` says whether the
same call may succeed later without anybody changing anything.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

from domain.redaction import redacted

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200
_SHORT.maxlevel = 3


def brief(value: object, most: int = 80) -> str:
    """Return the `repr` of whatever was read, `most` characters at most, whatever its size and depth.

    What comes from outside is never told by a bare `repr`: that of deep or large input fails, or fills the log.
    """
    try:
        text = _SHORT.repr(value)
    except Exception:  # such as a number of more digits than Python prints
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else text[: most - 3] + "..."


def printable(text: str) -> str:
    """Return a text without control characters, which a terminal or a mail would take for commands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class HallwatchError(Exception):
    """Root of everything that Hallwatch raises on purpose; its text shows no secret."""

    retryable = False

    def __str__(self) -> str:
        return redacted(super().__str__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class InputError(HallwatchError):
    """What a user, a file or a caller handed in is wrong; the message says what, where and what to do."""


class LinkRefused(InputError):
    """A link by which a message is answered is none of ours, or was changed."""


class LinkExpired(LinkRefused):
    """A link by which a message is answered was ours, and its time is over."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a configuration: where it is, what is wrong, and the remedy."""

    file: str
    key: str
    message: str
    remedy: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"
        return printable(redacted(f"{text}. {self.remedy}" if self.remedy else text))


class ConfigurationError(InputError):
    """A configuration cannot be used; carries every problem that was found, and tells the first fifty."""

    MOST_TOLD = 50

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        told = [str(p) for p in problems[: self.MOST_TOLD]]
        if len(problems) > self.MOST_TOLD:
            told.append(f"... and {len(problems) - self.MOST_TOLD} more.")
        super().__init__("\n".join(told))


DETAIL = 300
"""Characters that are kept of what somebody else's message or answer is said to have wrong."""


class ContractViolation(InputError):
    """A message breaks the DSX Exchange contract or ours; `reason` is a stable, countable word.

    `detail` is cut at `DETAIL` characters.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail[:DETAIL]
        super().__init__(f"{reason}: {self.detail}")


class PointRefused(ContractViolation):
    """A point is not taken up: somebody retired it and refused it for good."""

    def __init__(self, key: str) -> None:
        super().__init__(
            "refused_point", f"{key[:300]} was retired and refused; hallwatch points readmit KEY"
        )


class TooManyPoints(ContractViolation):
    """A new point would pass a limit on points; those that are known go on."""

    def __init__(self, key: str, source: str, limit: int) -> None:
        of = f" of {source}" if source else ""
        super().__init__(
            "too_many_points",
            f"{key[:300]}: {limit:,} points{of} are known, which is the limit (storage.ingest.max_points, "
            "max_points_per_source); hallwatch points list and retire make room",
        )


class UnitError(InputError):
    """A unit is unknown, or does not measure the quantity that the point type stands for."""


class SourceError(HallwatchError):
    """A device, node or bus did not give what it was asked for."""

    retryable = True


class SourceTimeout(SourceError):
    """No answer within the deadline."""


class SourceRefused(SourceError):
    """The source answered and refused: wrong community, wrong key, no permission."""

    retryable = False


class SourceProtocolError(SourceError):
    """The answer breaks the protocol: truncated, wrong type, OID not increasing."""


class StorageError(HallwatchError):
    """The store could not do what it was asked."""


class StoreUnavailable(StorageError):
    """The store cannot be reached now; `retry_after` is how many seconds it asked to be left alone, if it did."""

    retryable = True
    retry_after: float | None = None


class SpoolFull(StorageError):
    """The on-disk spool has no room left for what must not be dropped."""


class ForecastError(HallwatchError):
    """A forecast could not be made from this history."""


class NotificationError(HallwatchError):
    """A page was not delivered.

    `retryable` tells whether trying again makes sense, `retry_after` how many seconds the receiver asked for, if it did;
    `content` that what was sent was refused, not who sent it: of several alerts some may be taken by themselves.
    """

    def __init__(
        self, message: str, *, retryable: bool, retry_after: float | None = None, content: bool = False
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after
        self.content = content
