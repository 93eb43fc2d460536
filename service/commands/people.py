"""People of the console and partners of the API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.errors import InputError
from domain.role import Role
from service.commands.options import Data, RecordsOf
from service.commands.output import as_table, when

if TYPE_CHECKING:
    from storage.accounts import Accounts

Name = Annotated[str, typer.Argument(help="Login name")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Read the password from this file instead of asking", metavar="FILE")
]


def _accounts(config: Path | None, data: Path | None) -> Accounts:
    from service.settings import records_url
    from storage.accounts import Accounts
    from storage.records import Records

    return Accounts(Records(records_url(config, data)))


def _password(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise InputError(f"the password file {file} cannot be read: {error}") from error
    given = os.environ.get("HALLWATCH_PASSWORD")
    return (
        given
        if given is not None
        else str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    )


def add_user(
    name: Name,
    role: Annotated[
        Role, typer.Option(help="viewer looks, operator also acknowledges alerts")
    ] = Role.OPERATOR,
    password_file: PasswordFile = None,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Add a person. The password is asked for, or taken from --password-file or HALLWATCH_PASSWORD."""
    user = _accounts(config, data).add_user(name, _password(password_file), role)
    typer.echo(f"{user.name} may log in as {user.role}.")


def list_users(config: RecordsOf = None, data: Data = None) -> None:
    """List people."""
    as_table(
        ["name", "role", "active", "last login"],
        [
            [u.name, u.role, "yes" if u.active else "no", when(u.last_login)]
            for u in _accounts(config, data).users()
        ],
    )


def change_password(
    name: Name, password_file: PasswordFile = None, config: RecordsOf = None, data: Data = None
) -> None:
    """Give a person a new password."""
    _accounts(config, data).set_password(name, _password(password_file))
    typer.echo(f"{name} has a new password.")


def remove_user(name: Name, config: RecordsOf = None, data: Data = None) -> None:
    """Lock a person out; what they did stays on record."""
    _accounts(config, data).set_active(name, active=False)
    typer.echo(f"{name} may no longer log in.")


def add_key(
    partner: Annotated[str, typer.Argument(help="Who the key is for")],
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Make an API key and print it. It is shown this once; only a hash is kept."""
    secret, _ = _accounts(config, data).add_api_key(partner)
    typer.echo(secret)


def list_keys(config: RecordsOf = None, data: Data = None) -> None:
    """List API keys, without their secrets."""
    as_table(
        ["key", "partner", "made", "last used", "revoked"],
        [
            [k.prefix, k.partner, when(k.created), when(k.last_used), when(k.revoked)]
            for k in _accounts(config, data).api_keys()
        ],
    )


def revoke_key(
    prefix: Annotated[str, typer.Argument(help="The key's first part, as listed")],
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Make an API key useless from now on."""
    _accounts(config, data).revoke_api_key(prefix)
    typer.echo(f"{prefix} is revoked.")
