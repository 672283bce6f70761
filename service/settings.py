"""The settings: read once, from options and `ENTRI_…` variables, all problems told at once. Must never print one.

`OPTIONS` is the one list of them: the command line, the environment and the reference in `docs/` follow from it.
"""

import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from service.embedded_postgres import MAX_CONNECTIONS
from service.secret_format import DEFAULT_PREFIX, PREFIX_RULE, is_valid_prefix
from service.web.origins import Origin, read_origin

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Number = TypeVar("Number", int, float)


class SettingsError(Exception):
    """Settings that cannot be used: every problem, a line each, none quoting a value."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """How this process runs."""

    host: str
    port: int
    workers: int
    data_dir: Path
    database_url: str | None
    owner_database_url: str | None
    pepper_file: Path | None
    kek_file: Path | None
    log_key_file: Path | None
    bootstrap_token_file: Path | None
    secret_prefix: str
    explorer: bool | None
    public_origin: Origin | None
    trusted_proxies: tuple[Network, ...]
    log_level: int
    log_format: str
    pool_size: int
    hash_threads: int
    hash_queue: int
    sign_in_failures: int
    sign_in_failures_of_address: int
    sign_in_window_s: float
    lease_s: float
    cache_size: int
    denials_a_second: int
    node_name: str | None
    usage_window_s: float
    partition_size: int
    max_body_bytes: int
    max_document_tokens: int
    max_depth: int
    max_aliases: int
    max_cost: int
    header_timeout_s: float
    drain_delay_s: float
    drain_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting: its name (`--data-dir`, `ENTRI_DATA_DIR`), how it is read, its default, and what it is for."""

    name: str
    read: Callable[[str], Any]
    default: Any
    expects: str
    help: str
    default_shown: str | None = None
    """The default as one would write it, where that is not how it is held."""

    @property
    def default_text(self) -> str:
        """Write the default; empty when there is none."""
        if self.default_shown is not None or self.default in (None, ()):
            return self.default_shown or ""
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    @property
    def variable(self) -> str:
        """Name the environment variable."""
        return f"ENTRI_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Name the command-line option."""
        return f"--{self.name.replace('_', '-')}"


