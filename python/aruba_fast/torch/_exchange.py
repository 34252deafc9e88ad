"""What processes of a group tell each other, through `torch.distributed`."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed as dist

from .. import _arrays, _check
from ._parameters import tensor
from ._round import OpenRound, Part

_Told = TypeVar("_Told")


def require_group(function: str, group: object) -> None:
    """Refuses what is no group of processes that this one is in."""
    if dist.is_available() and isinstance(group, dist.ProcessGroup):
        return
    outside = dist.is_available() and group is dist.GroupMember.NON_GROUP_MEMBER
    got = "that of a group without this process" if outside else _check.shown(group)
    raise TypeError(
        f"{function}: `process_group` must be a group that this process is in: got {got}, expected "
        "torch.distributed.group.WORLD after init_process_group, or what new_group returned"
    )


@contextmanager
def whole(function: str, left: str = "phi, rates and counts are as they were") -> Iterator[None]:
    """Says of an exchange that failed what it has left: nothing has come of most."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"{function}: every process of `process_group` must take part: got {error}; expected "
            f"each to call it, and none to end before; {left}"
        ) from error


def gathered(mine: _Told, group: "dist.ProcessGroup") -> list[_Told]:
    """What all ranks tell, in their order."""
    told: list[Any] = [None] * group.size()
    dist.all_gather_object(told, mine, group=group)
    return told


def sent(told: Any, group: "dist.ProcessGroup") -> None:
    """Tells the next rank, if there is one."""
    if group.rank() + 1 < group.size():
        dist.send_object_list([told], group=group, group_dst=group.rank() + 1)


def received(group: "dist.ProcessGroup") -> Any:
    """Waits for what the rank before tells; None where there is none."""
    told = [None]
    if group.rank():
        dist.recv_object_list(told, group=group, group_src=group.rank() - 1)
    return told[0]


def checksums(arrays: Mapping[str, Any]) -> dict[str, int]:
    """A number for each array, another one where a bit differs."""
    found = {}
    for name, array in arrays.items():
        found[name] = zlib.crc32(_arrays.contiguous(_arrays.host(array)).tobytes())
    return found


def rows_of_all(
    own: OpenRound, weights: list[list[float]], group: "dist.ProcessGroup"
) -> Iterator[Part]:
    """The tasks of all ranks in their order, in the parts that one process would sum them in.

    Args:
        own: The round of this rank.
        weights: The weights of every rank's tasks.
        group: The processes.

    Yields:
        theta_hat, grad_sq and weights of some tasks, in memory that the next ones are written to.
    """
    order = [(rank, i) for rank, its in enumerate(weights) for i in range(len(its))]
    phi = own.arrays["phi"]
    room = _arrays.empty((2, min(own.capacity, len(order)), len(phi)), phi.dtype, phi)
    for first in range(0, len(order), own.capacity):
        part = order[first : first + own.capacity]
        pending = []
        for rank in sorted({rank for rank, _ in part}):
            places = [k for k, (of, _) in enumerate(part) if of == rank]
            rows = room[:, places[0] : places[-1] + 1]
            if rank == group.rank():
                for k in places:
                    room[:, k] = own.row(part[k][1])
            for each in rows:  # theta_hat, then grad_sq: each of them lies in one piece
                pending.append(
                    dist.broadcast(tensor(each), group=group, group_src=rank, async_op=True)
                )
        for work in pending:
            if work is not None:
                work.wait()
        of_part = [weights[rank][i] for rank, i in part]
        yield room[0, : len(part)], room[1, : len(part)], own.of_weights(of_part)
