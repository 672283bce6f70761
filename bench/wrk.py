"""wrk, the load generator: a program of its own, on one thread. Must never be given a target that is not this machine.

https://github.com/wg/wrk; Debian and most others package it.
"""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).with_name("wrk.lua")
INSTALL: Final = ("apt-get", "-o", "DPkg::Lock::Timeout=60", "install", "--yes", "--quiet", "wrk")
NO_WRK: Final = "wrk is not installed, and cannot be installed without asking: `apt-get install wrk`, say"


class MissingError(Exception):
    """Something that is measured with, or against, is not on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What a load that goes on as soon as it is answered got."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refusals: int
    """Answers with a status of 400 or more."""
    failures: int
    """Requests that got no answer."""

    @property
    def rate(self) -> float:
        """How many answers came in a second."""
        return self.answers / self.seconds


def program() -> str:
    """Find wrk, or install it where that is ours to do: as root of a Debian. Raises MissingError."""
    if (found := shutil.which("wrk")) is not None:
        return found
    if os.geteuid() == 0 and shutil.which(INSTALL[0]) is not None:
        subprocess.run(INSTALL, capture_output=True, check=False)
    if (found := shutil.which("wrk")) is None:
        raise MissingError(NO_WRK)
    return found


def version() -> str:
    """Name the version."""
    told = subprocess.run((program(), "-v"), capture_output=True, text=True, check=False)
    return (told.stdout + told.stderr).partition("[")[0].strip()


async def shoot(url: str, keys: Path, *, connections: int, seconds: float) -> Shot:
    """Send the keys of a file in turn over so many connections. Raises SystemExit when a request got no answer."""
    whole = max(1, round(seconds))
    command = (program(), "-t1", f"-c{connections}", f"-d{whole}s", "-s", str(SCRIPT), url, "--", str(keys))
    running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await running.communicate()
    shot = Shot(**json.loads(told[told.rindex(b"{") :]))
    if shot.failures or not shot.answers:
        raise SystemExit(f"{shot.failures} requests to {url} got no answer, {shot.answers} did")
    return shot


def write_keys(place: Path, keys: Sequence[str]) -> Path:
    """Write keys to a file for wrk to read; removed with its directory."""
    place.touch(mode=0o600)
    place.write_text("\n".join(keys) + "\n", encoding="ascii")
    return place
