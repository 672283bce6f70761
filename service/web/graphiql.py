"""The GraphQL explorer: one page that anyone may load, of use with a key or signed in.

It must never load anything from another host, nor run a script or a style that is not in the file.
"""

import base64
import hashlib
import re
from importlib import resources
from typing import Final

from aiohttp import web

_PAGE: Final = resources.files("service.web").joinpath("graphiql.html").read_text("utf-8")


def _hashes(tag: str) -> str:
    # Content Security Policy Level 3, section 2.3.1: the base64 of the SHA-256 of what stands between the tags.
    blocks = re.findall(f"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def explorer_page() -> web.Response:
    """Return the page, with a policy that lets it talk to this origin only."""
    return web.Response(text=_PAGE, content_type="text/html", headers=HEADERS)
