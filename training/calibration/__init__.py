"""Calibration of heads in 0 … 1: fitted on the logits of rows the ranker did not learn from,
exported inside the graph.

A calibration is a module (B,) logits -> (B,) probabilities that rises with the logit, so the order
of items by one head stays as it was.
"""
