"""[[tasks]], [train.balance] and [train.calibrator]: what contradicts itself is a sentence."""

import pytest

from training.config.file import ConfigError, parse_config, to_document
from training.config.run import RunConfig

WATCH = {"name": "watch", "label": "watch_s", "kind": "regression", "meaning": "s", "unit": "s"}
CHAIN = [
    {"name": "ctr", "label": "click"},
    *(
        {"name": name, "label": name, "space": space, "loss": "none", "meaning": name}
        for name, space in (("apply", "click"), ("approve", "apply"), ("activate", "approve"))
    ),
]


def _run(*tasks, **train) -> RunConfig:
    document = {
        "data": {"reader": "synthetic", "train": "20260101:20260102", "validate": "20260103:"}
        | {"validate": "20260103:20260103"},
        "model": {"trunk": {"kind": "shared-bottom", "hidden": [4]}},
        "train": train,
        "tasks": list(tasks),
    }
    return parse_config(document, name="run", source="test")


def test_a_chain_of_any_length_is_stated_as_products():
    names = [task["name"] for task in CHAIN]
    products = [
        {"name": f"to_{names[n]}", "label": names[n], "product": names[: n + 1], "meaning": "x"}
        for n in range(1, len(names))
    ]
    config = _run(*CHAIN, *products)
    assert config.tasks[-1].product == ("ctr", "apply", "approve", "activate")


def test_everything_survives_the_manifest():
    config = _run(
        {"name": "ctr", "label": "click", "negative_rate": 0.1, "calibrate": "platt"},
        {"name": "cvr", "label": "buy", "space": "click"}
        | {"debias": {"kind": "dr", "propensity": "ctr"}},
        WATCH | {"watch": {"kind": "ordinal", "bins": 7}},
        balance={"kind": "decay", "rates": {"ctr": 0.9}, "unit": "step"},
        calibrator={"chain": ["ctr", "cvr"], "weight": 0.3},
    )
    assert parse_config(to_document(config), name="run", source="manifest") == config
    assert [t.outputs for t in config.tasks] == [1, 1, 7]
    assert [t.imputed for t in config.tasks] == [False, True, False]


@pytest.mark.parametrize(
    ("tasks", "train", "sentence"),
    [
        (
            [
                *CHAIN,
                {"name": "two", "label": "x", "product": ["ctr", "apply"], "meaning": "x"},
                {"name": "three", "label": "x", "product": ["two", "approve"], "meaning": "x"},
            ],
            {},
            "task three refers to 'two', a product itself: name its factors (ctr, apply) instead",
        ),
        (
            [*CHAIN, {"name": "one", "label": "x", "product": ["ctr"], "meaning": "x"}],
            {},
            "task one: a product has at least two factors",
        ),
        (
            [
                *CHAIN,
                {"name": "two", "label": "x", "product": ["ctr", "apply"], "meaning": "x"}
                | {"calibrate": "platt"},
            ],
            {},
            "task two: calibrate belongs to the factors of a product, not to it",
        ),
        (
            [
                *CHAIN,
                WATCH | {"watch": {"kind": "odds"}},
                {"name": "seconds", "label": "x", "product": ["ctr", "watch"], "meaning": "x"},
            ],
            {},
            "task seconds: watch is no probability, so the product has no loss",
        ),
        ([WATCH | {"watch": {"kind": "odds"}, "kind": "binary"}], {}, "watch is for kind 'regre"),
        ([WATCH | {"watch": {"kind": "odds"}, "loss": "mse"}], {}, "watch brings its own loss"),
        (
            [{k: v for k, v in WATCH.items() if k != "unit"} | {"watch": {"kind": "odds"}}],
            {},
            "task watch: say the unit of the amount",
        ),
        (
            [WATCH | {"watch": {"kind": "odds"}, "calibrate": "platt"}],
            {},
            "task watch: debias and calibrate are for heads in 0 … 1",
        ),
        (
            [CHAIN[1] | {"debias": {"kind": "ips", "propensity": "ctr"}}, CHAIN[0]],
            {},
            "task apply: debias weighs a loss, and it has none",
        ),
        (
            [
                CHAIN[0],
                {"name": "cvr", "label": "buy", "debias": {"kind": "ips", "propensity": "c"}},
            ],
            {},
            "task cvr: its propensity 'c' is no task with a tower (ctr, cvr) or product",
        ),
        (
            [{"name": "vcr", "label": "vcr", "kind": "regression", "negative_rate": 0.5}],
            {},
            "task vcr: negative_rate is for a binary label",
        ),
        (
            [CHAIN[0], {"name": "aux", "label": "x", "beside": "ctr", "calibrate": "platt"}],
            {},
            "task aux: only heads are calibrated, it is none",
        ),
        (
            CHAIN,
            {"balance": {"kind": "decay", "rates": {"apply": 0.5}}},
            "train.balance.rates: 'apply' is no task with a loss (ctr)",
        ),
        (
            CHAIN,
            {"calibrator": {"chain": ["ctr", "appl"]}},
            "train.calibrator: 'appl' is no task with a tower (ctr, apply, approve, activate)",
        ),
        (
            CHAIN,
            {"balance": {"kind": "gradnorm", "alfa": 1}},
            "unknown key 'alfa', did you mean 'alpha'?",
        ),
    ],
)
def test_what_contradicts_itself_is_said(tasks, train, sentence):
    with pytest.raises(ConfigError) as refused:
        _run(*tasks, **train)
    assert sentence in str(refused.value)
