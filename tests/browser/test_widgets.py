"""Widgets of tasks in a real JupyterLab: shown, moved by the task and by the user, also while a cell waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.lab import lab_server, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "widgets.ipynb"

CELLS = (
    (
        "%load_ext himalia\n%cluster start --cpus 2\nimport himalia, time\n"
        "from himalia.util.progress import configure\nconfigure(enabled=False)"
    ),
    """@himalia.remote
def panel():
    import ipywidgets
    from tqdm.notebook import tqdm
    bar = ipywidgets.IntProgress(max=10, description="working")
    label = ipywidgets.Label("not pressed")
    button = ipywidgets.Button(description="press me")
    button.on_click(lambda _: setattr(label, "value", "pressed in the task"))
    display(ipywidgets.VBox([bar, label, button]))
    for step in tqdm(range(10), desc="bar of tqdm"):
        bar.value = step + 1
        time.sleep(0.05)
    deadline = time.monotonic() + 60
    while label.value == "not pressed" and time.monotonic() < deadline:
        time.sleep(0.02)
    return label.value

print("result:", himalia.get(panel.remote()))""",
)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_panel_of_a_task_is_drawn_and_its_button_reaches_the_task_while_the_cell_waits(
    tmp_path: Path, dark: bool
) -> None:
    write_notebook(tmp_path / NAME, CELLS)
    errors: list[str] = []
    with lab_server(tmp_path) as url, open_notebook(url, NAME, dark=dark, height=900) as lab:
        page = lab.page
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        lab.close_sidebar()
        page.evaluate("() => void window.jupyterapp.commands.execute('runmenu:run-all')")  # not to its end
        button = page.locator(".jp-OutputArea button", has_text="press me")
        button.wait_for()
        page.locator(".jp-OutputArea .widget-html-content", has_text="bar of tqdm").wait_for()
        page.locator(".jp-OutputArea .widget-hprogress .progress-bar-success").wait_for()
        page.wait_for_function("document.querySelector('.jp-OutputArea .progress-bar').style.width === '100%'")
        page.screenshot(path=tmp_path / "live.png")
        button.click()
        page.locator(".jp-OutputArea", has_text="result: pressed in the task").first.wait_for()
        page.locator(".jp-OutputArea .widget-label", has_text="pressed in the task").wait_for()
        page.wait_for_function("document.querySelector('.jp-OutputArea button.jupyter-button').disabled")
        page.screenshot(path=tmp_path / "over.png")
        lab.command("docmanager:save")
        page.reload()  # what the page knew is gone; the kernel knows it
        page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget?.context?.isReady")
        page.locator(".jp-OutputArea .widget-label", has_text="pressed in the task").wait_for()
    assert not [text for text in errors if "widget" in text.lower() or "comm" in text.lower()], errors
