// Arrays in the memory of a CUDA device as the core's Array.
#include "device_arrays.h"

#include "held.h"
#include "libraries.h"
#include "torch_tensors.h"

namespace aruba_fast::python {
namespace {

std::string device_name(int device) { return "cuda:" + std::to_string(device); }

void set_shape(Array& array, const char* function, py::handle shape) {
  const py::tuple sizes = py::reinterpret_borrow<py::tuple>(shape);
  if (sizes.size() > Array::kMaxDimensions)
    refuse(function, array.quoted(), "have at most 8 dimensions", std::to_string(sizes.size()));
  array.n_dimensions = static_cast<int>(sizes.size());
  for (int i = 0; i < array.n_dimensions; ++i) array.shape[i] = py::int_(sizes[i]);
}

// stride(i) in units of `unit` for each dimension that matters.
template <class Stride>
bool is_contiguous(const Array& array, std::int64_t unit, Stride stride) {
  if (array.size() == 0) return true;
  for (int i = array.n_dimensions - 1; i >= 0; unit *= array.shape[i--])
    if (array.shape[i] != 1 && stride(i) != unit) return false;
  return true;
}

}  // namespace

void require_device(const char* function) {
  if (cuda::n_devices() == 0)
    throw CudaError(std::string(function) + ": a CUDA device must be usable: got " +
                    cuda::problem() + ", expected an NVIDIA driver and GPU");
}

DeviceArrays::DeviceArrays(const char* function) : Arrays(function, false) {
  require_device(function);
}

void DeviceArrays::place(const Array& array, py::handle object, int device) {
  if (stream_.device < 0) {
    stream_ = {device, current_stream(object, device)};
    device_ = device;
    is_captured_ = cuda::is_capturing(stream_);
    first_ = array.name;
  } else if (device != stream_.device) {
    refuse<TypeError>(function_, array.quoted(),
                      "live on the device of `" + std::string(first_) + "`", device_name(device),
                      device_name(stream_.device));
  } else if (is_cupy(object) || is_torch(object)) {
    produced_on(current_stream(object, device));
  }
  if (is_captured_) held_.push_back(py::reinterpret_borrow<py::object>(object));
}

void DeviceArrays::place_tensor(const Array& array, py::handle object, int device) {
  if (stream_.device < 0) {
    place(array, object, device);
    torch_stream_ = stream_.handle;
  } else if (!torch_stream_ || device != stream_.device) {
    place(array, object, device);
    torch_stream_ = current_stream(object, device);
  } else {
    produced_on(*torch_stream_);
    if (is_captured_) held_.push_back(py::reinterpret_borrow<py::object>(object));
  }
}

bool DeviceArrays::goes_on(py::handle first) {
  dlpack::Tensor tensor;
  if (!describe(first, tensor) || tensor.device.kind != dlpack::kCuda) return false;
  Array theta;
  theta.name = "theta";
  place_tensor(theta, first, tensor.device.id);
  return !is_captured_;
}

void DeviceArrays::produced_on(void* producer) {
  if (producer == stream_.handle) return;
  for (void* known : producers_)
    if (known == producer) return;
  producers_.push_back(producer);
}

void DeviceArrays::begin() {
  let_go();
  for (void* producer : producers_) cuda::wait_for(stream_, producer);
}

void DeviceArrays::end() {
  for (void* producer : producers_) cuda::wait_for({stream_.device, producer}, stream_.handle);
  // What a pool gave goes back to it in the order of its stream; of which a graph knows nothing.
  if (is_captured_) held_.insert(held_.end(), kept_.begin(), kept_.end());
  python::hold(stream_, std::move(held_));
}

void DeviceArrays::end_in_spite() noexcept {
  try {
    end();
  } catch (const std::exception&) {
    // The first error is the one to tell.
  }
}

namespace {

// A Python context, left when this ends.
class Within {
 public:
  explicit Within(py::object context) : context_(std::move(context)) {
    context_.attr("__enter__")();
  }
  ~Within() {
    const py::error_scope error;
    try {
      context_.attr("__exit__")(py::none(), py::none(), py::none());
    } catch (py::error_already_set& failed) {
      failed.discard_as_unraisable("aruba_fast");
    }
  }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  py::object context_;
};

}  // namespace

void* DeviceArrays::workspace(std::size_t n_bytes) {
  if (n_bytes == 0) return nullptr;
  const py::object cuda = py::module_::import("cupy").attr("cuda");
  const Within device(cuda.attr("Device")(stream_.device));
  // CuPy's pool is one a stream, and gives what that stream is done with.
  const Within stream(cuda.attr("ExternalStream")(reinterpret_cast<std::uintptr_t>(stream_.handle),
                                                  stream_.device));
  const cuda::RelaxedCapture relaxed;
  kept_.push_back(cuda.attr("alloc")(n_bytes));
  return pointer_of(kept_.back().attr("ptr"));
}

void DeviceArrays::fill_from_foreign(Array& array, py::handle object, Access access) {
  dlpack::Tensor tensor;
  if (describe(object, tensor)) return fill_from_tensor(array, object, tensor, access);
  has_others_ = true;
  if (is_cupy(object)) return fill_from_cupy(array, object, access);
  if (py::isinstance<py::array>(object))
    refuse<TypeError>(function_, array.quoted(),
                      "live on the device of `" + std::string(first_) + "`",
                      "an array in host memory", device_name(stream_.device));
  if (py::hasattr(object, "__dlpack_device__")) return fill_from_dlpack(array, object, access);
  if (py::hasattr(object, "__cuda_array_interface__"))
    return fill_from_interface(array, object, access);
  refuse<TypeError>(function_, array.quoted(), "be an array", type_name(object));
}

void DeviceArrays::require_contiguous(Array& array, py::handle object, bool contiguous,
                                      Access access) {
  if (!array.data && array.size() > 0)
    refuse<TypeError>(function_, array.quoted(), "have memory", "a null pointer");
  const auto address = reinterpret_cast<std::uintptr_t>(array.data);
  if (address % static_cast<std::uintptr_t>(size_of(array.type)))
    refuse<TypeError>(function_, array.quoted(), "be aligned", "a misaligned array");
  if (contiguous) return;
  if (access != Access::kRead)
    refuse<TypeError>(function_, array.quoted(),
                      "be C-contiguous and aligned, it is modified in place",
                      "an array that would have to be copied");
  if (is_cupy(object)) {
    kept_.push_back(py::module_::import("cupy").attr("ascontiguousarray")(object));
  } else if (is_torch(object)) {
    kept_.push_back(object.attr("contiguous")());
  } else {
    refuse<TypeError>(function_, array.quoted(), "be C-contiguous", "a strided array");
  }
  fill(array, kept_.back(), access);
}

void DeviceArrays::fill_from_cupy(Array& array, py::handle object, Access access) {
  const py::object memory = object.attr("data");
  place(array, object, py::int_(memory.attr("device_id")));
  if (!known_type(object.attr("dtype"), array.type))
    refuse<TypeError>(function_, array.quoted(), "be of a native floating-point type",
                      py::repr(object.attr("dtype")),
                      "float32, float64, or bfloat16 and float16 for gradients");
  set_shape(array, function_, object.attr("shape"));
  array.data = pointer_of(memory.attr("ptr"));
  require_contiguous(array, object, object.attr("flags").attr("c_contiguous").cast<bool>(), access);
}

void* DeviceArrays::vector(py::handle object, const char* name, const py::dtype& type,
                           std::int64_t n) {
  if (is_cupy(object) && py::object(object.attr("dtype")).equal(type) &&
      py::object(object.attr("shape")).equal(py::make_tuple(n)) &&
      object.attr("flags").attr("c_contiguous").cast<bool>()) {
    const py::object memory = object.attr("data");
    Array array;
    array.name = name;
    place(array, object, py::int_(memory.attr("device_id")));
    return pointer_of(memory.attr("ptr"));
  }
  refuse<TypeError>(function_, "`" + std::string(name) + "`",
                    "be a contiguous " + std::string(py::str(type)) + " array of CuPy",
                    type_name(object), std::to_string(n) + " entries");
}

void DeviceArrays::refuse_place(const Array& array, py::handle object, int kind) const {
  refuse<TypeError>(
      function_, array.quoted(), "live on the device of `" + std::string(first_) + "`",
      type_name(object) + (kind == dlpack::kCpu ? " in host memory" : " on another device"),
      device_name(stream_.device));
}

void DeviceArrays::require_unnegated(const Array& array, bool is_negated) const {
  if (is_negated)
    refuse<TypeError>(function_, array.quoted(), "be a plain tensor",
                      "one whose numbers are negated when they are read", "resolve_neg() of it");
}

void DeviceArrays::fill_from_tensor(Array& array, py::handle object, const dlpack::Tensor& tensor,
                                    Access access) {
  if (tensor.device.kind != dlpack::kCuda) refuse_place(array, object, tensor.device.kind);
  place_tensor(array, object, tensor.device.id);
  require_unnegated(array, asked(function_, array, "tell its sign", object,
                                 [&] { return is_negated(object, tensor); }));
  if (access == Access::kModify) modified_tensors_.push_back(object.ptr());
  read(array, object, tensor, access);
}

void DeviceArrays::fill_from_dlpack(Array& array, py::handle object, Access access) {
  const auto [kind, device] = asked(function_, array, "be an array that can be read", object, [&] {
    const py::tuple answer = object.attr("__dlpack_device__")();
    return std::pair(answer[0].cast<int>(), answer[1].cast<int>());
  });
  if (kind != dlpack::kCuda) refuse_place(array, object, kind);
  place(array, object, device);
  if (access == Access::kModify && is_jax(object))
    refuse<TypeError>(function_, array.quoted(), "be writable, it is modified",
                      "an array of JAX, which are immutable");
  if (is_torch(object)) {
    const py::object negated = attribute(object, "is_neg");
    require_unnegated(array, negated && negated().cast<bool>());
    if (access == Access::kModify) modified_tensors_.push_back(object.ptr());
  }
  read_capsule(array, object, access);
}

void DeviceArrays::read_capsule(Array& array, py::handle object, Access access) {
  // -1: PyTorch's stream is awaited already, and waits in turn.
  const py::int_ stream = is_torch(object) ? py::int_(-1) : stream_number(stream_.handle);
  const py::object exported = object.attr("__dlpack__");
  py::object capsule;
  try {
    try {
      capsule = exported(py::arg("stream") = stream, py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_TypeError)) throw;
      capsule = exported(py::arg("stream") = stream);  // a library of before DLPack 1.0
    }
  } catch (py::error_already_set& error) {
    refuse<TypeError>(function_, array.quoted(), "be an array of a known type",
                      type_name(object) + " (" + std::string(py::str(error.value())) + ")");
  }
  // Destroyed with the capsule, which keeps its name and with it its owner. PyTorch's pool gives
  // memory to others in the order of its current stream, which waits for the call.
  (is_torch(object) ? kept_ : held_).push_back(capsule);
  const bool versioned = PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned") != 0;
  void* managed =
      PyCapsule_GetPointer(capsule.ptr(), versioned ? "dltensor_versioned" : "dltensor");
  if (!managed) throw py::error_already_set();
  // The version is all that is sure to be where it was.
  if (versioned && static_cast<dlpack::ManagedVersioned*>(managed)->major != dlpack::kMajor)
    refuse<TypeError>(
        function_, array.quoted(), "be of a DLPack that is known",
        "version " + std::to_string(static_cast<dlpack::ManagedVersioned*>(managed)->major),
        "version " + std::to_string(dlpack::kMajor));
  const dlpack::Tensor& tensor = versioned ? static_cast<dlpack::ManagedVersioned*>(managed)->tensor
                                           : static_cast<dlpack::Managed*>(managed)->tensor;
  if (tensor.device.kind != dlpack::kCuda || tensor.device.id != stream_.device)
    refuse<TypeError>(function_, array.quoted(), "have its memory where it says",
                      "memory of another device", device_name(stream_.device));
  if (access == Access::kModify && versioned &&
      (static_cast<dlpack::ManagedVersioned*>(managed)->flags & dlpack::kReadOnly))
    refuse<TypeError>(function_, array.quoted(), "be writable, it is modified",
                      "a read-only array");
  read(array, object, tensor, access);
}

