"""The session's cookie: one, by its exact name, read as browsers write it and written as browsers must keep it."""

import pytest
from multidict import CIMultiDict

from service.secret_text import SecretText
from service.web.cookies import (
    HOST_NAME,
    PLAIN_NAME,
    cleared_cookie,
    is_plain,
    name_for,
    presented_cookie,
    written_cookie,
)
from service.web.credentials import CredentialError
from service.web.origins import Origin

FAR = ("Host", "tokens.example.com")
NEAR = ("Host", "localhost:8080")
PUBLIC = Origin("https", "tokens.example.com", 443)


def presented(*cookies: str, host: tuple[str, str] = FAR, public: Origin | None = None) -> str | None:
    """Read the session's cookie out of these `Cookie` headers."""
    return presented_cookie(CIMultiDict([host, *(("Cookie", line) for line in cookies)]), public)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("__Host-entri_session=abc", "abc"),
        ("theme=dark; __Host-entri_session=abc; a=b", "abc"),
        ("theme=dark;__Host-entri_session=abc", "abc"),
        (" __Host-entri_session = abc\t", "abc"),
        ("__Host-entri_session=a=b", "a=b"),
        ('__Host-entri_session="abc"', '"abc"'),
        ("__Host-entri_session=", ""),
        ("__Host-entri_session", ""),
        ('a="; __Host-entri_session=abc', "abc"),
        ('a="; b"; __Host-entri_session=abc', "abc"),
        ("a=1, b=2; __Host-entri_session=abc", "abc"),
        ("", None),
        (";;;", None),
        ("a=b", None),
        ("__host-entri_session=abc", None),
        ("__Host-Entri_session=abc", None),
        ("__Host-entri_session2=abc", None),
        ("x__Host-entri_session=abc", None),
        ("a=__Host-entri_session=abc", None),
        ("=__Host-entri_session=abc", None),
        ("a=b, __Host-entri_session=abc", None),
        ('a="b; c"; d=__Host-entri_session', None),
        ("entri_session=abc", None),
    ],
)
def test_a_cookie_is_read_by_its_exact_name(line: str, value: str | None) -> None:
    """Pairs end at semicolons and nowhere else; quotes, commas and cases mean nothing."""
    assert presented(line) == value


@pytest.mark.parametrize(
    "lines",
    [
        ("__Host-entri_session=a; __Host-entri_session=a",),
        ("__Host-entri_session=a; __Host-entri_session=b",),
        ("__Host-entri_session=a; entri_session=b",),
        ("entri_session=a; entri_session=b",),
        ("__Host-entri_session=a", "__Host-entri_session=a"),
        ("__Host-entri_session=a", "entri_session=b"),
        ("__Host-entri_session; __Host-entri_session=a",),
        ('a="__Host-entri_session=a; __Host-entri_session=b; entri_session="',),
    ],
    ids=str,
)
@pytest.mark.parametrize("host", [FAR, NEAR], ids=["far", "near"])
def test_two_cookies_are_none(lines: tuple[str, ...], host: tuple[str, str]) -> None:
    """Whichever of the two was planted, nobody need guess: both are taken away, and the message quotes neither."""
    with pytest.raises(CredentialError) as refused:
        presented(*lines, host=host)
    assert (refused.value.status, refused.value.message) == (400, "Present one session cookie.")
    assert refused.value.cookies == (cleared_cookie(HOST_NAME), cleared_cookie(PLAIN_NAME))


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "LOCALHOST:8080"])
def test_the_plain_name_is_for_this_machine(host: str) -> None:
    """A loopback host, asked over http, may have either name; behind a public origin the plain one is none."""
    assert presented("entri_session=abc", host=("Host", host)) == "abc"
    assert presented("__Host-entri_session=abc", host=("Host", host)) == "abc"
    assert presented("entri_session=abc", host=("Host", host), public=PUBLIC) is None
    assert presented("entri_session=abc", host=("Host", host), public=Origin("http", "localhost", 80)) == "abc"


@pytest.mark.parametrize(
    "headers",
    [
        [FAR],
        [],
        [NEAR, NEAR],
        [("Host", "localhost.example")],
        [("Host", "10.0.0.1")],
        [NEAR, ("Origin", "https://localhost")],
        [NEAR, ("Origin", "HTTPS://localhost")],
        [NEAR, ("Origin", "http://localhost"), ("Origin", "https://localhost")],
    ],
    ids=str,
)
def test_elsewhere_the_name_keeps_sub_domains_out(headers: list[tuple[str, str]]) -> None:
    """Any other host, none, two of them, or a browser that came over TLS: only the name that cannot be planted."""
    assert not is_plain(CIMultiDict(headers), None)


def test_what_is_written_is_kept_by_browsers_alone() -> None:
    """No script sees it, no other site sends it, and no other host gets it; it lasts as long as the browser."""
    secret = SecretText("abc")
    attributes = "Path=/; Secure; HttpOnly; SameSite=Lax"
    assert written_cookie(HOST_NAME, secret) == f"__Host-entri_session=abc; {attributes}"
    assert cleared_cookie(HOST_NAME) == f"__Host-entri_session=; Max-Age=0; {attributes}"
    assert written_cookie(PLAIN_NAME, secret) == "entri_session=abc; Path=/; HttpOnly; SameSite=Lax"
    assert cleared_cookie(PLAIN_NAME) == "entri_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ([FAR], HOST_NAME),
        ([FAR, ("Cookie", "entri_session=abc")], HOST_NAME),
        ([NEAR], PLAIN_NAME),
        ([NEAR, ("Cookie", "entri_session=abc")], PLAIN_NAME),
        ([NEAR, ("Cookie", "__Host-entri_session=abc")], HOST_NAME),
    ],
    ids=str,
)
def test_the_name_that_came_is_kept(headers: list[tuple[str, str]], name: str) -> None:
    """Where a browser sends the one that cannot be planted, that one is written again, so that there are never two."""
    assert name_for(CIMultiDict(headers), None) == name
