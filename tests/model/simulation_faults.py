"""What goes wrong in a simulation: each seed draws some kinds of faults, or a theme, and brings many of them.

Must never break what the protocol assumes: clocks within 1 %, one history of the database, commits in order.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from service.lease import longest_wait_s
from tests.model.simulation_database import Database
from tests.model.simulation_kernel import Process, World


class Cluster(Protocol):
    """What faults are done to."""

    world: World
    database: Database
    lease_s: float

    def start(self, process: Process) -> None:
        """Start a process anew."""

    def leave(self, process: Process) -> None:
        """Have a process give up its lease and leave the registry."""


Fault = Callable[[Cluster, Process], None]


def stop(cluster: Cluster, process: Process) -> None:
    """SIGSTOP, and SIGCONT some time later."""
    process.stop(cluster.world.random.uniform(0.02, 1.5) * cluster.lease_s)


def stall(cluster: Cluster, process: Process) -> None:
    """Stop in the middle of a step, where it reads the clock."""
    process.stall_s = cluster.world.random.uniform(0.02, 1.2) * cluster.lease_s


def stop_at_renewal(cluster: Cluster, process: Process) -> None:
    """Stop between a renewal and its answer."""
    process.stops_at_renewal_s = cluster.world.random.uniform(0.5, 1.5) * cluster.lease_s


def hold_up(cluster: Cluster, process: Process) -> None:
    """Have what it asks the database for, but for renewals, arrive late for a while."""
    process.held_up_until_s = cluster.world.now_s + cluster.world.random.uniform(0.3, 1.0)


def end(cluster: Cluster, process: Process) -> None:
    """End a process and its connections."""
    process.die()
    for connection in tuple(cluster.database.connections):
        if connection.process is process:
            connection.terminate()


def kill(cluster: Cluster, process: Process) -> None:
    """SIGKILL; another process takes its place some time later."""
    end(cluster, process)
    away_s = cluster.world.random.uniform(0.01, cluster.world.random.choice((0.1, 1.0)))
    cluster.world.after(away_s, lambda: cluster.start(process))


def come_back_late(cluster: Cluster, process: Process) -> None:
    """SIGTERM; another process takes its place while somebody's change is held up, and hears little at first."""
    cluster.leave(process)
    end(cluster, process)

    def start() -> None:
        if not process.is_alive:
            process.deaf_until_s = cluster.world.now_s + cluster.world.random.uniform(0.2, 0.8)
            cluster.start(process)

    cluster.database.starts.append(start)
    cluster.world.after(1.5, start)


def leave(cluster: Cluster, process: Process) -> None:
    """SIGTERM: the lease is given up, the row removed; another process takes its place."""
    cluster.leave(process)
    kill(cluster, process)


def cut(cluster: Cluster, process: Process) -> None:
    """Nothing passes to and from the database for a while."""
    process.cut_until_s = cluster.world.now_s + cluster.world.random.uniform(0.05, 1.5) * cluster.lease_s


def deafen(cluster: Cluster, process: Process) -> None:
    """Messages to it get lost."""
    process.deaf_until_s = cluster.world.now_s + cluster.world.random.uniform(0.05, 2) * cluster.lease_s


def disconnect(cluster: Cluster, process: Process) -> None:
    """Break some of its connections."""
    for connection in tuple(cluster.database.connections):
        if connection.process is process and cluster.world.chance(0.6):
            connection.lose()


def unlisten(cluster: Cluster, process: Process) -> None:
    """UNLISTEN, which nobody notices."""
    for connection in tuple(cluster.database.listeners):
        if connection.process is process:
            del cluster.database.listeners[connection]


def set_clock(cluster: Cluster, process: Process) -> None:
    """Set the time of day wrong."""
    process.wall_offset_s += cluster.world.random.choice((-3600, -0.5, 0.5, 3600))


def slow_down(cluster: Cluster, _: Process) -> None:
    """Everything takes long for a while."""
    cluster.world.slow_until_s = cluster.world.now_s + cluster.world.random.uniform(0.1, 1.0)


def restart_database(cluster: Cluster, _: Process) -> None:
    """PostgreSQL's immediate restart."""
    if cluster.database.is_up:
        cluster.database.restart(cluster.world.random.uniform(0.02, 0.6))


def fail_over(cluster: Cluster) -> None:
    """Lose the primary and some of the last changes; a lease's length later nothing that is lost counts any more."""
    lost = cluster.world.random.randint(0, 5)
    cluster.database.fail_over(max(0, cluster.database.epoch - lost), cluster.world.random.uniform(0.02, 0.3))
    cluster.database.truth.judges_from_s = cluster.world.now_s + longest_wait_s([cluster.lease_s])


FAULTS: tuple[Fault, ...] = (
    stop,
    stop,
    stall,
    stop_at_renewal,
    hold_up,
    hold_up,
    kill,
    leave,
    come_back_late,
    cut,
    deafen,
    deafen,
    disconnect,
    unlisten,
    set_clock,
    slow_down,
    slow_down,
    restart_database,
)


THEMES: tuple[tuple[Fault, ...], ...] = (
    (stop_at_renewal, deafen),
    (kill, come_back_late, hold_up),
    (come_back_late, hold_up, hold_up),
    (cut, hold_up, hold_up),
    (stop, deafen, hold_up),
)
"""What does harm together where a rule is missing, and is seldom drawn together."""


def break_things(cluster: Cluster, processes: list[Process], until_s: float) -> None:
    """Bring faults until a time: a few kinds, drawn by the seed, so that each run goes deep rather than wide."""
    world = cluster.world
    kinds: Sequence[Fault] = world.random.sample(FAULTS, world.random.randint(2, 6))
    if world.chance(0.4):
        kinds = world.random.choice(THEMES)
    pace_s = world.random.choice((0.08, 0.15, 0.3))

    def bring() -> None:
        process = world.random.choice(processes)
        fault = world.random.choice(kinds)
        if process.is_alive:
            world.say(f"fault: {fault.__name__} {process.name}")
            world.counts[f"fault {fault.__name__}"] += 1
            fault(cluster, process)
        delay_s = world.random.expovariate(1 / pace_s)
        if world.now_s + delay_s < until_s:
            world.after(delay_s, bring)

    world.after(world.random.uniform(0.1, 0.5), bring)
