"""Have verifiers that are not ours check a history, its signed checkpoints and its proofs.

Go's is the code behind its checksum database; where Go is missing it is left out, and that is said.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.clients.environments import GO_PACKAGES, GO_SOURCES, HERE, install, install_go, program
from tests.clients.evidence import gather
from tests.clients.playing import Running

VERIFIERS: Final = {
    "golang.org/x/mod": "proofs-go",
    "@transmute/rfc9162": "proofs-npm",
    "pymerkle, sigstore": "proofs-pypi",
}
_WITH_GO: Final = {"GO111MODULE": "off", "GOPATH": str(GO_SOURCES), "GOFLAGS": ""}


def check_proofs(service: Running) -> Iterator[tuple[str, str | None]]:
    """Run each verifier over one history; say what it found, None when all is right."""
    verifiers = dict(VERIFIERS)
    if not install_go():
        print(f"Go's is left out. As root: apt-get install {' '.join(GO_PACKAGES)}")
        del verifiers["golang.org/x/mod"]
    with tempfile.TemporaryDirectory() as folder:
        evidence = Path(folder) / "evidence.json"
        gather(service, evidence)
        for name, place in verifiers.items():
            install(HERE / place)
            done = subprocess.run(
                [*program(HERE / place, "check"), evidence],
                cwd=HERE / place,
                env={**os.environ, **_WITH_GO, "GOCACHE": f"{folder}/go"},
                capture_output=True,
                text=True,
                check=False,
            )
            yield name, f"{done.stdout}{done.stderr}" if done.returncode else None
