"""What the grid asks, at the command line, asked of the running service."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from domain.grid import OPEN_END
from domain.units import shown
from service.commands.data import moment
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when
from service.running import RunningService, required
from service.settings import data_of

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Number = Annotated[int, typer.Argument(help="Number of the request, from 'hallwatch grid events'")]
Who = Annotated[str, typer.Option(help="Who decides (default: the login name)")]
Note = Annotated[str, typer.Option(help="Why, kept with the request")]
WHY = "what the grid asks is decided there"


def events(
    since: Annotated[
        str | None, typer.Option(help="Those that ended since, such as 30d or 2026-07-01T00:00+08:00")
    ] = None,
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """List what energy partners asked of the site, the newest first, and how it stands."""
    asked = {} if since is None else {"since": moment(since)}
    found: list[dict[str, Any]] = _service(config, data).call("GET", "grid/requests", params=asked).json()
    if json:
        as_json(found)
        return
    if not found:
        say("The grid asked for nothing.")
        return
    as_table(
        ["number", "asked by", "what", "from", "until", "standing"],
        [
            [
                request["id"],
                f"{request['party']} ({request['source']})",
                request["text"] or request["kind"],
                when(request["start"]),
                _until(request["end"]),
                request["standing"] + (f" by {request['decided_by']}" if request["decided_by"] else ""),
            ]
            for request in found
        ],
    )


def consent(
    number: Number, who: Who = "", note: Note = "", config: RecordsOf = None, data: Data = None
) -> None:
    """Agree to a request: its limits hold from then on, and what exceeds them alerts. Nothing is switched."""
    _decide(number, "consent", who, note, _service(config, data))


def refuse(
    number: Number, who: Who = "", note: Note = "", config: RecordsOf = None, data: Data = None
) -> None:
    """Refuse a request, or withdraw from one that was agreed to."""
    _decide(number, "refuse", who, note, _service(config, data))


def status(json: Json = False, config: RecordsOf = None, data: Data = None) -> None:
    """Tell the limits of the grid, whether they are kept and can be, what waits, and how the connections are."""
    answer: dict[str, Any] = _service(config, data).call("GET", "grid").json()
    if json:
        as_json(answer)
        return
    as_table(
        ["node", "limit of the grid", "power", "kept", "by the forecast"],
        [
            [
                node["node"],
                "none"
                if node["limit"] is None
                else f"{shown(node['limit'], 'W', 4)} {node['phase'].lower()}, until {_until(node['end'])}",
                "-" if node["power"] is None else shown(node["power"], "W", 4),
                {True: "yes", False: "NO", None: "-"}[node["kept"]],
                {True: "can be kept", False: f"short of {shown(node['short'], 'W', 3)}", None: "-"}[
                    node["feasible"]
                ],
            ]
            for node in answer["nodes"]
        ],
    )
    for request in answer["waiting"]:
        say(f"waits for consent: request {request['id']} of {request['party']}: {request['text']}")
    for request in answer["told"]:
        say(f"told by {request['party']}, until {_until(request['end'])}: {request['text']}")
    for name, link in answer["links"].items():
        state = "connected" if link["connected"] else f"not connected: {link['error'] or 'no answer yet'}"
        refused = sum(n for key, n in link.items() if key.startswith("refused_"))
        say(f"{name}: {state}; {link.get('taken', 0)} taken, {refused} refused")
        for refusal in link.get("refusals", [])[-5:]:
            say(f"  refused at {when(refusal['at'])}, sent as {refusal['party'] or '-'}: {refusal['detail']}")


def _decide(number: int, how: str, who: str, note: str, service: RunningService) -> None:
    body = {"who": who or getpass.getuser(), "note": note}
    done = service.call("POST", f"grid/requests/{number}/{how}", json=body).json()
    say(f"request {done['id']} of {done['party']} is {done['standing']}: {done['text']}")


def _service(config: Any, data: Any) -> RunningService:
    return required(data_of(config, data), WHY)


def _until(ms: int) -> str:
    return "further notice" if ms >= OPEN_END else when(ms)
