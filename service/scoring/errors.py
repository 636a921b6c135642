"""What can go wrong between a checked package and its scores."""


class RuntimeProblem(RuntimeError):
    """ONNX Runtime is not installed, or installed twice: the sentence says what to install."""


class RunStopped(Exception):
    """A run was stopped because nobody waits for its answer any more."""


class RunFailed(RuntimeError):
    """ONNX Runtime refused or broke off a run; the sentence is its own."""
