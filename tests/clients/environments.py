"""Install what a client needs into an environment of its own, from its lock file. Must never touch ours."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
GO_PACKAGES: Final = ("golang-go", "golang-golang-x-mod-dev")
GO_SOURCES: Final = Path("/usr/share/gocode")
"""Where Debian keeps the sources of Go packages."""
_QUIETLY: Final = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")


def install(folder: Path) -> None:
    """Install what a client's folder locks, unless it is there already."""
    node, python = folder / "package-lock.json", folder / "requirements.lock"
    if node.exists() and _is_stale(folder / "node_modules" / ".package-lock.json", node):
        _run(["npm", "ci", "--omit=peer", "--omit=optional", "--no-fund", "--no-audit", "--silent"], folder)
    if python.exists() and _is_stale(folder / ".venv" / ".installed", python):
        _run([sys.executable, "-m", "venv", ".venv"], folder)
        _run([".venv/bin/python", "-m", "pip", "install", *_QUIETLY, "-r", python.name], folder)
        (folder / ".venv" / ".installed").touch()


def generate(folder: Path) -> None:
    """Have the client's own generator, where it has one, read our schema."""
    if (folder / "relay.config.json").exists():
        (folder / "__generated__").mkdir(exist_ok=True)
        _run(["node_modules/.bin/relay-compiler"], folder)
    if (folder / "ariadne-codegen.toml").exists():
        _run([".venv/bin/ariadne-codegen", "--config", "ariadne-codegen.toml"], folder)


def install_go() -> bool:
    """Install Go and golang.org/x/mod from Debian's packages if this is root; say whether they are there."""
    if not _has_go():
        _install_packages(GO_PACKAGES)
    return _has_go()


def install_chromium() -> str | None:
    """Install Chromium from Debian's packages if this is root; answers its program, None where there is none."""
    if shutil.which("chromium") is None:
        _install_packages(("chromium",))
    return shutil.which("chromium")


def _install_packages(packages: Sequence[str]) -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *command], check=False, env=quietly, stdout=subprocess.DEVNULL)


def program(folder: Path, name: str) -> list[str]:
    """Return what runs a program of a client's folder, by its language."""
    runs = {".mjs": ["node"], ".py": [".venv/bin/python"], ".go": ["go", "run"]}
    (path,) = (found for found in folder.glob(f"{name}.*") if found.suffix in runs)
    return [*runs[path.suffix], path.name]


def _has_go() -> bool:
    return shutil.which("go") is not None and (GO_SOURCES / "src/golang.org/x/mod/sumdb/tlog").is_dir()


def _is_stale(installed: Path, lock: Path) -> bool:
    return not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{folder.name}: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
