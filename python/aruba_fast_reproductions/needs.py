"""What a command cannot do without, refused in one sentence where it is missing."""

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


def require_device(command: str, device: str) -> None:
    """Refuses a device that PyTorch does not have, before any work is begun.

    Args:
        command: The name of the command.
        device: As PyTorch names it.

    Raises:
        ValueError: PyTorch does not know it, or finds none.
    """
    import torch

    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"{command}: `device` must be one of PyTorch's: got {device!r}, "
            "expected cpu or cuda, say"
        ) from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"{command}: `device` must be there: got {device!r}, expected cpu, because PyTorch "
            "finds no CUDA device"
        )
