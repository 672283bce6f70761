"""What a request leaves behind: nothing that waits for the garbage collector, whose passes hold everybody up."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.api.conftest import Answer, Service
from tests.api.front_end import FrontEnd

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMES = 20
CREATE = 'mutation { createToken(input: {name: "a token"}) { token { name } secret } }'
LIST = "{ organization { name } tokens(first: 3) { nodes { id name scopes } pageInfo { hasNextPage } } }"
SIGN_IN = """
mutation { signIn(input: {email: "nobody@example.com", password: "the password of nobody"}) { userErrors { code } } }
"""
WRONG = "{ nonsense }"


@pytest.fixture
def saved() -> Iterator[None]:
    """Have the collector run only when it is told to, and forget what it was told to keep."""
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def left_by(ask: Callable[[], Awaitable[Answer]]) -> Counter[str]:
    """Ask often, and count what only the collector would free, by type and request."""
    for _ in range(3):
        await ask()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    for _ in range(TIMES):
        await ask()
    gc.collect()
    found = Counter(type(one).__qualname__ for one in gc.garbage)
    return Counter({name: count // TIMES for name, count in found.items() if count >= TIMES})


@pytest.mark.usefixtures("saved")
@pytest.mark.parametrize("document", [CREATE, LIST, WRONG])
async def test_a_request_leaves_no_cycles(service: Service, document: str) -> None:
    """A mutation, a query and a document that is refused."""
    key = (await service.token("*:*")).key
    assert await left_by(lambda: service.gql(key, document)) == Counter()


@pytest.mark.usefixtures("saved")
async def test_a_sign_in_leaves_no_cycles(service: Service) -> None:
    """One that is refused."""
    browser = FrontEnd(service=service)
    assert await left_by(lambda: browser.ask(SIGN_IN)) == Counter()
