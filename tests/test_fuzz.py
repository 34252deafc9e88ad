"""Random calls of the whole public API: what may come out, and that nothing else is changed.

`make fuzz` makes a million; ARUBA_FUZZ_CALLS and ARUBA_SOAK_SECONDS set how many and how long here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import device
import numpy as np
import pytest
from fuzz.__main__ import batch, report, reproducer
from fuzz.calls import ALLOWED, Broken, Call
from fuzz.child import ENTRIES, Calls
from fuzz.objects import METHODS, ChangingArray, Meddling, Misbehaved, Raising
from fuzz.soak import LIMIT
from fuzz.values import GUARD, Draw

import aruba_fast as af

SANITIZED = "ARUBA_SANITIZED" in os.environ
N_CALLS = int(os.environ.get("ARUBA_FUZZ_CALLS", "2000" if SANITIZED else "100000"))
N_PARTS = 5
SEED = 0


@pytest.mark.parametrize("part", range(N_PARTS))
def test_random_calls_end_as_they_may(part):
    """A success, or one of the library's exceptions; a crash would be a find like any other."""
    size = N_CALLS // N_PARTS
    finds, counts = batch(SEED, part * size, (part + 1) * size, frameworks=not SANITIZED)
    assert not finds, "\n" + report(SEED, finds)
    assert counts["succeeded"] > 0.3 * size, counts
    assert counts["failed"] > 0.2 * size, counts


def test_calls_do_not_depend_on_what_numpy_does_with_errors_of_the_caller():
    """`np.seterr(all="raise")` in the caller: what succeeds without it succeeds with it."""
    calls = Calls(SEED, frameworks=False)
    differ = []
    for number in range(3000):
        try:
            (_, call, draw), (entry, again, other) = (calls.drawn(number) for _ in range(2))
        except ALLOWED:
            continue
        good = succeeds(call, draw)
        with np.errstate(all="raise"):
            if succeeds(again, other) != good:
                differ.append(f"{entry}: {reproducer(SEED, number)}")
    assert differ == []


def succeeds(call, draw):
    try:
        return call.run(draw)
    except ArithmeticError as error:
        return error


