"""Run GraphQL requests: parse, weigh, validate once per text, execute each time, and tell only what may be told.

Strawberry builds the schema; graphql-core's `Executor.build` runs it, as Strawberry's own `Schema.execute` does. That
one is not used since it logs every error as graphql-core words it, values of variables included, before a caller can
reword it; takes a parsed document only through extensions; and has no way to bound the errors of coercion.

Every entrance (HTTP now, WebSocket and server-sent events later) goes through `Executor`. It must never let an
exception's words out, nor a value.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, Final, TypeGuard

import orjson
import strawberry
from graphql import (
    ASTValidationRule,
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    NoFragmentCyclesRule,
    NoUnusedFragmentsRule,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    UniqueFragmentNamesRule,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VisitorAction,
    is_input_type,
    parse,
    specified_rules,
    type_from_ast,
    validate,
)
from graphql.language import SKIP
from graphql.utilities import validate_input_literal, validate_input_value
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from service.api.errors import (
    FormattedError,
    execution_errors,
    formatted,
    internal_error,
    on_value_error,
    syntax_error,
)
from service.api.limits import Cost, Limits, TooComplexError, check_cost, check_text, check_variables, survey
from service.api.selections import Selection, root_field, shared_variables


class _QuietValuesRule(ValuesOfCorrectTypeRule):
    """The standard rule about literals, in words that do not quote them."""

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        if input_type:
            report = on_value_error(lambda message, _: self.report_error(GraphQLError(message, node)), input_type)
            validate_input_literal(node, input_type, report)
        return SKIP


# First what `survey` relies on: linear rules, and only for documents with fragments. The quadratic ones come last.
_FRAGMENT_RULES: Final[tuple[type[ASTValidationRule], ...]] = (
    UniqueFragmentNamesRule,
    NoUnusedFragmentsRule,
    NoFragmentCyclesRule,
)
# Strawberry's rule about one-of inputs is left out, since an undefined variable makes it fail with `KeyError`; coercion
# refuses what it would have refused.
_OTHER_RULES: Final[tuple[type[ASTValidationRule], ...]] = (
    *(rule for rule in specified_rules if rule not in {*_FRAGMENT_RULES, ValuesOfCorrectTypeRule}),
    _QuietValuesRule,
    MaybeNullValidationRule,
)


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


@dataclass(frozen=True, slots=True)
class Operation:
    """A document that passed: parsed, within the limits, valid."""

    document: DocumentNode
    definition: OperationDefinitionNode
    cost: Cost

    @property
    def kind(self) -> OperationType:
        """Say whether it is a query, a mutation or a subscription."""
        return self.definition.operation


# A document's text leads either to an operation or to errors, and always to the same.
Prepared = Operation | tuple[FormattedError, ...]


class Executor:
    """Owns the schema and the operations already seen, the least recently used forgotten first."""

    def __init__(
        self,
        schema: strawberry.Schema,
        limits: Limits,
        *,
        documents: int = 512,
        document_characters: int = 8_192,
        characters: int = 262_144,
    ) -> None:
        """Remember at most `documents`, none longer than `document_characters`, all together at most `characters`."""
        self._executor_class = schema.execution_context_class
        self._schema: GraphQLSchema = schema._schema  # noqa: SLF001 - Strawberry has no public way to its own schema
        self._limits = limits
        self._documents = documents
        self._document_characters = document_characters
        self._characters = characters
        self._characters_held = 0
        self._seen: OrderedDict[str, Prepared] = OrderedDict()

    async def execute(
        self, request: GraphQLRequest, *, context: object, request_id: str, allow_mutation: bool
    ) -> Execution:
        """Answer a query or a mutation; never raises but when cancelled."""
        try:
            operation = self.prepare(request)
            if not isinstance(operation, Operation):
                return Execution(executed=False, errors=operation)
            if operation.kind is OperationType.SUBSCRIPTION:
                return _refused("Subscriptions are served over WebSocket or as server-sent events.")
            if operation.kind is OperationType.MUTATION and not allow_mutation:
                return replace(_refused("Mutations need POST."), needs_post=True)
            return await self._run(operation, request.variables, context=context, request_id=request_id)
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
        prepared = self._remembered(request.query)
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

    def _remembered(self, query: str) -> Prepared:
        prepared = self._seen.get(query)
        if prepared is not None:
            self._seen.move_to_end(query)
            return prepared
        prepared = self._prepared(query)
        if len(query) <= self._document_characters:
            self._seen[query] = prepared
            self._characters_held += len(query)
            while len(self._seen) > self._documents or self._characters_held > self._characters:
                self._characters_held -= len(self._seen.popitem(last=False)[0])
        return prepared

    def _prepared(self, query: str) -> Prepared:
        try:
            check_text(query, self._limits)
            document = parse(query, max_tokens=self._limits.tokens)
        except TooComplexError as error:
            return (formatted("QUERY_TOO_COMPLEX", str(error)),)
        except GraphQLError as error:
            return (syntax_error(error),)
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        if len(operations) != 1:
            return _refused(f"A document must hold exactly one operation, this one holds {len(operations)}.").errors
        errors = self._invalid(document, _FRAGMENT_RULES) if len(document.definitions) > 1 else ()
        if errors:
            return errors
        try:
            cost = survey(self._schema, document, limits=self._limits)
        except TooComplexError as error:
            return (formatted("QUERY_TOO_COMPLEX", str(error)),)
        return self._invalid(document, _OTHER_RULES) or Operation(document, operations[0], cost)

    def _invalid(
        self, document: DocumentNode, rules: tuple[type[ASTValidationRule], ...]
    ) -> tuple[FormattedError, ...]:
        # One fewer, since giving up is an error of its own.
        errors = validate(self._schema, document, rules, max_errors=self._limits.errors - 1)
        return tuple(formatted("BAD_USER_INPUT", error.message, error=error) for error in errors)


def _is_awaitable(value: object) -> TypeGuard[Awaitable[object]]:
    # Strawberry's is much quicker for plain values, and declared as returning a bool.
    return optimized_is_awaitable(value)


class _EnoughError(Exception):
    """Ends the search for more errors of coercion."""


def _refused(message: str) -> Execution:
    return Execution(executed=False, errors=(formatted("BAD_USER_INPUT", message),))
