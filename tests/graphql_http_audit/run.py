"""Starts a service of its own and runs graphql-http's server audit suite against it. Needs Node.js and npm."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run the audits; answers the exit code: 0 when every one is green."""
    subprocess.run(["npm", "ci", "--no-fund", "--no-audit", "--silent"], cwd=HERE, check=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # as root, PostgreSQL runs as another user, who must get through
        token_file = Path(folder) / "token"
        command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", f"{folder}/data"]
        command += ["--bootstrap-token-file", str(token_file)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
            try:
                url = serving_at(service)
                environment = {**os.environ, "URL": url, "KEY": token_file.read_text().strip()}
                return subprocess.run(["node", "audit.mjs"], cwd=HERE, env=environment, check=False).returncode
            finally:
                service.terminate()
                service.communicate(timeout=60)


def serving_at(service: subprocess.Popen[str]) -> str:
    """Read the URL from the line that says that the service is up."""
    for line in service.stderr or ():
        if line.startswith("serving "):
            return line.split()[1]
    raise RuntimeError("the service did not start")


if __name__ == "__main__":
    sys.exit(main())
