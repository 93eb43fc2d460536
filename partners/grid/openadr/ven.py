"""The site as a VEN: it registers, polls events, hands them to the desk, and sends the reports that they ask for."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from pydantic import ValidationError

from domain.batch import now_ms
from domain.errors import HallwatchError, InputError, SourceError, StorageError, printable
from domain.grid import Standing
from partners.grid.desk import GridDesk
from partners.grid.openadr.events import Usual, request_of
from partners.grid.openadr.messages import Event, PayloadDescriptor, Program
from partners.grid.openadr.reports import Due, Reporter, dues
from partners.grid.openadr.settings import VenSettings
from partners.grid.openadr.vtn import Conflict, Unreachable, Vtn
from partners.grid.refusal import SHOWN, Refusal
from storage.grid_records import TakenBefore
from storage.plant import PlantView

log = structlog.get_logger(__name__)

MOST_KNOWN = 2_000
"""Events that are known at a time: those of the VTN's list, and those that still have to be reported on."""
MOST_REPORTS = 1_000
"""Reports that wait for the VTN; then the oldest goes."""
LATEST_MS = 7 * 86_400_000
"""A report that is due for longer is not made any more."""


@dataclass(slots=True)
class _Known:
    """An event in its newest version: its number at the desk (0: it asks for nothing), and its reports that are to come."""

    event: Event
    request: int
    dues: list[Due]


