"""A real JupyterLab with a notebook open in a headless Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat

_START_SECONDS = 90.0

#: No network but this machine's and no profile but a fresh one; in root's containers there is nothing to sandbox with.
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Path of an installed Chromium."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


def launch(playwright: Any) -> Any:
    """A browser that Playwright drives."""
    return playwright.chromium.launch(executable_path=chromium(), args=list(_OPTIONS))


def write_notebook(file: Path, sources: Iterable[str]) -> None:
    """A notebook that has not run; its cells are called ``cell0``, ``cell1``, …"""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source, id=f"cell{number}") for number, source in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), file)


@contextlib.contextmanager
def lab_server(folder: Path, base_url: str = "/", *, classic: bool = False) -> Iterator[str]:
    """JupyterLab over a folder, with settings and runtime files of its own; its URL, with the token.

    ``base_url`` is where it lies on its server, as behind a hub. ``classic``: Notebook 7 instead.
    """
    state = folder / ".jupyter-state"
    environment = {
        **os.environ,
        **{f"JUPYTER_{kind}_DIR": str(state / kind.lower()) for kind in ("RUNTIME", "CONFIG", "DATA")},
        "JUPYTERLAB_SETTINGS_DIR": str(state / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(state / "workspaces"),
        "IPYTHONDIR": str(state / "ipython"),
    }
    # The question whether to fetch news would cover part of the page.
    notification = state / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    notification.parent.mkdir(parents=True)
    notification.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    application, name = ("notebook", "JupyterNotebookApp") if classic else ("jupyterlab", "LabApp")
    command = [sys.executable, "-m", application, "--no-browser", "--allow-root", "--ServerApp.port=0"]
    command += [
        f"--ServerApp.root_dir={folder}",
        f"--ServerApp.base_url={base_url}",
        f"--{name}.expose_app_in_browser=True",
    ]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        place = "notebooks" if classic else "lab/tree"
        yield _address(process, state / "runtime", folder / "server.log", place)
    finally:
        process.terminate()  # it ends its kernels, and they their clusters
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], runtime: Path, log: Path, place: str) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(json.JSONDecodeError):  # it is being written
                info = json.loads(file.read_text())
                return f"{info['url']}{place}/{{}}?token={info['token']}"
        time.sleep(0.05)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")


#: The cells above get their true height when they are drawn for the first time: again until it does not move any more.
_SCROLL = """async id => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const index = notebook.widgets.findIndex(cell => cell.model.id === id);
    if (index < 0) throw new Error(`there is no cell ${id}`);
    const frame = () => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const node = notebook.widgets[index].node;
    for (let last = NaN, still = 0; still < 5; ) {
        if (!node.isConnected) await notebook.scrollToItem(index, "start");
        node.scrollIntoView({block: "start"});
        await frame();
        const top = node.getBoundingClientRect().top;
        still = top === last ? still + 1 : 0;
        last = top;
    }
}"""


class LabPage:
    """A notebook in JupyterLab. ``page`` is Playwright's."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def wait_for_document(self) -> None:
        """Wait until JupyterLab shows the document of the address."""
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.context?.isReady")

    def wait_for_kernel(self) -> None:
        """Wait until the kernel of the document has nothing to do."""
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def command(self, name: str) -> Any:
        """Run a command of JupyterLab, to its end."""
        return self.page.evaluate("name => window.jupyterapp.commands.execute(name).then(() => null)", name)

    def run_all(self) -> None:
        """Run all cells, and save the notebook with what it shows."""
        self.command("runmenu:run-all")
        self.command("docmanager:save")

    def set_theme(self, dark: bool) -> None:
        """Change between JupyterLab's two themes, and wait until the page shows it."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(not dark).lower())

    def close_sidebar(self) -> None:
        """Give the notebook the room of the list of files."""
        if self.page.evaluate("!window.jupyterapp.shell.leftCollapsed"):
            self.command("application:toggle-left-area")

    def scroll_to(self, cell: str) -> None:
        """Have the cell with this id at the top, at rest."""
        self.page.evaluate(_SCROLL, cell)


@contextlib.contextmanager
def open_notebook(
    url: str, name: str, *, width: int = 1200, height: int = 1400, dark: bool = False
) -> Iterator[LabPage]:
    """Open a notebook and wait for its kernel."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(60_000)
            page.goto(url.format(name))
            lab = LabPage(page)
            lab.wait_for_document()
            if dark:
                lab.set_theme(dark)
            lab.wait_for_kernel()
            yield lab
        finally:
            browser.close()