void DeviceArrays::read(Array& array, py::handle object, const dlpack::Tensor& tensor,
                        Access access) {
  if (!known(tensor.type, array.type))
    refuse<TypeError>(function_, array.quoted(), "be of a native floating-point type",
                      py::hasattr(object, "dtype") ? py::str(object.attr("dtype"))
                                                   : py::str(py::type::handle_of(object)),
                      "float32, float64, or bfloat16 and float16 for gradients");
  if (tensor.n_dimensions > Array::kMaxDimensions)
    refuse(function_, array.quoted(), "have at most 8 dimensions",
           std::to_string(tensor.n_dimensions));
  array.n_dimensions = tensor.n_dimensions;
  for (int i = 0; i < tensor.n_dimensions; ++i) array.shape[i] = tensor.shape[i];
  array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  require_contiguous(
      array, object,
      !tensor.strides || is_contiguous(array, 1, [&](int i) { return tensor.strides[i]; }), access);
}

void DeviceArrays::fill_from_interface(Array& array, py::handle object, Access access) {
  const py::dict interface = object.attr("__cuda_array_interface__");
  set_shape(array, function_, interface["shape"]);
  if (interface.contains("mask") && !interface["mask"].is_none())
    refuse<TypeError>(function_, array.quoted(), "have no mask", "a masked array");
  const py::tuple data = interface["data"];
  array.data = pointer_of(data[0]);
  const int device = array.size() > 0      ? cuda::device_of(function_, array.data)
                     : stream_.device >= 0 ? stream_.device
                                           : 0;
  const py::object stream =
      interface.contains("stream") ? py::object(interface["stream"]) : py::object(py::none());
  const bool first = stream_.device < 0;
  place(array, object, device);
  if (!stream.is_none()) {
    if (first) {
      stream_.handle = stream_from(stream);
      is_captured_ = cuda::is_capturing(stream_);
    } else {
      produced_on(stream_from(stream));
    }
  }
  held_.push_back(py::reinterpret_borrow<py::object>(object));
  const py::dtype dtype = py::dtype::from_args(interface["typestr"]);
  if (!known_type(dtype, array.type))
    refuse<TypeError>(function_, array.quoted(), "be of a native floating-point type",
                      py::repr(dtype), "float32, float64, or bfloat16 and float16 for gradients");
  if (access == Access::kModify && data[1].cast<bool>())
    refuse<TypeError>(function_, array.quoted(), "be writable, it is modified",
                      "a read-only array");
  bool contiguous = true;
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const py::tuple strides = interface["strides"];
    contiguous = is_contiguous(array, size_of(array.type),
                               [&](int i) { return strides[i].cast<std::int64_t>(); });
  }
  require_contiguous(array, object, contiguous, access);
}

}  // namespace aruba_fast::python
