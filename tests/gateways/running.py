"""Gateways that run with the configurations that the pages print. Must never change more of these than addresses."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.cli.processes import eventually
from tests.docs.test_commands import blocks

PROGRAMS: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
"""Debian's servers are where only root looks."""

NGINX_MAIN: Final = """
daemon off;
pid nginx.pid;
worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include api.conf;
}
"""
CADDY_MAIN: Final = "{\n\tadmin off\n}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What a page's addresses and its organization stand for."""

    gateway: int
    entri: int
    upstream: int
    organization: str
    scope: str = "reports:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway: what its page prints, what the listening address becomes, its files, and its command."""

    name: str
    printed: Callable[[], str]
    listens: tuple[str, str]
    files: Callable[[str], Mapping[str, str]]
    command: tuple[str, ...]


def printed(page: str, file: str) -> str:
    """Read a file that a page prints."""
    (text,) = [block.text for block in blocks(f"docs/how-to/{page}.md") if f"file={file}" in block.words]
    return text


def printed_for_old_envoy() -> str:
    """Read Envoy's file with the line for releases before 1.38."""
    text, line = printed("envoy", "envoy.yaml"), printed("envoy", "before-1.38.yaml")
    (newer,) = [one for one in text.splitlines(keepends=True) if "path_override" in one]
    return text.replace(newer, line)


NGINX: Final = Gateway(
    name="nginx",
    printed=lambda: printed("nginx", "api.conf"),
    listens=("listen 80;", "listen 127.0.0.1:{};"),
    files=lambda printed: {"nginx.conf": NGINX_MAIN, "api.conf": printed},
    command=("nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr"),
)
CADDY: Final = Gateway(
    name="caddy",
    printed=lambda: printed("caddy", "Caddyfile"),
    listens=("api.example.com {", "http://127.0.0.1:{} {{"),
    files=lambda printed: {"Caddyfile": CADDY_MAIN + printed},
    command=("caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"),
)
ENVOY: Final = Gateway(
    name="envoy",
    printed=lambda: printed("envoy", "envoy.yaml"),
    listens=("port_value: 80\n", "port_value: {}\n"),
    files=lambda printed: {"envoy.yaml": printed},
    command=("envoy", "-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "warn"),
)
OLD_ENVOY: Final = replace(ENVOY, printed=printed_for_old_envoy)


def program(name: str) -> str | None:
    """Find a program."""
    return shutil.which(name, path=PROGRAMS)


def configuration(gateway: Gateway, places: Places) -> str:
    """Put this machine's addresses and the organization in the place of the page's."""
    text = gateway.printed()
    page_listens, listens = gateway.listens
    # Ports alone, for Envoy writes an address and its port on two lines.
    replaced = {
        page_listens: listens.format(places.gateway),
        "8080": str(places.entri),
        "9000": str(places.upstream),
        "org_…": places.organization,
        "reports:read": places.scope,
    }
    for of_page, here in replaced.items():
        assert text.count(of_page) == 1, f"{gateway.name}: {of_page}"
        text = text.replace(of_page, here)
    return text


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@contextmanager
def running_gateway(gateway: Gateway, places: Places, folder: Path) -> Iterator[str]:
    """Run a gateway until left, and answer its URL."""
    found = program(gateway.name)
    assert found is not None, f"{gateway.name} is not installed"
    folder.mkdir()
    for name, text in gateway.files(configuration(gateway, places)).items():
        (folder / name).write_text(text, encoding="utf-8")
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [found, *gateway.command[1:]],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            eventually(lambda: answers(places.gateway, process, log))
            yield f"http://127.0.0.1:{places.gateway}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()
                process.wait()


def answers(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Say whether a gateway takes connections yet."""
    assert process.poll() is None, log.read_text(errors="replace")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
