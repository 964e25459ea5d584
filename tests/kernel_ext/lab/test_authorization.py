"""An authorizer of the Jupyter server decides who may look and who may act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_server.auth.authorizer import Authorizer

from tests.kernel_ext.lab.conftest import jupyter_server

NOBODY = "0" * 16
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class OnlyLook(Authorizer):
    """Whoever is logged in may read what Himalia has, and nothing else of it."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return resource == "himalia" and action == "read"


def test_who_may_only_look_can_change_nothing_and_gets_no_live_data(tmp_path: Path) -> None:
    with jupyter_server(tmp_path, f"--ServerApp.authorizer_class={__name__}.OnlyLook") as jupyter:
        token = jupyter.token_header
        assert jupyter.ask("GET", "api/clusters").status == 200
        assert jupyter.ask("GET", "api/pages").status == 200
        assert jupyter.ask("GET", f"{NOBODY}/page/overview").status == 404
        assert jupyter.ask("POST", "api/clusters", {"cpus": 1}).status == 403
        assert jupyter.ask("DELETE", f"api/clusters/{NOBODY}").status == 403
        assert jupyter.ask("POST", f"api/clusters/{NOBODY}/scale", {"cpus": 1}).status == 403
        assert jupyter.ask("POST", f"{NOBODY}/api/v1/actions/kill_actor", {}).status == 403
        assert jupyter.ask("GET", f"{NOBODY}/api/v1/stream", headers={**UPGRADE, **token}).status == 403
