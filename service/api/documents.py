"""Documents: parsed, weighed and validated once per text, and remembered, be they good or refused.

Who presents no credential is heard for one thing only, to sign in: such documents are told from all others before they
are validated, and kept apart, so that nobody's documents take the place of a caller's. It must never quote what a
document holds but names, nor remember without a bound.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    InlineFragmentNode,
    NoFragmentCyclesRule,
    NoUnusedFragmentsRule,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    UniqueFragmentNamesRule,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VisitorAction,
    parse,
    specified_rules,
    validate,
)
from graphql.language import SKIP
from graphql.utilities import validate_input_literal
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from service.api.errors import FormattedError, formatted, on_value_error, syntax_error
from service.api.limits import Cost, Limits, TooComplexError, check_text, survey
from service.api.passwords import PasswordsAreVariablesRule
from service.pacing import Pace

SIGN_IN: Final = "signIn"
COOKIE_CHANGING: Final = frozenset({SIGN_IN, "signOut", "reauthenticate", "changePassword"})
"""The mutations after which a browser holds another session, or none."""
SIGN_IN_CHARACTERS: Final = 4_096
SIGN_IN_TOKENS: Final = 300
SIGN_IN_DOCUMENTS: Final = 32
SIGN_IN_DOCUMENTS_A_SECOND: Final = 50
"""New ones, that is."""
_SUGGESTION: Final = re.compile(r" Did you mean .*", re.DOTALL)


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
    PasswordsAreVariablesRule,
    MaybeNullValidationRule,
)


@dataclass(frozen=True, slots=True)
class Operation:
    """A document that passed: parsed, within the limits, valid."""

    document: DocumentNode
    definition: OperationDefinitionNode
    cost: Cost
    changes_cookie: bool = False

    @property
    def kind(self) -> OperationType:
        """Say whether it is a query, a mutation or a subscription."""
        return self.definition.operation


# A document's text leads either to an operation or to errors, and always to the same.
Prepared = Operation | tuple[FormattedError, ...]


class Documents:
    """Owns the operations already seen, the least recently used forgotten first."""

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        *,
        documents: int = 512,
        document_characters: int = 8_192,
        characters: int = 262_144,
    ) -> None:
        """Remember at most `documents`, none longer than `document_characters`, all together at most `characters`."""
        self._schema = schema
        self._limits = limits
        self._documents = documents
        self._document_characters = document_characters
        self._characters = characters
        self._characters_held = 0
        self._seen: OrderedDict[str, Prepared] = OrderedDict()

    def recalled(self, query: str) -> Prepared | None:
        """Return what became of a text before; None if it is not remembered."""
        prepared = self._seen.get(query)
        if prepared is not None:
            self._seen.move_to_end(query)
        return prepared

    def prepared(self, query: str) -> Prepared:
        """Return the operation, from memory if its text was seen before, or the errors that refuse it."""
        prepared = self.recalled(query)
        if prepared is not None:
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
            message = f"A document must hold exactly one operation, this one holds {len(operations)}."
            return (formatted("BAD_USER_INPUT", message),)
        errors = self._invalid(document, _FRAGMENT_RULES) if len(document.definitions) > 1 else ()
        if errors:
            return errors
        try:
            cost = survey(self._schema, document, limits=self._limits)
        except TooComplexError as error:
            return (formatted("QUERY_TOO_COMPLEX", str(error)),)
        return self._invalid(document, _OTHER_RULES) or Operation(
            document, operations[0], cost, changes_cookie(document, operations[0])
        )

    def _invalid(
        self, document: DocumentNode, rules: tuple[type[ASTValidationRule], ...]
    ) -> tuple[FormattedError, ...]:
        # One fewer, since giving up is an error of its own.
        errors = validate(self._schema, document, rules, max_errors=self._limits.errors - 1)
        return tuple(formatted("BAD_USER_INPUT", error.message, error=error) for error in errors)


class SignIns:
    """The documents of who presents no credential: those that sign in and do nothing else.

    A front end sends the same one all the time. New ones are looked at no faster than their pace, so that nobody's
    documents, which cost milliseconds, hold up the verification of keys.
    """

    def __init__(self, schema: GraphQLSchema, limits: Limits, pace: Pace) -> None:
        self._pace = pace
        tokens = min(SIGN_IN_TOKENS, limits.tokens)
        self._limits = replace(limits, source_characters=SIGN_IN_CHARACTERS, tokens=tokens)
        self._documents = Documents(schema, self._limits, documents=SIGN_IN_DOCUMENTS)

    async def prepared(self, query: str) -> Prepared | None:
        """Return the operation or the errors that refuse it, without suggestions; None for what is no sign-in.

        Raises DenialsOverloadError where too many new ones come.
        """
        prepared = self._documents.recalled(query)
        if prepared is None:
            if SIGN_IN not in query or len(query) > SIGN_IN_CHARACTERS:  # most of what nobody sends costs no more
                return None
            await self._pace.wait()
            if not self._is_sign_in(query):
                return None
            prepared = self._documents.prepared(query)
        if isinstance(prepared, Operation):
            return prepared
        return tuple({**error, "message": _SUGGESTION.sub("", error["message"])} for error in prepared)

    def _is_sign_in(self, query: str) -> bool:
        try:
            check_text(query, self._limits)
            document = parse(query, max_tokens=self._limits.tokens)
        except (TooComplexError, GraphQLError):
            return False
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        if len(operations) != 1 or operations[0].operation is not OperationType.MUTATION:
            return False
        return [name for name in root_names(document, operations[0]) if name != "__typename"] == [SIGN_IN]


def changes_cookie(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Say whether an operation changes which session its browser holds."""
    if operation.operation is not OperationType.MUTATION:
        return False
    return not COOKIE_CHANGING.isdisjoint(root_names(document, operation))


def root_names(document: DocumentNode, operation: OperationDefinitionNode) -> Iterator[str]:
    """List the fields that an operation selects, whatever it calls them; what a fragment selects once only."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    pending: list[SelectionSetNode] = [operation.selection_set]
    while pending:
        for selection in pending.pop().selections:
            if isinstance(selection, FieldNode):
                yield selection.name.value
            elif isinstance(selection, InlineFragmentNode):
                pending.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value in fragments:
                pending.append(fragments.pop(selection.name.value).selection_set)
