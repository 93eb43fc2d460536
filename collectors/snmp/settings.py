"""Settings of the SNMP collector: which devices, how to reach them, how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from domain.configuration import SettingsModel
from domain.secret import read_secret
from domain.site import Ids

AuthProtocol = Literal["MD5", "SHA", "SHA224", "SHA256", "SHA384", "SHA512"]
PrivProtocol = Literal["DES", "AES", "AES192", "AES256"]


class Credentials(SettingsModel):
    """How a device knows us. Secrets come from the environment or from files, never from the configuration."""

    version: Literal["1", "2c", "3"] = Field("2c", description="SNMP version")
    community_env: str = Field("", description="Environment variable that holds the community (v1, v2c)")
    community_file: str = Field("", description="File that holds the community")
    user: str = Field("", description="v3: user name")
    auth: AuthProtocol | None = Field(None, description="v3: authentication protocol; none without it")
    auth_env: str = Field("", description="v3: environment variable that holds the authentication secret")
    auth_file: str = Field("", description="v3: file that holds it")
    priv: PrivProtocol | None = Field(None, description="v3: privacy protocol; none without it")
    priv_env: str = Field("", description="v3: environment variable that holds the privacy secret")
    priv_file: str = Field("", description="v3: file that holds it")
    key_extension: Literal["blumenthal", "reeder"] = Field(
        "blumenthal", description="v3, AES192 and AES256 with a short authentication key: how it is stretched"
    )

    @model_validator(mode="after")
    def _complete(self) -> Credentials:
        if self.version == "3" and not self.user:
            raise ValueError("SNMPv3 needs a user")
        if self.priv and not self.auth:
            raise ValueError("privacy needs authentication: set auth and its secret too")
        if self.auth and not (self.auth_env or self.auth_file):
            raise ValueError("auth needs auth_env or auth_file")
        if self.priv and not (self.priv_env or self.priv_file):
            raise ValueError("priv needs priv_env or priv_file")
        return self

    def secrets(self) -> Secrets:
        """Return what goes over the wire, secrets read now.

        Raises
        ------
        ConfigurationError
            Where an environment variable or a file is missing.
        """
        return Secrets(
            version=self.version,
            community=read_secret(self.community_env, self.community_file, "snmp", "community") or "public",
            user=self.user,
            auth=self.auth,
            auth_key=read_secret(self.auth_env, self.auth_file, "snmp", "auth"),
            priv=self.priv,
            priv_key=read_secret(self.priv_env, self.priv_file, "snmp", "priv"),
            key_extension=self.key_extension,
        )


class Secrets(SettingsModel):
    """Credentials with their secrets; lives in memory only and does not show them."""

    version: Literal["1", "2c", "3"] = "2c"
    community: str = Field("public", repr=False)
    user: str = ""
    auth: AuthProtocol | None = None
    auth_key: str = Field("", repr=False)
    priv: PrivProtocol | None = None
    priv_key: str = Field("", repr=False)
    key_extension: Literal["blumenthal", "reeder"] = "blumenthal"


class Polling(SettingsModel):
    """How often a device is asked, and how patiently. Seconds."""

    interval: float = Field(10.0, gt=0, description="From poll to poll")
    timeout: float = Field(2.0, gt=0, description="Wait for one answer")
    retries: int = Field(
        1, ge=0, description="Repeats of a request that got no answer; each waits twice as long"
    )
    deadline: float | None = Field(
        None, gt=0, description="Most that one poll may take; nine tenths of the interval"
    )
    inventory: float = Field(
        900.0, gt=0, description="From reading names, units and rows to reading them again"
    )
    slow: float = Field(
        240.0,
        gt=0,
        description="Interval of readings that the profile calls slow; shorter than `max_age` of the alerts",
    )
    max_varbinds: int = Field(
        40, ge=1, le=200, description="Most objects in one request; halved where too many"
    )
    max_readings: int = Field(
        5_000,
        ge=1,
        le=50_000,
        description="Most readings of one device; what it offers beyond is left out and told",
    )
    breaker_after: int = Field(
        3, ge=1, description="Failed polls after which the device is only probed gently"
    )
    breaker_longest: float = Field(300.0, gt=0, description="Longest wait between such probes")


class Target(SettingsModel):
    """One device."""

    host: str = Field(description="Its name or address")
    port: int = Field(161, ge=1, le=65535, description="Its UDP port")
    object_id: str = Field("", description="Id in the plant; the host where empty")
    name: str = Field("", description="What people call it")
    profile: str = Field("auto", description="Name of a profile in config/devices, or auto")
    object_type: str = Field(
        "", description="Instead of the profile's, such as CRAH for an air unit on water"
    )
    serves: Ids = Field((), description="Ids of what it feeds; a rack PDU's rack")
    associate: str = Field("", description="Id of what it is part of")
    process_area: tuple[str, ...] = Field((), description="DSX processArea of its points")
    phase: Literal["", "A", "B", "C"] = Field("", description="Phase that it hangs on")
    any_address: bool = Field(
        False,
        description="Take answers that come from another address or port than was asked (versions 1 and 2c)",
    )
    credentials: Credentials | None = None
    polling: Polling | None = None

    @property
    def id(self) -> str:
        """Id in the plant."""
        return self.object_id or self.host


class TrapSender(Credentials):
    """Whose notifications are believed."""

    engine_ids: tuple[str, ...] = Field(
        (), description="v3 traps: engine ids of the senders, in hexadecimal; informs need none"
    )


class TrapSettings(SettingsModel):
    """Where notifications are received."""

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(162, ge=0, le=65535, description="UDP port; under 1024 needs privileges")
    credentials: list[TrapSender] = Field(
        default_factory=list, description="Communities and v3 users accepted"
    )


class SnmpSettings(SettingsModel):
    """The SNMP collector."""

    credentials: Credentials = Field(default_factory=Credentials, description="Where a device names none")
    polling: Polling = Field(default_factory=Polling, description="Where a device names none")
    targets: list[Target] = Field(default_factory=list)
    traps: TrapSettings | None = None

    @model_validator(mode="after")
    def _distinct(self) -> SnmpSettings:
        seen: set[str] = set()
        for target in self.targets:
            if target.id in seen:
                raise ValueError(f"two devices are called {target.id!r}; give each an object_id of its own")
            seen.add(target.id)
        return self
