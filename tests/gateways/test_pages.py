"""The configurations that the pages print hold together: what they name is there, and nobody is let in by mistake."""

import re
from urllib.parse import urlsplit

import pytest

from tests.gateways.pages import ENVOY, ENVOY_CONNECTIONS, ENVOY_FILTERS, TRAEFIK, TRAEFIK_STATIC
from tests.gateways.running import printed


def test_traefiks_file_holds_together() -> None:
    """What the routers and the middleware name is there, nothing listens where it should not, and time is short."""
    entry_points = TRAEFIK_STATIC["entryPoints"]
    routers, services = TRAEFIK["routers"], TRAEFIK["services"]
    assert all(set(each["entryPoints"]) < set(entry_points) for each in routers.values())
    assert {each["service"] for each in routers.values()} == set(services)
    assert routers["api"]["middlewares"] == list(TRAEFIK["middlewares"])
    asking = TRAEFIK["middlewares"]["ask-entri"]["forwardAuth"]
    assert urlsplit(asking["address"]).netloc == entry_points["entri"]["address"]
    assert (asking["trustForwardHeader"], asking["authRequestHeaders"]) == ("false", ["X-API-Key", "Authorization"])
    limits = TRAEFIK["serversTransports"][services["entri"]["loadBalancer"]["serversTransport"]]["forwardingTimeouts"]
    assert sum(int(limits[name].removesuffix("ms")) for name in ("dialTimeout", "responseHeaderTimeout")) <= 1000


def test_envoys_file_holds_together() -> None:
    """A client's headers are removed first, the question comes next, and its failure lets nothing through."""
    assert list(ENVOY_FILTERS) == ["header_mutation", "ext_authz", "router"]
    asking = ENVOY_FILTERS["ext_authz"]
    assert (asking["failure_mode_allow"], asking["status_on_error"]) == ("false", {"code": "ServiceUnavailable"})
    assert [each["exact"] for each in asking["allowed_headers"]["patterns"]] == ["x-api-key", "x-forwarded-for"]
    assert asking["http_service"]["server_uri"]["timeout"] == "1s"
    clusters = {each["name"]: each for each in ENVOY["clusters"]}
    routes = ENVOY_CONNECTIONS["route_config"]
    used = {
        routes["virtual_hosts"][0]["routes"][0]["route"]["cluster"],
        asking["http_service"]["server_uri"]["cluster"],
    }
    assert used == set(clusters)
    assert routes["request_headers_to_remove"] == ["x-api-key", "authorization"]


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("nginx", "api.conf"),
        ("caddy", "Caddyfile"),
        ("traefik", "api.yml"),
        ("envoy", "envoy.yaml"),
        ("envoy", "before-1.38.yaml"),
    ],
)
def test_every_page_pins_the_organization(page: str, file: str) -> None:
    """No example serves everybody's keys."""
    asked_for = re.findall(r"/verify/?\?[^\s\";]*", printed(page, file))
    assert [each.split("?")[1].split("&")[0] for each in asked_for] == ["organization=org_…"]
