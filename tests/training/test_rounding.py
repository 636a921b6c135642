"""Rounding: values are rounded where they are computed, and moved in 8 bits."""

import numpy as np
import pytest
from onnx import helper

from training.rounding import Rounding, Step


def producers(*nodes):
    made = [helper.make_node(op, inputs.split(), [out]) for out, op, inputs in nodes]
    return {node.output[0]: node for node in made}


def test_a_step_covers_its_range_with_256_numbers():
    step = Step.over(-1.0, 4.1)
    assert step.scale == pytest.approx(0.02)
    assert step.zero == 50
    assert Step.over(0.0, 0.0).scale > 0  # a value that was always 0


def test_parts_of_a_value_are_rounded_once_and_share_the_widest_range():
    graph = producers(
        ("left", "Slice", "x from to"), ("right", "Slice", "x to end"), ("own", "Relu", "right")
    )
    rounding = Rounding(graph, {"left": (0.0, 1.0), "own": (0.0, 5.1)}, [])
    assert rounding.steps == {"x": Step.over(0.0, 5.1)}
    assert rounding.step("left") == rounding.step("own") == Step.over(0.0, 5.1)


def test_values_that_are_joined_share_a_step():
    graph = producers(("all", "Concat", "a b"), ("later", "Concat", "b c"))
    ranges = {"all": (-1.0, 1.0), "later": (0.0, 3.0), "d": (0.0, 7.0)}
    rounding = Rounding(graph, ranges, [])
    shared = Step.over(-1.0, 3.0)
    assert rounding.steps == {"a": shared, "b": shared, "c": shared, "d": Step.over(0.0, 7.0)}


def test_a_relu_is_computed_where_negative_values_are_read_too():
    graph = producers(("cut", "Relu", "x"), ("moved", "Reshape", "x shape"))
    rounding = Rounding(graph, {"cut": (0.0, 2.0), "moved": (-3.0, 2.0)}, [])
    assert rounding.steps == {"cut": Step.over(0.0, 2.0), "moved": Step.over(-3.0, 2.0)}


def test_a_value_that_others_read_is_not_rounded_for_them():
    graph = producers(("cut", "Relu", "x"))
    rounding = Rounding(graph, {"cut": (0.0, 2.0)}, ["x"])
    assert rounding.steps == {"cut": Step.over(0.0, 2.0)}
    assert rounding.step("cut").zero == np.uint8(0)
