"""Blocks that architectures are composed of.

Notation everywhere: B minibatch, T tasks, G groups, E experts, P pool (the experts that one gate
mixes), D width in, H width out.
"""
