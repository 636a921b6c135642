"""Trunks, each a short composition of `training.modules`: Blocks -> (B, T, H)."""
