"""The pool loads beside the event loop, once, and drops what no snapshot needs."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.contract.errors import PackageError
from service.contract.repository import Repository
from service.scoring import pool as pool_module
from service.scoring.package import manifest_digest
from service.scoring.pool import ModelPool
from service.scoring.proof import Verdict
from tests.scoring.packages import Changes, publish_tiny
from tests.scoring.test_package import another_head

pytest.importorskip("onnx")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for seed in range(3):
        publish_tiny(root, seed=seed)
    publish_tiny(root, "broken")
    (root / "broken/1/golden.npz").write_bytes(b"")
    return root


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(models: Path, clock: Clock) -> Iterator[ModelPool]:
    pool = ModelPool(Repository(models), grace_s=60.0, clock=clock)
    yield pool
    pool.close()


async def test_what_was_loaded_for_a_plan_that_never_went_live_is_dropped(models: Path) -> None:
    pool = ModelPool(Repository(models), grace_s=0.05)
    await pool.ensure(["tiny/1"])
    pool.retain(["tiny/1"])
    for version in (2, 3):
        with pool.holding([f"tiny/{version}"]):
            await pool.ensure([f"tiny/{version}"])
    assert pool.ids == ("tiny/1", "tiny/2", "tiny/3")
    for _ in range(2000):
        if pool.ids == ("tiny/1",):
            break
        await asyncio.sleep(0.01)
    assert pool.ids == ("tiny/1",)
    pool.close()


async def test_model_is_there_once_ensured(pool: ModelPool) -> None:
    assert pool.get("tiny/1") is None
    await pool.ensure(["tiny/1", "tiny/2"])
    assert pool.ids == ("tiny/1", "tiny/2")
    loaded = pool.get("tiny/2")
    assert loaded is not None
    assert loaded.id == "tiny/2"


async def test_loaded_model_is_not_loaded_again(pool: ModelPool) -> None:
    await pool.ensure(["tiny/1"])
    before = pool.get("tiny/1")
    await pool.ensure(["tiny/1"])
    assert pool.get("tiny/1") is before


async def test_concurrent_calls_share_one_load(pool: ModelPool) -> None:
    await asyncio.gather(*(pool.ensure(["tiny/1"]) for _ in range(5)))
    first = pool.get("tiny/1")
    await pool.ensure(["tiny/1"])
    assert pool.get("tiny/1") is first


async def test_models_load_on_another_thread(pool: ModelPool) -> None:
    await pool.ensure(["tiny/1"])
    assert any(t.name.startswith("load-model") for t in threading.enumerate())


async def test_bad_package_is_refused_and_its_reason_kept(pool: ModelPool) -> None:
    await pool.ensure(["tiny/1"])
    with pytest.raises(PackageError, match=r"broken/1: golden.npz does not match its digest"):
        await pool.ensure(["broken/1"])
    assert pool.ids == ("tiny/1",)
    assert "golden.npz does not match" in pool.problems["broken/1"]


async def test_repaired_package_loads_and_its_problem_goes(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    path = tmp_path / "tiny/1/model.onnx"
    content = path.read_bytes()
    path.write_bytes(b"")
    pool = ModelPool(Repository(tmp_path))
    with pytest.raises(PackageError):
        await pool.ensure(["tiny/1"])
    path.write_bytes(content)
    await pool.ensure(["tiny/1"])
    assert pool.problems == {}
    pool.close()


@pytest.mark.parametrize(
    ("id_", "sentence"),
    [
        ("tiny", "'tiny' names no version; a pool loads name/version"),
        ("tiny/9", r"model 'tiny' has no version 9 \(known: 1, 2, 3\)"),
        ("../etc/1", "'../etc/1' is no model: write name, name@alias or name/version"),
    ],
)
async def test_what_names_no_package_is_refused(pool: ModelPool, id_: str, sentence: str) -> None:
    with pytest.raises(PackageError, match=sentence):
        await pool.ensure([id_])


async def test_unneeded_model_stays_for_the_grace_and_goes_after_it(
    pool: ModelPool, clock: Clock
) -> None:
    await pool.ensure(["tiny/1", "tiny/2"])
    pool.retain(["tiny/2"])
    assert pool.ids == ("tiny/1", "tiny/2")
    clock.now = 61
    pool.retain(["tiny/2"])
    assert pool.ids == ("tiny/2",)


async def test_model_of_a_snapshot_being_prepared_survives_swaps_of_others(
    pool: ModelPool, clock: Clock
) -> None:
    await pool.ensure(["tiny/1"])
    pool.retain(["tiny/1"])
    clock.now = 300
    await pool.ensure(["tiny/3"])
    for _ in range(3):
        pool.retain(["tiny/1"])
    assert pool.ids == ("tiny/1", "tiny/3")


async def swap(pool: ModelPool, *ids: str) -> None:
    """Load what a plan needs, and let it go live."""
    await pool.ensure(ids)
    pool.retain(ids)


async def test_of_the_versions_that_were_replaced_only_the_last_one_stays(pool: ModelPool) -> None:
    for id_, left in [
        ("tiny/1", ("tiny/1",)),
        ("tiny/2", ("tiny/1", "tiny/2")),
        ("tiny/3", ("tiny/2", "tiny/3")),
        ("tiny/2", ("tiny/2", "tiny/3")),
        ("tiny/1", ("tiny/1", "tiny/2")),
    ]:
        await swap(pool, id_)
        assert pool.ids == left


async def test_a_version_loaded_for_one_plan_survives_the_swap_of_another(pool: ModelPool) -> None:
    await swap(pool, "tiny/1")
    await pool.ensure(["tiny/2", "tiny/3"])
    pool.retain(["tiny/2"])
    assert pool.ids == ("tiny/1", "tiny/2", "tiny/3")


async def test_a_replaced_version_that_a_plan_is_prepared_with_is_as_good_as_new(
    pool: ModelPool,
) -> None:
    await swap(pool, "tiny/1")
    await swap(pool, "tiny/2")
    await pool.ensure(["tiny/1"])
    await swap(pool, "tiny/3")
    assert pool.ids == ("tiny/1", "tiny/2", "tiny/3")
    await swap(pool, "tiny/1")
    await swap(pool, "tiny/2")
    assert pool.ids == ("tiny/1", "tiny/2")


async def test_dropped_model_still_answers_the_request_that_holds_it(
    pool: ModelPool, clock: Clock
) -> None:
    await pool.ensure(["tiny/1"])
    held = pool.get("tiny/1")
    assert held is not None
    clock.now = 100
    pool.retain([])
    assert pool.ids == ()
    inputs = {name: block[:2] for name, block in held.golden.encoded.items()}
    assert set(held.graphs.run(inputs)) == set(held.manifest.head_names)


async def test_cancelled_caller_does_not_cancel_the_load_of_another(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    load = pool_module.load_package

    def slow_load(*args: object, **options: object) -> object:
        assert let_go.wait(10)
        return load(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pool_module, "load_package", slow_load)
    first = asyncio.create_task(pool.ensure(["tiny/1"]))
    second = asyncio.create_task(pool.ensure(["tiny/1"]))
    await asyncio.sleep(0)
    first.cancel()
    let_go.set()
    await second
    assert pool.ids == ("tiny/1",)
    assert first.cancelled()


async def test_held_model_stays_however_long_it_takes_and_has_its_grace_afterwards(
    pool: ModelPool, clock: Clock
) -> None:
    await pool.ensure(["tiny/1", "tiny/2"])
    with pool.holding(["tiny/2"]):
        clock.now = 300
        pool.retain(["tiny/1"])
        assert pool.ids == ("tiny/1", "tiny/2")
    clock.now = 359
    pool.retain(["tiny/1"])
    assert pool.ids == ("tiny/1", "tiny/2")
    clock.now = 361
    pool.retain(["tiny/1"])
    assert pool.ids == ("tiny/1",)


async def test_only_the_package_that_was_proved_is_not_replayed_again(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    publish_tiny(tmp_path, changes=Changes(golden=another_head))
    repository = Repository(tmp_path)
    found = Verdict(0.0)
    pool = ModelPool(repository, prove=lambda id_, active: found)
    await pool.ensure(["tiny/1"])
    with pytest.raises(PackageError, match=r"tiny/2: golden head 'ctr' differs in row"):
        await pool.ensure(["tiny/2"])
    found = Verdict(0.0, manifest=manifest_digest(repository, "tiny", 2))
    await pool.ensure(["tiny/2"])
    assert pool.ids == ("tiny/1", "tiny/2")
    pool.close()