@pytest.mark.skipif(SANITIZED, reason="sanitizers keep memory that was freed")
@pytest.mark.slow
def test_memory_stays_where_it_is():
    seconds = os.environ.get("ARUBA_SOAK_SECONDS", "20")
    run = subprocess.run(
        [sys.executable, "-m", "fuzz.soak", "--seconds", seconds],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"grew by more than {LIMIT:.0%}\n{run.stdout}{run.stderr}"


# ---- what it has found, a row each -------------------------------------------------------------


def endless():
    """A list that holds itself."""
    values = [0.5, 0.1]
    values.append(values)
    return values


FOUND = {
    "a list that holds itself": (lambda: af.MetaLearner(endless()), ValueError, "convertible"),
    "one of groups": (
        lambda: af.Tasks.from_groups(np.ones((3, 1)), np.ones(3), endless()),
        ValueError,
        "convertible",
    ),
    "tasks that are none": (
        lambda: af.theory.SimplexLearner(2).run([1.0], loss="squared"),
        TypeError,
        "SimplexLearner.run: `tasks` must be Tasks: got a list",
    ),
    "a run of another kind": (
        lambda: af.theory.FullMatrixLearner(np.zeros(2)).regret_upper_bound(None, np.ones((1, 2))),
        TypeError,
        "must be a FullMatrixRun: got NoneType",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused(name):
    call, kind, message = FOUND[name]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("nested", [False, True])
def test_a_list_that_an_array_in_it_clears_is_read_as_it_was(nested):
    """NumPy borrows the items of a list, while code of one of them can let go of the others."""
    for _ in range(20):
        rows = [np.full(3, float(i)) for i in range(50)]
        rows[0] = ChangingArray(rows[0], rows.clear)
        if nested:
            tasks = af.Tasks([rows], np.zeros((1, 50)))
        else:
            tasks = af.Tasks(rows, np.zeros(50), [0, 50])
        np.testing.assert_array_equal(tasks.x.reshape(50, 3)[:, 0], np.arange(50))


def test_what_overflows_in_a_bound_is_infinite():
    some = np.ones((2, 1))
    assert af.theory.dynamic_regret_bound(some, some, some, alpha=1.0, diameter=1e200) == np.inf
    run = af.TaskRun(some, some)
    options = {"form": "blog", "n_steps": 3, "lipschitz": 1e200}
    assert (af.theory.regret_upper_bound(run, some, some, af.OGD(0.1), **options) == np.inf).all()


@pytest.mark.usefixtures("on_device")
@pytest.mark.skipif(device.REAL, reason="a real CuPy would believe the object and read host memory")
def test_what_cupy_cannot_read_is_refused():
    lying = Meddling(np.ones(2), lambda: None, (2, 0))
    with pytest.raises(TypeError, match="MetaLearner: `phi` must be an array that CuPy can read"):
        af.MetaLearner(lying)


# ---- the fuzzer itself can fail ------------------------------------------------------------------


def test_a_call_is_the_same_every_time():
    calls = Calls(7, frameworks=False)
    for number in range(50):
        one, other = (calls.drawn(number, wild=False) for _ in range(2))
        assert one[0] == other[0]
        for a, b in zip(one[2].buffers, other[2].buffers, strict=True):
            np.testing.assert_array_equal(a, b)
        assert calls.make(number)[:2] == calls.make(number)[:2]


def test_every_entry_is_drawn_and_every_public_name_has_one():
    calls = Calls(SEED, frameworks=False)
    drawn = [calls.drawn(number, wild=False)[:2] for number in range(2000)]
    assert {name for name, _ in drawn} == {entry.__name__ for entry in ENTRIES}
    called = {getattr(call.function, "__name__", None) for _, call in drawn}
    folder = Path(__file__).parent / "fuzz"
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    # What is only returned or warned, and settings that would be other calls' too.
    returned = {"Diagnosis", "FullMatrixRun", "Hindsight", "History", "MetaFit", "TransferRisk"}
    others = returned | {"DivergenceWarning", "get_num_threads", "show_versions"}
    names = [f"af.{n}" for n in af.__all__ if n not in others]
    names += [f"theory.{n}" for n in af.theory.__all__ if n not in others]
    # By a table, or in a file.
    assert [n for n in names if n.partition(".")[2] not in called and n not in text] == []


def drawn():
    return Draw(0, 0)


def writes_behind(array):
    whole = array.base if array.base.base is None else array.base.base
    whole[GUARD + array.nbytes] = 0


BROKEN = {
    "memory beside": (writes_behind, {"modified": (0,)}),
    "must not be": (lambda a: a.fill(7), {}),
    "AttributeError": (lambda a: a.nothing, {}),
    "KeyError": (lambda _: {}["key"], {"modified": (0,)}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_no_call_may_do_is_found(what):
    function, keywords = BROKEN[what]
    draw = drawn()
    call = Call(function, [draw.array(np.ones(3), float)], **keywords)
    with pytest.raises(Exception, match=r".*") as caught:
        call.run(draw)
    assert what in f"{type(caught.value).__name__}: {caught.value}"


def test_a_state_that_is_not_finite_or_changed_by_a_failed_call_is_found():
    def spoils(array):
        learner._arrays["b"][0] = array[0]

    def fails(_):
        learner.update(af.TaskRun(np.ones((1, 2)), np.ones((1, 2))))
        raise ValueError

    for function, what in ((spoils, "not finite"), (fails, "changed a state")):
        learner, draw = af.MetaLearner(np.zeros(2)), drawn()
        call = Call(function, [draw.array([np.inf], float)], states=(learner,))
        with pytest.raises(Broken, match=what):
            call.run(draw)


def test_objects_misbehave():
    for method in METHODS:
        assert hasattr(Raising(method).__class__, method)
    with pytest.raises(Misbehaved):
        float(Raising("__float__"))
    values = [np.ones(2)]
    np.from_dlpack(Meddling(values[0], values.clear))
    assert values == []


@pytest.mark.skipif(SANITIZED, reason="sanitizers end a process in their own way")
def test_a_crash_and_a_call_without_end_name_their_call(tmp_path, monkeypatch):
    """A child that dies in call 3 and hangs in call 5 of eight."""
    import fuzz.__main__ as parent

    (tmp_path / "fuzz").mkdir()
    (tmp_path / "fuzz" / "__init__.py").touch()
    (tmp_path / "fuzz" / "child.py").write_text(
        "import ctypes, struct, sys, time\n"
        "from pathlib import Path\n"
        "for number in range(int(sys.argv[2]), int(sys.argv[3])):\n"
        "    Path(sys.argv[4]).write_bytes(struct.pack('<q', number))\n"
        "    if number == 3: ctypes.string_at(0)\n"
        "    if number == 5: time.sleep(60)\n"
        'print(\'{"succeeded": 2, "failed": 0}\')\n'
    )
    monkeypatch.setattr(parent, "TESTS", tmp_path)
    monkeypatch.setattr(parent, "HANGS", 1.0)
    finds, counts = batch(0, 0, 8)
    assert [find["call"] for find in finds] == [3, 5]
    assert "exit -11" in finds[0]["what"]
    assert finds[1]["what"].endswith("hangs")
    assert counts == {"succeeded": 2, "failed": 0}
    assert reproducer(0, 3) in report(0, finds)
