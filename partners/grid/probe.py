"""A look at the grid's connections, as the service would see them: nothing is taken, nothing is told."""

from __future__ import annotations

import asyncio

from collectors.examination import Examination
from collectors.fetch import without_secrets
from collectors.mqtt.connection import Connection, connected
from domain.errors import ConfigurationError, HallwatchError, SourceRefused
from partners.grid.flex.agent import TARGETS
from partners.grid.flex.keys import KeyRegistry, Signer
from partners.grid.flex.settings import FlexSettings
from partners.grid.openadr.settings import VenSettings
from partners.grid.openadr.vtn import Vtn
from partners.grid.settings import GridSettings

PATIENCE_S = 10.0


async def examine(settings: GridSettings) -> list[Examination]:
    """Look at the broker of DSX Flex and its keys, and at each VTN; whatever is wrong is a finding, never an error."""
    looks = [] if settings.flex is None else [asyncio.to_thread(_flex, settings.flex)]
    return list(await asyncio.gather(*looks, *map(_vtn, settings.openadr)))


def _flex(settings: FlexSettings) -> Examination:
    look = Examination(f"grid flex: {settings.broker.shown}")
    try:
        Signer(settings.sign)
        KeyRegistry(settings.keys)
        parties = ", ".join(sorted({key.party for key in settings.keys})) or "nobody: add grid.flex.keys"
        look.find("fine" if settings.keys else "note", "keys", f"targets are believed of {parties}")
    except ConfigurationError as error:
        look.find("problem", "keys", str(error))
    # no name and so no lasting session: the running service is not put out, and no target is taken from it
    broker = settings.broker.model_copy(update={"client_id": ""})
    try:
        connection = Connection(broker, subscriptions=[TARGETS])
        connection.start()
        try:
            connected(connection, PATIENCE_S, subscribed=True)
            look.find("fine", "reachability", f"connected with MQTT {connection.state.protocol}")
        finally:
            connection.stop()
    except SourceRefused as error:
        look.find("problem", "rights" if "subscription" in str(error) else "credentials", str(error))
    except ConfigurationError as error:
        look.find("problem", "credentials", str(error))
    except HallwatchError as error:
        look.find("problem", "reachability", str(error))
    return look


async def _vtn(settings: VenSettings) -> Examination:
    look = Examination(f"grid {settings.name}: {without_secrets(settings.url)}")
    try:
        async with Vtn(settings) as vtn:
            programs = await vtn.all("programs")
    except SourceRefused as error:
        look.find("problem", "credentials", f"{error}: see client_id, client_secret and scope")
        return look
    except ConfigurationError as error:
        look.find("problem", "credentials", str(error))
        return look
    except HallwatchError as error:
        look.find("problem", "reachability", str(error))
        return look
    look.find("fine", "reachability", "it gives a token and answers")
    names = sorted(str(p.get("programName")) for p in programs if isinstance(p, dict))
    shown = ", ".join(names[:6]) or "none"
    if settings.program and settings.program not in names:
        look.find("problem", "program", f"it shows no program {settings.program!r}; it shows {shown}")
    else:
        look.find("fine", "program", f"it shows {shown}")
    return look
