"""STEP in PyTorch, written from the papers: the peer of our benchmarks and tests.

The published optimiser: every mask starts from ones, areas are a batch axis, mask and
core averages are shuffled and sorted, SGD with momentum 0.9 and dampening 0.9. Settings
`rate` and `clock` give the compressed run: learning rate 0.05 rate, schedules on a
clock that is `clock` times as fast.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F


@dataclasses.dataclass
class Sizes:
    """Sizes of masks and regularisers, in pixels and frames."""

    step: int
    sigma: float
    blur: float
    core_frames: int
    core_size: int


class TorchStep:
    """Optimises masks [A, T, h, w] for one clip.

    Args:
      network: clips [N, C, T, H, W] -> logits [N, K].
      clip: [C, T, H, W].
      target: class.
      areas: shares of the volume.
      sizes: see `Sizes`.
      core: whether the core term counts.
      ties: "shuffle" as published, or "expected", its expectation.
      rate: factor of the learning rate.
      clock: published iterations per iteration.
      memory_format: of the perturbed clips.
    """

    def __init__(
        self,
        network,
        clip,
        target,
        areas,
        sizes,
        *,
        core=True,
        ties="shuffle",
        rate=1.0,
        clock=1.0,
        memory_format=torch.contiguous_format,
    ):
        self.network, self.target, self.areas = network, target, list(areas)
        self.sizes, self.core, self.ties, self.clock = sizes, core, ties, clock
        self.memory_format = memory_format
        _, self.frames, self.height, self.width = clip.shape
        s, sigma = sizes.step, sizes.sigma
        self.pad = 1 + math.ceil((sigma + sigma) / s)
        self.window = 2 * (1 + math.ceil(sigma / s)) + 1
        grid = math.ceil(self.height / s), math.ceil(self.width / s)
        self.mid = [n + 2 * self.pad - self.window + 1 for n in grid]
        self.canvas = [s * (n - 1) + 1 for n in self.mid]
        self.weights = self._bump_weights(clip.dtype)
        self.pyramid = self._blur_pyramid(clip)
        self.kernel = self._core_kernel(clip.dtype)
        self.q = torch.ones(
            len(self.areas), self.frames, *grid, dtype=clip.dtype, requires_grad=True
        )
        self.optimiser = torch.optim.SGD(
            [self.q], lr=0.05 * rate, momentum=0.9, dampening=0.9
        )
        self.iteration = 0

    def iterate(self):
        """One iteration; returns masks [A, T, H, W], reward [A], regulariser [A]."""
        time = self.clock * self.iteration
        canvas = self.make_masks(self.q)
        margin = round(self.sizes.sigma)
        mask = canvas[..., margin : margin + self.height, margin : margin + self.width]
        logits = self.network(self.perturb(mask))
        reward = -F.log_softmax(logits, 1)[:, self.target]
        regulariser = 300.0 * 1.0008668**time * self.area_loss(canvas)
        if self.core and time >= 101:
            regulariser = regulariser + 300.0 * self.core_loss(canvas)
        self.optimiser.zero_grad()
        (reward + regulariser).sum().backward()
        self.optimiser.step()
        with torch.no_grad():
            self.q.clamp_(0, 1)
        self.iteration += 1
        return mask.detach(), reward.detach(), regulariser.detach()

    def make_masks(self, q):
        """[A, T, h, w] -> [A, T, *canvas]."""
        step, count = self.sizes.step, self.window**2
        padded = F.pad(q.flatten(0, 1)[:, None], [self.pad] * 4)
        cells = F.unfold(padded, self.window).reshape(-1, count, *self.mid)
        cells = cells.repeat_interleave(step, 2).repeat_interleave(step, 3)
        z = cells[:, :, : self.canvas[0], : self.canvas[1]] * self.weights
        mask = (z * torch.softmax(20 * z, 1)).sum(1)
        return mask.reshape(*q.shape[:2], *self.canvas)

    def perturb(self, mask):
        """[A, T, H, W] -> [A, C, T, H, W]."""
        place = 7 * mask
        low = place.detach().floor().clamp(0, 6).long()
        share = (place - low)[:, None]
        levels = self.pyramid[:, None].expand(-1, mask.shape[0], -1, -1, -1, -1)
        shape = (1, mask.shape[0], levels.shape[2], *mask.shape[1:])
        index = low[None, :, None].expand(shape)
        below = levels.gather(0, index)[0]
        above = levels.gather(0, index + 1)[0]
        clips = (1 - share) * below + share * above
        return clips.contiguous(memory_format=self.memory_format)

    def area_loss(self, canvas):
        """Mean squared distance of the sorted masks to steps, [A]."""
        flat = self._shuffled(canvas.flatten(1))
        volume = flat.shape[1]
        zeros = [int(volume * (1 - area)) for area in self.areas]
        if self.ties == "expected":
            top = torch.stack(
                [self._top(row, volume - n) for row, n in zip(flat, zeros)]
            )
            return ((1 - top) * flat**2 + top * (flat - 1) ** 2).mean(1)
        steps = torch.zeros_like(flat)
        for row, n in zip(steps, zeros):
            row[n:] = 1
        return ((flat.sort(dim=1).values - steps) ** 2).mean(1)

    def core_loss(self, canvas):
        """Two means over the averages under the core kernel, [A]."""
        kt, size = self.sizes.core_frames, self.sizes.core_size
        means = F.conv3d(canvas[:, None], self.kernel, stride=(1, size, size))
        means = self._shuffled(means.flatten(1) / self.kernel.sum())
        nominal = math.floor(kt * size * size * 0.5236)
        volume = canvas[0].numel()
        losses = []
        for row, area in zip(means, self.areas):
            count = min(math.ceil(area * volume / nominal), row.numel())
            if self.ties == "expected":
                top = self._top(row, count)
                inner = (top * (row - 1) ** 2).sum() / count
                outer = ((1 - top) * row**2).sum() / max(row.numel() - count, 1)
            else:
                ordered = row.sort(descending=True).values
                inner = ((ordered[:count] - 1) ** 2).mean()
                outer = (ordered[count:] ** 2).sum() / max(row.numel() - count, 1)
            losses.append(inner + outer)
        return torch.stack(losses)

    def _shuffled(self, flat):
        if self.ties == "expected":
            return flat
        return flat[:, torch.randperm(flat.shape[1])]

    def _top(self, row, count):
        """Share of each entry in the `count` largest, averaged over equal entries."""
        row = row.detach().round(decimals=12)
        order = row.argsort(descending=True)
        chosen = torch.zeros_like(row)
        chosen[order[:count]] = 1
        _, group, sizes = row.unique(return_inverse=True, return_counts=True)
        totals = torch.zeros(len(sizes), dtype=row.dtype).index_add_(0, group, chosen)
        return (totals / sizes)[group]

    def _bump_weights(self, dtype):
        step, sigma = self.sizes.step, self.sizes.sigma
        axes = []
        for size in self.canvas:
            pixel = torch.arange(size, dtype=torch.float64)
            offset = torch.arange(self.window, dtype=torch.float64)[:, None]
            cell = torch.div(pixel, step, rounding_mode="floor") + offset - self.pad
            axes.append((pixel - (sigma + step * cell)) ** 2)
        rows, columns = axes
        distance = (rows[:, None, :, None] + columns[None, :, None, :]).sqrt()
        weights = torch.exp(-2 * (distance / sigma - 0.5).clamp(min=0) ** 2)
        return weights.flatten(0, 1).to(dtype)

    def _blur_pyramid(self, clip):
        frames = clip.permute(1, 0, 2, 3).reshape(-1, 1, self.height, self.width)
        levels = []
        for level in range(8):
            sigma = self.sizes.blur * (1 - level / 7)
            reach = math.ceil(4 * sigma)
            taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
            taps = torch.exp(-((taps / (math.sqrt(2) * sigma + 1.19e-7)) ** 2))
            taps = (taps / taps.sum()).to(clip.dtype)
            blurred = F.conv2d(frames, taps[None, None, :, None], padding=(reach, 0))
            blurred = F.conv2d(blurred, taps[None, None, None], padding=(0, reach))
            levels.append(blurred.reshape(self.frames, -1, self.height, self.width))
        return torch.stack(levels).permute(0, 2, 1, 3, 4).contiguous()

    def _core_kernel(self, dtype):
        sizes = (self.sizes.core_frames, self.sizes.core_size, self.sizes.core_size)
        axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in sizes]
        t, y, x = torch.meshgrid(*axes, indexing="ij")
        return ((t**2 + y**2 + x**2).sqrt() <= 1)[None, None].to(dtype)
