"""Read a run's TOML file, with overrides; errors are sentences with the nearest known name."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from training.config.run import RunConfig


class ConfigError(ValueError):
    """A run's configuration is wrong; the sentence names the file, the key and a better one."""


def load_config(path: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a run's configuration; the run is named after the file.

    Args:
        overrides: `key=value` with a dotted key, `train.epochs=2` or `tasks.ctr.weight=2` (tasks by
            name); the value is TOML, or plain text where that fails.

    Raises:
        ConfigError: unreadable, no TOML, an unknown key (with the nearest known one), a wrong
            value.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(f"{path}: {err}") from err
    for override in overrides:
        _set(document, override)
    return parse_config(document, name=path.stem, source=str(path))


def parse_config(document: Mapping[str, Any], *, name: str, source: str) -> RunConfig:
    """Check a document as `load_config` does."""
    try:
        return RunConfig.model_validate({**document, "name": name})
    except ValidationError as err:
        found = [_sentence(e["loc"], e["type"], e["msg"]) for e in err.errors(include_url=False)]
        raise ConfigError(f"{source}: " + "; ".join(found)) from err


def to_document(config: RunConfig) -> dict[str, Any]:
    """The document that `parse_config` reads back to the same run."""
    return config.model_dump(mode="json", by_alias=True, exclude={"name"}, exclude_none=True)


def _set(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r} is not key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    place: Any = document
    *path, last = key.strip().split(".")
    for part in path:
        place = _step(place, part, override)
    if isinstance(place, list):
        raise ConfigError(f"--set {override!r}: name a key of {path[-1]}, as in {key}.KEY=VALUE")
    place[last] = value


def _step(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        named = {entry.get("name"): entry for entry in place}
        if part not in named:
            known = ", ".join(map(str, named))
            raise ConfigError(f"--set {override!r}: nothing is named {part!r} (known: {known})")
        return named[part]
    inside = place.setdefault(part, {})
    if not isinstance(inside, dict | list):
        raise ConfigError(f"--set {override!r}: {part} is a value, not a table")
    return inside


def _sentence(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    place = ".".join(map(str, loc)) or "the run"
    if kind != "extra_forbidden":
        return f"{place}: {message.removeprefix('Value error, ')}"
    known = _known_keys(loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.0)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"{place}: unknown key {str(loc[-1])!r}{hint}"


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """Keys of the table at a validation error's place."""
    models: list[type[BaseModel]] = [RunConfig]
    for part in loc:
        if isinstance(part, int):
            continue
        fields = [f for m in models for n, f in m.model_fields.items() if part in (n, f.alias)]
        if fields:
            models = [m for f in fields for m in _models_in(f.annotation)]
        else:  # the tag of a union of tables, say `ple`
            models = [m for m in models if part in get_args(m.model_fields["kind"].annotation)]
    return [field.alias or name for m in models for name, field in m.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inside in get_args(annotation) for m in _models_in(inside)]
