"""`aruba_fast.dask.meta_train`: one learner, whatever the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from optional import need
from same_learner import assert_same_bits
from test_parquet import in_memory, reading, table, written

import aruba_fast as af

dask, distributed = need("dask"), need("distributed")
cluster_train = need("aruba_fast.dask").meta_train

N_PEOPLE = 700
SIZES = np.random.default_rng(1).integers(1, 9, N_PEOPLE).tolist()
CHOICE = {"loss": "squared", "round_size": 300, "n_passes": 3}
QUIET = "ignore::DeprecationWarning"
pytestmark = [
    pytest.mark.filterwarnings(QUIET),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def environment():
    """As it was: what Dask sets for its workers, one thread of BLAS, it leaves in this process."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="module")
def client():
    """Two workers in threads of this process."""
    with cluster(2, processes=False) as client:
        yield client


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Row groups of 150 rows, which cut people, in three files."""
    folder = tmp_path_factory.mktemp("people")
    return reading(written(folder, table(SIZES), [1000, 2001], row_group=150))


def cluster(n_workers, **choice):
    return distributed.Client(
        n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", **choice
    )


def learner(**choice):
    return af.MetaLearner(np.zeros(3), **choice)


def test_the_same_bits_come_of_1_2_and_4_workers_and_of_one_process(people):
    alone = learner()
    af.meta_train(in_memory(table(SIZES)), alone, **CHOICE)
    for n_workers in (1, 2, 4):
        with cluster(n_workers) as client:
            together = learner()
            cluster_train(people, together, client=client, **CHOICE)
        assert_same_bits(together, alone)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("own", "how"),
    [
        ({"learning_rate": 1e-3}, {"rule": "proximal"}),
        ({}, {"weights": "rows", "batch_size": 2, "n_epochs": 2}),
        ({}, {"meta_step": lambda n_tasks: 1 / n_tasks}),
        ({"isotropic": True}, {"radius": 0.5, "meta_step": 0.3}),
        ({"learning_rate": 1e-8, "zeta": 1.0, "decay": 0.01}, {}),
        ({"learning_rate": 1e-3}, {"loss": "absolute"}),
        ({}, {"round_size": 1, "n_passes": 1}),
        ({}, {"round_size": 10**6, "n_passes": 1}),
    ],
)
def test_every_choice_learns_what_one_process_does(own, how, people):
    n_people = 60 if how.get("round_size") == 1 else N_PEOPLE
    rows = table(SIZES[:n_people])
    if n_people < N_PEOPLE:
        people = reading(written(people._files[0].parent.parent, rows, row_group=50))
    alone, together = learner(**own), learner(**own)
    af.meta_train(in_memory(rows), alone, **(CHOICE | how))
    cluster_train(people, together, **(CHOICE | how))
    for name in ("phi", "b", "g", "learning_rate"):
        np.testing.assert_array_max_ulp(getattr(together, name), getattr(alone, name), 1)
    assert together.n_tasks == alone.n_tasks


@pytest.mark.usefixtures("client")
def test_the_first_rate_of_parts_is_that_of_all_but_for_rounding(people):
    alone, together = learner(), learner()
    alone.first_rate(in_memory(table(SIZES)), loss="absolute")
    cluster_train(people, together, loss="absolute", round_size=N_PEOPLE)
    assert together._hyper.learning_rate == pytest.approx(alone._hyper.learning_rate, rel=1e-13)


@pytest.mark.usefixtures("client")
def test_one_person_may_be_longer_than_many_row_groups(tmp_path):
    rows = table([2, 90, 1, 40, 3])
    alone, together = learner(), learner()
    af.meta_train(in_memory(rows), alone, loss="squared", round_size=2)
    path = written(tmp_path, rows, [50, 92], row_group=7)
    cluster_train(reading(path), together, loss="squared", round_size=2)
    assert_same_bits(together, alone)


def test_a_worker_that_is_killed_changes_no_bit(people):
    alone, together, killed = learner(), learner(), []
    af.meta_train(in_memory(table(SIZES)), alone, **CHOICE)

    def kill(done, _):
        if done == 300:
            pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with cluster(2) as client:
        cluster_train(people, together, client=client, progress=kill, **CHOICE)
    assert killed
    assert_same_bits(together, alone)


def test_a_worker_that_dies_again_and_again_is_an_error_after_whole_rounds(people):
    alone, together = learner(learning_rate=1e-8), learner(learning_rate=1e-8)
    choice = {"loss": "squared", "meta_step": 0.5, "round_size": 300}
    af.meta_train(in_memory(table(SIZES))[:300], alone, **choice)

    def poison(*_):
        client.run(
            exec, "import os, aruba_fast.dask as d; d.run_tasks = lambda *_, **__: os._exit(1)"
        )

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        cluster(1) as client,
        pytest.raises(RuntimeError, match="meta_train: workers must live"),
    ):
        cluster_train(people, together, client=client, progress=poison, **choice)
    assert_same_bits(together, alone)


STOPPED = """
import os, signal, sys, threading, time
import numpy as np, aruba_fast as af, distributed
from aruba_fast.dask import meta_train
from aruba_fast.datasets import ParquetTasks

if __name__ == "__main__":
    people = ParquetTasks(sys.argv[1], target="y", group="who")
    learner = af.MetaLearner(np.zeros(3))
    with distributed.Client(n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        sent = []
        def stop():
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        def begin(done, total):
            if done == 300:
                threading.Timer(0.3, stop).start()
        try:
            choice = {"round_size": 300, "n_passes": 10**5, "progress": begin}
            meta_train(people, learner, loss="squared", **choice)
        except KeyboardInterrupt:
            print(time.perf_counter() - sent[0], learner.n_tasks)
"""


def test_ctrl_c_stops_within_a_second_after_a_whole_round(people, tmp_path):
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    folder = people._files[0].parent
    result = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, timeout=60
    )
    seconds, n_tasks = result.stdout.split()
    assert float(seconds) < 1.0, result.stderr
    assert int(n_tasks) % N_PEOPLE in (0, 300, 600)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"loss": "cubic"}, ValueError, "`loss` must be known"),
        ({"round_size": 0}, ValueError, "`round_size` must be"),
        ({"rule": "steps"}, ValueError, "`rule` must be"),
        ({"weights": [1.0]}, TypeError, "`weights` must be None or 'rows'"),
        ({"loss": "logistic"}, ValueError, "labels"),
        ({"learner": af.MetaLearner(np.zeros(4))}, ValueError, "one parameter per feature"),
        ({"learner": "a learner"}, TypeError, "`learner` must be a MetaLearner"),
        ({"tasks": af.Tasks(np.ones((1, 1, 3)), [[1.0]])}, TypeError, "must be ParquetTasks"),
        ({"client": "tcp://here"}, TypeError, "`client` must be connected"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_changed(change, error, words, people):
    own = learner()
    given = {"tasks": people, "learner": own, "loss": "squared", "round_size": 9} | change
    with pytest.raises(error, match=words) as told:
        cluster_train(given.pop("tasks"), given.pop("learner"), **given)
    assert str(told.value).startswith("meta_train: ")
    assert own.n_tasks == 0
    assert not own._hyper.knows_rate


@pytest.mark.usefixtures("client")
def test_rows_that_are_not_sorted_are_refused(tmp_path):
    rows = table([3, 3])
    path = written(tmp_path, rows.take([3, 4, 5, 0, 1, 2]), row_group=3)
    with pytest.raises(ValueError, match="must be sorted by its column 'who'"):
        cluster_train(reading(path), learner(), loss="squared", round_size=1)
