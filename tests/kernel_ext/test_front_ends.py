"""Front ends that go and come while tasks print."""

from __future__ import annotations

from pathlib import Path

from tests.kernel_ext.notebook import PATIENCE, Notebook

SPEAK = """
import himalia, os, time
@himalia.remote
def speak(path):
    from IPython.display import HTML, display
    print("before")
    while not os.path.exists(path):
        time.sleep(0.01)
    for number in range(1000):
        print("line", number)
    display(HTML("<b>shown</b>"))
    raise ValueError("too late for anybody")
"""


def test_what_comes_after_the_front_end_has_closed_does_no_harm_and_is_in_the_logs(
    fresh: Notebook, tmp_path: Path
) -> None:
    assert not fresh.run(f"%load_ext himalia\n%cluster start --cpus 2\n{SPEAK}").error
    cell = fresh.run(f"refs = [speak.remote({str(tmp_path / 'go')!r}) for _ in range(2)]\nrefs[0]")
    cell.wait_for(lambda cell: cell.lines.count("before") == 2)
    fresh.client.stop_channels()
    (tmp_path / "go").touch()
    client = fresh.manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        later = Notebook(fresh.manager, client)
        assert later.value("len(himalia.wait(refs, num_returns=2, timeout=30)[0])") == "2"
        assert later.run("himalia.get(refs)").error == "RayTaskError(ValueError)"
        lines = "from himalia.util.state import logs\n[logs(ref).count('line') for ref in refs]"
        assert later.value(lines) == "[1000, 1000]"
        again = later.run("print('still here')\nhimalia.remote(lambda: 5).remote()")
        assert again.stream() == "still here\n"
        assert "ObjectRef" in again.text
    finally:
        client.stop_channels()
