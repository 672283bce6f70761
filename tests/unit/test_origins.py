"""Which page made a request: a browser is believed about its own page, and nothing that is only nearly ours is ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.web.origins import Origin, Source, read_origin, source_of

HOST = ("Host", "tokens.example.com")
LOCAL = ("Host", "127.0.0.1:8080")
PUBLIC = Origin("https", "tokens.example.com", 443)


def source(*headers: tuple[str, str], public: Origin | None = None) -> Source:
    """Say which page made a request with these headers."""
    return source_of(CIMultiDict(headers), public)


@pytest.mark.parametrize(
    "headers",
    [
        (HOST, ("Sec-Fetch-Site", "same-origin")),
        (HOST, ("Sec-Fetch-Site", "same-origin"), ("Origin", "https://tokens.example.com")),
        (HOST, ("Origin", "https://tokens.example.com")),
        (HOST, ("Origin", "https://tokens.example.com:443")),
        (HOST, ("Origin", "HTTPS://Tokens.Example.COM")),
        (("Host", "Tokens.example.com:443"), ("Origin", "https://tokens.example.com")),
        (("Host", "tokens.example.com:8443"), ("Origin", "https://tokens.example.com:8443")),
        (LOCAL, ("Origin", "http://127.0.0.1:8080")),
        (("Host", "localhost:8080"), ("Origin", "http://localhost:8080")),
        (("Host", "localhost"), ("Origin", "http://localhost")),
        (("Host", "[::1]:8080"), ("Origin", "http://[::1]:8080")),
    ],
    ids=str,
)
def test_our_own_page(headers: tuple[tuple[str, str], ...]) -> None:
    """A browser that says so, or an `Origin` that is the host that was asked, whichever way a port is written."""
    assert source(*headers) is Source.OWN


@pytest.mark.parametrize(
    "headers",
    [
        (("Sec-Fetch-Site", "cross-site"),),
        (("Sec-Fetch-Site", "same-site"),),
        (("Sec-Fetch-Site", "none"),),
        (("Sec-Fetch-Site", ""),),
        (("Sec-Fetch-Site", "Same-Origin"),),
        (("Sec-Fetch-Site", "same-origin, cross-site"),),
        (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "same-origin")),
        (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")),
        (("Sec-Fetch-Site", "cross-site"), ("Origin", "https://tokens.example.com")),
        (("Sec-Fetch-Site", "same-site"), ("Origin", "https://tokens.example.com")),
        (("Sec-Fetch-Site", "same-origin"), ("Origin", "null")),
        (("Origin", "null"),),
        (("Origin", ""),),
        (("Origin", "https://evil.example"),),
        (("Origin", "https://app.tokens.example.com"),),
        (("Origin", "https://example.com"),),
        (("Origin", "https://tokens.example.com.evil.example"),),
        (("Origin", "https://tokens.example.com."),),
        (("Origin", "https://eviltokens.example.com"),),
        (("Origin", "https://tokens.example.com:8443"),),
        (("Origin", "https://tokens.example.com:80"),),
        (("Origin", "https://tokens.example.com:0443x"),),
        (("Origin", "https://tokens.example.com:99999"),),
        (("Origin", "https://tokens.example.com:0"),),
        (("Origin", "http://tokens.example.com"),),
        (("Origin", "http://tokens.example.com:443"),),
        (("Origin", "ftp://tokens.example.com"),),
        (("Origin", "wss://tokens.example.com"),),
        (("Origin", "file://"),),
        (("Origin", "tokens.example.com"),),
        (("Origin", "//tokens.example.com"),),
        (("Origin", "https://tokens.example.com/"),),
        (("Origin", "https://tokens.example.com/graphql"),),
        (("Origin", "https://evil.example@tokens.example.com"),),
        (("Origin", "https://tokens.example.com@evil.example"),),
        (("Origin", "https://tokens.example.com#.evil.example"),),
        (("Origin", "https://tokens.example.com https://tokens.example.com"),),
        (("Origin", "https://tokens.example.com, https://evil.example"),),
        (("Origin", "https://tokens.example.com"), ("Origin", "https://tokens.example.com")),
        (("Origin", "https://tokens.example.com"), ("Origin", "https://evil.example")),
        (("Origin", "https://tokens.example.com\n"),),
        (("Origin", "https://tokens.example.com\x00"),),
        (("Origin", "https://to\N{KELVIN SIGN}ens.example.com"),),
        (("Origin", "https://tokens.example.com:\N{ARABIC-INDIC DIGIT FOUR}43"),),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("public", [None, PUBLIC], ids=["unconfigured", "configured"])
def test_another_page(headers: tuple[tuple[str, str], ...], public: Origin | None) -> None:
    """Whatever is not exactly ours, or is said twice, is foreign, with the public origin configured and without."""
    assert source(HOST, *headers, public=public) is Source.FOREIGN


@given(
    st.text(alphabet="htps:/.[]@0123456789tokenexamplcv\\\t ,;#?%\N{KELVIN SIGN}", max_size=60),
    st.sampled_from([None, PUBLIC]),
)
def test_no_text_is_ours_but_our_own(text: str, public: Origin | None) -> None:
    """Whatever an `Origin` is made of, it is ours only if it is spelled as ours."""
    found = source(HOST, ("Origin", text), public=public)
    spellings = {"https://tokens.example.com", "https://tokens.example.com:443"}
    assert (found is Source.OWN) == (text.lower() in spellings and text.isascii())


def test_no_page() -> None:
    """Neither header: that is no browser of today, whatever else is there."""
    assert source(HOST, ("Referer", "https://tokens.example.com/")) is Source.UNTOLD


@pytest.mark.parametrize(
    "hosts", [(), ("tokens.example.com", "tokens.example.com"), ("",), ("a b",), ("evil.example",)]
)
def test_a_host_that_is_not_one(hosts: tuple[str, ...]) -> None:
    """Without one plain `Host` an `Origin` is compared with nothing but the public one."""
    headers = [*(("Host", host) for host in hosts), ("Origin", "https://tokens.example.com")]
    assert source(*headers) is Source.FOREIGN
    assert source(*headers, public=PUBLIC) is Source.OWN


def test_a_proxy_that_writes_another_host() -> None:
    """The browser is believed as long as the public origin is not configured; then only that is ours."""
    told = (LOCAL, ("Sec-Fetch-Site", "same-origin"), ("Origin", "https://tokens.example.com"))
    assert source(*told) is Source.OWN
    assert source(*told, public=PUBLIC) is Source.OWN
    assert source(*told, public=PUBLIC._replace(host="other.example.com")) is Source.FOREIGN
    assert source(LOCAL, ("Origin", "https://tokens.example.com")) is Source.FOREIGN
    assert source(LOCAL, ("Origin", "https://tokens.example.com"), public=PUBLIC) is Source.OWN


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:3000", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"]
)
def test_other_services_of_this_machine(origin: str) -> None:
    """Another port, and another name of this machine, is another origin."""
    assert source(LOCAL, ("Origin", origin)) is Source.FOREIGN


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("https://a.example", Origin("https", "a.example", 443)),
        ("http://A.example:8080", Origin("http", "a.example", 8080)),
        ("http://[::1]", Origin("http", "[::1]", 80)),
        ("https://a.example/", None),
        ("null", None),
    ],
)
def test_origins_are_read_whole(text: str, meant: Origin | None) -> None:
    """A default port is the same as none, and nothing may follow."""
    assert read_origin(text) == meant


def test_what_only_this_machine_can_be() -> None:
    """The loopback addresses, and the name `localhost`."""
    local = ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"]
    assert [
        host for host in [*local, "localhost.example", "10.0.0.1", "[::2]"] if Origin("http", host, 80).is_local
    ] == local
