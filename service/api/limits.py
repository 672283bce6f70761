"""How much one GraphQL document may ask for, found out before the costly standard rules look at it.

One pass over the parsed document gives depth, aliases, cost and repetition. Every fragment is weighed once, so that
spreads of spreads cost no more than their text. The pass must never take more than linear time in the tokens, trust
that the document is valid, or quote anything but names.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_introspection_type,
)

# From a type to lists of more types. The standard introspection query of every tool goes through one of them at most;
# two, or the same under several aliases, multiply the whole schema by itself.
_TYPE_LISTS = frozenset({"fields", "inputFields", "interfaces", "possibleTypes"})
_META_FIELDS = frozenset({"__schema", "__type"})
_INT_CHARACTERS = len("-2147483648")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most of everything that one document, and the variables that come with it, may have."""

    source_characters: int = 32_768
    lines: int = 2_000
    tokens: int = 1_000
    depth: int = 12
    introspection_depth: int = 16
    aliases: int = 30
    cost: int = 5_000
    page: int = 100
    default_page: int = 50
    repeats: int = 15
    spreads: int = 60
    variable_values: int = 2_000
    errors: int = 10
    once: frozenset[str] = frozenset({"signIn", "reauthenticate", "changePassword"})


class TooComplexError(Exception):
    """The document or its variables go over a limit; the message says which."""


@dataclass(frozen=True, slots=True)
class Page:
    """How many rows a connection is asked for: literals and defaults already folded, variables by name."""

    fixed: int | None
    variables: tuple[tuple[str, int | None], ...]

    def rows(self, values: Mapping[str, object], limits: Limits) -> int:
        """Return the rows with these variables: the larger of `first` and `last`, within 1 and a page."""
        asked: list[float] = [] if self.fixed is None else [self.fixed]
        for name, default in self.variables:
            value = values.get(name, default)
            if isinstance(value, int | float):  # Int takes 100.0 for 100
                asked.append(value)
        return int(max(1, min(max(asked, default=limits.default_page), limits.page)))


@dataclass(frozen=True, slots=True)
class Cost:
    """A cost: a number, and what depends on variables as (times, page, cost of what is inside)."""

    fixed: int = 0
    parts: tuple[tuple[int, Page, "Cost"], ...] = ()

    def least(self) -> int:
        """Return the cost if every variable asks for one row: no values make it cheaper."""
        return self.fixed + sum(times * inside.least() for times, _, inside in self.parts)

    def total(self, values: Mapping[str, object], limits: Limits) -> int:
        """Return the cost with these variables."""
        return self.fixed + sum(
            times * page.rows(values, limits) * inside.total(values, limits) for times, page, inside in self.parts
        )


@dataclass(frozen=True, slots=True)
class _Shape:
    depth: int = 0
    cost: Cost = Cost()
    type_lists: int = 0


def survey(schema: GraphQLSchema, document: DocumentNode, *, limits: Limits) -> Cost:
    """Return the operation's cost, or raise `TooComplexError`.

    Fragments must not form cycles and every one must be spread somewhere; check that first. The work is linear in the
    document as long as the limits hold, and stops where they do not.
    """
    operation = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    found = _Survey(schema, document, operation=operation, limits=limits)
    shape = found.of_selections(operation.selection_set, schema.get_root_type(operation.operation), nesting=0)
    if shape.depth > limits.depth:
        raise TooComplexError(f"The document is more than {limits.depth} levels deep.")
    check_cost(shape.cost.least(), limits)
    found.check_repeats([operation.selection_set])
    return shape.cost


def check_text(query: str, limits: Limits) -> None:
    """Raise `TooComplexError` if the text is so long, or has so many lines, that places in it are slow to find."""
    if len(query) > limits.source_characters:
        raise TooComplexError(f"The document is longer than {limits.source_characters} characters.")
    if query.count("\n") + query.count("\r") > limits.lines:
        raise TooComplexError(f"The document has more than {limits.lines} lines.")


