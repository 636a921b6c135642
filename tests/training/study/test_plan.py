"""A study's file: all its runs are checked before the first starts; what was run is recognised."""

from pathlib import Path

import pytest

from training.config.file import ConfigError
from training.study.plan import load_study, trials

STUDIES = sorted((Path(__file__).parents[3] / "training" / "studies").glob("*.toml"))

STUDY = """
title = "t"
base = "run.toml"
seeds = [1, 2]
set = ["train.epochs=2"]
metrics = ["ctr.auc[impression]"]
reference = "base"
[[runs]]
name = "base"
[[runs]]
name = "wider"
set = ["model.embedding=16"]
seeds = [1]
"""
RUN = """
[data]
reader = "synthetic"
train = "20260101"
validate = "20260102"
[model]
trunk = { kind = "shared-bottom", hidden = [4] }
[[tasks]]
name = "ctr"
label = "click"
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "run.toml").write_text(RUN)

    def write(text=STUDY):
        path = tmp_path / "some.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_and_all_its_runs_are_valid(path):
    study = load_study(path)
    assert study.name == path.stem
    assert len(trials(study, path.parent)) >= len(study.runs)


def test_trials_come_seed_by_seed_with_the_studys_settings_under_the_runs_own(study):
    path = study()
    found = trials(load_study(path), path.parent, ["train.minibatch=64"])
    assert [(t.entry.name, t.seed) for t in found] == [("base", 1), ("wider", 1), ("base", 2)]
    assert [t.config.train.seed for t in found] == [1, 1, 2]
    assert {t.config.train.epochs for t in found} == {2}
    assert {t.config.train.minibatch for t in found} == {64}
    assert [t.config.model.embedding for t in found] == [8, 16, 8]


def test_a_trial_is_recognised_by_what_its_file_says(study):
    path = study()
    first = trials(load_study(path), path.parent)
    assert len({t.digest for t in first}) == 3
    assert [t.digest for t in trials(load_study(path), path.parent)] == [t.digest for t in first]
    changed = trials(load_study(path), path.parent, ["train.epochs=3"])
    assert not {t.digest for t in changed} & {t.digest for t in first}
    spelled_out = trials(load_study(path), path.parent, ["train.weight_decay=3e-4"])
    assert [t.digest for t in spelled_out] == [t.digest for t in first], "it is the default"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('reference = "base"', 'reference = "bass"', "reference 'bass' is no run (base, wider)"),
        ('name = "wider"', 'name = "base"', "runs named twice: base"),
        ("seeds = [1, 2]", "seeds = []", "seeds: "),
        ('title = "t"', 'title = "t"\nsedes = 3', "sedes: "),
        ('title = "t"', 'title = t"', "some.toml: "),
        ('name = "wider"', 'name = "trees"\npeer = "xgboost"', "'torch-rechub' or 'lightgbm'"),
    ],
)
def test_a_wrong_study_is_refused_with_a_sentence(study, old, new, says):
    with pytest.raises(ConfigError) as error:
        load_study(study(STUDY.replace(old, new)))
    assert says in str(error.value)


def test_a_wrong_setting_is_refused_before_anything_runs(study):
    path = study(STUDY.replace("model.embedding=16", "model.embeding=16"))
    with pytest.raises(ConfigError) as error:
        trials(load_study(path), path.parent)
    assert "did you mean 'embedding'?" in str(error.value)
