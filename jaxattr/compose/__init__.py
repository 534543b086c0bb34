"""Methods made of methods: smoothed, of two classes, of several."""

from jaxattr.compose._contrast import contrast
from jaxattr.compose._smooth import smooth
from jaxattr.compose._topk import TopK, topk

__all__ = ["TopK", "contrast", "smooth", "topk"]
