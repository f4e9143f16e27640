"""What a process has used, from ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its threads and its living and reaped descendants, user and system."""
    # proc(5): after the command in brackets, fields 14 to 17 are utime, stime, cutime, cstime in ticks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / _TICKS
    return own + sum(cpu_seconds(child) for child in children(pid))


def busy_seconds() -> float:
    """Return the CPU time of everything on this machine, also what a hypervisor took."""
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal in ticks; guest time is in user already.
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def children(pid: int) -> list[int]:
    """Return the pids of a process's living children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def resident_kib(pid: int) -> float:
    """Return the resident memory of a process in KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / KIB
