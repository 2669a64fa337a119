"""Available memory, and rejecting allocations that would not fit."""

from __future__ import annotations

from pathlib import Path

from paddlenlp_embtune.errors import EmbtuneError

__all__ = ["available_memory", "require_memory"]


def require_memory(size: int, what: str, advice: str, *, error: type[EmbtuneError]) -> None:
    """Refuse to allocate more than this process can still use; does nothing if that is unknown.

    Args:
        size: bytes.
        what: their purpose, such as "a table of 10 rows of width 4".
        advice: the next step.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given.
    """
    free = available_memory()
    if free is not None and size > free:
        raise error(f"{what} would take {size / 1e9:,.1f} GB of memory, but only {free / 1e9:,.1f} GB are available; {advice}")


def available_memory() -> int | None:
    """Return the bytes that this process can still use, given system memory, control group and ulimit; None if unknown."""
    found = [limit for limit in (_system_memory(), _group_memory(), _process_memory()) if limit is not None]
    return min(found) if found else None


def _system_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = next((line.split() for line in lines if line.startswith("MemAvailable:")), None)
    return int(fields[1]) * 1024 if fields else None


def _group_memory() -> int | None:
    """Read the memory limit of cgroup v2, as seen from inside a container."""
    root = Path("/sys/fs/cgroup")
    try:
        limit, used = ((root / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return max(0, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else None


def _process_memory() -> int | None:
    """Return the limit of the address space, as set by ``ulimit -v``, minus the part in use."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return max(0, limit - pages * resource.getpagesize())
    except (ImportError, OSError, ValueError):
        return None
