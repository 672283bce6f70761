"""What a subscription asks for: which events, and what of each. Must never execute one event twice for one answer.

A subscription's field answers what to follow, and what of each event was selected is executed with that event as its
root (GraphQL, section 6.2.3.2). Both are apart, so that one reading and one execution serve all who ask the same.
"""

import contextlib
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson
from graphql import ExecutionResult, FieldNode, GraphQLResolveInfo, Node, OperationDefinitionNode, VariableNode
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path

from service.api.context import Resolving
from service.api.errors import execution_errors, internal_error
from service.api.plain_fields import Read, compiled, root_fields

STARTS: Final = frozenset({"after", "afterPosition"})
"""The arguments that say where to begin, and nothing about what is sent."""


class Selection:
    """What is asked of each event."""

    def __init__(self, executor: Any, shared_key: object, *, most_errors: int) -> None:  # noqa: ANN401 -- graphql-core's
        self._executor = executor
        self._most_errors = most_errors
        self.shared_key = shared_key
        """Equal for those that ask the same, wherever they begin."""

    @cached_property
    def _read(self) -> Read | None:
        """Compile it when it is used: of those who ask the same, only one's is."""
        return compiled(self._executor)

    def encode(self, root: object, resolving: Resolving) -> bytes | Awaitable[bytes]:
        """Execute one event and write the result, at once where nothing has to be waited for; never raises."""
        if self._read is not None:
            with contextlib.suppress(Exception):  # graphql-core says what is wrong with it
                return orjson.dumps({"data": self._read(root)})
        try:
            each = self._executor.build_per_event_executor(root)
            each.context_value = resolving.context
            answer = each.execute_operation(False)  # noqa: FBT003 -- graphql-core's: not serially
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller learns the request's id and no more
            return failed(error, resolving.request_id)
        if isinstance(answer, ExecutionResult):
            return self._written(answer, resolving.request_id)
        return self._later(answer, resolving.request_id)

    async def _later(self, answer: Awaitable[ExecutionResult], request_id: str) -> bytes:
        try:
            return self._written(await answer, request_id)
        except Exception as error:  # noqa: BLE001 -- as above
            return failed(error, request_id)

    def _written(self, result: ExecutionResult, request_id: str) -> bytes:
        payload: dict[str, object] = {"data": result.data}
        if result.errors:
            payload = {"errors": execution_errors(result.errors, request_id, most=self._most_errors)} | payload
        return orjson.dumps(payload)


def failed(error: Exception, request_id: str) -> bytes:
    """Write the result of an execution that broke."""
    return orjson.dumps({"data": None, "errors": [internal_error(error, request_id)]})


@dataclass(frozen=True, slots=True)
class RootField:
    """The one field of a subscription, with what its resolver is called with."""

    subscribe: Any
    info: GraphQLResolveInfo[Any]
    arguments: Mapping[str, Any]


def root_field(executor: Any) -> RootField:  # noqa: ANN401 -- graphql-core's
    """Find the one field, as graphql-core's `execute_subscription` does, whose own wants an iterable of events."""
    schema, root_type = executor.schema, executor.schema.subscription_type
    name, found = next(iter(root_fields(executor).items()))
    nodes = [details.node for details in found]
    field = schema.get_field(root_type, nodes[0].name.value)
    info = executor.build_resolve_info(field, nodes, root_type, Path(None, name, root_type.name))
    arguments = get_argument_values(
        field, nodes[0], executor.variable_values, found[0].fragment_variable_values, executor.hide_suggestions
    )
    return RootField(field.subscribe, info, arguments)


def shared_variables(operation: OperationDefinitionNode, variables: Mapping[str, object]) -> dict[str, object]:
    """Leave out the variables that say only where to begin."""
    uses: list[tuple[str, bool]] = list(variable_uses(operation.selection_set, is_start=False))
    elsewhere = {name for name, is_start in uses if not is_start}
    starts = {name for name, is_start in uses if is_start} - elsewhere
    return {name: value for name, value in variables.items() if name not in starts}


def variable_uses(node: Node, *, is_start: bool, is_root: bool = True) -> Iterator[tuple[str, bool]]:
    """Find the variables in a document, each with whether it says where to begin."""
    if isinstance(node, VariableNode):
        yield node.name.value, is_start
        return
    for key in node.keys:
        value = getattr(node, key, None)
        for child in value if isinstance(value, list | tuple) else (value,):
            if isinstance(child, Node):
                begins = is_root and isinstance(node, FieldNode) and key == "arguments" and child.name.value in STARTS  # type: ignore[attr-defined]  # an argument has a name
                inner = is_root and not isinstance(node, FieldNode)
                yield from variable_uses(child, is_start=is_start or begins, is_root=inner)
