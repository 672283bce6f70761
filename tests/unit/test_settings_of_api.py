"""The settings of the API: each limit is a setting, and its default is the one that is promised."""

from dataclasses import fields
from typing import Any

import pytest

from service.api.limits import Limits
from service.api.pages import DEFAULT_PAGE, LARGEST_PAGE
from service.settings import SettingsError, load
from service.web.graphql import GraphQLEndpoint

PROMISED = {
    "max_body_bytes": 262_144,
    "max_document_tokens": 1_000,
    "max_depth": 12,
    "max_aliases": 30,
    "max_cost": 5_000,
    "header_timeout_s": 20.0,
    "explorer": None,
    "trusted_proxies": (),
}


def test_the_defaults_are_those_promised() -> None:
    """Body, tokens, depth, aliases, cost and time-outs, as the design has them."""
    settings = load({}, {})
    assert {name: getattr(settings, name) for name in PROMISED} == PROMISED


def test_limits_and_endpoint_agree_with_the_settings() -> None:
    """What is built without settings has the same limits as what is built with their defaults."""
    settings, limits = load({}, {}), Limits()
    assert (limits.tokens, limits.depth) == (settings.max_document_tokens, settings.max_depth)
    assert (limits.aliases, limits.cost) == (settings.max_aliases, settings.max_cost)
    endpoint = {field.name: field.default for field in fields(GraphQLEndpoint)}
    assert endpoint["body_limit_bytes"] == settings.max_body_bytes
    assert endpoint["body_timeout_s"] == settings.header_timeout_s
    assert (limits.page, limits.default_page) == (LARGEST_PAGE, DEFAULT_PAGE)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("max_body_bytes", "1024", 1_024),
        ("max_document_tokens", "10", 10),
        ("max_depth", "100", 100),
        ("max_aliases", "0", 0),
        ("max_cost", "1", 1),
        ("header_timeout_s", "1.5", 1.5),
        ("explorer", "on", True),
        ("explorer", "OFF", False),
        ("explorer", "auto", None),
    ],
)
def test_each_limit_can_be_set(name: str, text: str, expected: object) -> None:
    """By its variable and by its option, which wins."""
    variable = {f"ENTRI_{name.upper()}": text}
    assert getattr(load(variable, {}), name) == expected
    assert getattr(load(variable | {f"ENTRI_{name.upper()}": "canary"}, {name: text}), name) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_body_bytes", "1023"),
        ("max_document_tokens", "9"),
        ("max_depth", "0"),
        ("max_aliases", "-1"),
        ("max_cost", "canary"),
        ("header_timeout_s", "nan"),
        ("header_timeout_s", "inf"),
        ("explorer", "canary"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "canary"),
    ],
)
def test_what_cannot_be_is_refused(name: str, text: str) -> None:
    """The message names the setting and quotes nothing."""
    given: dict[str, Any] = {f"ENTRI_{name.upper()}": text}
    with pytest.raises(SettingsError, match=name.upper()) as refused:
        load(given, {})
    assert "canary" not in str(refused.value)
