"""The parameters of one GraphQL request, whichever way it came. Must never quote one."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from service.api.execution import GraphQLRequest

JSON: Final = "application/json"


class RefusedError(Exception):
    """The request ends here: a status, a message that quotes nothing, headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def check_body_type(request: web.Request) -> None:
    """Refuse a body of another type with 415, by its head alone: a form on any page can send what is no JSON."""
    if request.content_type != JSON:
        raise RefusedError(415, "The Content-Type must be application/json.")
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise RefusedError(415, "The charset must be utf-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError(415, "The body must not be compressed.")


def parameters(given: object) -> GraphQLRequest:
    """Check the parameters of one request, or refuse it with 400."""
    if isinstance(given, list):
        raise RefusedError(400, "Batches are not supported: send one operation per request.")
    if not isinstance(given, dict):
        raise RefusedError(400, "The body must be a JSON object.")
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str):
        raise RefusedError(400, "The parameter 'query' must be a string.")
    if not isinstance(variables, dict | None):
        raise RefusedError(400, "The parameter 'variables' must be an object or null.")
    if not isinstance(name, str | None):
        raise RefusedError(400, "The parameter 'operationName' must be a string or null.")
    if not isinstance(given.get("extensions"), dict | None):
        raise RefusedError(400, "The parameter 'extensions' must be an object or null.")
    return GraphQLRequest(query=query, variables=variables or {}, operation_name=name or None)
