"""`entri admin member` beside a running service, as an operator uses it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.processes import Ended, Service, entri
from tests.places import data_directory

ONE_TIME = re.compile(r"[2-9a-z]{5}(-[2-9a-z]{5}){4}\n")
WHOSE = re.compile(r"^member: (mem_[0-9a-z]{26})$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running service, and what its first start said."""

    data_dir: Path
    organization: str

    def member(self, *arguments: str) -> Ended:
        """Run a command on members."""
        return entri("admin", "member", *arguments, "--data-dir", self.data_dir)

    def create(self, email: str, *, role: str = "OWNER", organization: str | None = None) -> Ended:
        """Make a member."""
        of = organization or self.organization
        return self.member("create", "--organization", of, "--email", email, "--name", "Grace", "--role", role)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Run a service whose first start says how the first owner is made."""
    with data_directory() as path, Service(path) as service:
        line = service.err.wait_for("first_owner")
        assert line is not None
        assert "entri admin member create --organization org_" in line
        (organization,) = re.findall(r"--organization (org_[0-9a-z]{26}) --role OWNER", line)
        yield Running(data_dir=path, organization=organization)
        assert service.stop().code == 0


def test_the_first_owner(running: Running) -> None:
    """The command that the first start tells of prints a one-time password alone, and whose it is beside it."""
    made = running.create("first@example.com")
    assert made.code == 0, made.err
    assert ONE_TIME.fullmatch(made.out)
    assert WHOSE.search(made.err)
    assert made.out.strip() not in made.err


def test_a_password_is_reset(running: Running) -> None:
    """A new one-time password is printed alone, and is another one."""
    made = running.create("reset@example.com", role="auditor")
    (member_id,) = WHOSE.findall(made.err)
    again = running.member("reset-password", member_id)
    assert again.code == 0, again.err
    assert ONE_TIME.fullmatch(again.out)
    assert again.out != made.out


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("reset-password", "mem_00000000000000000000000000"), 1, "there is no such member"),
        (("reset-password", "hush"), 1, "there is no such member"),
        (("forget", "mem_00000000000000000000000000"), 1, "no former member"),
        (("create", "--organization", "org_00000000000000000000000000", "--role", "OWNER"), 1, "no such organization"),
        (("create", "--organization", "{}", "--role", "KING"), 2, "'KING' is not one of"),
    ],
)
def test_what_cannot_be_done(running: Running, arguments: tuple[str, ...], code: int, complaint: str) -> None:
    """A refusal is one line and an exit code, and prints no password."""
    given = [argument.format(running.organization) for argument in arguments]
    if given[0] == "create":
        given += ["--email", "king@example.com", "--name", "King"]
    ended = running.member(*given)
    assert (ended.code, ended.out) == (code, "")
    assert complaint in ended.err
    assert "hush" not in ended.err


def test_a_wrong_address_is_told(running: Running) -> None:
    """What is wrong is named and not quoted; a taken address is told as taken."""
    wrong = running.create("hush hush")
    assert (wrong.code, wrong.out) == (1, "")
    assert "email is no e-mail address" in wrong.err
    assert "hush" not in wrong.err
    assert running.create("twice@example.com").code == 0
    assert "email is the address of another member" in running.create("Twice@example.com").err
