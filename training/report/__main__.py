"""`python -m training.report RUNS.jsonl TABLE.md`: a file of runs as Markdown tables."""

import sys
from pathlib import Path

from training.report.runs_table import main

main(Path(sys.argv[1]), Path(sys.argv[2]))
