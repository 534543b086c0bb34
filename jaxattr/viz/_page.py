"""One self-contained page: the clip and its maps in step, and how little is enough.

Everything that is text is written here, escaped; the script only draws pictures that
are already inside the page. A content security policy forbids the rest.
"""

import math
from typing import Any

import numpy as np

from jaxattr.viz._charts import kept_chart, strip
from jaxattr.viz._content import Content, Masks
from jaxattr.viz._facts import banner, facts_section, head_facts
from jaxattr.viz._html import (
    asset,
    breakable,
    escape,
    fill_template,
    image_uri,
    percent,
    script_json,
)
from jaxattr.viz._overlay import colours

_LOSSLESS_VOXELS = 2**18  # Sprites above this size are compressed with loss.
_ICON = '<svg viewBox="0 0 24 24" aria-hidden="true"{}><path d="{}"/></svg>'


def render_page(content: Content) -> str:
    """The report of one clip as HTML."""
    body = [_player(content)]
    body += [_mask_section(content, masks) for masks in content.masks]
    body.append(facts_section(content))
    return fill_template(
        title=content.title,
        eyebrow="What made the network decide",
        facts=head_facts(content),
        banner=banner(content),
        body="\n".join(body),
        footer=_footer(),
        data=script_json(_data(content)),
        script=asset("page.js"),
    )


def frame_names(content: Content, *, short: bool = False) -> list[str]:
    """What to call each frame: its number, from 0, and its time where that is known."""
    count = len(content.rgb)
    names = []
    for t in range(count):
        name = f"frame {t}" if short else f"frame {t} / {count - 1}"
        if content.times is not None:
            name += f" · {content.times[t]:.2f} s"
        names.append(name)
    return names


def _data(content: Content) -> dict[str, Any]:
    num_frames, height, width = content.rgb.shape[:3]
    columns = math.ceil(math.sqrt(num_frames))
    return {
        "frames": num_frames,
        "width": width,
        "height": height,
        "columns": columns,
        "names": frame_names(content),
        "colours": colours("inferno").tobytes().hex(),
        "pictureWidth": content.picture.shape[2],
        "pictureHeight": content.picture.shape[1],
        "clip": image_uri(_sprite(content.picture, columns), quality=85),
        "heats": [_map_uri(h, columns) for h in content.heatmaps.values()],
        "masks": [
            {
                "sprite": _map_uri(m.masks.reshape(-1, height, width), columns),
                "sentences": [_sentence(content, m, a) for a in range(len(m.areas))],
            }
            for m in content.masks
        ],
    }


def _map_uri(maps: np.ndarray, columns: int) -> str:
    grey = np.rint(np.asarray(maps, np.float64) * 255).astype(np.uint8)
    quality = None if grey.size <= _LOSSLESS_VOXELS else 85
    return image_uri(_sprite(grey, columns), quality=quality)


def _sprite(frames: np.ndarray, columns: int) -> np.ndarray:
    """[N, H, W, ...] row by row into one picture, `columns` of them side by side."""
    count, height, width = frames.shape[:3]
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * height, columns * width, *frames.shape[3:]), frames.dtype)
    for i, frame in enumerate(frames):
        y, x = divmod(i, columns)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = frame
    return sheet


def _player(content: Content) -> str:
    figures = [_figure(content, "clip", 'id="clip"', "", "")]
    chips = []
    for i, (name, heat) in enumerate(content.heatmaps.items()):
        figures.append(
            _figure(content, name, "", f' data-heat="{i}"', strip(name, heat))
        )
        chips.append(
            f'<label><input type="checkbox" id="show-{i}" checked>'
            f"<span>{escape(name)}</span></label>"
        )
    return f"""<section class="player" aria-label="Clip and heat maps">
<fieldset class="chips"><legend>Show</legend>{"".join(chips)}
<span class="legend">less<canvas id="legend" aria-hidden="true"></canvas>more
evidence</span>
</fieldset>
<div class="panels">{"".join(figures)}</div>
</section>
{_transport(content)}"""


def _figure(content: Content, name: str, canvas: str, data: str, bars: str) -> str:
    height, width = content.rgb.shape[1:3]
    return (
        f"<figure{data}><canvas {canvas} role='img' aria-label='{escape(name)}' "
        f'style="aspect-ratio:{width}/{height}"></canvas>'
        f"<figcaption>{breakable(name)}</figcaption>{bars}</figure>"
    )