def check_cost(cost: int, limits: Limits) -> None:
    """Raise `TooComplexError` if the cost is too high."""
    if cost > limits.cost:
        shown = cost if cost < 10 * limits.cost else f"over {10 * limits.cost}"
        raise TooComplexError(f"The document costs {shown}, more than {limits.cost}: ask for smaller pages.")


def check_variables(values: Mapping[str, object], limits: Limits) -> None:
    """Raise `TooComplexError` if the variables hold too many values for coercion to be quick."""
    left = limits.variable_values
    pending: list[object] = [values]
    while pending:
        value = pending.pop()
        inside = list(value.values()) if isinstance(value, dict) else value
        if isinstance(inside, list):
            left -= len(inside)
            if left < 0:
                raise TooComplexError(f"The variables hold more than {limits.variable_values} values.")
            pending.extend(inside)


class _Survey:
    """One walk over one document; owns what is remembered of its fragments."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, *, operation: OperationDefinitionNode, limits: Limits
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._defaults = dict(_variable_defaults(operation))
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._weighed: dict[str, _Shape] = {}
        self._aliases = 0
        self._once = 0
        # Inline fragments and spreads add no level, but the walk must end well before Python's stack does.
        self._nesting = 4 * max(limits.depth, limits.introspection_depth)

    def of_selections(self, node: SelectionSetNode, parent: GraphQLNamedType | None, *, nesting: int) -> _Shape:
        """Return depth and cost of a selection set on a type; `None` stands for a type that is unknown."""
        if nesting > self._nesting:
            raise TooComplexError(f"The document is more than {self._limits.depth} levels deep.")
        shapes: list[_Shape] = []
        for selection in node.selections:
            if isinstance(selection, FieldNode):
                shapes.append(self._of_field(selection, parent, nesting=nesting))
            elif isinstance(selection, FragmentSpreadNode):
                shapes.append(self._of_fragment(selection.name.value, nesting))
            elif isinstance(selection, InlineFragmentNode):
                on = selection.type_condition
                inside = self._schema.get_type(on.name.value) if on else parent
                shapes.append(self.of_selections(selection.selection_set, inside, nesting=nesting + 1))
        if len(shapes) == 1:
            return shapes[0]
        return _Shape(
            max((shape.depth for shape in shapes), default=0),
            _sum(shape.cost for shape in shapes),
            max((shape.type_lists for shape in shapes), default=0),
        )

    def check_repeats(self, merged: list[SelectionSetNode]) -> None:
        """Refuse a field selected very often at one place: the rule that merges fields compares all with all."""
        by_name: dict[str, list[SelectionSetNode]] = {}
        seen: Counter[str] = Counter()
        for node in self._fields_of(merged):
            name = node.alias.value if node.alias else node.name.value
            seen[name] += 1
            if seen[name] > self._limits.repeats:
                raise TooComplexError(f"A field is selected more than {self._limits.repeats} times at one place.")
            if node.selection_set:
                by_name.setdefault(name, []).append(node.selection_set)
        for inside in by_name.values():
            self.check_repeats(inside)

    def _fields_of(self, merged: list[SelectionSetNode]) -> Iterator[FieldNode]:
        pending, spread, spreads = list(merged), set[str](), 0
        while pending:
            for selection in pending.pop().selections:
                if isinstance(selection, FieldNode):
                    yield selection
                elif isinstance(selection, InlineFragmentNode):
                    pending.append(selection.selection_set)
                elif isinstance(selection, FragmentSpreadNode):
                    spreads += 1
                    fragment = self._fragments.get(selection.name.value)
                    if fragment and selection.name.value not in spread:
                        spread.add(selection.name.value)
                        pending.append(fragment.selection_set)
            if spreads > self._limits.spreads:
                raise TooComplexError(f"More than {self._limits.spreads} fragments are spread at one place.")

    def _of_fragment(self, name: str, nesting: int) -> _Shape:
        fragment = self._fragments.get(name)
        if fragment is None:
            return _Shape()
        if name not in self._weighed:
            on = self._schema.get_type(fragment.type_condition.name.value)
            self._weighed[name] = self.of_selections(fragment.selection_set, on, nesting=nesting + 1)
        return self._weighed[name]

    def _of_field(self, node: FieldNode, parent: GraphQLNamedType | None, *, nesting: int) -> _Shape:
        name = node.name.value
        self._count(node, parent)
        if node.selection_set is None:
            return _Shape(1, Cost(1))
        definition = _definition(self._schema, parent, name=name)
        inside_type = get_named_type(definition.type) if definition else None
        inside = self.of_selections(node.selection_set, inside_type, nesting=nesting + 1)
        cost = _paged(inside.cost, self._page(node, definition), limits=self._limits)
        if parent is not None and is_introspection_type(parent):
            return _Shape(1 + inside.depth, cost, inside.type_lists + (name in _TYPE_LISTS))
        if inside_type is None or not is_introspection_type(inside_type):
            return _Shape(1 + inside.depth, cost)
        return _Shape(1, self._introspected(inside, cost))

    def _count(self, node: FieldNode, parent: GraphQLNamedType | None) -> None:
        if node.alias and (node.name.value in _META_FIELDS or (parent is not None and is_introspection_type(parent))):
            raise TooComplexError("The introspection takes no aliases.")
        self._aliases += node.alias is not None
        if self._aliases > self._limits.aliases:
            raise TooComplexError(f"The document has more than {self._limits.aliases} aliases.")
        if node.name.value in self._limits.once and parent is self._schema.mutation_type:
            self._once += 1
            if self._once > 1:
                raise TooComplexError(f"The document may select one of {', '.join(sorted(self._limits.once))}, once.")

    def _introspected(self, inside: _Shape, cost: Cost) -> Cost:
        if inside.type_lists > 1:
            raise TooComplexError("The introspection goes from a list of types to another.")
        if inside.depth >= self._limits.introspection_depth:
            raise TooComplexError(f"The introspection is more than {self._limits.introspection_depth} levels deep.")
        return cost

    def _page(self, node: FieldNode, definition: GraphQLField | None) -> Page | None:
        fixed: list[int] = []
        variables: list[tuple[str, int | None]] = []
        for argument in node.arguments or ():
            if argument.name.value not in {"first", "last"}:
                continue
            if isinstance(argument.value, IntValueNode):
                fixed.append(_integer(argument.value))
            elif isinstance(argument.value, VariableNode):
                variables.append((argument.value.name.value, self._defaults.get(argument.value.name.value)))
        if fixed or variables or (definition and not definition.args.keys().isdisjoint({"first", "last"})):
            return Page(max(fixed, default=None), tuple(variables))
        return None


def _definition(schema: GraphQLSchema, parent: GraphQLNamedType | None, *, name: str) -> GraphQLField | None:
    if parent is None or not is_composite_type(parent):
        return None
    return schema.get_field(parent, name)


def _paged(inside: Cost, page: Page | None, *, limits: Limits) -> Cost:
    if page is not None and page.variables:
        return Cost(1, ((1, page, inside),))
    rows = page.rows({}, limits) if page else 1
    return Cost(1 + rows * inside.fixed, tuple((rows * times, by, cost) for times, by, cost in inside.parts))


def _sum(costs: Iterator[Cost]) -> Cost:
    # Equal parts are merged, or a fragment spread twice in a fragment spread twice … would list them 2ⁿ times.
    fixed = 0
    merged: dict[tuple[Page, int], tuple[int, Page, Cost]] = {}
    for cost in costs:
        fixed += cost.fixed
        for times, page, inside in cost.parts:
            before = merged.get((page, id(inside)))
            merged[page, id(inside)] = (times + (before[0] if before else 0), page, inside)
    return Cost(fixed, tuple(merged.values()))


def _variable_defaults(operation: OperationDefinitionNode) -> Iterator[tuple[str, int]]:
    for node in operation.variable_definitions or ():
        if isinstance(node.default_value, IntValueNode):
            yield node.variable.name.value, _integer(node.default_value)


def _integer(node: IntValueNode) -> int:
    # Python refuses to convert thousands of digits; what does not fit into 32 bits is refused as a value later.
    return int(node.value) if len(node.value) <= _INT_CHARACTERS else 0
