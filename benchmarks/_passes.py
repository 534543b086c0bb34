"""Does what evaluates a network many times cost more than that many evaluations?"""

from collections.abc import Callable, Mapping
from typing import Any

import _timing
import jax
import numpy as np

from jaxattr.program import trace


def against_passes(
    call: Callable[..., jax.Array],
    transforms: Mapping[int, Any],
    network: Any,
    clip: jax.Array,
    num: int,
    repeats: int,
) -> dict[str, Any]:
    """Times a transform of a network, in several chunks, beside forward passes.

    Runs are interleaved in one process. A forward pass is the traced network's, with
    the rewrites that all methods get.

    Args:
      call: `call(transform, clip) -> array`, compiled here.
      transforms: chunk -> metric or explanation of the network.
      network: what they are of.
      clip: [T, H, W, C].
      num: forward passes that each of them takes.
      repeats: rounds counted.

    Returns:
      Medians of seconds, their ratio to the forward passes, temporary memory as the
      compiler reports it, and the largest difference of what comes between chunks.
    """
    record, runs, found = {"temporary_bytes": {}}, {}, []
    for chunk, transform in transforms.items():
        compiled = jax.jit(call).lower(transform, clip).compile()
        memory = compiled.memory_analysis()
        record["temporary_bytes"][chunk] = memory and memory.temp_size_in_bytes
        found.append(np.asarray(compiled(transform, clip)))
        runs[chunk] = lambda compiled=compiled, t=transform: compiled(t, clip)
    forward = jax.jit(lambda network, clip: trace(network, clip)(clip))
    runs["forward"] = lambda: [forward(network, clip) for _ in range(num)]
    jax.block_until_ready(forward(network, clip))
    # A round takes minutes, and everything has run once by now.
    seconds = _timing.medians(_timing.interleaved(runs, repeats, warm_up=False))
    record["seconds"] = seconds
    record["ratio"] = {c: seconds[c] / seconds["forward"] for c in transforms}
    record["difference"] = float(np.ptp(np.stack(found), 0).max())
    record["load after"] = _timing.machine()["load"]
    print(f"{num} forward passes: {seconds['forward']:.2f} s")
    for chunk, ratio in record["ratio"].items():
        mib = (record["temporary_bytes"][chunk] or 0) / 2**20
        print(f"chunk {chunk}: {seconds[chunk]:7.2f} s, {ratio:.3f}x, {mib:.0f} MiB")
    print(f"answers differ by {record['difference']:.1e} between chunks")
    return record
