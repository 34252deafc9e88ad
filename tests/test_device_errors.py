"""Bad input of the kernels on a device: refused with its sentence before anything is touched."""

from __future__ import annotations

import sys
from functools import partial

import device
import kernel_calls
import ml_dtypes
import numpy as np
import pytest
from foreign import Capsule, Interface
from kernel_calls import (
    ARRAYS,
    F32,
    F64,
    arguments,
    call,
    every_array,
    every_output,
    every_step,
)
from test_errors import OnDevice

import aruba_fast as af
from aruba_fast.federated import FixedPoint, Reply
from aruba_fast.privacy import RecordPrivacy, TaskPrivacy

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]


def on_device(keywords):
    return {n: device.array(v) if isinstance(v, np.ndarray) else v for n, v in keywords.items()}


def snapshot(keywords):
    return {n: device.host(v).tobytes() for n, v in keywords.items() if hasattr(v, "data")}


refused = partial(kernel_calls.refused, place=on_device, bits=snapshot)


@every_step
def test_the_unspoiled_arguments_are_accepted(function):
    keywords = on_device(arguments(function))
    before = snapshot(keywords)
    assert call(function, keywords) is None
    assert snapshot(keywords) != before


@every_array
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda: device.array(np.ones((4, 3), F32)), ValueError, r"`{}`.*\(4, 3\)"),
        (lambda: device.array(np.ones((3, 4), np.int32)), TypeError, "`{}`.*int32"),
        (lambda: device.array(np.ones((3, 4), np.complex64)), TypeError, "`{}`.*complex64"),
        (lambda: device.array(np.ones((3, 4), bool)), TypeError, "`{}`.*bool"),
        (lambda: device.array(np.array(1.0, F32)), (ValueError, TypeError), "`{}`"),
        (lambda: Capsule(device.array(np.ones((3, 4), np.int32))), TypeError, "`{}`.*type"),
        (lambda: Interface(device.array(np.ones((3, 4), np.int32))), TypeError, "`{}`.*int32"),
        (lambda: Interface(device.array(np.ones((4, 3), F32))), ValueError, r"`{}`.*\(4, 3\)"),
        (lambda: OnDevice(2), TypeError, "`{}`.*device must not be asked"),
    ],
    ids=[
        "shape", "int32", "complex", "bool", "0-d", "dlpack int32", "interface int32",
        "interface shape", "no memory",
    ],
)  # fmt: skip
def test_every_array_is_checked(function, name, spoil, error, message):
    refused(function, {name: spoil()}, error, message.replace("{}", name))


@every_array
@pytest.mark.parametrize(
    ("spoil", "got"),
    [
        (lambda: np.ones((3, 4), F32), "host memory"),
        (lambda: Capsule(device.array(np.ones((3, 4), F32)), number=1), "cuda:1"),
        (lambda: OnDevice(10), "device"),
        (lambda: "text", "str"),
    ],
    ids=["host", "another device", "rocm", "text"],
)
def test_all_arrays_live_on_one_device(function, name, spoil, got):
    """Where theta lives; the others are refused if that is elsewhere."""
    spoiled = spoil()
    if name == "theta" and not isinstance(spoiled, (str, OnDevice)):
        refused(function, {name: spoiled}, TypeError, "`grad` must live .*: got .*, expected|host")
    else:
        refused(function, {name: spoiled}, TypeError, f"`{name}`.*got .*{got}")


@every_array
def test_types_must_agree(function, name):
    blamed = "grad" if name == "theta" else name
    wrong = device.array(np.ones((3, 4), F64))
    refused(function, {name: wrong}, TypeError, f"`{blamed}`.*(float32|float64)")


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@every_array
def test_half_precision_is_for_gradients_and_rates_of_float32_only(function, name, half):
    may_be = name == "grad" or (name in ("learning_rate", "b") and half != np.float16)
    spoiled = device.array(np.ones((3, 4), half))
    how = {"dtype": F64} if may_be else {}
    refused(function, {name: spoiled}, TypeError, f"`{name}`.*(float16|bfloat16)", **how)


