"""Training: reads logs, trains multi-task rankers, exports self-describing packages."""
