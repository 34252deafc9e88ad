"""Random arguments of engines that others built: one sentence says what is wrong, all stays."""

from __future__ import annotations

import re

import pytest
from fuzz import engines
from fuzz.calls import ALLOWED
from fuzz.objects import Misbehaved
from fuzz.values import Draw
from optional import need

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]
# Whose sentence it is: ours, Python's on a signature, or of what a path is made by.
SENTENCE = re.compile(r"\w+(\.\w+)?: \S.*|.*argument.*|.*os\.PathLike.*|.*__fspath__.*", re.DOTALL)


def require_sentences(entry, given, n_calls):
    """Makes calls of an entry, most with something wrong; nothing but sentences may come out."""
    finds, counts, said = [], [0, 0], []
    for number in range(n_calls):
        draw = Draw(0, number)
        try:
            call = entry(draw, given)
            if draw.chance(0.7):
                call.spoil(draw)
        except ALLOWED:  # of what is spoiled itself
            continue
        call.function = telling(call.function, said)
        try:
            counts[call.run(draw)] += 1
        except Exception as error:
            finds.append(f"call {number}: {type(error).__name__}: {error}")
    odd = [text for text in said if not SENTENCE.fullmatch(text)]
    assert not finds, "\n".join(finds)
    assert not odd, "\n".join(odd)
    failed, succeeded = counts
    assert failed > 0.2 * n_calls, counts
    assert succeeded > 0.1 * n_calls, counts


def telling(function, said):
    """The same function; what it raises is written down."""

    def called(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Misbehaved:
            raise
        except (TypeError, ValueError, RuntimeError) as error:
            said.append(str(error))
            raise

    return called


@pytest.mark.parametrize("entry", engines.PFL, ids=lambda entry: entry.__name__)
def test_pfl(entry):
    need("aruba_fast.pfl")
    if entry is engines.torch_model:
        need("torch")
    require_sentences(entry, None, 200)


@pytest.mark.parametrize("entry", engines.TORCH, ids=lambda entry: entry.__name__)
def test_a_group_of_processes(entry):
    need("torch")
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        require_sentences(entry, dist.group.WORLD, 200)
    finally:
        dist.destroy_process_group()


def test_a_dask_cluster(tmp_path):
    need("pyarrow")
    distributed = need("distributed")
    from test_parquet import reading, table, written

    people = reading(written(tmp_path, table([2, 3, 1, 4]), row_group=4))
    with distributed.Client(n_workers=1, processes=False, dashboard_address=":0") as client:
        require_sentences(engines.dask_train, (client, people), 100)
