"""The commands beside `entri serve`, run while it runs on the same data directory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from service.api.schema import make_schema
from service.cli import main
from service.log_key import verify
from tests.cli.processes import MODULE, Process, Service, ask, create_token, entri
from tests.places import data_directory

ORGANIZATION = re.compile(r"org_[0-9a-z]{26}\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running service, where its data is, and its first token."""

    url: str
    data_dir: Path
    token: str


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Run a service."""
    with data_directory() as path, Service(path) as service:
        line = service.out.wait_for("bootstrap token: ")
        assert line is not None
        yield Running(url=service.url, data_dir=path, token=line.split()[-1])
        assert service.stop().code == 0


def commands(command: click.Command, name: str = "entri") -> Iterator[tuple[str, click.Command]]:
    """Walk through a command and those beneath it."""
    yield name, command
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner, f"{name} {inner.name}")


@pytest.mark.parametrize(("name", "command"), list(commands(main)))
def test_help_has_examples_that_are_commands(name: str, command: click.Command) -> None:
    """Each help ends with examples of this command or one beneath it, whose options there are."""
    text = command.get_help(click.Context(command, info_name=name))
    _, _, shown = text.partition("Examples:\n")
    assert shown
    known = dict(commands(main))
    for line in shown.splitlines():
        example = line[re.search(r"(?<!\S)entri ", line).start() :]  # type: ignore[union-attr]  # None fails the test
        assert example.startswith(name)
        called = max((path for path in known if f"{example} ".startswith(f"{path} ")), key=len)
        flags = {flag for parameter in known[called].params for flag in parameter.opts} | {"--help", "--version"}
        assert set(re.findall(r"--[a-z-]+", example)) <= flags


def test_version_and_module() -> None:
    """`python -m service` is `entri`, and says which version it is."""
    with Process("--version", program=MODULE) as process:
        ended = process.end()
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"entri, version \d+\.\d+\.\d+\n", ended.out)


def test_schema_is_printed() -> None:
    """`entri schema` prints the schema and nothing else, without a database."""
    ended = entri("schema")
    assert (ended.code, ended.out, ended.err) == (0, f"{make_schema().as_str()}\n", "")


def test_every_wrong_setting_is_told_at_once() -> None:
    """One message names each setting that is wrong and what it must be, quotes no value, and ends with exit code 2."""
    variables = {"ENTRI_PORT": "hush-1", "ENTRI_DATABASE_URL": "mysql://u:hush-2@h/d", "ENTRI_PROT": "hush-3"}
    ended = entri("serve", "--log-format", "hush-4", variables=variables)
    assert (ended.code, ended.out) == (2, "")
    assert "hush" not in ended.err
    for told in (
        "ENTRI_PROT is not a setting",
        "ENTRI_PORT must be 0 to 65535",
        "ENTRI_DATABASE_URL must be a URL such as",
        "--log-format must be json or text",
    ):
        assert told in ended.err


def test_the_operators_way_in(running: Running) -> None:
    """An organization's id and a token's secret are printed alone, and the running service knows both."""
    made = entri("admin", "organization", "create", "Acme", "--data-dir", running.data_dir)
    assert made.code == 0, made.err
    assert ORGANIZATION.fullmatch(made.out)
    organization = made.out.strip()
    of_it = ("admin", "token", "create", "--organization", organization, "--name", "ci", "--data-dir", running.data_dir)
    issued = entri(*of_it, "--scope", "deployments:read", "--scope", "deployments:*")
    assert issued.code == 0, issued.err
    assert re.fullmatch(r"entri_[0-9A-Za-z]{49}\n", issued.out)
    secret = issued.out.strip()
    assert secret not in issued.err
    assert ask(f"{running.url}/verify?organization={organization}&scope=deployments:write", key=secret).status == 200
    assert create_token(running.url, secret).status == 200  # with a FORBIDDEN error: it has no such scope
    assert "FORBIDDEN" in create_token(running.url, secret).text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--name", "ci", "--organization", "org_00000000000000000000000000"), "no such organization"),
        (("--name", " ", "--organization", "{organization}", "--scope", "Hush"), "name is empty: .*; scopes entry 1 "),
    ],
)
def test_what_the_operator_cannot_do(running: Running, arguments: tuple[str, ...], complaint: str) -> None:
    """A refusal is one line that says everything that is wrong without quoting it, and exit code 1."""
    query = {"query": "{ organization { id } }"}
    organization = ask(f"{running.url}/graphql", key=running.token, body=query).data["organization"]["id"]
    given = [argument.format(organization=organization) for argument in arguments]
    ended = entri("admin", "token", "create", *given, "--data-dir", running.data_dir)
    assert (ended.code, ended.out) == (1, "")
    (line,) = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
    assert re.search(complaint, line)
    assert "Hush" not in line
    assert "Traceback" not in ended.err


def test_rebuild_and_migrate_beside_a_service(running: Running) -> None:
    """A read model is rebuilt under a running service, which notices nothing; there is nothing to migrate."""
    before = create_token(running.url, running.token).data["createToken"]["secret"]
    rebuilt = entri("rebuild", "tokens", "--data-dir", running.data_dir)
    assert rebuilt.code == 0, rebuilt.err
    assert re.fullmatch(
        r"tokens: \d+ rows from \d+ events in \d+\.\d s; others waited \d+ ms for the switch\n", rebuilt.out
    )
    assert ask(f"{running.url}/verify", key=before).status == 200
    assert create_token(running.url, before).status == 200
    migrated = entri("migrate", variables={"ENTRI_DATA_DIR": str(running.data_dir)})
    assert (migrated.code, migrated.out) == (0, "nothing to do\n")


def test_proofs_for_the_operator(running: Running, tmp_path: Path) -> None:
    """The whole log's checkpoint is verified with its key, an event's proof with its organization's, and no other."""
    at = ("--data-dir", running.data_dir)
    whole = verify(entri("log", "checkpoint", *at).out, entri("log", "key", *at).out)
    assert whole.size >= 2
    query = {"query": "{ organization { id } events(last: 1) { nodes { id entry } } }"}
    shown = ask(f"{running.url}/graphql", key=running.token, body=query).data
    organization, event = shown["organization"]["id"], shown["events"]["nodes"][0]
    made = entri("log", "prove", event["id"], "--organization", organization, *at)
    assert made.code == 0, made.err
    proof, key = tmp_path / "proof", tmp_path / "key"
    proof.write_text(made.out)
    key.write_text(ask(f"{running.url}/log/key", key=running.token).text)
    proved = CliRunner().invoke(main, ["log", "verify-proof", str(proof), "--key", str(key)])
    assert (proved.exit_code, proved.stdout) == (0, f"{event['entry']}\n")
    assert re.fullmatch(rf"position 1 of \d+ in {whole.origin}/{organization}\n", proved.stderr)
    for wrong, why in {
        key.read_text().replace("ins_", "ins-"): "a character is wrong",
        "no-file": "is no key and no file that can be read",
    }.items():
        refused = CliRunner().invoke(main, ["log", "verify-proof", str(proof), "--key", wrong])
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert why in refused.stderr
    beyond = entri("log", "consistency", "--from", "0", "--to", str(10**9), *at)
    assert (beyond.code, beyond.out) == (1, "")
    assert "Error: to is larger than the tree: there is no such tree yet\n" in beyond.err