class Ven:
    """Runs OpenADR 3.1 for one VTN. Nothing is switched.

    Parameters
    ----------
    settings
        The VTN, and what its events mean.
    desk
        Where requests are agreed to.
    plant
        The site.
    reporter
        Makes reports.
    usual
        Returns the baseline that a relative dispatch starts from.
    clock
        UTC ms.

    Raises
    ------
    ConfigurationError
        If the secret is not there.
    """

    def __init__(
        self,
        settings: VenSettings,
        desk: GridDesk,
        plant: PlantView,
        reporter: Reporter,
        usual: Usual,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.settings = settings
        self._desk = desk
        self._site = plant.site.id
        self._reporter = reporter
        self._usual = usual
        self._clock = clock
        self._vtn = Vtn(settings)
        self._program: Program | None = None
        self._registered = False
        self._subscribed = False
        self._token = secrets.token_urlsafe(32)
        self._known: dict[str, _Known] = {}
        self._failed: dict[str, str] = {}
        self._reports: deque[tuple[Due, str]] = deque()
        self._sent: dict[str, set[str]] = {}
        """Names of the reports that the VTN has, by event: also those of before a restart."""
        self._told = asyncio.Event()
        self.up = False
        self.error = ""
        self.counts: Counter[str] = Counter()
        self.refusals: deque[Refusal] = deque(maxlen=SHOWN)

    async def run(self) -> None:
        """Poll until cancelled; an outage of the VTN changes nothing of what was agreed to."""
        async with self._vtn:
            while True:
                try:
                    await self._round()
                    self.up, self.error = True, ""
                except HallwatchError as error:
                    self.counts["failed"] += 1
                    if str(error) != self.error:
                        log.warning("the VTN cannot be asked", name=self.settings.name, error=str(error))
                    self.up, self.error = False, str(error)
                try:
                    async with asyncio.timeout(self.settings.interval):
                        await self._told.wait()
                except TimeoutError:
                    continue
                self._told.clear()

    def notified(self, authorization: str) -> bool:
        """Take the VTN's word that something changed; nothing else of it is used. Return whether it is the VTN."""
        good = hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())
        self.counts["notified" if good else "refused_notices"] += 1
        if good:
            self._told.set()
        return good

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page, and what was not understood lately."""
        return {
            "connected": self.up,
            "error": self.error,
            "events": len(self._known),
            "reports_waiting": len(self._reports),
            **self.counts,
            "refusals": [asdict(refusal) for refusal in self.refusals],
        }

    async def _round(self) -> None:
        await self._introduce()
        asked = {} if self._program is None else {"programID": self._program.id}
        listed = await self._vtn.all("events", **asked)
        self.counts["polls"] += 1
        await asyncio.to_thread(self._take_all, listed, self._clock())
        await self._report()

    async def _introduce(self) -> None:
        """Find the program, register the VEN and its resource, subscribe; each until it has been done."""
        name = self.settings.program
        if name and self._program is None:
            for told in await self._vtn.all("programs"):
                if isinstance(told, dict) and told.get("programName") == name:
                    self._program = _program(told)
            if self._program is None:
                raise SourceError(f"the VTN shows no program {name!r}: see grid.openadr.program")
        if not self._registered:
            await self._register()
            self._registered = True
        if self.settings.callback_url and not self._subscribed:
            await self._subscribe()
            self._subscribed = True

    async def _register(self) -> None:
        ven = await self._found("vens", venName=self.settings.ven_name)
        if ven is None:
            body = {"objectType": "VEN_VEN_REQUEST", "venName": self.settings.ven_name}
            ven = await self._made("vens", body)
        if not isinstance(ven, dict) or "id" not in ven:
            return  # the VTN makes its VENs itself
        resource = self.settings.resource or self._site
        if await self._found("resources", venID=str(ven["id"]), resourceName=resource) is None:
            body = {
                "objectType": "VEN_RESOURCE_REQUEST",
                "resourceName": resource,
                "venID": str(ven["id"]),
            }
            await self._made("resources", body)

    async def _found(self, path: str, **named: str) -> Any:
        try:
            listed = await self._vtn.all(path, **named)
        except Unreachable:
            raise
        except SourceError:
            return None  # not every VTN lets a VEN look
        key = "resourceName" if "resourceName" in named else "venName"
        return next((o for o in listed if isinstance(o, dict) and o.get(key) == named[key]), None)

    async def _made(self, path: str, body: dict[str, Any]) -> Any:
        try:
            return await self._vtn.call("POST", path, json=body)
        except Unreachable:
            raise
        except Conflict:
            return None
        except SourceError as error:
            self.counts["not_registered"] += 1
            log.warning("the VTN does not let the VEN register", path=path, error=str(error))
            return None

    async def _subscribe(self) -> None:
        body: dict[str, Any] = {
            "clientName": self.settings.ven_name,
            "objectOperations": [
                {
                    "objects": ["EVENT"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                    "callbackUrl": f"{self.settings.callback_url}/grid/openadr/{self.settings.name}/notify",
                    "bearerToken": self._token,
                }
            ],
        }
        if self._program is not None:
            body["programID"] = self._program.id
        try:
            await self._vtn.call("POST", "subscriptions", json=body)
            self.counts["subscribed"] += 1
        except Unreachable:
            raise
        except SourceError as error:  # it polls all the same
            log.warning("the VTN offers no subscription", error=str(error))

    def _take_all(self, listed: list[Any], now: int) -> None:
        """Take over the VTN's list: what is new, changed, or there no more. Blocks."""
        there: set[str] = set()
        for told in listed[:MOST_KNOWN]:
            name = told.get("id") if isinstance(told, dict) else None
            key = str(name)[:200]
            there.add(key)
            version = str(told.get("modificationDateTime"))[:200] if isinstance(told, dict) else ""
            known = self._known.get(key)
            if self._failed.get(key) == version or (
                known is not None and known.event.modificationDateTime == version
            ):
                continue
            try:
                event = Event.model_validate(told)
                self._take(event, now)
                self._failed.pop(key, None)
            except (ValidationError, InputError) as error:
                self._refused(key, version, error, now)
        self._failed = {key: version for key, version in self._failed.items() if key in there}
        for request in self._desk.lasting(self.settings.name, now):
            if request.reference not in there:
                self.counts["cancelled"] += 1
                self._desk.end(request, Standing.CANCELLED, "called off by the VTN", now)
        for key, known in list(self._known.items()):
            known.dues = [due for due in known.dues if due.at > now - LATEST_MS]
            if key not in there and not known.dues:
                del self._known[key]

    def _take(self, event: Event, now: int) -> None:
        program = () if self._program is None else self._program.payloadDescriptors or ()
        own = event.payloadDescriptors or ()
        descriptors: dict[str, PayloadDescriptor] = {d.payloadType: d for d in (*program, *own)}
        request = request_of(event, descriptors, self.settings, self._site, now, self._usual)
        number = 0
        earlier = self._known.get(event.id)
        if request is None:
            self.counts["late"] += 1
            for older in self._desk.lasting(self.settings.name, now):
                if older.reference == event.id:
                    self._desk.end(older, Standing.CANCELLED, "ended earlier by the VTN", now)
        else:
            content = f"{self.settings.name} {event.id} {event.modificationDateTime}"
            try:
                kept = self._desk.take(request, hashlib.sha256(content.encode()).hexdigest())
                number = kept.id
                self.counts["taken" if earlier is None else "modified"] += 1
            except TakenBefore:  # before a restart, or listed twice
                self.counts["known"] += 1
        if len(self._known) < MOST_KNOWN or event.id in self._known:
            self._known[event.id] = _Known(event, number, dues(event, now))

    def _refused(self, key: str, version: str, error: ValidationError | InputError, now: int) -> None:
        self._failed[key] = version
        self.counts["refused_not_understood"] += 1
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            detail = f"{'.'.join(map(str, first['loc'])) or 'event'}: {first['msg']}"
        else:
            detail = str(error)
        said = printable(f"event {key}: {detail}")[:300]
        self.refusals.append(Refusal(now, self.settings.name, "not_understood", said))
        log.warning("an event is not understood", name=self.settings.name, error=said)

    async def _report(self) -> None:
        now = self._clock()
        for known in self._known.values():
            ready = [due for due in known.dues if due.at <= now]
            known.dues = [due for due in known.dues if due.at > now]
            for due in ready:
                if len(self._reports) >= MOST_REPORTS:
                    self._reports.popleft()
                    self.counts["reports_dropped"] += 1
                self._reports.append((due, known.event.id))
        while self._reports:
            due, event = self._reports[0]
            resource = self.settings.resource or self._site
            try:
                body = await asyncio.to_thread(
                    self._reporter.report, due, event, self.settings.ven_name, resource, now
                )
            except StorageError as error:
                log.warning("a report cannot be made now", error=str(error))
                return
            try:
                if body["reportName"] not in await self._sent_before(event):
                    await self._vtn.call("POST", "reports", json=body)
                    self._sent[event].add(body["reportName"])
                    self.counts["reports"] += 1
            except Conflict:
                self.counts["reports"] += 1  # a former attempt arrived, only its answer did not
            except Unreachable:
                raise
            except SourceError as error:
                self.counts["reports_refused"] += 1
                log.warning("the VTN refuses a report", event=event, error=str(error))
            self._reports.popleft()

    async def _sent_before(self, event: str) -> set[str]:
        if event not in self._sent:
            try:
                there = await self._vtn.all("reports", eventID=event, clientName=self.settings.ven_name)
            except Unreachable:
                raise
            except SourceError:  # not every VTN lets a VEN look
                there = []
            names = {str(report.get("reportName")) for report in there if isinstance(report, dict)}
            self._sent = {**dict(list(self._sent.items())[-MOST_KNOWN:]), event: names}
        return self._sent[event]


def _program(told: dict[str, Any]) -> Program:
    try:
        return Program.model_validate(told)
    except ValidationError as error:
        raise SourceError(f"the VTN's program cannot be read ({error.error_count()} faults)") from error
