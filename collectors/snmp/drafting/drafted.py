"""A profile that was drafted: its tables, its lines with their reasons, and its file."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from collectors.snmp.profiles import Profile


@dataclass(slots=True)
class Line:
    """One value of the draft and why it is what it is."""

    value: dict[str, object]
    reasons: list[str]
    doubtful: bool = False


@dataclass(slots=True)
class Block:
    """One table of the draft."""

    oid: str
    symbol: str
    index: list[str]
    fields: dict[str, dict[str, object]] = field(default_factory=dict)
    object: dict[str, str] | None = None
    lines: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A profile that was made, and how sure its parts are."""

    name: str
    title: str
    source: str
    match: list[dict[str, str]]
    kind: str
    blocks: list[Block]
    skipped: list[str]

    @property
    def data(self) -> dict[str, object]:
        """What a profile file holds."""
        tables = []
        for b in self.blocks:
            table: dict[str, object] = {"oid": b.oid, "symbol": b.symbol}
            if b.index:
                table["index"] = b.index
            if b.fields:
                table["fields"] = b.fields
            if b.object:
                table["object"] = b.object
            tables.append({**table, "values": [line.value for line in b.lines]})
        return {
            "name": self.name, "title": self.title, "source": self.source, "match": self.match,
            "object": {"type": self.kind}, "none": [2147483647, -2147483648, 4294967295], "tables": tables,
        }  # fmt: skip

    @property
    def profile(self) -> Profile:
        """The draft as a profile that reads."""
        return Profile.model_validate(self.data)

    def to_yaml(self, *, reasons: bool = True) -> str:
        """Return the file, each guess with its reason."""
        lines = [
            f"name: {self.name}", f"title: {_flow(self.title)}", f"source: {_flow(self.source)}", "match:",
            *(f"  - {_flow(m)}" for m in self.match), f"object: {{type: {self.kind}}}",
            "none: [2147483647, -2147483648, 4294967295]", "tables:",
        ]  # fmt: skip
        for b in self.blocks:
            lines += [f"  - oid: {b.oid}", f"    symbol: {b.symbol}"]
            if b.index:
                lines.append(f"    index: {_flow(b.index)}")
            if b.fields:
                lines += ["    fields:", *(f"      {n}: {_flow(f)}" for n, f in b.fields.items())]
            if b.object:
                lines.append(f"    object: {_flow(b.object)}")
            lines.append("    values:")
            for line in b.lines:
                why = ("DOUBTFUL " if line.doubtful else "") + "; ".join(line.reasons)
                lines.append(f"      - {_flow(line.value)}" + (f"  # {why}" if reasons else ""))
        return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=100_000, allow_unicode=True, sort_keys=False)
    return text.replace("\n...", "").strip()
