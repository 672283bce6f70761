"""The revocation protocol as a model: everything that can happen next in a state, one function for each kind of step.

No step is ever forced while time passes: so the node may stall anywhere, statements and messages may be late for ever,
and a revoker may stop for good. Notifications may be lost, and a node may be evicted and join again. Bounded are time
(`horizon`) and how often the node's row is written (`renewals`, the joins among them). A lease lasts two ticks. All
clocks run alike: the margins that the service leaves for drift are not modelled. Nor are verifications that ask the
database: what must never happen is an accept from the cache.

Must not follow the service's code: it is what that code is held against.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from tests.model.state import NO_DEADLINE, Fill, FillAnswer, Node, Phase, Renewal, RenewalAnswer, Row, State, Token

LEASE = 2


class Rule(Enum):
    """What the protocol demands; the model can be asked to do without one of these.

    R14, that an incarnation is never used again, is built in: what names one here is a number that only grows.
    """

    BARRIER = "R1"  # a revocation is answered once the node has acknowledged it or its lease is over
    LEASE_AT_VERIFY = "R2"  # the lease is checked at every verification
    LEASE_FROM_SEND = "R3"  # a lease counts from when the renewal was sent, not from when its answer came
    FENCED_FILL = "R4"  # a fill is cached only if its epoch is at least what the node has applied
    APPLY_BEFORE_ACKNOWLEDGEMENT = "R5"  # a node acknowledges what it has applied
    NO_GAP = "R6"  # a notification that comes after a gap is not acknowledged
    RENEWAL_CARRIES_LOG = "R7"  # a renewal brings the revocations that are new, and they come before the lease
    RENEWAL_HITS_ROW = "R8"  # a renewal that does not find its row in the registry gives no lease
    EVICTION_COMPARES = "R9"  # an eviction deletes the row only if that was not renewed since it was read
    REGISTRY_AFTER_COMMIT = "R10"  # the registry is read after the revocation has committed
    WAIT_AFTER_COMMIT = "R11"  # the wait counts from after the commit
    ROW_BEFORE_LEASE = "R12"  # a node's row is committed before its first lease begins
    RETRY_WAITS = "R13"  # a revocation that is asked for again takes the barrier too
    WAIT_AFTER_REGISTRY = "R15"  # the wait counts from after the registry was read, too


@dataclass(frozen=True, slots=True)
class Model:
    """The protocol within bounds, whole or without one of its rules; what else may happen is off by default."""

    horizon: int
    renewals: int = 3
    without: Rule | None = None
    fills_survive: bool = False  # a fill may be in flight while its node is evicted and joins again
    connections_break: bool = False  # a renewal may get lost, then the node sends another; acknowledgements may too
    registry_is_polled: bool = False  # rows tell what their nodes have applied, and revokers look at them again


class Step(NamedTuple):
    """One thing that can happen, in words, and the state after it."""

    what: str
    state: State


Steps = Iterator[Step]


def steps(model: Model, state: State) -> Steps:
    """List everything that can happen next."""
    yield from time_passes(model, state)
    for kind in NODE_STEPS if state.node.has_joined else (node_joins,):
        yield from kind(model, state)
    yield from renewal_is_executed(state)
    for index, token in enumerate(state.tokens):
        yield from fill_is_executed(state, index)
        for kind_of_revoker in REVOKER_STEPS[token.phase]:
            yield from kind_of_revoker(model, state, index)


def stale_accept(model: Model, state: State) -> Step | None:
    """Look whether the node would now accept from its cache a token whose revocation was answered: the violation."""
    node = state.node
    if node.has_joined and (state.time < node.lease_until or model.without is Rule.LEASE_AT_VERIFY):
        for index, token in enumerate(state.tokens):
            if token.is_cached and token.phase is Phase.ANSWERED:
                return Step(f"node: accepts token {index + 1}, whose revocation was answered", state)
    return None


def time_passes(model: Model, state: State) -> Steps:
    """Let one tick go by, whatever anybody was about to do."""
    if state.time < model.horizon:
        yield Step("time passes", state._replace(time=state.time + 1))


def node_joins(model: Model, state: State) -> Steps:
    """Commit the row of a new incarnation, which listens from here on and has an empty cache and no lease."""
    if state.node.renewal is not None or (state.is_filling and not model.fills_survive):
        return
    if model.without is Rule.ROW_BEFORE_LEASE:
        if state.row == Row():
            node = Node(has_joined=True, applied=state.epoch, lease_until=state.time + LEASE)
            yield Step("node: takes its first lease", state._replace(node=node))
    elif state.row.renew_seq < model.renewals:
        row = Row(is_present=True, renew_seq=state.row.renew_seq + 1, applied=told_applied(model, state.epoch))
        node = Node(has_joined=True, applied=state.epoch)
        yield Step("node: joins; its row is committed", state._replace(row=row, node=node, notifications=()))


def row_is_late(model: Model, state: State) -> Steps:
    """Commit the row of a node that has its first lease: what R12 forbids."""
    if model.without is Rule.ROW_BEFORE_LEASE and state.row == Row():
        yield Step("node: its row is committed", state._replace(row=Row(is_present=True, renew_seq=1)))


def renewal_is_sent(model: Model, state: State) -> Steps:
    """Send a renewal and remember when: the lease will count from here."""
    node = state.node
    if node.renewal is None and state.row.renew_seq < model.renewals:
        renewal = Renewal(sent_at=state.time, applied=told_applied(model, node.applied))
        yield Step("node: sends a renewal", state._replace(node=node._replace(renewal=renewal)))


def renewal_is_executed(state: State) -> Steps:
    """Let the database write the row, if it is there, and read the log in one transaction."""
    row, renewal = state.row, state.node.renewal
    if renewal is None or renewal.answer is not None:
        return
    answer = RenewalAnswer(hit_row=row.is_present, epoch=state.epoch)
    if row.is_present:
        row = Row(is_present=True, renew_seq=row.renew_seq + 1, applied=renewal.applied)
    node = state.node._replace(renewal=renewal._replace(answer=answer))
    what = "hits the row" if answer.hit_row else "finds no row"
    yield Step(f"database: the renewal {what} and reads up to epoch {answer.epoch}", state._replace(row=row, node=node))


def renewal_is_answered(model: Model, state: State) -> Steps:
    """Apply the log that the renewal brings and only then take the lease; or, evicted, drop everything."""
    node, renewal = state.node, state.node.renewal
    if renewal is None or renewal.answer is None:
        return
    if not renewal.answer.hit_row and model.without is not Rule.RENEWAL_HITS_ROW:
        first, second = state.tokens
        tokens = (first._replace(is_cached=False), second._replace(is_cached=False))
        out = Node(applied=node.applied)
        yield Step("node: was evicted, drops its cache and its lease", state._replace(node=out, tokens=tokens))
        return
    if model.without is not Rule.RENEWAL_CARRIES_LOG:
        state = applied_and_acknowledged(state, after=node.applied, epoch=renewal.answer.epoch)
    sent_at = state.time if model.without is Rule.LEASE_FROM_SEND else renewal.sent_at
    node = state.node._replace(renewal=None, lease_until=sent_at + LEASE)
    yield Step(f"node: has a lease until {node.lease_until}", state._replace(node=node))


def renewal_is_lost(model: Model, state: State) -> Steps:
    """Break the connection under a renewal: the node will not learn whether it was executed."""
    if model.connections_break and state.node.renewal is not None:
        yield Step("node: loses its renewal", state._replace(node=state.node._replace(renewal=None)))


def fill_is_sent(_: Model, state: State) -> Steps:
    """Ask the database about a token that the cache does not hold."""
    if state.is_filling:
        return
    for index, token in enumerate(state.tokens):
        if not token.is_cached:
            after = state.with_token(index, token._replace(fill=Fill()))
            yield Step(f"node: asks the database for token {index + 1}", after)


def fill_is_executed(state: State, index: int) -> Steps:
    """Let the database read the token and the epoch in one snapshot."""
    token = state.tokens[index]
    if token.fill is not None and token.fill.answer is None:
        answer = FillAnswer(is_live=token.position == 0, epoch=state.epoch)
        after = state.with_token(index, token._replace(fill=Fill(answer)))
        yield Step(f"database: reads token {index + 1} at epoch {state.epoch}", after)


def fill_is_answered(model: Model, state: State) -> Steps:
    """Put a live token into the cache, unless the snapshot is older than what the node has applied."""
    for index, token in enumerate(state.tokens):
        answer = token.fill.answer if token.fill is not None else None
        if answer is not None:
            is_recent = answer.epoch >= state.node.applied or model.without is Rule.FENCED_FILL
            is_cached = token.is_cached or (answer.is_live and is_recent)
            what = f"node: {'caches' if is_cached else 'does not cache'} token {index + 1}"
            yield Step(what, state.with_token(index, token._replace(fill=None, is_cached=is_cached)))


def notification_arrives(model: Model, state: State) -> Steps:
    """Apply a revocation and acknowledge it; after a gap do neither, since a renewal will bring what is missing."""
    if not state.notifications:
        return
    epoch, *later = state.notifications
    rest = state._replace(notifications=tuple(later))
    if epoch <= state.node.applied + 1 or model.without is Rule.NO_GAP:
        if model.without is Rule.APPLY_BEFORE_ACKNOWLEDGEMENT and state.acknowledged < epoch:
            yield Step(f"node: acknowledges {epoch} and will apply it", state._replace(acknowledged=epoch))
        after = applied_and_acknowledged(rest, after=epoch - 1, epoch=epoch)
        yield Step(f"node: applies and acknowledges {epoch}", after)
    yield Step(f"node: does not get or cannot use the notification of {epoch}", rest)


def applied_and_acknowledged(state: State, *, after: int, epoch: int) -> State:
    """Evict what the log revokes after `after` and up to `epoch`, and say that everything up to there is applied."""
    first, second = state.tokens
    tokens = (first.after_log(after, epoch), second.after_log(after, epoch))
    applied = max(state.node.applied, epoch)
    node = state.node._replace(applied=applied)
    return state._replace(node=node, tokens=tokens, acknowledged=max(state.acknowledged, applied))


def revocation_commits(model: Model, state: State, index: int) -> Steps:
    """Commit a revocation: a new epoch, and a notification to the node if it listens."""
    token = state.tokens[index]
    if model.without is Rule.REGISTRY_AFTER_COMMIT and token.wait_set is None:
        after = state.with_token(index, token._replace(wait_set=state.row))
        yield Step(f"revoker {index + 1}: reads the registry", after)
    elif model.without is Rule.WAIT_AFTER_COMMIT and token.deadline == NO_DEADLINE:
        yield early_wait(state, index)
    else:
        epoch = state.epoch + 1
        notifications = (*state.notifications, epoch) if state.node.has_joined else state.notifications
        after = state.with_token(index, token._replace(phase=Phase.COMMITTED, position=epoch))
        after = after._replace(epoch=epoch, notifications=notifications)
        yield Step(f"revoker {index + 1}: commits epoch {epoch}", after)


def registry_is_read(model: Model, state: State, index: int) -> Steps:
    """Read for whom a revocation has to wait, and begin to wait; unless one of the two was done too early."""
    token = state.tokens[index]
    if model.without is Rule.WAIT_AFTER_REGISTRY and token.deadline == NO_DEADLINE:
        yield early_wait(state, index)
        return
    wait_set = state.row if token.wait_set is None else token.wait_set
    deadline = state.time + LEASE if token.deadline == NO_DEADLINE else token.deadline
    waiting = token._replace(phase=Phase.WAITING, wait_set=wait_set, deadline=deadline)
    yield Step(f"revoker {index + 1}: reads the registry, begins to wait", state.with_token(index, waiting))


def early_wait(state: State, index: int) -> Step:
    """Begin to wait before the commit, or before the registry is read: what R11 and R15 forbid."""
    waiting = state.tokens[index]._replace(deadline=state.time + LEASE)
    return Step(f"revoker {index + 1}: begins to wait", state.with_token(index, waiting))


def revocation_is_retried(model: Model, state: State, index: int) -> Steps:
    """Be asked again after the first revoker died, and answer that the token is revoked: what R13 forbids."""
    if model.without is Rule.RETRY_WAITS:
        yield Step(f"revoker {index + 1}: is asked again, answers at once", answered(state, index))


def revocation_is_answered(model: Model, state: State, index: int) -> Steps:
    """Answer when there is nobody to wait for any more, or when the wait is over: then evict the node."""
    token = state.tokens[index]
    is_done = model.without is Rule.BARRIER or is_acknowledged(model, state, token)
    if is_done:
        yield Step(f"revoker {index + 1}: waits for nobody any more, answers", answered(state, index))
    if token.wait_set is not None and state.time >= token.deadline and (model.connections_break or not is_done):
        row, what = state.row, "does not evict the node, which has renewed"
        if token.wait_set.renew_seq == row.renew_seq or model.without is Rule.EVICTION_COMPARES:
            row, what = row._replace(is_present=False), "evicts the node"
        yield Step(f"revoker {index + 1}: has waited, {what}, answers", answered(state._replace(row=row), index))


def is_acknowledged(model: Model, state: State, token: Token) -> bool:
    """Say whether nobody was there to wait for, or has acknowledged; or, by polling, has applied or is gone."""
    wait_set, row = token.wait_set, state.row
    if wait_set is None or not wait_set.is_present or state.acknowledged >= token.position:
        return True
    return model.registry_is_polled and (max(wait_set.applied, row.applied) >= token.position or not row.is_present)


def answered(state: State, index: int) -> State:
    """Answer a revocation; what it waited for is of no use any more."""
    token = state.tokens[index]
    return state.with_token(index, Token(token.is_cached, token.fill, Phase.ANSWERED, token.position))


def told_applied(model: Model, applied: int) -> int:
    """Say what the node's row tells of what the node has applied."""
    return applied if model.registry_is_polled else 0


NODE_STEPS = (
    row_is_late,
    renewal_is_sent,
    renewal_is_answered,
    renewal_is_lost,
    fill_is_sent,
    fill_is_answered,
    notification_arrives,
)
REVOKER_STEPS = {
    Phase.BEGUN: (revocation_commits,),
    Phase.COMMITTED: (registry_is_read, revocation_is_retried),
    Phase.WAITING: (revocation_is_answered,),
    Phase.ANSWERED: (),
}
