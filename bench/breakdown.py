"""Where a process spends its processor time, by what the code is for. Samples it with py-spy, which stops it briefly.

Must never be on while a rate is measured.
"""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PURPOSES: Final = (
    ("hashing and its threads", ("service/hashing.py", "argon2/", "concurrent/futures/")),
    ("database driver", ("asyncpg/",)),
    ("log writer", ("events/writer.py",)),
    (
        "decide and encode",
        (
            "events/",
            "service/token_commands.py",
            "service/issuing.py",
            "service/deciding.py",
            "service/histories.py",
            "service/aggregates.py",
            "service/judging.py",
            "service/companions.py",
            "service/vault.py",
            "service/secret_format.py",
        ),
    ),
    (
        "verification",
        (
            "service/verify",
            "service/lease",
            "service/credential",
            "service/denials.py",
            "service/keyring.py",
            "service/usage.py",
        ),
    ),
    ("read models", ("projections/", "service/queries.py")),
    ("GraphQL", ("graphql/", "strawberry/", "service/api/")),
    ("HTTP", ("aiohttp/", "service/web/", "yarl/", "multidict/", "service/app.py", "prometheus_client/")),
)
"""What code is for, by parts of its file's name. The innermost frame that matches any says what a sample is for."""
LOOP: Final = "event loop and sockets"
SAMPLES_A_SECOND: Final = 200


def sample(pid: int, seconds: int) -> Counter[str] | None:
    """Count samples of a running process by purpose; None where py-spy is missing or not allowed to look."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "stacks"
        options = (
            "--duration",
            str(seconds),
            "--rate",
            str(SAMPLES_A_SECOND),
            "--format",
            "raw",
            "--output",
            str(path),
        )
        command = (program, "record", "--pid", str(pid), *options)
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        counted: Counter[str] = Counter()
        for purpose, samples in purposes(path.read_text(encoding="utf-8")):
            counted[purpose] += samples
        return counted


def purposes(stacks: str) -> Iterator[tuple[str, int]]:
    """Read stacks as py-spy writes them: frames from the outermost on with semicolons between, then a count."""
    for line in stacks.splitlines():
        frames, _, samples = line.rpartition(" ")
        yield purpose_of(frames.split(";")), int(samples)


def purpose_of(frames: list[str]) -> str:
    """Say what a stack is for."""
    for frame in reversed(frames):
        for purpose, names in PURPOSES:
            if any(name in frame for name in names):
                return purpose
    return LOOP
