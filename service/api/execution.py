"""Run GraphQL requests: find out once per text what it asks for, execute each time, and tell only what may be told.

Strawberry builds the schema; graphql-core's `Executor.build` runs it, as Strawberry's own `Schema.execute` does. That
one is not used since it logs every error as graphql-core words it, values of variables included, before a caller can
reword it; takes a parsed document only through extensions; and has no way to bound the errors of coercion.

Every entrance (HTTP, WebSocket and server-sent events) goes through `Executor`. It must never let an
exception's words out, nor a value.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from inspect import isawaitable
from time import monotonic
from typing import Any, Final, TypeGuard

import orjson
import strawberry
from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationType,
    Undefined,
    is_input_type,
    type_from_ast,
)
from graphql.utilities import validate_input_value
from strawberry.execution import optimized_is_awaitable

from service.api.documents import SIGN_IN_DOCUMENTS_A_SECOND, Documents, Operation, Prepared, SignIns
from service.api.errors import FormattedError, execution_errors, formatted, internal_error, on_value_error
from service.api.limits import Limits, TooComplexError, check_cost, check_variables
from service.api.selections import Selection, root_field, shared_variables
from service.pacing import DenialsOverloadError, Pace

CHANGES_COOKIE: Final = "What signs in or out, or changes the session, needs a plain POST: the answer sets its cookie."


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQLRequest:
    """What a client sent: the document's text, its variables, the operation's name if it gave one."""

    query: str
    variables: Mapping[str, object]
    operation_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The answer, ready for JSON. Not `executed`: the request was refused as a whole and there is no `data`."""

    executed: bool
    data: dict[str, Any] | None = None
    errors: tuple[FormattedError, ...] = ()
    needs_post: bool = False
    is_mutation: bool = False

    def payload(self) -> dict[str, object]:
        """Return the response's body."""
        payload: dict[str, object] = {"errors": self.errors} if self.errors else {}
        if self.executed:
            payload["data"] = self.data
        return payload


class Way(Enum):
    """How a request came in, which says what it may do."""

    GET = auto()
    """Queries only."""
    POST = auto()
    STREAM = auto()
    """WebSocket or server-sent events: nothing that changes the session's cookie, which only an answer's head can."""


