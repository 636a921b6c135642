from service.commands.plan_diff import diff_lines, param_changes


def plan(b, w):
    return {
        "formulas": {
            "base": {"score": "ctr^b", "params": {"b": {"value": b, "min": 0, "max": 5}}},
            "sum": {"additive": {"ctr": w, "like": {"weight": 2 * w}}},
        }
    }


def test_params_that_differ_are_listed_by_formula():
    assert param_changes(plan(1.2, 1), plan(1.6, 3)) == [
        "base.b: 1.2 -> 1.6",
        "sum.w_ctr: 1 -> 3",
        "sum.w_like: 2 -> 6",
    ]
    assert param_changes(plan(1, 1), plan(1, 1)) == []


def test_a_param_that_was_not_there_has_no_before():
    assert param_changes({"formulas": {}}, plan(1, 1))[0] == "base.b: 1"


def test_equal_plans_have_no_diff_and_names_are_shown():
    assert diff_lines(plan(1, 1), plan(1, 1), "a", "b") == []
    assert diff_lines(plan(1, 1), plan(2, 1), "version 3", "plan.json")[:2] == [
        "--- version 3",
        "+++ plan.json",
    ]
