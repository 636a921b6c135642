"""Settings: typed, read once from flags, then `FINERANK_*`, then `finerank.toml`, then defaults."""

import difflib
import os
import re
import secrets
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "FINERANK_"
EMBEDDED = "embedded"  # the value of `store` that needs no server of its own
FILE = Path("finerank.toml")
FILE_VARIABLE = "FINERANK_CONFIG"
TOKEN_FILE = "token"
_ELSEWHERE = {"config", "url", "test_data"}  # FINERANK_* that are read by others


class SettingsError(Exception):
    """A setting that cannot be used, as a sentence that names it."""


class Settings(BaseSettings):
    """What one serving process needs to know. Times in ms, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
    )

    models: Path = Field(Path("models"), description="directory of model packages")
    store: str = Field(
        EMBEDDED, description="redis://… or redis+sentinel://… (Redis or Valkey), or embedded"
    )
    state_dir: Path = Field(
        Path(".finerank"), description="embedded store, last good plans, write token"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="0 takes a free one")
    token: SecretStr | None = Field(None, description="write token; made and kept when unset")
    plan_key: SecretStr | None = Field(
        None, description="set: only plans that are signed with it are served"
    )
    replica: str = Field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}",
        description="this process in the store's list of replicas",
    )
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="inference threads; absent: the CPU quota of this process"
    )
    max_candidates: Annotated[int, Field(ge=1)] = 2_000
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 4 * 1024 * 1024
    feature_timeout_ms: Annotated[float, Field(gt=0)] = Field(
        10.0, description="longest wait for the feature store in one request"
    )
    model_slowdown_max: Annotated[float, Field(gt=1)] = Field(
        3.0, description="how many times slower than the active version a new one may be"
    )
    model_proof_timeout_s: Annotated[float, Field(gt=0)] = Field(
        120.0, description="how long the proof of a new version may take"
    )
    item_cache_mb: Annotated[int, Field(ge=0)] = Field(
        512, description="most memory for item parts, for each loaded model; 0 keeps nothing"
    )
    item_cache_ttl_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="longest time until a changed item shows when nobody published the change"
    )
    warm_items: str | None = Field(
        None, description="items computed before the first request: all, or a file of ids"
    )
    recent_requests: Annotated[int, Field(ge=0)] = Field(
        200, description="answered requests a scene keeps in memory for previews of drafts"
    )
    recent_candidates: Annotated[int, Field(ge=0)] = Field(
        100_000, description="most candidates of those requests together: some 100 bytes each"
    )
    log_dir: Path | None = Field(
        None, description="serving log, as Parquet files; needs pyarrow, which [log] installs"
    )
    log_sample: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="share of the requests that are logged, by their request id"
    )
    log_queue: Annotated[int, Field(ge=1)] = Field(
        200_000, description="candidates that may wait for the log; more are dropped and counted"
    )
    log_rotate_mb: Annotated[int, Field(ge=1)] = Field(64, description="size of a log file")
    log_rotate_s: Annotated[float, Field(gt=0)] = Field(
        300.0, description="longest time until a log file is finished, and can be read"
    )
    log_keep_days: Annotated[float, Field(gt=0)] | None = Field(
        None, description="older log files are removed; absent: they are not"
    )
    log_keep_mb: Annotated[int, Field(ge=1)] | None = Field(
        None, description="size of all log files together; the oldest are removed beyond it"
    )
    log_stream: Annotated[int, Field(ge=0)] = Field(
        0, description="log to the stream finerank:{scene}:log too, about so many entries long"
    )
    shutdown_timeout_s: Annotated[int, Field(ge=0)] = Field(
        10, description="how long running requests may finish after SIGTERM"
    )
    demo: bool = Field(False, description="seed the scene demo where it has no plan")
    log_level: str = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = InitSettingsSource(settings_cls, _read_file())
        return init_settings, env_settings, file

    def with_token(self) -> "Settings":
        """These settings with a write token: the given, else the kept, else a new one."""
        if self.token is not None:
            return self
        return self.model_copy(update={"token": SecretStr(_kept_token(self.state_dir))})

    def write_token(self) -> str:
        """The bearer token of writes; `with_token` must have been called."""
        assert self.token is not None, "with_token() gives the settings a token"
        return self.token.get_secret_value()

    def shown(self) -> dict[str, str]:
        """Every setting as text, secrets masked."""
        shown = {name: str(getattr(self, name)) for name in type(self).model_fields}
        return {**shown, "store": masked(self.store)}


def masked(url: str) -> str:
    """A store URL without its password, before the host or in the query."""
    shown = re.sub(r"(://[^/:@]*):[^/@]*@", r"\1:***@", url)
    return re.sub(r"([?&][^=&#]*password=)[^&#]*", r"\1***", shown, flags=re.IGNORECASE)


def load_settings(**flags: object) -> Settings:
    """Read the settings; a flag that is None was not given.

    Raises:
        SettingsError: an unknown key of the file (with the nearest name), or a wrong value.
    """
    try:
        return Settings(**{k: v for k, v in flags.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        shown = "" if name in {"token", "plan_key"} else f", not {str(first['input'])[:60]!r}"
        raise SettingsError(f"setting {name}: {first['msg']}{shown}") from None


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each `FINERANK_*` variable that no setting reads: most are misspelt."""
    known = [*Settings.model_fields, *_ELSEWHERE]
    sentences = []
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
            sentences.append(f"{variable} is no setting{hint}")
    return sentences


def _read_file() -> dict[str, Any]:
    named = os.environ.get(FILE_VARIABLE)
    path = Path(named) if named else FILE
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if named:
            raise SettingsError(f"{FILE_VARIABLE}: there is no file {named}") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise SettingsError(f"{path}: {err}") from None
    known = list(Settings.model_fields)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise SettingsError(f"{path}: unknown key {key!r} ({hint})")
    return values


def _kept_token(state_dir: Path) -> str:
    """The token of `state_dir`, made when absent; only its owner may read it."""
    path = state_dir / TOKEN_FILE
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = path.read_text().strip()
        if not kept:
            raise SettingsError(f"{path} is empty: write a token into it or remove it") from None
        return kept
    token = secrets.token_urlsafe(24)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token
