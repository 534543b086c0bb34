"""Boxes, one a frame, and masks: from each to the other.

A box is (y0, x0, y1, x1) in pixels, both ends inclusive, row before column: so
(2, 3, 2, 3) is one pixel. A row of NaN, or of -1, is a frame without a box.
"""

import jax
import jax.numpy as jnp


def boxes_to_mask(boxes: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """Fills one box in every frame.

    Args:
      boxes: [T, 4] rows (y0, x0, y1, x1), inclusive, in pixels; fractions are allowed,
        a pixel is inside if its centre, an integer, is. NaN or -1 throughout: no box.
      shape: (T, H, W) of the mask. What lies outside the frame is cut off.

    Returns:
      [T, H, W] bool.

    Raises:
      ValueError: `boxes` is not [T, 4].
    """
    boxes = _check_shape(boxes, shape[0])
    box = jnp.where(has_box(boxes)[:, None], boxes, jnp.nan)[..., None]
    rows, columns = (jnp.arange(size, dtype=box.dtype)[None] for size in shape[1:])
    down = (box[:, 0] <= rows) & (rows <= box[:, 2])
    across = (box[:, 1] <= columns) & (columns <= box[:, 3])
    return down[:, :, None] & across[:, None, :]


def mask_to_boxes(mask: jax.Array) -> jax.Array:
    """Finds the tightest box around the evidence of every frame.

    Args:
      mask: [T, H, W] bool.

    Returns:
      [T, 4] float32 rows (y0, x0, y1, x1), inclusive; NaN where a frame has none.

    Raises:
      ValueError: `mask` is not a bool array [T, H, W].
    """
    mask = jnp.asarray(mask)
    if mask.ndim != 3 or mask.dtype != bool:
        raise ValueError(
            f"`mask` must be bool [T, H, W], got {mask.dtype} of shape "
            f"{tuple(mask.shape)}."
        )
    ends = []
    for filled in (mask.any(2), mask.any(1)):
        size = filled.shape[1]
        ends.append((filled.argmax(1), size - 1 - filled[:, ::-1].argmax(1)))
    (y0, y1), (x0, x1) = ends
    boxes = jnp.stack([y0, x0, y1, x1], 1).astype(jnp.float32)
    return jnp.where(mask.any((1, 2))[:, None], boxes, jnp.nan)


def has_box(boxes: jax.Array) -> jax.Array:
    """Which rows of boxes [T, 4] hold a box: [T] bool."""
    return ~(jnp.isnan(boxes).all(1) | (boxes == -1).all(1))


def check_boxes(
    boxes: jax.Array, shape: tuple[int, int, int]
) -> tuple[jax.Array, jax.Array]:
    """Boxes in floating point, and whether all are in order and in the frame, []."""
    boxes = _check_shape(boxes, shape[0])
    y0, x0, y1, x1 = boxes.T
    ordered = (y0 <= y1) & (x0 <= x1)  # Fails for NaN in part of a row.
    inside = (y1 >= 0) & (x1 >= 0) & (y0 <= shape[1] - 1) & (x0 <= shape[2] - 1)
    finite = jnp.isfinite(boxes).all(1)
    good = (ordered & inside & finite) | ~has_box(boxes)
    if not isinstance(good, jax.core.Tracer) and not good.all():
        frame = int((~good).argmax())
        raise ValueError(
            "`boxes` must be (y0, x0, y1, x1), finite and inclusive, and overlap the "
            f"frame of {shape[1]} x {shape[2]} pixels, got {boxes[frame].tolist()} in "
            f"frame {frame}. A frame without a box has NaN or -1 throughout."
        )
    return boxes, good.all()


def _check_shape(boxes, num_frames):
    boxes = jnp.asarray(boxes)
    if boxes.shape != (num_frames, 4):
        raise ValueError(
            f"`boxes` must be [{num_frames}, 4], one row a frame, got shape "
            f"{tuple(boxes.shape)}."
        )
    if jnp.issubdtype(boxes.dtype, jnp.floating):
        return boxes
    return boxes.astype(jnp.float32)
