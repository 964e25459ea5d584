"""A Jupyter server with the extension, in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.source_tree import ROOT

TOKEN = "a-token-of-the-jupyter-server"
PREFIX = "/user/ada/"  # as JupyterHub has it


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


class JupyterServer:
    """Where it is, and how it is asked."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid

    @property
    def token_header(self) -> dict[str, str]:
        return {"Authorization": f"token {TOKEN}"}

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Ask it below ``himalia/``. Without headers: as a program that has the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = self.token_header if headers is None else headers
        try:
            sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, f"{PREFIX}himalia/{path}", sent, given)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def browser(self) -> dict[str, str]:
        """The cookies of a browser that has logged in, as the header that it sends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            cookies: dict[str, str] = {}
            for path in (f"{PREFIX}login", f"{PREFIX}login?token={TOKEN}"):  # the form sets `_xsrf`
                sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
                connection.request("GET", path, headers=sent)
                answer = connection.getresponse()
                answer.read()
                for line in answer.headers.get_all("Set-Cookie") or ():
                    name, _, value = line.partition(";")[0].partition("=")
                    cookies[name] = value
            return cookies
        finally:
            connection.close()


@contextlib.contextmanager
def jupyter_server(folder: Path, *options: str) -> Iterator[JupyterServer]:
    """A server over a folder, with what it writes in it."""
    state = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("RUNTIME", "CONFIG", "DATA")}
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.port=0"]
    command += [f"--ServerApp.root_dir={folder}", f"--ServerApp.base_url={PREFIX}"]
    command += [f"--IdentityProvider.token={TOKEN}", *options]
    environment = {**os.environ, **state, "PYTHONPATH": str(ROOT)}  # for an authorizer of the tests
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield JupyterServer(_port(process, folder), process.pid)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def jupyter(leak_guard: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with (
        leak_guard.shared("the Jupyter server of this module"),
        jupyter_server(tmp_path_factory.mktemp("jupyter")) as server,
    ):
        yield server


def _port(process: subprocess.Popen[bytes], folder: Path) -> int:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and process.poll() is None:
        for file in (folder / "runtime").glob("jpserver-*.json"):
            try:
                port: int = json.loads(file.read_text())["port"]
            except json.JSONDecodeError:  # it is being written
                continue
            return port
        time.sleep(0.05)
    raise RuntimeError(f"the Jupyter server did not start:\n{(folder / 'server.log').read_text()}")
