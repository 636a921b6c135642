"""`finerank serve` and `finerank demo`: start the service, and say how to use it."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from service.commands import console
from service.commands.logs import configure_logs
from service.commands.plan_options import URL
from service.commands.time_slice import LOOP_SLICE_S, ask_for_slices
from service.experiment.errors import EmbeddedError
from service.scoring.errors import RuntimeProblem
from service.settings import Settings, SettingsError, load_settings, unknown_variables
from service.traffic.errors import TrafficError

if TYPE_CHECKING:
    from service.api.app import Parts

# Python's own 5 ms is how long the event loop may wait for a thread that encodes: a refusal under
# overload is to take less than that in all.
SWITCH_INTERVAL_S = 0.001
KEEP_ALIVE_S = 75  # longer than proxies keep idle connections: the side that reuses closes first

Models = Annotated[Path | None, typer.Option(help="Directory of model packages.")]
Store = Annotated[str | None, typer.Option(help="redis://…, redis+sentinel://… or embedded.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="0 takes a free one.")]
StateDir = Annotated[
    Path | None, typer.Option(help="Embedded store, last good plans, write token.")
]
Token = Annotated[str | None, typer.Option(help="Write token; made and kept when unset.")]
WarmItems = Annotated[
    str | None, typer.Option(help="Compute items before the first request: all, or a file of ids.")
]
Demo = Annotated[bool, typer.Option("--demo", help="Seed the scene demo where it has no plan.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Serving")(serve)
    app.command(rich_help_panel="Serving")(demo)


def serve(
    models: Models = None,
    store: Store = None,
    host: Host = None,
    port: Port = None,
    state_dir: StateDir = None,
    token: Token = None,
    warm_items: WarmItems = None,
    with_demo: Demo = False,
) -> None:
    """Serve POST /rank, the plans and the health routes until SIGTERM.

    Every option is a setting, too: FINERANK_PORT, or port in finerank.toml; the option wins.
    """
    # Loading the whole service takes a second: other commands need not wait for it.
    import uvicorn

    from service.api.http_server import http_protocol
    from service.commands.runtime import build_runtime

    with console.refusals(SettingsError, EmbeddedError, RuntimeProblem, TrafficError, ValueError):
        settings = load_settings(
            models=models,
            store=store,
            host=host,
            port=port,
            state_dir=state_dir,
            token=token,
            warm_items=warm_items,
            demo=with_demo or None,
        )
        configure_logs(settings.log_level)
        for sentence in unknown_variables(os.environ):
            console.warn(sentence)
        listener = _listen(settings)
        url = f"http://{_shown_host(settings.host)}:{listener.getsockname()[1]}"
        runtime = build_runtime(
            settings,
            on_ready=lambda parts: _say_hello(parts, settings, url),
            is_leaving=lambda: server.should_exit,
        )
    _show(settings)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    ask_for_slices(LOOP_SLICE_S)
    server = uvicorn.Server(
        uvicorn.Config(
            runtime.app,
            http=http_protocol(runtime.app),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody reads who the caller is
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        )
    )
    server.run(sockets=[listener])
    if not server.started:
        raise console.fail("the service did not start; the log above says why")


def demo(port: Port = None) -> None:
    """Serve the demo: the same as `finerank serve --demo`."""
    serve(port=port, with_demo=True)


def _listen(settings: Settings) -> socket.socket:
    """A listening socket: connections queue from now on, and the port is known when it was 0."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    where = (settings.host, settings.port)
    try:
        return socket.create_server(where, family=family, backlog=2048)
    except OSError as err:
        why = os.strerror(err.errno) if err.errno else str(err)
        raise console.fail(
            f"cannot listen on {settings.host} port {settings.port}: {why}; choose another --port"
        ) from None


def _shown_host(host: str) -> str:
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _show(settings: Settings) -> None:
    table = Table(title="settings", show_header=False, box=None, title_justify="left")
    for name, text in settings.shown().items():
        table.add_row(f"  {name}", text)
    console.err.print(table)


def _say_hello(parts: "Parts", settings: Settings, url: str) -> None:
    """What a person wants to know once the service answers."""
    from service.api.health_routes import why_nothing_ranks
    from service.commands.demo import curl_lines

    made = settings.token is None
    # A token that somebody else set is theirs to know.
    token = settings.with_token().write_token() if made else "$FINERANK_TOKEN"
    console.out.print(f"\nfinerank serves {url}", markup=False)
    if made:
        kept = settings.state_dir / "token"
        console.out.print(f"write token (kept in {kept}): {token}", markup=False)
    if why := why_nothing_ranks(parts.loader, parts.pool):
        console.out.print(f"nothing can be ranked: {why}", markup=False)
    if url != URL:
        console.out.print(f"for commands beside it: export FINERANK_URL={url}", markup=False)
    if not settings.demo:
        return
    for title, line in curl_lines(settings.models, url, token):
        console.out.print(f"\n# {title}\n{line}", markup=False)
    console.out.print()
