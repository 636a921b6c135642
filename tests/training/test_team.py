"""training/team.py: two real processes of torchrun (gloo) against one."""

from pathlib import Path

import pytest
import torch

from tests.training import processes, shared_gradient
from training.losses import binary, over_space
from training.team import ALONE, DeviceError, joined


def test_alone_is_the_identity() -> None:
    one, other = torch.tensor([1.5]), torch.tensor([2.5])
    ALONE.sum([one, other])
    assert (one.item(), other.item()) == (1.5, 2.5)
    assert ALONE.agreed({"a": 1}) == {"a": 1}
    with joined("cpu") as team:
        assert (team.rank, team.size, team.leads) == (0, 1, True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with joined("auto") as team:
        assert team.device.type == "cpu"
    with pytest.raises(DeviceError, match='device = "cuda": PyTorch finds no CUDA device'):
        joined("cuda").__enter__()


@pytest.mark.timeout(240)
def test_two_processes_have_the_gradient_of_the_whole_minibatch_not_the_mean_of_their_means(
    tmp_path: Path,
) -> None:
    script = ["-m", "tests.training.shared_gradient", str(tmp_path)]
    processes.finish(script, processes.torchrun(2))
    (size, first), (_, second) = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert size == 2
    whole = shared_gradient.gradient(ALONE)
    torch.testing.assert_close(first, whole, rtol=1e-12, atol=1e-14)
    assert torch.equal(first, second)
    assert (_mean_of_means() - whole).abs().max() > 0.01


def _mean_of_means() -> torch.Tensor:
    torch.manual_seed(1)
    ranker = shared_gradient.Logits(3, 2).double()
    inputs, labels, spaces = shared_gradient.minibatch()
    for part in (slice(0, 4), slice(4, 7)):
        logits = ranker({"values": inputs[part]})
        losses = [
            over_space(binary, [logits[:, k]], labels[part, k], spaces[part, k]) for k in (0, 1)
        ]
        (torch.stack(losses).sum() / 2).backward()
    return torch.cat([p.grad.flatten() for p in ranker.parameters()])


@pytest.mark.timeout(240)
def test_two_processes_learn_what_one_learns(tmp_path: Path, tiny_log: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    # No dropout: the processes draw their own masks. 125 rows do not halve evenly.
    train = {"epochs": 2, "minibatch": 125, "dropout": 0.0}
    processes.finish(processes.command(tiny_log, one, **train))
    processes.finish(processes.command(tiny_log, two, **train), processes.torchrun(2))
    alone, together = processes.learned(one), processes.learned(two)
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert together["metrics"] == pytest.approx(alone["metrics"], abs=2e-5)
    assert [p.name for p in (two / "runs" / "tiny").glob("*.safetensors")] == ["search.safetensors"]


@pytest.mark.timeout(300)
def test_two_processes_learn_from_their_own_stripes_what_one_learns_from_all(
    tmp_path: Path, parquet_log: Path
) -> None:
    train = {"epochs": 2, "minibatch": 125, "dropout": 0.0, "refit": True}
    found = {}
    for name, data, launcher in (
        ("memory", {}, None),
        ("one", {"rows_at_once": 100, "stripes": 3}, None),
        ("two", {"rows_at_once": 100, "stripes": 3}, processes.torchrun(2)),
    ):
        place = tmp_path / name
        place.mkdir()
        processes.finish(processes.command(parquet_log, place, data, **train), launcher)
        found[name] = processes.learned(place)
    one, two = found["one"], found["two"]
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=2e-5)
    assert found["memory"]["metrics"] != pytest.approx(one["metrics"], abs=2e-5), "another order"
    encoded = [
        sorted((tmp_path / name / "runs" / "tiny" / "shards").rglob("*.bin"))
        for name in ("one", "two")
    ]
    assert [path.name for path in encoded[0]] == [path.name for path in encoded[1]]
    for ours, theirs in zip(*encoded, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
