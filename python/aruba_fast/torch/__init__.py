"""ARUBA for PyTorch: an initialization and a learning rate for every weight of a network.

    meta = aruba_fast.torch.MetaOptimizer(model.parameters())
    for round in rounds:
        for task in round:
            with meta.task(weight=len(task)) as optimizer:
                for x, y in task:
                    optimizer.zero_grad(); loss(model(x), y).backward(); optimizer.step()
        meta.step(meta_step=1.0)
    optimizer = meta.rule()  # ARUBA++ at meta-test

PyTorch computes gradients; the step with its statistics, the sums of a round and the meta-update
are one native call each for the whole model. The steps are also operators,
`torch.ops.aruba_fast.step` and so on: see `aruba_fast.torch.ops`.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError:
    raise ImportError(
        "aruba_fast.torch: PyTorch must be installed: got no module named 'torch', "
        "expected it from pip install 'aruba_fast[torch]'"
    ) from None

from . import ops
from ._private import private_steps
from .meta import MetaOptimizer
from .task import TaskOptimizer

__all__ = ["MetaOptimizer", "TaskOptimizer", "ops", "private_steps"]
