"""The rows that go into the log's transaction with what was decided: of read models, the vault, and what is remembered.

Must never hold a secret that is neither hashed nor sealed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from events.entry import NewEvent
from events.tokens import TokenEvent, TokenState
from projections import applications
from projections.tokens import row_json
from service import vault
from service.aggregates import Aggregate, DecidedEvent, client_secret_of
from service.cached_changes import change_row
from service.seals import seal_row

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


class TokenChange(NamedTuple):
    """A token that something happened to: before and after, and of which generations its secret is kept."""

    event_id: str
    """Of the first event of the command that concerns it."""
    before: TokenState | None
    after: TokenState
    sealed_before: frozenset[int]
    sealed_after: frozenset[int]

    @property
    def ends_secret(self) -> bool:
        """Say whether an earlier secret is not to be given again: it was replaced, revoked, or is kept no more."""
        if self.before is None:
            return False
        return (
            self.after.generation != self.before.generation
            or (self.after.revoked_at is not None and self.before.revoked_at is None)
            or (bool(self.sealed_before) and not self.sealed_after)
        )


def token_changes(
    written: Sequence[NewEvent], decided: Iterable[DecidedEvent], before: Aggregate, after: Aggregate
) -> list[TokenChange]:
    """List the tokens that something happened to; what happens to an application concerns its client secret."""
    changes: dict[str, TokenChange] = {}
    for placed, event in zip(written, decided, strict=True):
        token_id = event.token_id if isinstance(event, TokenEvent) else client_secret_of(after)
        state = None if token_id is None else after.token(token_id)
        if state is None or state.id in changes:
            continue
        changes[state.id] = TokenChange(
            event_id=placed.event_id,
            before=before.token(state.id),
            after=state,
            sealed_before=before.sealed(state.id),
            sealed_after=after.sealed(state.id),
        )
    return list(changes.values())


def rows_of(changes: Iterable[TokenChange], before: Aggregate, after: Aggregate) -> dict[str, list[Mapping[str, Any]]]:
    """Write the rows of what changed."""
    rows: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for change in changes:
        if change.after != change.before:
            rows["new_tokens" if change.before is None else "tokens"].append(row_json(change.after))
        if (remembered := change_row(change.before, change.after, change.event_id)) is not None:
            rows["revocations"].append(remembered)
        if change.ends_secret:
            rows["vault_forget"].append({"token_id": change.after.id})
        if change.sealed_before - change.sealed_after:
            rows["vault_drop_seals"].append(dropped(change))
    if after.application is not None and after.application != before.application:
        rows["applications"].append(applications.row_json(after.application))
    return rows


def dropped(change: TokenChange) -> Mapping[str, Any]:
    """Write which seals of a token go: all, or those of the generations before one."""
    if not change.sealed_after:
        return {"token_id": change.after.id}
    return {"token_id": change.after.id, "below": min(change.sealed_after)}


def rows_of_secret(
    keys: vault.Keys, issued: vault.Issued, key: vault.IdempotencyKey | None, *, is_kept: bool
) -> dict[str, list[Mapping[str, Any]]]:
    """Write what the vault keeps of a new secret, sealed where it is to be shown again."""
    token_id, organization = issued.token_id, issued.organization
    rows: dict[str, list[Mapping[str, Any]]] = {"vault_secrets": [issued.row()]}
    if is_kept:
        seal = seal_row(keys, issued.secret, token_id=token_id, generation=issued.generation, organization=organization)
        rows["vault_seals"] = [seal]
    if key is not None:
        replay = vault.replay_row(keys, key, secret=issued.secret, token_id=token_id, organization=organization)
        rows["vault_replays"] = [replay]
    return rows
