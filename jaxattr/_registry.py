"""The table of methods: what the command line, the tests and the benchmarks iterate."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from jaxattr import attention, data, gradient, layers, perturbation, rules
from jaxattr._drawing import cells, masks, voxels


class Method(NamedTuple):
    """A method as the tools around the library see it.

    Attributes:
      name: its public name in `jaxattr`.
      transform: `transform(f, **settings) -> explain`.
      family: "gradient", "layers", "rules", "attention" or "perturbation".
      random: whether `explain` needs a key.
      sees: of a network: "outputs", "gradients", "layers", "attention maps" or "the
        program"; or the clip, if it asks none.
      gradients: settings -> gradient evaluations per clip, for estimates of time.
      heatmap: shape [T, H, W, ...] of its values -> settings of `to_heatmap`.
      needs: settings without which it cannot run, such as `baselines`.
      settings: settings that a run without any should use.
      inputs: what `explain` takes by name beside clip, target and key: name ->
        `make(clip, settings)`, on the host.
    """

    name: str
    transform: Callable[..., Callable[..., Any]]
    family: str
    random: bool
    sees: str
    gradients: Callable[[Mapping[str, Any]], float]
    heatmap: Callable[[tuple[int, ...]], Mapping[str, Any]]
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    inputs: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = MappingProxyType({})

    def make_inputs(self, clip: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `explain` of those settings takes by name for a clip."""
        return {name: make(clip, settings) for name, make in self.inputs.items()}

    @property
    def summary(self) -> str:
        """First line of its docstring."""
        return (self.transform.__doc__ or "").partition("\n")[0]


def given(
    transform: Callable[..., Callable[..., Any]], inputs: Mapping[str, Any]
) -> Callable[..., Callable[..., Any]]:
    """A method that has its inputs, for what knows only clip, target and key.

    Args:
      transform: `transform(f) -> explain(clip, target, *, key, **inputs)`.
      inputs: arrays, which stay arguments of what is compiled.
    """
    if isinstance(transform, functools.partial):  # Its arrays are arguments, too.
        transform = jax.tree_util.Partial(
            transform.func, *transform.args, **transform.keywords
        )
    return functools.partial(_given, transform=transform, inputs=dict(inputs))


def _given(f, *, transform, inputs):
    explain = transform(f)
    return lambda clip, target, *, key=None: explain(clip, target, key=key, **inputs)


def _gradient(name, gradients, *, random=False, needs=(), heatmap=voxels):
    transform = getattr(gradient, name)
    return Method(
        name, transform, "gradient", random, "gradients", gradients, heatmap, needs
    )


def _layers(name, gradients=1, *, sees="gradients, a layer"):
    transform = getattr(layers, name)
    return Method(name, transform, "layers", False, sees, lambda s: gradients, cells)


def _rules(name, heatmap=voxels, gradients=1):
    transform = getattr(rules, name)
    return Method(
        name, transform, "rules", False, "the program", lambda s: gradients, heatmap
    )


def _attention(name, *, sees="gradients, attention maps"):
    transform = getattr(attention, name)
    return Method(name, transform, "attention", False, sees, lambda s: 1, cells)


def _extremal(name):
    areas = MappingProxyType({"areas": (0.05, 0.1, 0.15)})
    return _masks(name, _steps, heatmap=masks)._replace(settings=areas)


def _fgvis(settings):
    known = settings.get("sparsity") is not None
    searches = 1 if known else settings.get("num_searches", 12)
    return searches * settings.get("num_iterations", 500)


def _masks(name, gradients, *, random=False, heatmap=cells, sees="gradients"):
    transform = getattr(perturbation, name)
    return Method(name, transform, "perturbation", random, sees, gradients, heatmap)


def _steps(settings):
    if settings.get("preset") == "paper":
        return len(settings["areas"]) * (settings.get("num_iterations") or 1200)
    return len(settings["areas"]) * (settings.get("num_iterations") or 40) + 5


def _adam_steps(settings):
    return settings.get("num_iterations") or 300


