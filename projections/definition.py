"""What a read model's definition is, as one word to compare. Must never say that two are the same which are not.

A rebuild that was begun by one definition must not be gone on with by another: half of the rows would be of each. So
the word is a hash of the source of every file that says how the rows follow from the log. It changes with a comment in
them, too: then a rebuild starts anew, which costs time and nothing else.
"""

import inspect
from hashlib import sha256

from events import entry, registry
from events.registry import TYPES
from projections.projection import AnyProjection


def definition_of(projection: AnyProjection) -> str:
    """Hash how a read model follows from the log: its functions, its events and how they are read."""
    functions = (projection.key, projection.evolve, projection.row, projection.state)
    modules = {inspect.getmodule(thing) for thing in (*functions, *projection.types)} | {entry, registry}
    digest = sha256(repr((projection.columns, sorted(versions(projection)))).encode())
    for module in sorted((module for module in modules if module is not None), key=lambda module: module.__name__):
        digest.update(f"\n{module.__name__}\n{inspect.getsource(module)}".encode())
    return digest.hexdigest()


def versions(projection: AnyProjection) -> set[tuple[str, int]]:
    """List the types that a read model cares for, each with the schema version that it is brought up to."""
    return {(cls.__name__, TYPES[cls.__name__].schema_version) for cls in projection.types}
