"""What can go wrong between a checked package and its scores."""

from collections.abc import Mapping


class RuntimeProblem(RuntimeError):
    """ONNX Runtime is not installed, or installed twice: the sentence says what to install."""


class RunStopped(Exception):
    """A run was stopped because nobody waits for its answer any more."""


class RunFailed(RuntimeError):
    """ONNX Runtime refused or broke off a run; the sentence is its own."""


class NotScored(Exception):
    """Nothing could be scored, and the plan's ladder does not end with the input order.

    `assignments`: layer -> "experiment/arm" of the request.
    """

    def __init__(
        self, reason: str, candidates: int, assignments: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(
            f"none of {candidates} candidates was scored ({reason}), and the plan's ladder does"
            " not end with input_order"
        )
        self.reason = reason
        self.assignments = assignments or {}