def _black_box(name, gradients, *, random=False, segments=False, sees="outputs"):
    inputs = MappingProxyType({"segments": _segments} if segments else {})
    method = _masks(name, gradients, random=random, sees=sees)
    return method._replace(inputs=inputs)


def _sets(settings):
    num_segments = settings.get("num_segments", 64)
    sampled = 2 * num_segments + settings.get("num_samples", 2048)
    return min(2.0**num_segments, sampled) / 3


def _segments(clip, settings):
    return data.supervoxels(clip, settings.get("num_segments", 64))


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            _gradient("saliency", lambda s: 1),
            _gradient("input_x_gradient", lambda s: 1),
            _gradient("integrated_gradients", lambda s: s.get("num_steps", 64)),
            _gradient("blur_integrated_gradients", lambda s: s.get("num_steps", 25)),
            _gradient("smooth_grad", lambda s: s.get("num_samples", 25), random=True),
            _gradient(
                "expected_gradients",
                lambda s: s.get("num_samples", 64),
                random=True,
                needs=("baselines",),
            ),
            _gradient(
                "mask_path_gradient",
                lambda s: len(s.get("levels", range(5))),
                heatmap=cells,
            ),
            _layers("cam", sees="a layer"),
            _layers("saliency_tubes", sees="a layer"),
            _layers("class_feature_pyramids", sees="layers"),
            _layers("grad_cam"),
            _layers("grad_cam_pp"),
            _layers("xgrad_cam"),
            _layers("hires_cam"),
            _layers("layer_cam"),
            _layers("linear_approximation")._replace(heatmap=voxels),
            _layers("zoom_cam", 4),
            # A forward pass for each of the 512 channels of R(2+1)D-18's last layer.
            _layers("score_cam", 170, sees="outputs, a layer"),
            _layers("guided_grad_cam", 2, sees="the program")._replace(heatmap=voxels),
            _rules("guided_backprop"),
            _rules("deconvnet"),
            _rules("excitation_backprop", cells),
            _rules("lrp"),
            _rules("deep_taylor"),
            _rules("deep_lift", gradients=2),
            _attention("attention_rollout", sees="attention maps"),
            _attention("gradient_rollout"),
            _attention("transformer_attribution"),
            _extremal("extremal_perturbation"),
            _extremal("step"),
            _masks("fgvis", _fgvis, random=True, sees="the program")._replace(
                settings=MappingProxyType({"sparsity": 1.0, "num_iterations": 100})
            ),
            _masks("temporal_mask", _adam_steps),
            _masks("meaningful_perturbation", _adam_steps, random=True),
            _masks(
                "igos",
                lambda s: s.get("num_steps", 20) * s.get("num_iterations", 15),
                random=True,
            ),
            _masks(
                "igos_pp",
                lambda s: 4 * s.get("num_steps", 20) * s.get("num_iterations", 15),
                random=True,
            ),
            # A forward pass takes a third of a gradient.
            _masks("masking_model", lambda s: 1 / 3, sees="a layer")._replace(
                needs=("params",)
            ),
            _masks(
                "perceptual_ball",
                lambda s: 2 * s.get("num_iterations", 100),
                heatmap=voxels,
                sees="gradients, layers",
            ),
            _extremal("frequency_extremal_perturbation"),
            _extremal("channel_extremal_perturbation")._replace(
                heatmap=cells, sees="gradients, layers"
            ),
            # A forward pass takes a third of a gradient.
            _black_box("rise", lambda s: s.get("num_masks", 4000) / 3, random=True),
            _black_box("occlusion", lambda s: 395),  # Of 16 frames of 112 x 112.
            _black_box(
                "lime",
                lambda s: s.get("num_samples", 1000) / 3,
                random=True,
                segments=True,
            ),
            _black_box("kernel_shap", _sets, random=True, segments=True),
            _black_box(
                "greedy_regions",
                lambda s: s.get("num_regions", 8) * s.get("num_segments", 64) / 3,
                segments=True,
            ),
            _black_box(
                "xrai",
                lambda s: 2 * s.get("num_steps", 25),
                segments=True,
                sees="gradients",
            ),
            _black_box("swag", lambda s: 1, segments=True, sees="gradients"),
        )
    }
)
