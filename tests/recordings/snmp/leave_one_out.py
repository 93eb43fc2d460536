"""How well the draft tool does alone: each vendor's profiles deleted, drafted from MIB and recording, not edited.

``python -m tests.recordings.snmp.leave_one_out [SEED...]`` prints the share of expected readings right for every recording
whose vendor's MIB is at hand, for twenty families drawn by each seed (13 without one), and how many numbers are wrong by a
factor.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from collectors.snmp.drafting.draft import draft
from collectors.snmp.drafting.mib import Mibs
from collectors.snmp.profiles import shipped_profiles
from collectors.snmp.readings import Device
from collectors.snmp.replay import RecordedClient
from collectors.snmp.survey import survey
from collectors.snmp.walk import Walk, read_snmprec, text
from domain.errors import InputError
from tests.recordings.snmp.scorecard import expected, verdict

DATA = Path(os.environ.get("HALLWATCH_TESTDATA", Path(__file__).parents[4] / "shared"))


def enterprise(oid: str) -> str:
    return ".".join(oid.split(".")[:7]) if oid.startswith("1.3.6.1.4.1.") else ""


def mibs() -> list[tuple[Mibs, set[str]]]:
    """Return every vendor's MIB file, with the OIDs of its rows and scalars."""
    root = DATA / "mibs"
    standard = [p for p in root.iterdir() if p.is_file() and p.suffix != ".md"]
    found = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        for file in sorted(folder.iterdir()):
            try:
                read = Mibs([file], [*standard, folder])
            except InputError:
                continue
            tops = {o.oid for o in read.objects.values() if o.kind in {"row", "scalar"} and enterprise(o.oid)}
            if tops:
                found.append((read, tops))
    return found


def score(name: str, known: list[tuple[Mibs, set[str]]]) -> tuple[int, int, int] | None:
    """Return expectations met, all, and numbers that are wrong by a factor; None where no MIB is at hand."""
    walk = read_snmprec(DATA / "snmp-walks" / f"{name}.snmprec")
    rows = expected(DATA / "snmp-walks", name)
    own = [read for read, tops in known if any(_covered(oid, tops) for oid in walk)]
    if not own or not rows:
        return None
    identity = text(walk.get("1.3.6.1.2.1.1.2.0")).lstrip(".")
    drafts = [draft(read, f"draft{n}", walk=walk, identity=identity).profile for n, read in enumerate(own)]
    vendors = {enterprise(t.oid) for d in drafts for t in d.tables} | {enterprise(identity)}
    others = {
        n: p
        for n, p in shipped_profiles().items()
        if not any(enterprise(t.oid) in vendors - {""} for t in p.tables)
    }
    found = {r.oid: r for r in asyncio.run(_read(walk, {**others, **{d.name: d for d in drafts}}))}
    told = [verdict(row, found.get(row["oid"])) for row in rows]
    wrong = [w for row, w in zip(rows, told, strict=True) if row["class"] != "state" and _a_factor(w)]
    return sum(not w for w in told), len(rows), len(wrong)


def _a_factor(why: str) -> bool:
    """Whether a verdict says "this number, not that one", and both are numbers that are not zero."""
    read, _, wanted = why.partition(", not ")
    try:
        return float(read) != 0.0 and float(wanted) != 0.0
    except ValueError:
        return False


def _covered(oid: str, tops: set[str]) -> bool:
    parts = oid.split(".")
    return any(".".join(parts[:n]) in tops for n in range(8, len(parts) + 1))


async def _read(walk: Walk, profiles):
    return (await survey(RecordedClient(walk), profiles)).readings(Device("device"))


def main() -> None:
    known = mibs()
    scores = {}
    for file in sorted((DATA / "snmp-walks").glob("*.snmprec")):
        result = score(file.stem, known)
        if result is not None:
            scores[file.stem] = result
            print(f"{file.stem:40s} {result[0]:4d} of {result[1]:4d}  {result[0] / result[1]:6.1%}")
    print(f"all {len(scores)} recordings with a MIB: {_told(list(scores.values()))}")
    families = {name.split("_")[0]: name for name in scores}
    for seed in map(int, sys.argv[1:] or ["13"]):
        drawn = random.Random(seed).sample(sorted(families), 20)
        told = _told([scores[families[f]] for f in drawn])
        print(f"twenty families by seed {seed}: {told} ({', '.join(sorted(drawn))})")


def _told(scores: list[tuple[int, int, int]]) -> str:
    right, of, wrong = map(sum, zip(*scores, strict=True))
    mean = sum(r / n for r, n, _ in scores) / len(scores)
    return (
        f"{right} of {of} expectations ({right / of:.1%}), mean of the recordings {mean:.1%}, "
        f"{wrong} numbers wrong by a factor"
    )


if __name__ == "__main__":
    main()
