"""Processes by their numbers, as Linux tells of them."""

from pathlib import Path


def has_ended(pid: int) -> bool:
    """One that nobody has waited for yet has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
