"""Smoothing of any method: its mean over noisy clips."""

from jaxattr._expectation import check_chunk, check_count
from jaxattr._explainer import check_key
from jaxattr._noise import SampledAttribution, check_noise, under_noise
from jaxattr.compose._composition import Composition, Method, composed


def smooth(
    method: Method,
    *,
    num_samples: int = 25,
    noise: float = 0.15,
    chunk: int | None = None,
) -> Method:
    r"""Averages what any method says over clips with Gaussian noise added.

    `smooth(saliency)` is `smooth_grad`: the mean of the values at
    :math:`x + \epsilon_k`, :math:`\epsilon_k \sim N(0, \sigma^2)`, with
    :math:`\sigma` = `noise` * (max x - min x) over the whole clip.

    Args:
      method: transform such as `jaxattr.grad_cam`, or a `functools.partial` of one.
      num_samples: noisy clips; time grows with it, memory does not.
      noise: standard deviation as a fraction of the clip's range.
      chunk: explanations computed side by side; changes memory, never the result.

    Returns:
      A method: `smooth(method)(f, **settings)` with the settings of `method` gives
      `explain(clip, target, *, key) -> SampledAttribution`. Each sample of a random
      method has a key of its own.

    Raises:
      ValueError: `num_samples < 1`, negative noise; from `explain`, a missing key.
      TypeError: `method` is not callable.

    References:
      Smilkov et al., "SmoothGrad", 2017, https://arxiv.org/abs/1706.03825, section 3,
      for gradients.
      Verified for gradients; of other methods our reading.
    """
    check_count("num_samples", num_samples)
    check_chunk(chunk)
    check_noise(noise)
    return composed(_SMOOTH, method, noise, num_samples=num_samples, chunk=chunk)


def _check(bound, clip, target, noise, *, key, inputs, num_samples, chunk):
    check_key(key)
    return bound.explain()(clip, target, key=key, **inputs)


def _smooth(bound, clip, target, noise, *, key, inputs, num_samples, chunk):
    explain = bound.explain()

    def values(noisy, key):
        return explain(noisy, target, key=key, **inputs).values

    result = under_noise(
        values, clip, noise, key=key, num_samples=num_samples, chunk=chunk
    )
    return SampledAttribution(result.mean, result.standard_error)


_SMOOTH = Composition(_smooth, _check)
