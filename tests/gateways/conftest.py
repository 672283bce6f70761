"""Real services: one for the requests that gateways are documented to make, one that the gateways are run with."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.api.conftest import running, service
from tests.gateways.living import Living
from tests.gateways.running import CADDY, ENVOY, NGINX, Gateway, Places, free_port, program
from tests.gateways.upstream import Upstream, listening_upstream
from tests.gateways.ways import Way, through
from tests.places import data_directory

__all__ = ["running", "service"]


@pytest.fixture(scope="session")
def living() -> Iterator[Living]:
    """Run a service of which each test makes its own keys."""
    with data_directory() as data_dir:
        service = Living(data_dir)
        try:
            yield service
        finally:
            service.end()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def upstream() -> AsyncIterator[Upstream]:
    """Run the service behind the gateways."""
    async with listening_upstream() as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=[NGINX, CADDY, ENVOY], ids=lambda g: g.name)
async def way(
    request: pytest.FixtureRequest, living: Living, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Way]:
    """Run a gateway as its page says."""
    gateway: Gateway = request.param
    if gateway is ENVOY and program(gateway.name) is None:
        pytest.skip("no envoy on the path")
    places = Places(gateway=free_port(), entri=living.port, upstream=upstream.port, organization=living.organization)
    folder = tmp_path_factory.mktemp(gateway.name) / "configuration"
    async with through(gateway, places, folder, living=living, upstream=upstream) as made:
        yield made
