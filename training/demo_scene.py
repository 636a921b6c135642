"""Write users and items of the demo scene: `python -m training.demo_scene`."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from training.config.file import load_config
from training.features_build import build
from training.reading import reader_for

USERS, ITEMS = 50, 300
CONFIG = Path(__file__).parent / "configs" / "demo.toml"


def write_demo_scene(directory: Path) -> None:
    """The first users and items, as of the last generated day."""
    config = load_config(CONFIG)
    with TemporaryDirectory() as draft:
        users, items = Path(draft, "users.jsonl"), Path(draft, "items.jsonl")
        as_of = config.data.validate_days.last
        build(reader_for(config), Path(), as_of=as_of, users=users, items=items)
        for path, count in ((users, USERS), (items, ITEMS)):
            with path.open() as file:
                (directory / path.name).write_text("".join(islice(file, count)))


if __name__ == "__main__":
    write_demo_scene(Path("models/demo"))
