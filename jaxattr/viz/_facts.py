"""The parts of the page that are words and numbers: head, warnings, tables."""

import math
from collections.abc import Mapping
from typing import Any

from jaxattr.viz._content import Content
from jaxattr.viz._html import escape, plain_text


def head_facts(content: Content) -> str:
    facts = {
        "network": content.settings.get("network"),
        "weights": content.settings.get("weights"),
        "class": content.label,
    }
    rows = [(k, plain_text(v)) for k, v in facts.items() if v is not None]
    frames, height, width = content.rgb.shape[:3]
    plural = "" if frames == 1 else "s"
    rows.append(("input", f"{frames} frame{plural}, {width} × {height}"))
    if content.probability is not None:
        rows.append(("probability", f"{content.probability:.3f}"))
    items = [f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in rows]
    return f'<dl class="facts">{"".join(items)}</dl>' if items else ""


def banner(content: Content) -> str:
    parts = []
    if content.untrained:
        parts.append(
            "<strong>The network’s weights are random.</strong><p>These pictures show "
            "that the methods run. They say nothing about what a trained network "
            "sees.</p>"
        )
    if content.warnings:
        items = "".join(f"<li>{escape(w)}</li>" for w in content.warnings)
        parts.append(f"<ul>{items}</ul>")
    return f'<div class="banner" role="note">{"".join(parts)}</div>' if parts else ""


def facts_section(content: Content) -> str:
    columns = []
    if content.prediction:
        columns.append(f"<div><h2>Prediction</h2>{_bars(content)}</div>")
    if content.settings:
        columns.append(f"<div><h2>Settings</h2>{_settings(content.settings)}</div>")
    if not columns:
        return ""
    return f'<section><div class="facts-grid">{"".join(columns)}</div></section>'


def _bars(content: Content) -> str:
    items = []
    for label, p in content.prediction:
        mine = ' class="target"' if label == content.label else ""
        width = 100 * min(max(p, 0.0), 1.0) if math.isfinite(p) else 0.0
        items.append(
            f'<li{mine}><div class="row"><span class="name">{escape(label)}</span>'
            f'<span>{p:.3f}</span></div><div class="bar">'
            f'<i style="width:{width:.2f}%"></i></div></li>'
        )
    return f'<ol class="bars">{"".join(items)}</ol>'


def _settings(settings: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in settings.items() if not isinstance(v, Mapping)}
    groups = {k: v for k, v in settings.items() if isinstance(v, Mapping)}
    tables = [_table(plain, "")] if plain else []
    tables += [
        _table(rows, f"<caption>{escape(k)}</caption>") for k, rows in groups.items()
    ]
    return "".join(tables)


def _table(rows: Mapping[str, Any], caption: str) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(k)}</th><td>{escape(plain_text(v))}</td></tr>'
        for k, v in rows.items()
    )
    return f"<table>{caption}{body}</table>"
