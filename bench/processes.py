"""What the kernel knows of processes: processor time and memory, from /proc. Must never count a process twice."""

import os
from pathlib import Path

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Read the processor seconds of a process and of its children, those that have ended included."""
    ticks = sum(stat_times(pid, with_ended_children=True))
    ticks += sum(sum(stat_times(child, with_ended_children=False)) for child in children(pid))
    return ticks / TICKS_A_SECOND


def stat_times(pid: int, *, with_ended_children: bool) -> list[int]:
    """Read user and system ticks of a process; none when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return [int(ticks) for ticks in fields[11 : 15 if with_ended_children else 13]]


def children(pid: int) -> list[int]:
    """List the living children of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def resident_mb(pid: int | str = "self") -> float:
    """Read how much of a process is in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_KB / 1024


def proportional_mb(pid: int) -> float:
    """Read the memory of a process and its children, what they share counted once."""
    return sum(smaps_pss_kb(each) for each in (pid, *children(pid))) / 1024


def smaps_pss_kb(pid: int) -> int:
    """Read a process's proportional share of memory; 0 when it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