@every_output
@pytest.mark.parametrize(
    "spoil",
    [
        lambda: device.array(np.ones((4, 3), F32)).T,
        lambda: device.array(np.ones((3, 8), F32))[:, ::2],
        lambda: device.array(np.ones((3, 4), F32))[::-1],
        lambda: Interface(device.array(np.ones((4, 3), F32)).T),
        lambda: Capsule(device.array(np.ones((4, 3), F32)).T),
    ],
    ids=["transposed", "strided", "reversed", "interface", "dlpack"],
)
def test_what_would_have_to_be_copied_is_not_modified(function, name, spoil):
    refused(function, {name: spoil()}, TypeError, f"`{name}`.*contiguous")


@every_array
def test_misaligned_arrays(function, name):
    memory = device.array(np.ones(52, np.uint8))
    view = memory[1:49].view(F32).reshape(3, 4)
    refused(function, {name: view}, TypeError, f"`{name}`.*aligned")


@every_output
@pytest.mark.parametrize("form", [Interface, Capsule])
def test_read_only_outputs(function, name, form):
    if device.REAL and form is Capsule:
        pytest.skip("CuPy hands out no read-only capsules")
    frozen = form(device.array(np.ones((3, 4), F32)), read_only=True)
    refused(function, {name: frozen}, TypeError, f"`{name}`.*writable.*read-only")


@every_output
def test_outputs_overlap_nothing(function, name):
    others = [other for kernel, other in ARRAYS if kernel == function and other != name]
    for other in others:
        memory = device.array(np.ones(100, F32))
        for shift in (0, 1, 11):
            pair = {
                name: memory[20:32].reshape(3, 4),
                other: memory[20 + shift : 32 + shift].reshape(3, 4),
            }
            refused(function, pair, ValueError, f"`({name}|{other})`.*overlap.*`({name}|{other})`")
        apart = {name: memory[20:32].reshape(3, 4), other: memory[32:44].reshape(3, 4)}
        assert call(function, on_device(arguments(function)) | apart) is None


LIES = {
    "DLPack 2": ({"major": 2}, "be of a DLPack that is known: got version 2, expected version 1"),
    "host memory": ({"place": (1, 0)}, "have its memory where it says"),
    "another device": ({"place": (2, 1)}, "have its memory where it says"),
    "no memory": ({"null": True}, "have memory"),
    "a mask": ({"mask": True}, "have no mask"),
    "no address": ({"data": (0, False)}, "have memory|point to device memory|invalid"),
}


@every_array
@pytest.mark.parametrize("lie", LIES)
def test_what_an_array_says_of_itself(function, name, lie):
    if device.REAL:
        pytest.skip("CuPy's own capsules do not lie")
    changes, message = LIES[lie]
    form = Interface if changes.keys() & {"mask", "data"} else Capsule
    spoiled = form(device.array(np.ones((3, 4), F32)), **changes)
    refused(function, {name: spoiled}, (TypeError, af.CudaError), f"(`{name}`|step).*({message})")


def test_host_and_device_do_not_mix():
    host, there = np.ones(3, F32), device.array(np.ones(3, F32))
    with pytest.raises(TypeError, match=r"step: `grad` must live .*: got .*host.*cuda:0"):
        af.step(there, host, 0.5)
    with pytest.raises(TypeError, match=r"step: `grad` must live in host memory .*CUDA device"):
        af.step(host, there, 0.5)
    with pytest.raises(TypeError, match=r"step: `theta\[1\]` must live"):
        af.step([there, host], [there, there], 0.5)
    with pytest.raises(TypeError, match=r"step: `theta\[1\]` must live"):
        af.step([host, there], [host, host], 0.5)
    with pytest.raises(TypeError, match="step: `grad_sq` must live"):
        af.step(there, there.copy(), 0.5, grad_sq=host)


