"""What is true of every token at every time, and what may be accepted: the simulation's judge.

Each change of a token is a version of it. Once a restricting change was answered (or fenced, which others can see), no
verification that begins later may be accepted on an earlier version; once a node acknowledged a change, nor may any
that it decides later. Must know nothing of leases, messages and caches.
"""

import math
from dataclasses import dataclass, field

from service.lease import DRIFT
from tests.model.simulation_kernel import ViolationError, World

LONGEST_LEFT_S = 4.0
LATE_S = LONGEST_LEFT_S * 2 * DRIFT
"""How late a clock that drifts may find that something has expired."""
SCOPES = 3


@dataclass(frozen=True, slots=True)
class Version:
    """A token as of one change."""

    position: int
    is_restricting: bool
    scopes: int
    """A bit each."""
    secrets: dict[bytes, float]
    """The digests that are good, the newest last, each with the time until which it is."""

    def permits(self, digest: bytes, scope: int, now_s: float) -> bool:
        """Say whether a verification may succeed."""
        return self.scopes >> scope & 1 == 1 and now_s < self.secrets.get(digest, -math.inf)


@dataclass(slots=True)
class Token:
    """A token and all it has been."""

    subject: str
    versions: list[Version]
    digests: list[bytes]
    """Every secret there ever was, the newest last."""
    settled: int = 0
    """The newest version that somebody was told is the oldest that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A verification somebody asked for."""

    token: Token
    digest: bytes
    scope: int
    begun_s: float
    settled: int
    """The oldest version that may count for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the database says of a secret, as of an epoch."""

    subject: str
    scopes: int
    left_s: float
    """How long it is good for; negative when it is not."""
    epoch: int


@dataclass(slots=True)
class Truth:
    """All tokens."""

    world: World
    tokens: dict[str, Token] = field(default_factory=dict)
    owners: dict[bytes, Token] = field(default_factory=dict)
    judges_from_s: float = 0.0

    def new_secret(self, token: Token) -> bytes:
        """Make a secret nobody knows yet."""
        digest = f"{token.subject}/{len(token.digests)}".encode()
        token.digests.append(digest)
        self.owners[digest] = token
        return digest

    def create(self) -> Token:
        """Make a token."""
        token = Token(f"t{len(self.tokens)}", [], [])
        self.tokens[token.subject] = token
        secrets = {self.new_secret(token): math.inf}
        token.versions.append(Version(0, is_restricting=False, scopes=(1 << SCOPES) - 1, secrets=secrets))
        return token

    def live(self) -> list[Token]:
        """List the tokens that have a good secret."""
        return [token for token in self.tokens.values() if token.versions[-1].secrets]

    def changed(self, token: Token, kind: str, position: int) -> Version:
        """Say what a change makes of a token."""
        draw, now_s, newest = self.world.random, self.world.now_s, token.versions[-1]
        secrets, scopes, is_restricting = dict(newest.secrets), newest.scopes, True
        soon_s = now_s + draw.uniform(0.05, LONGEST_LEFT_S)
        match kind:
            case "revoke":
                secrets = {}
            case "narrow":
                scopes &= ~(1 << draw.randrange(SCOPES))
            case "widen":
                scopes, is_restricting = scopes | 1 << draw.randrange(SCOPES), False
            case "shorten":
                secrets = {digest: min(ends_s, soon_s) for digest, ends_s in secrets.items()}
            case "extend":
                secrets, is_restricting = dict.fromkeys(list(secrets)[-1:], math.inf), len(secrets) > 1
            case "rotate":
                secrets = {digest: min(ends_s, soon_s) for digest, ends_s in list(secrets.items())[-1:]}
                secrets[self.new_secret(token)] = math.inf
            case "rotate now":
                secrets = {self.new_secret(token): math.inf}
            case _:
                raise AssertionError(kind)
        return Version(position, is_restricting=is_restricting, scopes=scopes, secrets=secrets)

    def settle(self, subject: str, position: int) -> None:
        """Note that somebody was told that a restriction holds everywhere."""
        token = self.tokens[subject]
        for number, version in enumerate(token.versions):
            if version.is_restricting and version.position <= position:
                token.settled = max(token.settled, number)

    def forget(self, kept: int) -> None:
        """Have the changes after some position never have happened, whatever was answered."""
        for token in self.tokens.values():
            token.versions = [version for version in token.versions if version.position <= kept]
            token.settled = min(token.settled, len(token.versions) - 1)

    def accepted(self, request: Request, where: str, acknowledged: int | None) -> None:
        """Judge an accept on a node, which may have acknowledged changes."""
        versions, now_s = request.token.versions, self.world.now_s
        if now_s < self.judges_from_s:
            self.world.counts["accepted before a lost history is over"] += 1
            return
        self._judge(request, min(request.settled, request.token.settled), f"G1: {where} accepted after the answer")
        if acknowledged is not None:
            known = max(n for n, version in enumerate(versions) if version.position <= acknowledged)
            self._judge(request, known, f"G2: {where} accepted after it acknowledged {acknowledged}")
        self.world.say(f"{where} accepts {request.digest.decode()} for {request.scope} (begun {request.begun_s:.4f})")
        if not versions[-1].permits(request.digest, request.scope, now_s):
            self.world.counts["accepted before the answer what was restricted"] += 1

    def _judge(self, request: Request, oldest: int, what: str) -> None:
        versions, now_s = request.token.versions, self.world.now_s
        # The newest counts most often, and is enough.
        if not any(v.permits(request.digest, request.scope, now_s - LATE_S) for v in reversed(versions[oldest:])):
            raise ViolationError(
                f"{what}: {request.digest.decode()} for scope {request.scope} at {now_s:.4f} s, begun at"
                f" {request.begun_s:.4f} s, oldest version that may count {versions[oldest].position}"
            )
