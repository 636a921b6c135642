"""Wait until every live replica runs a version, or names the reason why it does not."""

import time

from service.commands import console
from service.commands.plan_client import Document, PlanClient

PATIENCE_S = 60.0
_POLL_S = 0.2


def wait_for(client: PlanClient, version: int, *, wanted: bool) -> None:
    """Poll what the replicas report, and print a line for each.

    Raises:
        Exit: status 1, when one refuses, or says nothing about the version for a minute.
    """
    if not wanted:
        return
    until = time.monotonic() + PATIENCE_S
    while True:
        replicas = {n: r for n, r in client.replicas()["replicas"].items() if r["live"]}
        said = {name: _state(report, version) for name, report in replicas.items()}
        if all(said.values()) or time.monotonic() > until:
            break
        time.sleep(_POLL_S)
    for name, text in said.items():
        console.out.print(f"  {name} {text or 'does not say that it runs it'}", markup=False)
    running = sum(text == _runs(version) for text in said.values())
    if running < len(said):
        raise console.fail(f"{running} of {len(said)} live replicas run version {version}")
    console.out.print(f"all {len(said)} live replicas run version {version}")


def _state(report: Document, version: int) -> str:
    """What a replica says of the version; "" while it says nothing."""
    if (report["version"] or 0) >= version:
        return _runs(version)
    refuses = report["refuses"] or ""
    return f"refuses: {refuses}" if refuses.startswith(f"version {version} ") else ""


def _runs(version: int) -> str:
    return f"runs {version}"