def within(number: Callable[[str], Number], least: Number, most: Number) -> Callable[[str], Number]:
    """Read a number of either kind within bounds."""

    def read(text: str) -> Number:
        value = number(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """Read a whole number within bounds."""
    return within(int, least, most)


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Read a number of seconds within bounds."""
    return within(float, least, most)


def switch(text: str) -> bool | None:
    """Read on, off or auto."""
    return {"on": True, "off": False, "auto": None}[text.lower()]


def networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks with commas between them."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def database_url(text: str) -> str:
    """Read a PostgreSQL URL."""
    if urlsplit(text).scheme not in {"postgresql", "postgres"}:
        raise ValueError
    return text


def public_origin(text: str) -> Origin:
    """Read where browsers find the service: without TLS they keep no cookie but this machine's own."""
    origin = read_origin(text)
    if origin is None or (origin.scheme != "https" and not origin.is_local):
        raise ValueError
    return origin


def prefix(text: str) -> str:
    """Read the prefix of secrets."""
    if not is_valid_prefix(text):
        raise ValueError
    return text


def level(text: str) -> int:
    """Read the name of a log level."""
    return {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}[
        text.lower()
    ]


def log_format(text: str) -> str:
    """Read the name of a log format."""
    if text not in {"json", "text"}:
        raise ValueError
    return text


def node_name(text: str) -> str:
    """Read the name of a process."""
    if not (1 <= len(text) <= LONGEST_NODE_NAME and text.isprintable()):
        raise ValueError
    return text


def file(text: str) -> Path:
    """Read a path, `~` for the home directory."""
    if not text or "\0" in text:
        raise ValueError
    return Path(text).expanduser().absolute()


LONGEST_NODE_NAME: Final = 100
MOST_CONNECTIONS: Final = MAX_CONNECTIONS - 5
"""What the embedded PostgreSQL has for us: it keeps three for its superuser, and an operator's command needs some."""
OTHER_CONNECTIONS: Final = 9
"""What a process opens beside its pool: the log's writer, what verifies from memory, and what follows the log."""
PATH: Final = "a path"
URL: Final = "a URL such as postgresql://user@host/database"

OPTIONS: Final = (
    Option(name="host", read=str, default="127.0.0.1", expects="an address", help="address to listen on"),
    Option(name="port", read=whole(0, 65535), default=8080, expects="0 to 65535", help="port; 0 picks a free one"),
    Option(name="workers", read=whole(1, 64), default=1, expects="1 to 64", help="processes that share the port"),
    Option(
        name="data_dir",
        read=file,
        default=Path("data").absolute(),
        default_shown="./data",
        expects=PATH,
        help="keys and embedded database",
    ),
    Option(name="database_url", read=database_url, default=None, expects=URL, help="PostgreSQL 15+; embedded if unset"),
    Option(name="owner_database_url", read=database_url, default=None, expects=URL, help="the owner's, for migrations"),
    Option(name="pepper_file", read=file, default=None, expects=PATH, help="peppers of digests; in the data directory"),
    Option(name="kek_file", read=file, default=None, expects=PATH, help="key-encryption keys; in the data directory"),
    Option(name="log_key_file", read=file, default=None, expects=PATH, help="signs the log; in the data directory"),
    Option(name="bootstrap_token_file", read=file, default=None, expects=PATH, help="where the first token is written"),
    Option(name="secret_prefix", read=prefix, default=DEFAULT_PREFIX, expects=PREFIX_RULE, help="how secrets begin"),
    Option(
        name="explorer",
        read=switch,
        default=None,
        default_shown="auto",
        expects="on, off or auto",
        help="GraphQL page; auto: on a loopback address",
    ),
    Option(
        name="public_origin",
        read=public_origin,
        default=None,
        expects="https:// and a host, or http:// and a loopback host",
        help="where browsers find the service, where a proxy is in front: pages from there may use a member's session",
    ),
    Option(name="trusted_proxies", read=networks, default=(), expects="networks", help="believed X-Forwarded-For"),
    Option(
        name="log_level",
        read=level,
        default=logging.INFO,
        default_shown="info",
        expects="debug, info, warning or error",
        help="log level",
    ),
    Option(name="log_format", read=log_format, default="text", expects="json or text", help="log lines"),
    Option(name="pool_size", read=whole(2, 200), default=10, expects="2 to 200", help="database connections"),
    Option(name="hash_threads", read=whole(1, 64), default=2, expects="1 to 64", help="Argon2 threads"),
    Option(name="hash_queue", read=whole(1, 100_000), default=256, expects="1 to 100000", help="waiting hashes"),
    Option(
        name="sign_in_failures",
        read=whole(3, 1_000),
        default=10,
        expects="3 to 1000",
        help="failed sign-ins to an account in a window before the next must wait",
    ),
    Option(
        name="sign_in_failures_of_address",
        read=whole(3, 100_000),
        default=100,
        expects="3 to 100000",
        help="failed sign-ins from a network address in a window before the next must wait",
    ),
    Option(
        name="sign_in_window_s",
        read=seconds(1, 86_400),
        default=900.0,
        expects="1 to 86400",
        help="the window of failed sign-ins",
    ),
    Option(
        name="lease_s",
        read=seconds(0.5, 30),
        default=2.0,
        expects="0.5 to 30",
        help="how long keys are accepted without the database, and how long a revocation waits for a dead process",
    ),
    Option(name="cache_size", read=whole(1, 10**8), default=1_000_000, expects="1 to 10^8", help="keys remembered"),
    Option(
        name="denials_a_second",
        read=whole(10, 10**6),
        default=1_000,
        expects="10 to 10^6",
        help="how many keys that are not good are answered in a second; more wait, then get 503",
    ),
    Option(
        name="node_name",
        read=node_name,
        default=None,
        expects=f"1 to {LONGEST_NODE_NAME} printable characters",
        help="what this process is called in the registry of those that verify; the host's name if unset",
    ),
    Option(
        name="usage_window_s",
        read=seconds(0, 3600),
        default=60.0,
        expects="0 to 3600",
        help="uses of a key within it are one event; 0 writes each",
    ),
    Option(
        name="partition_size",
        read=whole(1_000, 10**12),
        default=16_000_000,
        expects="1000 to 10^12",
        help="positions in a log partition",
    ),
    Option(name="max_body_bytes", read=whole(1_024, 2**26), default=262_144, expects="1024 to 2^26", help="body limit"),
    Option(
        name="max_document_tokens", read=whole(10, 10**5), default=1_000, expects="10 to 10^5", help="GraphQL tokens"
    ),
    Option(name="max_depth", read=whole(1, 100), default=12, expects="1 to 100", help="GraphQL depth"),
    Option(name="max_aliases", read=whole(0, 1_000), default=30, expects="0 to 1000", help="GraphQL aliases"),
    Option(name="max_cost", read=whole(1, 10**6), default=5_000, expects="1 to 10^6", help="GraphQL static cost"),
    Option(name="header_timeout_s", read=seconds(1, 600), default=20.0, expects="1 to 600", help="idle connections"),
    Option(
        name="drain_delay_s",
        read=seconds(0, 600),
        default=1.0,
        expects="0 to 600",
        help="on SIGTERM, how long /readyz says 503 before the port is closed",
    ),
    Option(name="drain_s", read=seconds(0, 600), default=15.0, expects="0 to 600", help="wait for requests at the end"),
)


def given(options: Mapping[str, str | None]) -> dict[str, str]:
    """Write options as the variables that mean the same."""
    values = {option.variable: options.get(option.name) for option in OPTIONS}
    return {name: text for name, text in values.items() if text is not None}


def load(environment: Mapping[str, str], options: Mapping[str, str | None]) -> Settings:
    """Read the settings; an option wins over its variable. Raises SettingsError with everything that is wrong."""
    known = {option.variable for option in OPTIONS}
    problems = [
        f"{name} is not a setting: see entri serve --help"
        for name in environment
        if name.startswith("ENTRI_") and name not in known
    ]
    values: dict[str, Any] = {}
    for option in OPTIONS:
        source, text = option.flag, options.get(option.name)
        if text is None:
            source, text = option.variable, environment.get(option.variable)
        try:
            values[option.name] = option.default if text is None else option.read(text)
        except (ValueError, KeyError, OverflowError):
            problems.append(f"{source} must be {option.expects}")
    problems += [] if problems else conflicts(values)
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values)


def conflicts(values: Mapping[str, Any]) -> list[str]:
    """Say which settings do not go together. A rolling restart runs one worker more than there are."""
    connections = (values["workers"] + 1) * (values["pool_size"] + OTHER_CONNECTIONS)
    if values["workers"] > 1 and values["database_url"] is None and connections > MOST_CONNECTIONS:
        wanted = f"(workers + 1) * (pool_size + {OTHER_CONNECTIONS})"
        return [f"{wanted} must be at most {MOST_CONNECTIONS} with the embedded PostgreSQL: make the pools smaller"]
    return []


assert {field.name for field in fields(Settings)} == {option.name for option in OPTIONS}  # noqa: S101 -- one list
