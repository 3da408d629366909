"""`tramontane deploy`: models that come to a running server and go, without a new start."""

from __future__ import annotations

import json
import os
import time
from typing import Annotated, Any
from urllib.parse import quote

import httpx2
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tramontane.catalogue.running import running_servers
from tramontane.cli.licences import accept_or_refuse
from tramontane.cli.terminal import notes, plain, tell
from tramontane.errors import TramontaneError
from tramontane.storage.home import home_folder

_POLL_SECONDS = 0.3
_ANSWER_SECONDS = 60.0
_GIB = 2**30


def deploy(
    reference: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="Short name, owner/name of the hub, or random:SHAPE.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is to be served as; else its own name.")] = None,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "none",
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Its licence was read.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List the models of the server.")] = False,
    stop: Annotated[str | None, typer.Option(metavar="NAME", help="Take a model out of memory.")] = None,
    start: Annotated[str | None, typer.Option(metavar="NAME", help="Load a model that was stopped.")] = None,
    delete: Annotated[str | None, typer.Option(metavar="NAME", help="Stop a model and forget it.")] = None,
    url: Annotated[str | None, typer.Option(envvar="TRAMONTANE_URL", help="Else the server that runs here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Deploy a model on a running server: it is pulled where it is not there, loaded, and served from then on.

    TRAMONTANE_API_KEY holds a key of an owner or admin.

    Example: [bold]tramontane deploy open-mistral-7b --quantization int8[/]
    """
    asked = [value for value in (reference, show or None, stop, start, delete) if value is not None]
    if len(asked) != 1:
        raise TramontaneError("Name one model to deploy, or give one of --list, --stop, --start and --delete.")
    with _Server(url or _find_server()) as server:
        if reference is not None:
            wish = {"reference": reference, "name": name, "quantization": quantization}
            result = _deploy(server, wish, accept_licence)
        elif stop is not None:
            result = _follow(server, server.post(f"/v1/deployments/{server.id_of(stop)}/stop"), until="stopped")
        elif start is not None:
            result = _follow(server, server.post(f"/v1/deployments/{server.id_of(start)}/start"))
        elif delete is not None:
            server.ask("DELETE", f"/v1/deployments/{server.id_of(delete)}")
            result = {"name": delete, "deleted": True}
        else:
            result = server.ask("GET", "/v1/deployments")
    if as_json:
        print(json.dumps(result))
    elif show:
        Console().print(_table(result))
    else:
        print(plain(_in_a_sentence(result)))


def _deploy(server: _Server, wish: dict[str, Any], accept_licence: bool) -> dict[str, Any]:
    _say_what_it_needs(server, wish)
    try:
        made = server.post("/v1/deployments", {**wish, "accept_licence": accept_licence})
    except _RefusedError as refused:
        if refused.kind != "licence_not_accepted":
            raise
        accept_or_refuse(str(refused).removesuffix(" Accept it first."))
        made = server.post("/v1/deployments", {**wish, "accept_licence": True})
    return _follow(server, made)


def _say_what_it_needs(server: _Server, wish: dict[str, Any]) -> None:
    try:
        model = server.ask("GET", f"/v1/catalogue/{quote(wish['reference'])}")
    except _RefusedError:
        return  # the catalogue does not know it: what it needs shows when it is here
    fit = next((fit for fit in model["fits"] if fit["quantization"] == wish["quantization"]), None)
    if fit is not None:
        needed, available = fit["needed"] / _GIB, fit["available"] / _GIB
        tell([f"{model['title']} needs about {needed:.1f} GiB of memory; {available:.1f} GiB are left there."])


def _follow(server: _Server, deployment: dict[str, Any], until: str = "running") -> dict[str, Any]:
    """Shows how a deployment goes on until it has come, or gone. Raises TramontaneError where it fails."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True) as bars:
        task = bars.add_task(deployment["state"], total=1.0)
        while deployment["state"] not in (until, "failed", "stopped"):
            bars.update(
                task, description=f"{deployment['name']}: {deployment['state']}", completed=deployment["progress"]
            )
            time.sleep(_POLL_SECONDS)
            deployment = server.by_id(deployment["id"])
    if deployment["state"] == "failed":
        raise TramontaneError(f"{deployment['name']} could not be deployed: {deployment['message']}")
    return deployment


def _in_a_sentence(result: dict[str, Any]) -> str:
    if "deleted" in result:
        return f"{result['name']} is forgotten; its files stay until they are deleted."
    if result["state"] == "running":
        return f"{result['name']} is served; it holds {(result['memory_bytes'] or 0) / _GIB:.1f} GiB of memory."
    return f"{result['name']} is {result['state']}."


def _table(listed: dict[str, Any]) -> Table:
    left, total = listed["memory_available"] / _GIB, listed["memory_total"] / _GIB
    title = f"Deployments; {left:.1f} of {total:.1f} GiB of memory are left"
    table = Table("model", "from", "weights", "state", "memory", title=title, title_justify="left", title_style="bold")
    for one in listed["data"]:
        state = one["state"] if one["state"] in ("running", "stopped") else f"{one['state']} {one['progress']:.0%}"
        if one["state"] == "failed":
            state = f"failed: {one['message']}"
        memory = "" if one["memory_bytes"] is None else f"{one['memory_bytes'] / _GIB:.1f} GiB"
        where = one["reference"] if one["id"] else "the command line"
        table.add_row(*(Text(plain(cell)) for cell in (one["name"], where, one["quantization"], state, memory)))
    return table


def _find_server() -> str:
    servers = running_servers(home_folder())
    if len(servers) == 1:
        return servers[0].url
    if servers:
        urls = ", ".join(server.url for server in servers)
        raise TramontaneError(f"Several servers run here ({urls}): choose one by --url.")
    raise TramontaneError("No server runs here: start one by `tramontane serve`, or name it by --url.")


class _RefusedError(TramontaneError):
    """What the server refused, in its words."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Server:
    """A server that is asked as an administrator."""

    def __init__(self, url: str) -> None:
        key = os.environ.get("TRAMONTANE_API_KEY")
        if not key:
            raise TramontaneError("Set TRAMONTANE_API_KEY to a key of the server's owner or admin.")
        base_url = url.rstrip("/").removesuffix("/v1")
        headers = {"authorization": f"Bearer {key}"}
        self._url = base_url
        self._client = httpx2.Client(base_url=base_url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The deployment as it stands then."""
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises TramontaneError with the server's own words where it refuses."""
        try:
            reply = self._client.request(method, path, json=body)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise TramontaneError(f"{self._url} does not answer ({type(error).__name__}): see that it runs.") from None
        if reply.status_code == 401:
            raise TramontaneError(f"{self._url} does not know the key in TRAMONTANE_API_KEY.")
        answer: dict[str, Any] = reply.json() if reply.content else {}
        if reply.is_error:
            message = answer.get("message")
            if isinstance(message, dict):
                message = "; ".join(f"{entry['loc'][-1]}: {entry['msg']}" for entry in message["detail"])
            raise _RefusedError(str(message), str(answer.get("type")))
        return answer

    def by_id(self, deployment_id: str) -> dict[str, Any]:
        """A deployment as it stands now."""
        for one in self.ask("GET", "/v1/deployments")["data"]:
            if one["id"] == deployment_id:
                return dict(one)
        raise TramontaneError("The deployment was deleted meanwhile.")

    def id_of(self, name: str) -> str:
        """The id of what was deployed under a name."""
        found = [one for one in self.ask("GET", "/v1/deployments")["data"] if one["name"] == name]
        if not found:
            raise TramontaneError(f"No model called {name!r} is deployed there; --list tells those that are.")
        if found[0]["id"] is None:
            raise TramontaneError(f"{name} was named when the server was started: it ends with the server.")
        return str(found[0]["id"])
