"""Write `deploy/grafana/himalia.json` out of the declarations of metrics.

Usage: python tools/write_grafana.py
"""

from __future__ import annotations

import json
from pathlib import Path

from himalia.dashboard.server.grafana import dashboard

FILE = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "himalia.json"


def text() -> str:
    """What stands in the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text())
    print(f"wrote {FILE}")
