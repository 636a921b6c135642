"""Towers by configuration: order of the logits, networks and scenes of single tasks."""

import torch

from tests.training.rankers.test_cut import rows
from tests.training.rankers.test_input_blocks import GROUPS, _ranker
from training.modules.tower_bank import TowerBank
from training.rankers.towers import TowersApart


def _user_numbers_shifted(inputs):
    return inputs | {"user_ids": (inputs["user_ids"] + 1) % 4}


def test_without_towers_of_all_tasks_share_one_bank():
    assert isinstance(_ranker().towers, TowerBank)


def test_a_tower_of_the_common_kind_apart_gives_what_the_bank_gives():
    together, apart = _ranker(), _ranker(towers_of={"ctr": {}})
    apart.load_state_dict(together.state_dict(), strict=False)
    with torch.no_grad():
        for task, bank in zip((1, 0), apart.towers.banks, strict=True):
            for mine, whole in zip(bank.parameters(), together.towers.parameters(), strict=True):
                mine.copy_(whole[task : task + 1])
    torch.testing.assert_close(apart(rows()), together(rows()))
    assert isinstance(apart.towers, TowersApart)


def test_biases_reach_the_tasks_they_are_named_for():
    ranker = _ranker(towers_of={"ctr": {"hidden": []}, "stays": {"hidden": [3]}}, linear=False)
    for parameter in ranker.parameters():
        torch.nn.init.zeros_(parameter)
    ranker.set_output_bias({"ctr": 1.0, "cvr": 2.0, "stays": 3.0})
    assert ranker(rows())[0].tolist() == [1.0, 2.0, 3.0]


def test_a_network_of_its_own_takes_the_trunks_place_for_its_task_alone():
    ranker = _ranker(
        groups=GROUPS, towers_of={"cvr": {"network": [6], "reads": ["what"]}}, linear=False
    )
    logits = ranker(rows())
    logits[:, 1].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in ranker.trunk.parameters())
    assert ranker.towers.networks["1"].first.weight.grad.any()
    changed = ranker(_user_numbers_shifted(rows()))
    assert torch.equal(changed[:, 1], logits[:, 1])
    assert not torch.equal(changed[:, 0], logits[:, 0])


def test_towers_read_their_groups_beside_the_representation():
    ranker = _ranker(groups=GROUPS, towers_read=["pair"])
    streams, x = torch.zeros(9, 2, 8), ranker.read(rows())
    out = ranker.towers(streams, x)
    assert out.std(dim=0).all()
    x.cross.mul_(0)
    x.whole[:, -2:].mul_(0)
    assert not ranker.towers(streams, x).std(dim=0).any()
