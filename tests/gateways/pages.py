"""What the pages of Traefik and Envoy print, read."""

from typing import Any, Final

from tests.gateways.block_yaml import read_yaml
from tests.gateways.running import printed

TRAEFIK_STATIC: Final[Any] = read_yaml(printed("traefik", "traefik.yml"))
TRAEFIK: Final[Any] = read_yaml(printed("traefik", "api.yml"))["http"]
ENVOY: Final[Any] = read_yaml(printed("envoy", "envoy.yaml"))["static_resources"]
ENVOY_CONNECTIONS: Final[Any] = ENVOY["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
ENVOY_FILTERS: Final[Any] = {
    each["name"].split(".")[-1]: each["typed_config"] for each in ENVOY_CONNECTIONS["http_filters"]
}
ENVOY_PREFIX: Final[Any] = read_yaml(printed("envoy", "before-1.38.yaml"))["path_prefix"]
