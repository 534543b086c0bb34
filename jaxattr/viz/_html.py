"""Safe HTML: escaping for every context, a template, and its security policy."""

import base64
import hashlib
import html
import importlib.resources
import io
import json
import string
from typing import Any

import numpy as np

from jaxattr.viz._movie import pillow


def fill_template(*, title: str, script: str, **parts: str) -> str:
    """Puts a title, and parts that are HTML already, into the template in one pass."""
    return string.Template(asset("page.html")).substitute(
        parts,
        title=escape(title),
        heading=breakable(title),
        script=script,
        style=asset("page.css"),
        policy=_policy(script),
    )


def escape(text: Any) -> str:
    """Text for HTML, inside elements and quoted attributes."""
    return html.escape(str(text), quote=True)


def breakable(name: str) -> str:
    """Escaped, and free to break where people would break it."""
    return escape(name).replace("_", "_<wbr>")


def script_json(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def image_uri(pixels: np.ndarray, *, quality: int | None = None) -> str:
    """uint8 [H, W] or [H, W, 3] as a WebP data URI; lossless without `quality`."""
    buffer = io.BytesIO()
    settings = {"lossless": True} if quality is None else {"quality": quality}
    pillow().fromarray(pixels).save(buffer, format="WEBP", method=4, **settings)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def plain_text(value: Any) -> str:
    """A setting as people write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain_text(v) for v in value)
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "…"


def percent(fraction: float) -> str:
    """A share as people say it."""
    return f"{100 * float(fraction):.3g}\u202f%"


def asset(name: str) -> str:
    """A file of the page, from inside the package."""
    folder = importlib.resources.files("jaxattr.viz") / "assets"
    return (folder / name).read_text(encoding="utf-8").strip()


def _policy(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    code = base64.b64encode(digest).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{code}'; base-uri 'none'; form-action 'none'"
    )
