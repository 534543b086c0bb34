"""Names that files of Hugging Face's transformers give to parameters of ours."""

from collections.abc import Mapping

# Inside of a block, in published files.
BLOCK = {
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/out": "attention.output.dense",
    "mlp_in": "intermediate.dense",
    "mlp_out": "output.dense",
}


def torch_name(
    path: str, modules: Mapping[str, str], blocks: str
) -> tuple[str, tuple[int, ...] | None]:
    """Where a file made by torch holds a parameter of ours, and its axes' permutation.

    Args:
      path: of the parameter, joined by "/".
      modules: their names of our modules; those within a block by their path there. A
        name that is the same needs no entry.
      blocks: name of their list of blocks, which counts from 0.
    """
    owner, _, leaf = path.rpartition("/")
    if not owner:
        return modules[leaf], None
    axes = None
    if leaf == "kernel":
        axes = (2, 3, 4, 1, 0) if owner == "embed" else (1, 0)
    leaf = "bias" if leaf == "bias" else "weight"
    block, _, part = owner.partition("/")
    if not part:
        return f"{modules.get(owner, owner)}.{leaf}", axes
    number = int(block.removeprefix("layer")) - 1
    return f"{blocks}.{number}.{modules.get(part, part)}.{leaf}", axes
