"""People of the console, and the audit of what was done."""

from __future__ import annotations

import getpass
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.errors import InputError
from domain.role import Role
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, to_the_second, when

if TYPE_CHECKING:
    from storage.accounts import Accounts

Name = Annotated[str, typer.Argument(help="Login name")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Read the password from this file instead of asking", metavar="FILE")
]


def accounts(config: Path | None, data: Path | None) -> Accounts:
    """Return who may come in, by the records of a configuration or a data folder."""
    from service.settings import records_url
    from storage.accounts import Accounts
    from storage.records import Records

    return Accounts(Records(records_url(config, data)))


def done_by() -> str:
    """Return who runs this command, and where, as the audit keeps it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        user = f"uid {os.getuid()}"
    return f"{user}@{platform.node()}"


def _password(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise InputError(f"the password file {file} cannot be read: {error}") from error
    given = os.environ.get("HALLWATCH_PASSWORD")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask at; name --password-file, or set HALLWATCH_PASSWORD")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def audit(
    since: Annotated[str, typer.Option(help="From when: a time, or a span before now such as 24h")] = "7d",
    until: Annotated[str, typer.Option(help="Until when")] = "now",
    who: Annotated[str, typer.Option(help="Only what this person did")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Newest entries, at most")] = 200,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell who did what, newest first: logins good and bad, people, keys, acknowledgements, shelves."""
    from service.commands.data import moment
    from service.settings import records_url
    from storage.records import Records

    records = Records(records_url(config, data))
    entries = records.audit_trail(moment(since), moment(until) + 1, limit, who)
    if json:
        as_json([{"time": e.at, "who": e.who, "what": e.what, "detail": e.detail} for e in entries])
        return
    as_table(
        ["when", "who", "what", "detail"], [[to_the_second(e.at), e.who, e.what, e.detail] for e in entries]
    )


def add_user(
    name: Name,
    role: Annotated[
        Role,
        typer.Option(
            help="viewer looks, operator also deals with alerts, administrator also sees who did what"
        ),
    ] = Role.OPERATOR,
    password_file: PasswordFile = None,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Add a person. The password is asked for, or taken from --password-file or HALLWATCH_PASSWORD."""
    user = accounts(config, data).add_user(name, _password(password_file), role, done_by())
    typer.echo(f"{user.name} may log in as {user.role}.")


def list_users(config: RecordsOf = None, data: Data = None) -> None:
    """List people."""
    as_table(
        ["name", "role", "active", "last login"],
        [
            [u.name, u.role, "yes" if u.active else "no", when(u.last_login)]
            for u in accounts(config, data).users()
        ],
    )


def change_password(
    name: Name, password_file: PasswordFile = None, config: RecordsOf = None, data: Data = None
) -> None:
    """Give a person a new password; whoever is logged in with the old one is out."""
    accounts(config, data).set_password(name, _password(password_file), done_by())
    typer.echo(f"{name} has a new password.")


def remove_user(name: Name, config: RecordsOf = None, data: Data = None) -> None:
    """Lock a person out, at once; what they did stays on record."""
    accounts(config, data).set_active(name, active=False, by=done_by())
    typer.echo(f"{name} may no longer log in.")


def restore_user(name: Name, config: RecordsOf = None, data: Data = None) -> None:
    """Let a person who was locked out log in again."""
    accounts(config, data).set_active(name, active=True, by=done_by())
    typer.echo(f"{name} may log in again.")


def change_role(
    name: Name,
    role: Annotated[Role, typer.Argument(help="viewer looks, operator also acknowledges alerts")],
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Give a person another role; they log in anew."""
    accounts(config, data).set_role(name, role, done_by())
    typer.echo(f"{name} is {role} from the next login on.")
