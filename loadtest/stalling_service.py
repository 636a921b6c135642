"""`python -m loadtest.stalling_service`: finerank with a fault in it, for the stall drill.

Takes the options of `finerank`. On SIGUSR1, every inference run that begins within the coming
`STALL_MS` (environment, default 200) stands still until they are over, deaf to being stopped.
"""

import os
import signal
import time
from types import FrameType
from typing import Any

from service.cli import main
from service.scoring.session import Session

STALL_MS = "STALL_MS"


def install_fault(stall_s: float) -> None:
    """Give ONNX Runtime sessions of this process the fault; the service's code stays as it is."""
    until = 0.0
    run = Session.run

    def stall(number: int, frame: FrameType | None) -> None:
        nonlocal until
        until = time.monotonic() + stall_s

    def stalling_run(self: Session, *given: Any, **named: Any) -> Any:
        time.sleep(max(until - time.monotonic(), 0.0))
        return run(self, *given, **named)

    signal.signal(signal.SIGUSR1, stall)
    Session.run = stalling_run  # type: ignore[method-assign]


if __name__ == "__main__":
    install_fault(float(os.environ.get(STALL_MS, "200")) / 1000)
    main()