def test_no_driver(request):
    if not device.machine:
        pytest.skip("the driver can be taken away on the emulated device only")
    theta, grad = device.array(np.ones(3, F32)), device.array(np.ones(3, F32))
    request.addfinalizer(lambda: device.machine.set_devices(1))
    for error, reason in ((35, "driver"), (100, "no CUDA-capable device")):
        device.machine.set_devices(0, error)
        with pytest.raises(af.CudaError, match=rf"step: .*{reason}.*expected an NVIDIA driver"):
            af.step(theta, grad, 0.5)
        assert reason in af.info()["cuda"]["problem"]
        assert af.info()["cuda"]["devices"] == 0
        for name, attempt in (
            ("MetaLearner.to", lambda: af.MetaLearner(np.ones(3)).to("cuda")),
            ("MetaLearner", lambda: af.MetaLearner(theta)),
            ("Tasks", lambda: af.Tasks(theta.reshape(1, 3, 1), grad.reshape(1, 3))),
        ):
            with pytest.raises(af.CudaError, match=rf"^{name}: .*{reason}.*expected an NVIDIA"):
                attempt()
    np.testing.assert_array_equal(device.host(theta), 1)


def test_a_build_without_cuda(monkeypatch):
    """The extension is missing: one sentence, wherever a device array is met."""
    there, host = device.array(np.ones((3, 2), F32)), np.ones((3, 2), F32)
    monkeypatch.delattr(af, "_cuda")
    monkeypatch.setitem(sys.modules, "aruba_fast._cuda", None)
    without = (
        "host memory, this aruba_fast was built without CUDA: got .* on a CUDA device, "
        "expected a NumPy array, or a build with ARUBA_CUDA=ON"
    )
    for function, name, attempt in (
        ("step", "theta", lambda: af.step(there, there, 0.5)),
        ("step", "theta", lambda: af.step([Interface(there)], [there], 0.5)),
        ("aruba_step", "theta", lambda: af.aruba_step(there, there, there, there, coef=1.0)),
        ("MetaLearner", "phi", lambda: af.MetaLearner(there[0])),
        ("Tasks", "x", lambda: af.Tasks(there, host[:, 0], [0, 3])),
        ("TaskRun", "theta_hat", lambda: af.TaskRun(there, there)),
        ("OGD", "learning_rate", lambda: af.OGD(there[0])),
    ):
        with pytest.raises(TypeError, match=f"^{function}: `{name}` must live in {without}$"):
            attempt()
    with pytest.raises(TypeError, match=r"MetaLearner.to: `device`.*without CUDA: got 'cuda'"):
        af.MetaLearner(host[0]).to("cuda")
    assert af.info()["cuda"] == {
        "built": False, "versions": None, "devices": 0, "problem": "built without CUDA"
    }  # fmt: skip


def test_no_cupy(monkeypatch):
    """Steps need no CuPy; what allocates does, and says where to get it."""
    there = device.array(np.ones((3, 2), F32))
    squares = device.array(np.ones((3, 2), F32))
    monkeypatch.setitem(sys.modules, "cupy", None)
    af.step(Interface(there), Interface(squares), 0.5)
    np.testing.assert_array_equal(there.get(), 0.5)
    for attempt in (
        lambda: af.MetaLearner(Interface(there[0])),
        lambda: af.Tasks(Interface(there), np.ones(3), [0, 3]),
        lambda: af.MetaLearner(np.ones(3)).to("cuda"),
    ):
        with pytest.raises(ImportError, match=r"CuPy.*pip install 'aruba_fast\[cuda13\]'"):
            attempt()


RUN = af.TaskRun(np.ones((1, 3)), np.ones((1, 3)))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda ones: RecordPrivacy(ones[0], 1.0, 5), "scale"),
        (lambda ones: TaskPrivacy(ones, 1.0, 5), "spread"),
        (lambda ones: FixedPoint(ones, 5), "spread"),
        (lambda ones: Reply(af.MetaLearner(np.ones(3)).statistics(RUN), ones[0], 0), "phi"),
    ],
)
def test_what_is_sent_lives_in_host_memory(call, name):
    ones = device.array(np.ones((2, 3)))
    with pytest.raises(TypeError, match=rf"`{name}` must live in host memory: got cuda"):
        call(ones)
