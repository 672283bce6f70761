"""Better Auth's API keys (https://www.better-auth.com), installed from npm when first wanted. Must never be in git.

What is installed is what `bench/better_auth/package-lock.json` says, in the user's cache; no package's own scripts run.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.wrk import MissingError

SOURCE: Final = Path(__file__).parent.parent / "better_auth"
FILES: Final = ("package.json", "package-lock.json")
PROGRAM: Final = "server.mjs"
POOL: Final = 10
"""As many connections as the driver's pool has by default, and the service's."""
DATABASE: Final = "better_auth"
INSTALL: Final = ("npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--silent")


def installed() -> Path:
    """Find the folder it is installed in, or install it. Raises MissingError."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise MissingError("Better Auth needs Node.js and npm, which are not installed")
    contents = b"".join((SOURCE / name).read_bytes() for name in FILES)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "entri-bench" / f"better-auth-{hashlib.sha256(contents).hexdigest()[:12]}"
    if place.exists():
        return place
    draft = place.with_suffix(f".{os.getpid()}")
    draft.mkdir(parents=True)
    try:
        for name in FILES:
            shutil.copy(SOURCE / name, draft / name)
        if subprocess.run(INSTALL, cwd=draft, capture_output=True, check=False).returncode != 0:
            raise MissingError(f"Better Auth could not be installed: `{' '.join(INSTALL)}` failed")
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def start(place: Path, keys: Path, *, count: int, database: Mapping[str, str]) -> "subprocess.Popen[str]":
    """Start a server that makes keys, writes them to a file, prints its port, and serves until ended."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    shutil.copy(SOURCE / PROGRAM, place / PROGRAM)
    settings = {"NODE_ENV": "production", "KEYS": str(keys), "COUNT": str(count), "POOL": str(POOL)}
    return subprocess.Popen(
        ("node", PROGRAM), cwd=place, env={**kept, **settings, **database}, stdout=subprocess.PIPE, text=True
    )


def versions() -> str:
    """Name what is compared with."""
    wanted = json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    node = subprocess.run(("node", "--version"), capture_output=True, text=True, check=False).stdout.strip()
    return f"Better Auth {wanted['better-auth']}, pg {wanted['pg']}, Node.js {node.removeprefix('v')}"
