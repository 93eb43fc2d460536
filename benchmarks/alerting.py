"""Alerting under pressure: ``python -m benchmarks.alerting [--changes 50000] [--kills 100]``.

The alert engine runs in a process of its own (`benchmarks._alerting_process`), with its records on disk and a webhook of ours.

- So many changes of state in a minute, over 5,000 objects, and a leak among them: what of them is recorded, how soon the leak
  is paged, what memory it takes.
- Killed with SIGKILL at so many random moments while racks leak and dry: every leak that is recorded was told, and none of
  them twice but for repetitions, which a receiver can tell by the number of the message or of the delivery.

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.ingest import figure, machine
from benchmarks.storms import Pages, until

OBJECTS = 5000
RACKS = 96
SECONDS = 60
READY_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50_000, help="of states, in a minute")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if options.changes:
        figures |= many_changes(options.changes)
    if options.kills:
        figures |= killed(options.kills, random.Random(options.seed))
    figures["load_average"] = figure(os.getloadavg()[0], "processes")
    print(json.dumps({"name": "alerting", "machine": machine(), "figures": figures}, indent=1))


class Alerting:
    """The engine in its process; `tell` hands in states by number of the point."""

    def __init__(self, folder: Path, port: int, others: int) -> None:
        url = f"http://127.0.0.1:{port}/"
        command = [sys.executable, "-m", "benchmarks._alerting_process", str(folder), url, str(others)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline().strip()) != "ready":
            if not line and self.process.poll() is not None:
                raise RuntimeError("the engine did not start")

    def tell(self, states: dict[int, int]) -> None:
        """Hand in states."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(states) + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """End it as the power does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Let it end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


class Kept:
    """What the records hold, looked at without a lock on them."""

    def __init__(self, folder: str) -> None:
        self._file = f"file:{folder}/records.sqlite?mode=ro"

    def alerts(self) -> dict[int, tuple[str, bool]]:
        """Return key and whether it is active of every alert, by number."""
        with contextlib.closing(sqlite3.connect(self._file, uri=True, timeout=60)) as db:
            rows = db.execute("select id, rule, object_id, state from alerts").fetchall()
        return {n: (f"{rule}/{on}", state in ("open", "acknowledged")) for n, rule, on, state in rows}

    def active(self) -> set[int]:
        """Return the numbers of those that are active."""
        return {number for number, (_, active) in self.alerts().items() if active}


def many_changes(changes: int) -> dict[str, Any]:
    """Change states at a steady pace for a minute, and let a rack leak in the middle."""
    with tempfile.TemporaryDirectory() as folder, Pages() as pages:
        alerting = Alerting(Path(folder), pages.port, OBJECTS)
        memory = psutil.Process(alerting.process.pid)
        before = memory.memory_info().rss
        state = [0] * OBJECTS
        edges = done = 0
        most = before
        leaked = 0.0
        begun = time.monotonic()
        while done < changes:
            due = int(changes * min((time.monotonic() - begun) / SECONDS, 1.0))
            states: dict[int, int] = {}
            while done < due:
                n = done % OBJECTS
                state[n] ^= 1
                edges += state[n]
                states[RACKS + n] = state[n]
                done += 1
                if len(states) == OBJECTS:
                    break
            if not leaked and done >= changes // 2:
                leaked, states[50] = time.time(), 1
            if states:
                alerting.tell(states)
            most = max(most, memory.memory_info().rss)
            time.sleep(0.1)
        took = time.monotonic() - begun
        until(lambda: any("leak/" in key for key in pages.first(leaked)), 60)
        paged = next(
            (at - leaked for key, (at, _) in pages.first(leaked).items() if "leak/" in key), float("nan")
        )
        records = Kept(folder)
        active = {RACKS + n for n in range(OBJECTS) if state[n]}
        settled = until(lambda: len(records.active()) == len(active) + 1, 180)
        recorded = len(records.alerts()) - 1
        most = max(most, memory.memory_info().rss)
        left = len(records.active()) - 1
        alerting.end()
    return {
        "changes": figure(done, "changes"),
        "changes_took_s": figure(took, "s"),
        "abnormal_conditions": figure(edges, "conditions"),
        "alerts_recorded": figure(recorded, "alerts"),
        "active_at_the_end": figure(left, "alerts", reference=len(active)),
        "settled_after_s": figure(settled, "s"),
        "leak_paged_s": figure(paged, "s"),
        "memory_before_mb": figure(before / 1e6, "MB"),
        "memory_most_mb": figure(most / 1e6, "MB"),
    }


def killed(kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill the engine again and again while racks leak and dry; count what was not told, and what twice."""
    with tempfile.TemporaryDirectory() as folder, Pages() as pages:
        state = dict.fromkeys(range(RACKS), 0)
        for _ in range(kills):
            alerting = Alerting(Path(folder), pages.port, 0)
            alerting.tell(state)  # as a BMS tells all of it again
            moment = time.monotonic() + rng.uniform(0.0, 2.5)
            while time.monotonic() < moment:
                changed = {rack: rng.randint(0, 1) for rack in rng.sample(range(RACKS), 3)}
                state |= changed
                alerting.tell(changed)
                time.sleep(rng.uniform(0.0, 0.5))
            alerting.kill()
        alerting = Alerting(Path(folder), pages.port, 0)
        alerting.tell(state)
        records = Kept(folder)
        leaking = sum(state.values())
        until(lambda: len(records.active()) == leaking, 120)
        time.sleep(5)
        recorded = {number: key for number, (key, _) in records.alerts().items()}
        active = records.active()
        alerting.end()
        told: Counter[tuple[int, str]] = Counter()
        deliveries: Counter[str] = Counter()
        early: set[str] = set()  # told from memory, before they had a number
        messages: Counter[str] = Counter()
        for _, body in pages.got:
            messages[body["id"]] += 1
            if messages[body["id"]] == 1:  # a receiver drops what it has by its number
                early |= {a["key"] for a in body["alerts"] if a["alert_id"] <= 0}
                for a in (a for a in body["alerts"] if a["alert_id"] > 0):
                    deliveries[a["delivery"]] += 1
                    told[a["alert_id"], a["event"]] += deliveries[a["delivery"]] == 1
    ever = {number for number, _ in told} | {number for number, key in recorded.items() if key in early}
    return {
        "kills": figure(kills, "kills"),
        "alerts_recorded_over_kills": figure(len(recorded), "alerts"),
        "active_and_not_told": figure(len(active - ever), "alerts"),
        "recorded_and_never_told": figure(len(recorded.keys() - ever), "alerts"),
        "messages_repeated_under_their_number": figure(sum(messages.values()) - len(messages), "messages"),
        "alerts_repeated_under_their_delivery": figure(sum(n - 1 for n in deliveries.values()), "alerts"),
        "told_from_memory": figure(len(early), "alerts"),
        "told_twice": figure(sum(n > 1 for n in told.values()), "events"),
        "told_once": figure(sum(n == 1 for n in told.values()), "events"),
    }


if __name__ == "__main__":
    main()
