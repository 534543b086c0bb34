"""The two small charts of the page, as inline SVG."""

import math

import numpy as np

from jaxattr.viz._html import escape, percent


def strip(name: str, heat: np.ndarray) -> str:
    """Bars of the share of heat in each frame."""
    mass = heat.sum(axis=(1, 2), dtype=np.float64)
    if mass.max() <= 0:
        return '<p class="strip-note">No evidence in any frame.</p>'
    peak = int(mass.argmax())
    note = f"Peak: frame {peak}, {percent(mass[peak] / mass.sum())}"
    bars = "".join(
        f'<rect x="{t + 0.08:.2f}" y="{1 - m:.4f}" width=".84" height="{m:.4f}"/>'
        for t, m in enumerate(mass / mass.max())
    )
    return (
        f'<svg class="strip" viewBox="0 0 {len(mass)} 1" preserveAspectRatio="none" '
        f'role="img" aria-label="Evidence per frame, {escape(name)}. {note}">'
        f'{bars}</svg><p class="strip-note">{note}</p>'
    )


def kept_chart(areas: np.ndarray, kept: np.ndarray, whole: float | None) -> str:
    """Probability kept over area, as inline SVG; one point per mask."""
    kept = np.nan_to_num(kept.astype(np.float64))
    low, high = min(0.0, kept.min()), max(1.0, kept.max())
    widest = float(areas.max()) * 1.08

    def place(area: float, value: float) -> tuple[float, float]:
        return 40 + area / widest * 380, 170 - (value - low) / (high - low) * 150

    marks = []
    for value in (low, (low + high) / 2, high):
        y = place(0, value)[1]
        marks.append(f'<line class="grid" x1="40" x2="420" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(
            f'<text x="32" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        )
    if whole is not None:
        y = place(0, whole)[1]
        marks.append(
            f'<line class="whole" x1="40" x2="420" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        marks.append(
            f'<text x="420" y="{y - 6:.1f}" text-anchor="end">whole clip</text>'
        )
    points = [place(float(a), k) for a, k in zip(areas, kept, strict=True)]
    marks.append(
        f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
    )
    right = -math.inf
    for i, (x, y) in enumerate(points):
        marks.append(f'<circle data-area="{i}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
        if x - right >= 36:  # Labels that would touch are left out.
            text = percent(areas[i])
            marks.append(
                f'<text x="{x:.1f}" y="188" text-anchor="middle">{text}</text>'
            )
            right = x
    return (
        '<svg class="chart" viewBox="0 0 430 196" role="img" '
        'aria-label="Probability kept over area kept">'
        f"{''.join(marks)}</svg>"
    )
