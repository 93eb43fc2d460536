"""The command line of the simulator."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from domain.configuration import validated
from domain.errors import ConfigurationError, Problem
from domain.site import Site
from simulator.roughness import LEVELS
from simulator.simulation import Options, PlannedFault
from simulator.sizing import first_racks

SITE = Path(__file__).parents[1] / "config" / "site.yaml"


def read_site(file: Path) -> Site:
    """Read a site file.

    Raises
    ------
    ConfigurationError
        If it cannot be read or is wrong.
    """
    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(Problem(str(file), "", f"cannot be read: {error}")) from error
    return validated(Site, data, str(file))


def parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the simulator's arguments; a port of 0 takes a free one, -1 leaves the endpoint out."""
    p = argparse.ArgumentParser(
        program, description="The simulated AI factory behind real protocols, on loopback."
    )
    p.add_argument("--site", type=Path, default=SITE, help="site file (default: the 96-rack factory)")
    p.add_argument("--racks", type=int, default=0, help="only the first N racks, limits in proportion")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--start-ms", type=int, default=None, metavar="MS", help="where its time began, UTC ms")
    p.add_argument(
        "--roughness", type=int, choices=LEVELS, default=0, help="how unlike the model the plant is"
    )
    p.add_argument(
        "--began-ms", type=int, default=None, metavar="MS", help="when it was first started, UTC ms"
    )
    p.add_argument("--broker", choices=("auto", "mosquitto", "amqtt", "none"), default="auto")
    p.add_argument("--mqtt-port", type=int, default=1883)
    p.add_argument("--snmp-base-port", type=int, default=16100, help="one UDP port a device, from here on")
    p.add_argument("--control-port", type=int, default=0, help="HTTP, to raise faults")
    p.add_argument(
        "--cadence", type=float, default=2.0, metavar="S", help="how often the BMS looks for changes"
    )
    p.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME@OBJECT[@S[@SEVERITY]]",
        help="may be given again",
    )
    p.add_argument(
        "--traces", type=Path, default=None, metavar="DIR", help="measured power that training jobs replay"
    )
    p.add_argument("--for", type=float, default=None, dest="seconds", metavar="S", help="end by itself")
    return p


def read(arguments: argparse.Namespace) -> tuple[Site, Options]:
    """Return the site and the options that parsed arguments stand for."""
    site = read_site(arguments.site)
    if arguments.racks:
        site = first_racks(site, arguments.racks)
    return site, Options(
        seed=arguments.seed,
        start_ms=arguments.start_ms,
        broker=arguments.broker,
        mqtt_port=_port(arguments.mqtt_port),
        snmp_base_port=_port(arguments.snmp_base_port),
        control_port=_port(arguments.control_port),
        cadence_s=arguments.cadence,
        traces=arguments.traces,
        faults=tuple(PlannedFault.parse(text) for text in arguments.fault),
        roughness=arguments.roughness,
        began_ms=arguments.began_ms,
    )


def _port(number: int) -> int | None:
    return None if number < 0 else number


def parse(arguments: Sequence[str] | None, program: str) -> tuple[Site, Options, float | None]:
    """Read a command line: site, options, and after how many seconds to end."""
    told = parser(program).parse_args(arguments)
    site, options = read(told)
    return site, options, told.seconds
