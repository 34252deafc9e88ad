"""The experiments behind `aruba-fast omniglot` and `shakespeare`: learning from people's own data.

`runs`, `workers` and `logs` are what every long experiment shares: a run that is seeded, saved,
stopped and resumed; several at a time; their measurements for TensorBoard.
"""

from importlib.util import find_spec


def require_torch(command: str) -> None:
    """Refuses a command in one sentence where PyTorch is missing.

    Args:
        command: Its name.

    Raises:
        ValueError: PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise ValueError(
            f"{command}: PyTorch must be installed: got no module named 'torch', "
            "expected it from pip install 'aruba_fast[torch]'"
        )
