"""How fast this machine multiplies matrices on one core: the floor under every inference time."""

import os
import subprocess
import sys

_ROWS, _WIDTH, _OUT = 500, 648, 1_792  # the first layers of the bench model's experts
_TRIES = 40

_MEASURE = f"""
import time
import numpy as np
a = np.random.default_rng(1).random(({_ROWS}, {_WIDTH}), np.float32)
b = np.random.default_rng(2).random(({_WIDTH}, {_OUT}), np.float32)
best = float("inf")
for _ in range({_TRIES}):
    began = time.perf_counter()
    a @ b
    best = min(best, time.perf_counter() - began)
print({2 * _ROWS * _WIDTH * _OUT} / best / 1e9)
"""


def gemm_gflop_per_s() -> float:
    """Best of some float32 products, in a process of its own: BLAS reads its threads at import."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return round(float(done.stdout), 1)
