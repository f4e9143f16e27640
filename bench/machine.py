"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from activemq.embedded.artifacts import distribution

BUSY = 0.5  # load average for each core above which figures are worth little
_PACKAGES = ("activemq-rest-bridge", "uvicorn", "httptools", "uvloop", "hypercorn", "h11")


def facts() -> dict[str, str]:
    """Return processor, kernel, versions and load, each as text."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        "broker": distribution("classic").label,
        "load average at the start": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def warning() -> str | None:
    """Say so if the machine has other things to do."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= BUSY * cores:
        return None
    return f"the machine is busy (load {load:.1f} on {cores} cores): compare ratios only, and measure again"


def _processor() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
