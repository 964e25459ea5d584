"""What a user of the JupyterLab extension sees and does."""

from __future__ import annotations

import re
from typing import Any

from tests.browser.lab import LabPage

__all__ = ["Journey", "cluster_named"]

_OPEN = """path => {
    const {commands, shell} = window.jupyterapp;
    const ref = Array.from(shell.widgets("main")).find(widget => widget.context).id;
    return commands.execute("docmanager:open", {path, options: {mode: "tab-after", ref}}).then(() => null);
}"""

_OPEN_CONSOLE = """() => {
    const {commands, shell} = window.jupyterapp;
    const ref = Array.from(shell.widgets("main")).find(widget => widget.context).id;
    const where = {insertMode: "tab-after", ref, kernelPreference: {name: "python3"}};
    return commands.execute("console:create", where).then(() => null);
}"""


class Journey:
    """What a user sees and does."""

    def __init__(self, lab: LabPage) -> None:
        self.lab = lab
        self.page = lab.page
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._console)
        self.side = self.page.locator(".himalia-SideBar")
        self.status = self.page.locator(".himalia-Status button")

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"{message.text} ({message.location.get('url')})")

    def card(self, name: str) -> Any:
        """A cluster of the side bar."""
        return self.side.locator(".himalia-Cluster", has=self.page.locator("h3", has_text=name))

    def says(self, locator: Any, words: str) -> None:
        """Wait until it shows this: a regular expression."""
        locator.filter(has_text=re.compile(words)).first.wait_for()

    def button(self, name: str) -> Any:
        """A button of an open dialog."""
        return self.page.locator(".jp-Dialog").get_by_role("button", name=name)

    def frame_of(self, cluster: str) -> Any:
        """What the panel shows, once it is a page of this cluster."""
        self.page.locator(f".himalia-Frame:visible[src*='/himalia/{cluster}/']").wait_for()
        return self.page.frame_locator(".himalia-Frame:visible")

    def go_to(self, notebook: str) -> None:
        """Work in another notebook, in the place of the first."""
        self.page.evaluate(_OPEN, notebook)
        self.page.wait_for_function(
            "name => { const widget = window.jupyterapp.shell.currentWidget;"
            " return widget?.context?.path === name && widget.context.isReady"
            " && widget.sessionContext?.session?.kernel?.connectionStatus === 'connected'; }",
            arg=notebook,
        )

    def open_console(self) -> str:
        """Open a code console beside the notebooks, and work in it; what it is called."""
        self.page.evaluate(_OPEN_CONSOLE)
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget?.console?.sessionContext.session?.kernel?.status === 'idle'"
        )
        name: str = self.page.evaluate("window.jupyterapp.shell.currentWidget.title.label")
        return name

    def run_in_console(self, code: str) -> None:
        """Run code in the open console, without waiting for its end."""
        self.page.evaluate("code => void window.jupyterapp.shell.currentWidget.console.inject(code)", code)

    def run_cells(self) -> None:
        """Run the notebook, without waiting for its end."""
        self.page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")


def cluster_named(journey: Journey, name: str) -> str:
    found: str = journey.card(name).get_attribute("data-cluster")
    return found
