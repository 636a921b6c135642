"""A run's file: read, overridden, refused with the place and the nearest name."""

import pytest

from training.config.file import ConfigError, load_config, parse_config, to_document
from training.config.trunks import PLETrunk

TEXT = """
[data]
reader = "synthetic"
train = "20260101:20260106"
validate = "20260107:20260108"
[model.trunk]
kind = "ple"
levels = 2
own = 1
shared = 1
hidden = [64, 32]
[[tasks]]
name = "ctr"
label = "click"
[[tasks]]
name = "cvr"
label = "buy"
space = "click"
loss = "none"
[[tasks]]
name = "ctcvr"
label = "buy"
product = ["ctr", "cvr"]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some-run.toml"
    path.write_text(TEXT)
    return path


def test_a_run_is_named_after_its_file_and_typed(file):
    config = load_config(file)
    assert config.name == "some-run"
    assert config.model.trunk == PLETrunk(kind="ple", levels=2, own=1, shared=1, hidden=(64, 32))
    assert [t.name for t in config.heads] == ["ctr", "cvr", "ctcvr"]


def test_a_configuration_survives_the_manifest(file):
    config = load_config(file, ["train.seed=7", 'slices=["tab=1"]'])
    assert parse_config(to_document(config), name=config.name, source="manifest") == config


def test_overrides_reach_tables_and_tasks_by_name(file):
    config = load_config(
        file,
        [
            "train.epochs=9",
            "tasks.ctr.weight=2.5",
            "data.validate=20260107:20260107",
            "model.towers=[]",
        ],
    )
    assert config.train.epochs == 9
    assert config.tasks[0].weight == 2.5
    assert config.data.validate_ == "20260107:20260107"
    assert config.model.towers == ()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epoch=3", "train.epoch: unknown key 'epoch', did you mean 'epochs'?"),
        ("dta.x=1", "dta: unknown key 'dta', did you mean 'data'?"),
        ("data.valdate=1", "data.valdate: unknown key 'valdate', did you mean 'validate'?"),
        ("model.trunk.leves=2", "unknown key 'leves', did you mean 'levels'?"),
        ("tasks.ctr.lable=x", "tasks.0.lable: unknown key 'lable', did you mean 'label'?"),
        ("tasks.cttr.weight=1", "nothing is named 'cttr' (known: ctr, cvr, ctcvr)"),
        ("train.epochs=0", "train.epochs: Input should be greater than or equal to 1"),
        ("model.trunk.kind=plee", "expected tags: 'shared-bottom', 'omoe', 'mmoe', 'ml-mmoe'"),
        ("train", "--set 'train' is not key=value"),
        ("train.epochs.x=1", "--set 'train.epochs.x=1': epochs is a value, not a table"),
        ("tasks=3", "tasks: Input should be a valid tuple"),
        ("tasks.ctr.name=cvr", "tasks named twice: cvr"),
        ("tasks.cvr.beside=ctcvr", "task cvr refers to 'ctcvr', which is no task with a tower"),
        ("tasks.ctr.name=depth", "task depth: say what the head means (meaning = ...)"),
        ("tasks.ctcvr.loss=mse", "task ctcvr: the loss of a product is bce or none"),
        (
            "model.trunk.shared=0",
            "model.trunk.ple.shared: Input should be greater than or equal to 1",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(file, override, sentence):
    overrides = ["train.epochs=3", override] if override.startswith("train.epochs.") else [override]
    with pytest.raises(ConfigError) as refused:
        load_config(file, overrides)
    assert sentence in str(refused.value)


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("[data\n")
    with pytest.raises(ConfigError, match=r"broken\.toml: Expected"):
        load_config(path)
    with pytest.raises(ConfigError, match=r"absent\.toml: .*No such file"):
        load_config(tmp_path / "absent.toml")
