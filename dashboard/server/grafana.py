"""A dashboard for Grafana out of the declarations of metrics. Pure; `tools/write_grafana.py` writes it down."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from .metrics import METRICS, Metric

__all__ = ["dashboard"]

_WIDTH: Final = 24  # of Grafana's grid
_PANEL: Final = (8, 8)  # width and height: three beside one another
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_RATE: Final = "$__rate_interval"


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    shown = [metric for metric in METRICS if metric.row]
    order = list(dict.fromkeys(metric.row for metric in shown))
    for row, metrics in groupby(sorted(shown, key=lambda metric: order.index(metric.row)), lambda metric: metric.row):
        panels.append(_row(len(panels) + 1, row, y))
        y += 1
        x = 0
        for metric in metrics:
            if x + _PANEL[0] > _WIDTH:
                x, y = 0, y + _PANEL[1]
            panels.append(_panel(len(panels) + 1, metric, x, y))
            x += _PANEL[0]
        y += _PANEL[1]
    return {
        "title": "Himalia",
        "uid": "himalia",
        "tags": ["himalia"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                {
                    "name": "job",
                    "label": "Cluster",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(himalia_info, job)",
                    "refresh": 2,
                    "includeAll": True,
                    "multi": True,
                },
            ]
        },
        "panels": panels,
    }


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, metric: Metric, x: int, y: int) -> dict[str, Any]:
    width, height = _PANEL
    return {
        "id": number,
        "type": "timeseries",
        "title": _title(metric),
        "description": metric.about,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": metric.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": "A",
                "datasource": _SOURCE,
                "expr": _expression(metric),
                "legendFormat": metric.legend or metric.name,
            }
        ],
    }


def _title(metric: Metric) -> str:
    words = metric.name.removeprefix("himalia_").removesuffix("_total").replace("_", " ")
    return (f"{words} per second" if metric.kind == "counter" else words).capitalize()


def _expression(metric: Metric) -> str:
    chosen = f'{metric.name}{{job=~"$job"}}'
    if metric.kind == "counter":
        chosen = f"rate({chosen}[{_RATE}])"
    return f"sum by ({', '.join(metric.labels)}) ({chosen})" if metric.labels else f"sum({chosen})"
