"""Says how to install what this package needs, before an import fails obscurely."""

try:
    import flax  # noqa: F401
    import safetensors  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"jaxattr_models needs {error.name}: pip install 'jaxattr[models]'"
    ) from error