def _transport(content: Content) -> str:
    last = len(content.rgb) - 1
    play = _ICON.format(' class="i-play"', "M7 4.5v15l13-7.5z")
    pause = _ICON.format(' class="i-pause"', "M6 4.5h4.2v15H6zM13.8 4.5H18v15h-4.2z")
    back = _ICON.format("", "M5 5h3v14H5zM20 5v14l-11-7z")
    forward = _ICON.format("", "M16 5h3v14h-3zM4 5v14l11-7z")
    rates = "".join(
        f'<option value="{r}"{" selected" if r == 8 else ""}>{r} fps</option>'
        for r in (2, 4, 8, 15, 30)
    )
    return f"""<div class="transport" role="group" aria-label="Playback">
<div class="buttons">
<button type="button" class="play" id="play" aria-label="Play">{play}{pause}</button>
<button type="button" id="back" aria-label="One frame back">{back}</button>
<button type="button" id="next" aria-label="One frame on">{forward}</button>
</div>
<div class="scrub"><input type="range" id="scrub" min="0" max="{last}" value="0"
 aria-label="Frame"><output id="clock" for="scrub"></output></div>
<label class="field rate"><span>Speed</span> <select id="rate">{rates}</select></label>
<label class="field"><span>View</span> <select id="view">
<option value="over">overlay</option><option value="bare">heat only</option>
</select></label>
<label class="field"><span>Opacity</span> <input type="range" id="opacity" min="0"
 max="100" value="85"></label>
</div>"""


def _mask_section(content: Content, masks: Masks) -> str:
    height, width = content.rgb.shape[1:3]
    ratio = f'style="aspect-ratio:{width}/{height}"'
    name = escape(masks.name)
    single = len(masks.areas) == 1  # Nothing to choose, nothing to plot.
    chart = ""
    if masks.kept is not None and not single:
        chart = kept_chart(masks.areas, masks.kept, content.probability)
    return f"""<section data-masks>
<h2>{breakable(masks.name)}: how little is enough</h2>
<p class="lead">Each mask was asked to keep a given share of the clip, and to keep the
voxels that preserve the answer. What it takes away is darkened here.</p>
<div class="areas">
<figure><canvas data-edge role="img" aria-label="Outline of the mask" {ratio}></canvas>
<figcaption>outline</figcaption></figure>
<figure><canvas data-kept role="img" aria-label="What the mask keeps" {ratio}></canvas>
<figcaption>what is kept</figcaption></figure>
<div class="area-control"><p class="area-text" aria-live="polite"></p>
{chart}
<label{" hidden" if single else ""}>Area kept <input type="range" min="0"
 max="{len(masks.areas) - 1}" value="0" step="1"
 aria-label="Area kept, {name}"></label></div>
</div>
</section>"""


def _is_probability(kept: np.ndarray) -> bool:
    """Whether it can be one: with a callable score a mask keeps what that says."""
    return bool(((kept >= 0) & (kept <= 1)).all())


def _sentence(content: Content, masks: Masks, a: int) -> str:
    text = f"Asked to keep {percent(masks.areas[a])} of the clip"
    if masks.reached is not None and np.isfinite(masks.reached[a]):
        text += f", this mask keeps {percent(masks.reached[a])}"
    if masks.kept is not None and np.isfinite(masks.kept[a]):
        word = "probability" if _is_probability(masks.kept) else "score"
        text += f". What is left gets {word} {float(masks.kept[a]):.3f}"
        if word == "probability" and content.probability is not None:
            text += f"; the whole clip gets {content.probability:.3f}"
    return text + "."


def _footer() -> str:
    return (
        "<p><kbd>space</kbd> plays and pauses, <kbd>←</kbd> <kbd>→</kbd> step, "
        "<kbd>Home</kbd> <kbd>End</kbd> jump. A click on bars goes to that frame.</p>"
        '<p>Beside this page: <a href="values.npz">values.npz</a> (raw values), '
        '<a href="sheet.png">sheet.png</a>, <a href="overlay.gif">overlay.gif</a>, '
        '<a href="overlay.mp4">overlay.mp4</a>.</p>'
    )
