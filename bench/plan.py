"""How long and how large each measurement is. Must never differ between what is compared."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Durations and sizes of one run of the benchmarks."""

    repetitions: int
    append_s: float
    """How long each contender appends in each repetition."""
    flush_s: float
    """The same with the artificial flush."""
    floor_s: float
    """How long a bare row is written again and again, to compare the floor with."""
    floor_commands: int
    """How many commands are written in batches of each size in each repetition, about."""
    http_s: float
    """How long each concurrency is loaded over HTTP in each repetition."""
    lone_samples: int
    """How often each part of a lone request is measured."""
    profile_s: int
    history_events: int
    """How many events the log holds that is rebuilt and paged through."""
    paged_tokens: int
    page_samples: int
    """How often each page is read in each repetition."""
    proved_leaves: int
    """How many leaves the tree holds that proofs are made of."""
    proof_samples: int
    """How many proofs of each kind are made in each repetition."""
    starts: int
    """How many idle services are looked at."""
    idle_s: float
    sign_ins: int
    """How many sign-ins of each kind are made in each repetition."""
    cold_keys: int
    """How many keys are verified for the first time in each repetition."""
    rounds: int
    """How often contenders that are processes of their own take turns."""
    gateway_s: float
    """How long wrk loads each contender in each round; whole seconds."""
    counted_s: float
    """How long statements are counted, idle and loaded, in each round."""
    flood_s: float
    """How long each kind of flood lasts in each round."""
    calls: int
    """How many calls in this process are timed together in each repetition."""
    revocations: int
    """How many tokens are revoked one after another in each round."""
    stalls: int
    """How often a process is stopped during a revocation."""
    entries: int
    """How many keys are kept warm at once."""
    usage_slices: int
    usage_slice_s: float
    """How long uses are recorded at full rate: so many parts of equal length, a window each."""
    crashes: int
    replays: int
    """How often a history is replayed to a subscriber, and followed."""
    subscribers: int
    follow_s: float
    """How long a history is followed in each round."""


FULL: Final = Plan(
    repetitions=5,
    append_s=2.5,
    flush_s=1.5,
    floor_s=0.5,
    floor_commands=4_000,
    http_s=3,
    lone_samples=300,
    profile_s=8,
    history_events=1_000_000,
    paged_tokens=1_000_000,
    page_samples=40,
    proved_leaves=10_000_000,
    proof_samples=300,
    starts=3,
    idle_s=10,
    sign_ins=40,
    cold_keys=200,
    rounds=4,
    gateway_s=3,
    counted_s=3,
    flood_s=2,
    calls=100_000,
    revocations=150,
    stalls=3,
    entries=1_000_000,
    usage_slices=6,
    usage_slice_s=10,
    crashes=3,
    replays=3,
    subscribers=1_000,
    follow_s=8,
)
QUICK: Final = Plan(
    repetitions=3,
    append_s=0.3,
    flush_s=0.2,
    floor_s=0.2,
    floor_commands=500,
    http_s=0.4,
    lone_samples=30,
    profile_s=2,
    history_events=20_000,
    paged_tokens=20_000,
    page_samples=8,
    proved_leaves=200_000,
    proof_samples=50,
    starts=1,
    idle_s=1,
    sign_ins=6,
    cold_keys=30,
    rounds=1,
    gateway_s=1,
    counted_s=1,
    flood_s=0.5,
    calls=5_000,
    revocations=20,
    stalls=1,
    entries=50_000,
    usage_slices=2,
    usage_slice_s=2,
    crashes=1,
    replays=1,
    subscribers=200,
    follow_s=2,
)
