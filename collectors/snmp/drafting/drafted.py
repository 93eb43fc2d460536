"""A profile that was drafted: its tables, its lines with their reasons, and its file."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from collectors.snmp.profiles import Profile


@dataclass(slots=True)
class Line:
    """One value of the draft and why it is what it is.

    Attributes
    ----------
    value
        As in a profile.
    reasons
        In short phrases.
    doubtful
        Whether only a person can tell if its scale or unit is right.
    untold
        Whether no text tells its unit and scale.
    seen
        Numbers that a device answered.
    left_out
        Whether it stands in the file as a comment only: a number that may be wrong by a factor is worse than none.
    """

    value: dict[str, object]
    reasons: list[str]
    doubtful: bool = False
    left_out: bool = False
    untold: bool = False
    seen: tuple[float, ...] = ()

    def doubt(self, why: str) -> None:
        """Mark it for a person to look at."""
        self.doubtful = True
        self.reasons.append(why)

    def leave_out(self, why: str) -> None:
        """Keep it out of the profile until a person has looked."""
        self.doubt(why)
        self.left_out = True


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
            values = [line.value for line in b.lines if not line.left_out]
            if not values:
                continue
            table: dict[str, object] = {"oid": b.oid, "symbol": b.symbol}
            if b.index:
                table["index"] = b.index
            if b.fields:
                table["fields"] = b.fields
            if b.object:
                table["object"] = b.object
            tables.append({**table, "values": values})
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
            lines += _table(b, reasons)
        return "\n".join(lines) + "\n"


def _table(block: Block, reasons: bool) -> list[str]:
    lines = [f"  - oid: {block.oid}", f"    symbol: {block.symbol}"]
    if block.index:
        lines.append(f"    index: {_flow(block.index)}")
    if block.fields:
        lines += ["    fields:", *(f"      {n}: {_flow(f)}" for n, f in block.fields.items())]
    if block.object:
        lines.append(f"    object: {_flow(block.object)}")
    lines.append("    values:")
    for line in block.lines:
        if line.left_out and not reasons:
            continue
        why = ("LEFT OUT, " if line.left_out else "DOUBTFUL, " if line.doubtful else "") + "; ".join(
            line.reasons
        )
        lines.append(f"      - {_flow(line.value)}" + (f"  # {why}" if reasons else ""))
        if line.left_out:
            lines[-1] = f"      # {lines[-1].lstrip()}"
    # A table with nothing but doubts is no table of the profile.
    if all(line.left_out for line in block.lines):
        lines = [x if x.startswith("      #") else f"  # {x.lstrip()}" for x in lines] if reasons else []
    return lines


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=100_000, allow_unicode=True, sort_keys=False)
    return text.replace("\n...", "").strip()
