"""Which targets there are: those of the settings, and those of Prometheus `file_sd` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collectors.prometheus.settings import PrometheusSettings, Target
from domain.documents import read_document
from domain.errors import HallwatchError, SourceProtocolError, brief


class Discovery:
    """Finds targets, each address once, and tells what is wrong with the others.

    Parameters
    ----------
    settings
        Targets and files. A file that cannot be read keeps the targets that it had.
    """

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._files: dict[Path, tuple[tuple[int, int], list[Target], dict[str, str]]] = {}
        self.failures = 0
        self.faults: dict[str, str] = {}

    def targets(self) -> list[Target]:
        """Look at the files and return the targets; blocks. `faults` then says what was left out, and why."""
        faults: dict[str, str] = {}
        found = {target.url: target for target in self._settings.targets}
        for path in self._settings.files:
            targets, wrong = self._discovered(path, faults)
            faults |= wrong
            found.update((target.url, target) for target in targets)
        most = self._settings.max_targets
        for url in list(found)[most:]:
            faults[url] = f"there are more than {most:,} targets (max_targets)"
        self.faults = faults
        return list(found.values())[:most]

    def _discovered(self, path: Path, faults: dict[str, str]) -> tuple[list[Target], dict[str, str]]:
        seen, targets, wrong = self._files.get(path, ((0, 0), [], {}))
        try:
            status = path.stat()
            if seen != (status.st_mtime_ns, status.st_size):
                targets, wrong = file_targets(read_document(path).data)
                self._files[path] = (status.st_mtime_ns, status.st_size), targets, wrong
        except (OSError, HallwatchError) as error:
            self.failures += 1
            faults[str(path)] = str(error)[:300]
        return targets, wrong


def file_targets(groups: Any) -> tuple[list[Target], dict[str, str]]:
    """Return the targets of a parsed file_sd file, and what is wrong with its other entries by their name.

    The file is a list of ``{targets: [host:port], labels: {rack, tray}}``. Labels ``__scheme__`` and
    ``__metrics_path__`` are honoured as Prometheus does.

    Raises
    ------
    SourceProtocolError
        If the document is no list.
    """
    if groups is not None and not isinstance(groups, list):
        raise SourceProtocolError("it is no list of groups, each with targets")
    found: list[Target] = []
    faults: dict[str, str] = {}
    for number, group in enumerate(groups or (), 1):
        try:
            labels = _mapping(_mapping(group).get("labels", {}))
            told = {key: _text(labels.get(key, ""), key) for key in ("rack", "tray")}
            scheme = _text(labels.get("__scheme__", "http"), "__scheme__")
            path = _text(labels.get("__metrics_path__", "/metrics"), "__metrics_path__")
            addresses = group.get("targets")
            if not isinstance(addresses, list):
                raise ValueError("targets is no list")
        except ValueError as error:
            faults[f"group {number}"] = str(error)[:300]
            continue
        for place, address in enumerate(addresses, 1):
            try:
                url = f"{scheme}://{_text(address, 'a target')}{path}"
                found.append(Target(url=url, **told))
            except ValueError as error:
                faults[f"group {number}, target {place}"] = str(error)[:300]
    return found, faults


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}, no mapping")
    return value


def _text(value: Any, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{what} is a {type(value).__name__}, no text")
    text = str(value)
    if len(text) > 500:
        raise ValueError(f"{what} {brief(text)} is longer than 500 characters")
    return text