class Executor:
    """Owns the schema and what is remembered of documents."""

    def __init__(self, schema: strawberry.Schema, limits: Limits) -> None:
        self._executor_class = schema.execution_context_class
        self._schema: GraphQLSchema = schema._schema  # noqa: SLF001 - Strawberry has no public way to its own schema
        self._limits = limits
        self._documents = Documents(self._schema, limits)
        self._sign_ins = SignIns(self._schema, limits, Pace(SIGN_IN_DOCUMENTS_A_SECOND, monotonic))

    async def execute(self, request: GraphQLRequest, *, context: object, request_id: str, way: Way) -> Execution:
        """Answer a query or a mutation; never raises but when cancelled."""
        try:
            operation = self.prepare(request)
            if not isinstance(operation, Operation):
                return Execution(executed=False, errors=operation)
            if operation.kind is OperationType.SUBSCRIPTION:
                return _refused("Subscriptions are served over WebSocket or as server-sent events.")
            if operation.kind is OperationType.MUTATION and way is Way.GET:
                return replace(_refused("Mutations need POST."), needs_post=True)
            if operation.changes_cookie and way is Way.STREAM:
                return _refused(CHANGES_COOKIE)
            return await self._run(operation, request.variables, context=context, request_id=request_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller learns the request's id and no more
            return Execution(executed=False, errors=(internal_error(error, request_id),))

    async def sign_in(self, request: GraphQLRequest, *, context: object, request_id: str) -> Execution | None:
        """Answer who presents no credential, which may sign in; None for a document that does anything else."""
        try:
            prepared = await self._sign_ins.prepared(request.query)
            if prepared is None:
                return None
            operation = self._with(request, prepared)
            if not isinstance(operation, Operation):
                return Execution(executed=False, errors=operation)
            return await self._run(operation, request.variables, context=context, request_id=request_id)
        except DenialsOverloadError:
            return Execution(executed=False, errors=(formatted("UNAVAILABLE", "The service is busy: try again."),))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller learns the request's id and no more
            return Execution(executed=False, errors=(internal_error(error, request_id),))

    async def open(
        self, request: GraphQLRequest, *, context: object, request_id: str
    ) -> tuple[Any, Selection] | Execution:
        """Answer what a subscription follows, which its resolver said, and what it selects; or why it is refused."""
        try:
            operation = self.prepare(request)
            if not isinstance(operation, Operation):
                return Execution(executed=False, errors=operation)
            executor = self._built(operation, request.variables, context)
            if executor is None:
                return Execution(executed=False, errors=self._coercion_errors(operation, request.variables))
            try:
                field = root_field(executor)
                followed = await field.subscribe(None, field.info, **field.arguments)
            except Exception as error:  # noqa: BLE001 -- what may be told of it is told, as of any resolver
                located = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
                return Execution(executed=False, errors=tuple(execution_errors([located], request_id, most=1)))
            variables = shared_variables(operation.definition, request.variables)
            key = (request.query, orjson.dumps(variables, option=orjson.OPT_SORT_KEYS))
            return followed, Selection(executor, key, most_errors=self._limits.errors)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller learns the request's id and no more
            return Execution(executed=False, errors=(internal_error(error, request_id),))

    def kind_of(self, request: GraphQLRequest) -> OperationType | None:
        """Say what a request asks for; None where it is refused."""
        prepared = self.prepare(request)
        return prepared.kind if isinstance(prepared, Operation) else None

    def prepare(self, request: GraphQLRequest) -> Prepared:
        """Return the operation, from memory if its text was seen before, or the errors that refuse the request."""
        return self._with(request, self._documents.prepared(request.query))

    def _with(self, request: GraphQLRequest, prepared: Prepared) -> Prepared:
        if not isinstance(prepared, Operation):
            return prepared
        name = prepared.definition.name
        if request.operation_name and (name is None or name.value != request.operation_name):
            return (formatted("BAD_USER_INPUT", "The document has no operation of the name in operationName."),)
        try:
            check_variables(request.variables, self._limits)
            if prepared.cost.parts:
                check_cost(prepared.cost.total(request.variables, self._limits), self._limits)
        except TooComplexError as error:
            return (formatted("QUERY_TOO_COMPLEX", str(error)),)
        return prepared

    async def _run(
        self, operation: Operation, variables: Mapping[str, object], *, context: object, request_id: str
    ) -> Execution:
        executor = self._built(operation, variables, context)
        if executor is None:
            return Execution(executed=False, errors=self._coercion_errors(operation, variables))
        result = executor.execute_operation()
        answer = await result if isawaitable(result) else result
        if not isinstance(answer, ExecutionResult):
            raise TypeError("an answer in several parts, though @defer and @stream are not in the schema")
        vars(executor).clear()  # it refers to itself, and all of the request would wait for the garbage collector
        errors = execution_errors(answer.errors or (), request_id, most=self._limits.errors)
        is_mutation = operation.kind is OperationType.MUTATION
        return Execution(executed=True, data=answer.data, errors=tuple(errors), is_mutation=is_mutation)

    def _built(self, operation: Operation, variables: Mapping[str, object], context: object) -> Any:  # noqa: ANN401 -- graphql-core's
        """Coerce the variables; None where that fails."""
        executor = self._executor_class.build(
            self._schema,
            operation.document,
            context_value=context,
            raw_variable_values=dict(variables),
            max_coercion_errors=self._limits.errors,
            is_awaitable=_is_awaitable,
            operation_extensions=None,
        )
        return None if isinstance(executor, list) else executor

    def _coercion_errors(self, operation: Operation, variables: Mapping[str, object]) -> tuple[FormattedError, ...]:
        # Coercion has failed, in words that quote values: find the places again and say it in our own.
        entries: list[FormattedError] = []

        def report(message: str, path: Sequence[str | int]) -> None:
            at = f" at '{'.'.join(map(str, path))}'" if path else ""
            place = GraphQLError(message, definition)
            entries.append(formatted("BAD_USER_INPUT", f"Variable '${name}' is invalid{at}: {message}", error=place))
            if len(entries) == self._limits.errors:
                raise _EnoughError

        try:
            for definition in operation.definition.variable_definitions or ():
                name = definition.variable.name.value
                type_ = type_from_ast(self._schema, definition.type)
                value = variables.get(name, Undefined)
                if is_input_type(type_) and (value is not Undefined or definition.default_value is None):
                    validate_input_value(value, type_, on_value_error(report, type_))
        except (_EnoughError, RecursionError):
            pass
        return tuple(entries) or (formatted("BAD_USER_INPUT", "The variables are invalid."),)


def _is_awaitable(value: object) -> TypeGuard[Awaitable[object]]:
    # Strawberry's is much quicker for plain values, and declared as returning a bool.
    return optimized_is_awaitable(value)


class _EnoughError(Exception):
    """Ends the search for more errors of coercion."""


def _refused(message: str) -> Execution:
    return Execution(executed=False, errors=(formatted("BAD_USER_INPUT", message),))
