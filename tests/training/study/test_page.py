"""The page: means, deviations and paired differences that can be checked by hand."""

import math

import pytest

from training.study.page import page, paired
from training.study.plan import Study

STUDY = Study.model_validate(
    {
        "name": "s",
        "title": "Trunks",
        "about": "What it is.",
        "base": "run.toml",
        "seeds": [1, 2, 3],
        "metrics": ["ctr.auc[impression]", "like.auc[impression]"],
        "reference": "PLE",
        "runs": [
            {"name": "PLE"},
            {"name": "MMoE", "group": "trunk", "set": ["model.embedding=4"]},
            {"name": "LightGBM", "peer": "lightgbm", "options": {"rounds": 5}},
        ],
        "sections": [{"heading": "Published", "text": "Elsewhere."}],
    }
)


def _line(run, seed, ctr, **other):
    metrics = {"ctr.auc[impression]": ctr, "like.auc[impression]": ctr + 0.1}
    about = {"trunk": "ple", "parameters": 1234, "epochs": seed, "cpu_seconds": 10.0, "rows": 99}
    machine = {"machine": "m", "python": "3", "torch": "2", "threads": 1, "commit": "a" * 40}
    return {"run": run, "seed": seed, "metrics": metrics} | about | machine | other


LINES = [
    _line("PLE", 1, 0.70),
    _line("PLE", 2, 0.72),
    _line("MMoE", 1, 0.71),
    _line("MMoE", 2, 0.75),
    _line("MMoE", 3, 0.10),
]


def test_means_and_deviations_over_seeds():
    text = page(STUDY, LINES, commands=["python -m training.study s"])
    assert "| PLE | 0.7100 ± 0.0141 | 0.8100 ± 0.0141 | 2 |" in text
    assert "python -m training.study s" in text
    assert "## Published\n\nElsewhere." in text


def test_differences_pair_the_seeds_that_both_have():
    mean, error, pairs = paired({1: 0.71, 2: 0.75, 3: 0.1}, {1: 0.70, 2: 0.72})
    assert (mean, pairs) == (pytest.approx(0.02), 2)
    assert error == pytest.approx(0.01)
    text = page(STUDY, LINES, commands=[])
    assert "| MMoE | +0.0200 ± 0.0100 | +0.0200 ± 0.0100 | 2 |" in text


def test_a_difference_beyond_two_standard_errors_is_bold():
    lines = [*LINES[:2], _line("MMoE", 1, 0.750), _line("MMoE", 2, 0.771)]
    assert "**+0.0505 ± 0.0005**" in page(STUDY, lines, commands=[])


def test_one_seed_has_neither_deviation_nor_standard_error():
    assert math.isnan(paired({1: 0.5}, {1: 0.4})[1])
    text = page(STUDY, [LINES[0], LINES[2]], commands=[])
    assert "| PLE | 0.7000 | 0.8000 | 1 |" in text
    assert "| MMoE | +0.0100 | +0.0100 | 1 |" in text


def test_what_is_missing_is_said_and_the_later_line_of_a_seed_counts():
    text = page(STUDY, [*LINES, _line("PLE", 1, 0.80)], commands=[])
    assert "Not run yet: LightGBM." in text
    assert "| PLE | 0.7600 ± 0.0566 |" in text


def test_every_run_says_what_it_was():
    text = page(STUDY, [*LINES, _line("LightGBM", 1, 0.7, trunk="lightgbm")], commands=[])
    assert "| MMoE | trunk | ple | 1,234 | 1–3 | 10 | `model.embedding=4` |" in text
    assert "| LightGBM |  | lightgbm | 1,234 | 1 | 10 | `rounds=5` |" in text
    assert "Measured on 99 rows. m, Python 3, PyTorch 2; threads 1; commits aaaaaaaaaaaa." in text
