"""Passwords in documents: there must be none, since documents are remembered, shown in tools and logged by proxies.

The rule must never quote the value that it finds.
"""

from typing import Any, Final

from graphql import (
    ArgumentNode,
    ASTValidationRule,
    GraphQLError,
    ObjectFieldNode,
    ValidationContext,
    VariableDefinitionNode,
    VariableNode,
)

PASSWORDS: Final = frozenset({"password", "currentPassword", "newPassword"})


class PasswordsAreVariablesRule(ASTValidationRule):
    """A password is a variable's value, and that variable has no default."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._used: dict[str, VariableNode] = {}
        self._with_default: set[str] = set()

    def enter_object_field(self, node: ObjectFieldNode, *_: Any) -> None:  # noqa: ANN401 -- graphql-core's visitor
        """Look at a field of an input."""
        self._look_at(node)

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:  # noqa: ANN401 -- graphql-core's visitor
        """Look at an argument."""
        self._look_at(node)

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> None:  # noqa: ANN401 -- its visitor
        """Note which variables have a default."""
        if node.default_value is not None:
            self._with_default.add(node.variable.name.value)

    def leave_document(self, *_: Any) -> None:  # noqa: ANN401 -- graphql-core's visitor
        """Report the variables whose default would be a password: a fragment may come before they are defined."""
        for name in self._used.keys() & self._with_default:
            self.report_error(GraphQLError("A password's variable must have no default.", self._used[name]))

    def _look_at(self, node: ObjectFieldNode | ArgumentNode) -> None:
        if node.name.value not in PASSWORDS:
            return
        if isinstance(node.value, VariableNode):
            self._used[node.value.name.value] = node.value
        else:
            self.report_error(GraphQLError("A password must be a variable.", node))
