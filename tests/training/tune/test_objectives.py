"""What can be maximised and kept, against scikit-learn and plain loops."""

import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from tests.training.tune.worlds import generated
from training.metrics import grouped_auc
from training.tune.errors import TuneError
from training.tune.lists import read_lists
from training.tune.objectives import parse_bound, parse_objective


@pytest.fixture(scope="module")
def lists():
    return read_lists(generated(lists=50, size=6))


@pytest.fixture(scope="module")
def scores(lists):
    return np.random.default_rng(3).random(lists.rows)


def test_each_form_is_the_metric_it_names(lists, scores):
    buy, length = lists.labels["buy"], lists.attributes["videolen_s"]

    def found(text):
        return parse_objective(text, lists)(lists, scores)

    assert found("buy.auc") == pytest.approx(roc_auc_score(buy, scores), abs=1e-12)
    assert found("buy.gauc") == grouped_auc(buy, scores, lists.user.astype(str))
    rows = [lists.of_list == at for at in range(lists.count)]
    top = np.mean([length[r][np.argsort(-scores[r])[:2]] for r in rows])
    assert found("videolen_s@2") == pytest.approx(top, abs=1e-12)
    per_list = [ndcg_score([buy[r]], [scores[r]], k=3) for r in rows if buy[r].any()]
    assert found("buy.ndcg@3") == pytest.approx(np.mean(per_list), abs=1e-12)
    pairs = [
        (length[i] > length[j]) == (scores[i] > scores[j]) for i in range(300) for j in range(i)
    ]
    assert found("videolen_s.xauc") == pytest.approx(np.mean(pairs), abs=1e-12)
    assert parse_objective("context.hour@1", lists).of == "context.hour"


def test_rows_whose_value_is_unknown_do_not_count(lists, scores):
    values = lists.labels["buy"].copy()
    values[::2] = np.nan
    some = lists.with_label("seen", values)
    expected = roc_auc_score(values[1::2], scores[1::2])
    assert parse_objective("seen.auc", some)(some, scores) == pytest.approx(expected, abs=1e-12)
    assert math.isfinite(parse_objective("seen@3", some)(some, scores))


def test_a_bound_is_a_share_of_the_control(lists):
    bound = parse_bound("videolen_s@3 >= 0.98", lists)
    assert bound.violation(98.0, 100.0) == pytest.approx(0, abs=1e-9)
    assert bound.violation(97.0, 100.0) == pytest.approx(1)
    assert bound.violation(120.0, 100.0) < 0
    most = parse_bound("videolen_s@3<=1.1", lists)
    assert most.violation(120.0, 100.0) == pytest.approx(10)
    assert most.violation(100.0, 100.0) < 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("buy", "objective 'buy' is none of NAME.auc"),
        ("buy.auc@3", "is none of"),
        ("buy.ndcg", "is none of"),
        ("buy@0", "with K from 1"),
        ("buy auc", "is none of"),
        ("bought.auc", "no label or attribute 'bought'"),
        ("videolen_s.auc", "an AUC takes 0 and 1; videolen_s.xauc or videolen_s@10"),
    ],
)
def test_what_is_no_objective_is_refused_in_a_sentence(lists, text, said):
    with pytest.raises(TuneError, match=said):
        parse_objective(text, lists)


@pytest.mark.parametrize(
    "text", ["buy.auc", "buy.auc>=", "buy.auc>=x", "buy.auc>1", "buy.auc>=nan"]
)
def test_what_is_no_bound_is_refused_in_a_sentence(lists, text):
    with pytest.raises(TuneError, match=r"is not OBJECTIVE>=SHARE, as in watch@10>=0\.98"):
        parse_bound(text, lists)
