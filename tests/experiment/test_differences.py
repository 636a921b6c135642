"""Differences of plans: weights with their change in percent, texts by line, other keys by name."""

from service.experiment.differences import changes, unified


def plan(b, w, score="ctr^b", **rest):
    return {
        "formulas": {
            "base": {"score": score, "params": {"b": {"value": b, "min": 0, "max": 5}}},
            "sum": {"additive": {"ctr": w, "like": {"weight": 2 * w}}},
        },
        **rest,
    }


def test_weights_that_differ_are_listed_by_formula_with_their_change_in_percent():
    assert changes(plan(1.2, 1), plan(1.6, 3)) == [
        "base.b: 1.2 -> 1.6 (+33.3 %)",
        "sum.w_ctr: 1 -> 3 (+200.0 %)",
        "sum.w_like: 2 -> 6 (+200.0 %)",
    ]
    assert changes(plan(-2, 1), plan(-1, 1)) == ["base.b: -2 -> -1 (+50.0 %)"]
    assert changes(plan(0, 1), plan(1, 1)) == ["base.b: 0 -> 1"]
    assert changes(plan(1, 1), plan(1, 1)) == []


def test_weights_come_and_go():
    new = changes({"formulas": {}}, plan(1, 1))
    assert new[:3] == ["base.b: 1 (new)", "sum.w_ctr: 1 (new)", "sum.w_like: 2 (new)"]
    assert "base.b: 1 (gone)" in changes(plan(1, 1), {"formulas": {}})


def test_what_an_arm_sets_is_named_by_layer_experiment_and_arm():
    def arms(b):
        arm = {"name": "up", "set": {"params": {"b": b}}}
        return [{"name": "fusion", "experiments": [{"name": "e", "arms": [arm]}]}]

    assert changes(plan(1, 1, layers=arms(1)), plan(1, 1, layers=arms(2))) == [
        "fusion:e/up.b: 1 -> 2 (+100.0 %)",
        "layers: changed",
    ]


def test_texts_are_compared_line_by_line():
    assert changes(plan(1, 1, "ctr^b\n* vcr"), plan(1, 1, "ctr^b\n* like")) == [
        "base score:",
        "  ctr^b",
        "- * vcr",
        "+ * like",
    ]


def test_other_keys_are_told_with_their_values_where_they_are_short():
    before, after = plan(1, 1, deadline_ms=40, force={}), plan(1, 1, deadline_ms=30, force={"1": 2})
    assert changes(before, after) == ["deadline_ms: 40 -> 30", "force: changed"]
    assert changes(plan(1, 1), after) == ["deadline_ms: null -> 30", "force: new"]


def test_equal_plans_have_no_diff_and_names_are_shown():
    assert unified(plan(1, 1), plan(1, 1), "a", "b") == []
    assert unified(plan(1, 1), plan(2, 1), "version 3", "plan.json")[:2] == [
        "--- version 3",
        "+++ plan.json",
    ]
