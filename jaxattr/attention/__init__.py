"""Methods for transformers: which tokens attend to which, and what that does."""

from jaxattr.attention._attention_rollout import attention_rollout
from jaxattr.attention._knock_out import knock_out
from jaxattr.attention._tokens import AttentionMap
from jaxattr.attention._transformer_attribution import (
    gradient_rollout,
    transformer_attribution,
)

__all__ = [
    "AttentionMap",
    "attention_rollout",
    "gradient_rollout",
    "knock_out",
    "transformer_attribution",
]
