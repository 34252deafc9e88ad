// Python arrays as the core's Array.
#include "arrays.h"

#include <cstring>
#include <utility>

#include "on_cuda.h"
#include "torch_tensors.h"

namespace aruba_fast::python {
namespace {

// Attribute access of pybind11's py::array goes through the C structure of NumPy's arrays: no
// Python call per array.
const py::detail::PyArray_Proxy* proxy(py::handle array) {
  return py::detail::array_proxy(array.ptr());
}

bool is_numpy(py::handle object) { return py::isinstance<py::array>(object); }

// A subclass is read as its base, but not if it says that some of the numbers do not count.
void require_unmasked(const char* function, const Array& named, py::handle array) {
  if (Py_TYPE(array.ptr()) == py::detail::npy_api::get().PyArray_Type_) return;
  if (is_instance_of(array, "numpy.ma", "MaskedArray") &&
      py::module_::import("numpy.ma").attr("is_masked")(array).cast<bool>())
    refuse<TypeError>(function, named.quoted(), "have all of its values", "masked ones",
                      "a plain array, such as .filled(0)");
}

void* memory_of(const dlpack::Tensor& tensor) {
  return static_cast<char*>(tensor.data) + tensor.byte_offset;
}

// And aligned.
bool is_contiguous(const dlpack::Tensor& tensor, std::int64_t item) {
  if (reinterpret_cast<std::uintptr_t>(memory_of(tensor)) % static_cast<std::uintptr_t>(item))
    return false;
  std::int64_t stride = 1;
  for (int i = tensor.n_dimensions - 1; tensor.strides && i >= 0; stride *= tensor.shape[i--])
    if (tensor.shape[i] != 1 && tensor.strides[i] != stride) return false;
  return true;
}

// NumPy has one descriptor for all native arrays of a type: a comparison of two pointers.
bool is_usual_type(const void* descriptor, Type& type) {
  static const void* const floats[] = {py::dtype::of<float>().release().ptr(),
                                       py::dtype::of<double>().release().ptr()};
  type = descriptor == floats[0] ? Type::kFloat32 : Type::kFloat64;
  return descriptor == floats[0] || descriptor == floats[1];
}

}  // namespace

// NumPy's own type numbers; ml_dtypes registers bfloat16 under a number of its own, known by its
// name.
bool Arrays::known_type(const py::dtype& dtype, Type& type) const {
  const char order = dtype.byteorder();
  if (order != '=' && order != '|') return false;
  switch (dtype.num()) {
    case 4:
      if (!words_) return false;
      type = *words_;
      return true;
    case 11:
      type = Type::kFloat32;
      return true;
    case 12:
      type = Type::kFloat64;
      return true;
    case 23:
      type = Type::kFloat16;
      return true;
    default:
      break;
  }
  // Asking for the name takes a microsecond. The last one is kept alive, so that no other comes to
  // lie at its address.
  thread_local PyObject* bfloat16 = nullptr;
  if (dtype.ptr() != bfloat16) {
    if (dtype.itemsize() != 2 || std::string(py::str(dtype)) != "bfloat16") return false;
    Py_XDECREF(std::exchange(bfloat16, Py_NewRef(dtype.ptr())));
  }
  type = Type::kBFloat16;
  return true;
}

void Arrays::read_words_as(py::handle type) {
  if (type.is_none()) return;
  for (const Type known : {Type::kBFloat16, Type::kFloat16})
    if (py::isinstance<py::str>(type) &&
        PyUnicode_CompareWithASCIIString(type.ptr(), name_of(known)) == 0)
      words_ = known;
  if (!words_)
    refuse(function_, "`grad_type`", "name the type of uint16 gradients",
           PyUnicode_CheckExact(type.ptr()) ? std::string(py::repr(type)) : type_name(type),
           "'bfloat16', 'float16' or None");
}

// Host arrays of other libraries through DLPack; NumPy does the protocol.
py::object Arrays::to_numpy(py::handle object, const Array& named, Access access) const {
  if (is_instance_of(object, "torch", "Tensor"))
    py::module_::import("aruba_fast._check.arrays")
        .attr("require_plain")(function_, named.full_name(), object);
  if (on_cuda(object))
    refuse<TypeError>(function_, named.quoted(), "live in host memory as the other arrays do",
                      type_name(object) + " on a CUDA device");
  const py::object device_of = attribute(object, "__dlpack_device__");
  if (!device_of) refuse<TypeError>(function_, named.quoted(), "be an array", type_name(object));
  const int kind = asked(function_, named, "be an array that can be read", object,
                         [&] { return py::tuple(device_of())[0].cast<int>(); });
  if (kind != dlpack::kCpu)
    refuse<TypeError>(function_, named.quoted(), "live in host memory",
                      type_name(object) + " on a device");
  return asked(function_, named,
               access == Access::kModify ? "be a writable array of a known type"
                                         : "be an array of a known type",
               object, [&] { return py::module_::import("numpy").attr("from_dlpack")(object); });
}

void Arrays::fill_from_numpy(Array& array, py::handle object, Access access) {
  if (!is_usual_type(proxy(object)->descr, array.type) &&
      !known_type(py::reinterpret_borrow<py::dtype>(proxy(object)->descr), array.type))
    refuse<TypeError>(function_, array.quoted(), "be of a native floating-point type",
                      py::repr(py::handle(proxy(object)->descr)),
                      "float32, float64, or bfloat16 and float16 for gradients");
  const auto* at = proxy(object);
  const bool writable = (at->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) != 0;
  const bool contiguous = (at->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_) != 0 &&
                          (at->flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
  if (access == Access::kModify && !writable)
    refuse<TypeError>(function_, array.quoted(), "be writable, it is modified",
                      "a read-only array");
  if (at->nd > Array::kMaxDimensions)
    refuse(function_, array.quoted(), "have at most 8 dimensions", std::to_string(at->nd));
  if (!contiguous) {
    if (access != Access::kRead)
      refuse<TypeError>(function_, array.quoted(),
                        "be C-contiguous and aligned, it is modified in place",
                        "an array that would have to be copied");
    kept_.push_back(py::module_::import("numpy").attr("array")(object, py::arg("order") = "C",
                                                               py::arg("copy") = true));
    return fill_from_numpy(array, kept_.back(), access);
  }
  array.data = at->data;
  array.n_dimensions = at->nd;
  for (int i = 0; i < at->nd; ++i) array.shape[i] = at->dimensions[i];
  if (!at->data && array.size() > 0)
    refuse<TypeError>(function_, array.quoted(), "have memory", "a null pointer");
  require_unmasked(function_, array, object);
}

void Arrays::fill(Array& array, py::handle object, Access access) {
  if (on_host_ && is_numpy(object)) return fill_from_numpy(array, object, access);
  fill_from_foreign(array, object, access);
}

bool Arrays::known(const dlpack::DataType& given, Type& type) const {
  if (!words_ || given.code != dlpack::kUnsigned || given.bits != 16 || given.lanes != 1)
    return python::known_type(given, type);
  type = *words_;
  return true;
}

void Arrays::fill_from_tensor(Array& array, py::handle object, const dlpack::Tensor& tensor,
                              Access access) {
  if (!known(tensor.type, array.type))
    refuse<TypeError>(function_, array.quoted(), "be of a native floating-point type",
                      asked(function_, array, "tell its type", object,
                            [&] { return std::string(py::str(object.attr("dtype"))); }),
                      "float32, float64, or bfloat16 and float16 for gradients");
  if (tensor.n_dimensions > Array::kMaxDimensions)
    refuse(function_, array.quoted(), "have at most 8 dimensions",
           std::to_string(tensor.n_dimensions));
  array.data = memory_of(tensor);
  array.n_dimensions = tensor.n_dimensions;
  for (int i = 0; i < tensor.n_dimensions; ++i) array.shape[i] = tensor.shape[i];
  const bool contiguous = is_contiguous(tensor, size_of(array.type));
  if (array.size() == 0) return;
  const bool negated = contiguous && asked(function_, array, "tell its sign", object,
                                           [&] { return is_negated(object, tensor); });
  if (access == Access::kModify) modified_tensors_.push_back(object.ptr());
  if (contiguous && !negated) return;
  if (access != Access::kRead)
    refuse<TypeError>(function_, array.quoted(),
                      "be C-contiguous and aligned, it is modified in place",
                      negated ? "a tensor whose negative bit is set, expected .resolve_neg() of it"
                              : "an array that would have to be copied");
  // clone: `contiguous` would return a misaligned tensor as it is.
  const py::object format = py::module_::import("torch").attr("contiguous_format");
  kept_.push_back(object.attr("detach")().attr("clone")(py::arg("memory_format") = format));
  fill_from_foreign(array, kept_.back(), access);
}

void Arrays::fill_from_foreign(Array& array, py::handle object, Access access) {
  dlpack::Tensor tensor;
  if (describe(object, tensor) && tensor.device.kind == dlpack::kCpu)
    return fill_from_tensor(array, object, tensor, access);
  kept_.push_back(to_numpy(object, array, access));
  fill_from_numpy(array, kept_.back(), access);
}

Array Arrays::one(py::handle object, const char* name, Access access) {
  Array array;
  array.name = name;
  fill(array, object, access);
  return array;
}

void Arrays::written() const { count_writes(modified_tensors_); }

// A training loop passes the same lists every step, and new memory costs more than reading them
// (1000 tensors: 30 us of page faults).
thread_local std::vector<Arrays::List> Arrays::spare_lists;

Arrays::~Arrays() {
  for (List& list : lists_) {
    release(list.objects);
    if (spare_lists.size() < std::size(single_)) spare_lists.push_back(std::move(list));
  }
}

// The arithmetic of the last call, or of this one, has pushed the objects out of the nearer caches
// (1000 x 1000: 12 us).
static constexpr std::size_t kAhead = 16;

// Nothing is allocated in between: Python's own copy of a list may run a finalizer that changes it.
void Arrays::hold(py::handle object, std::vector<PyObject*>& objects) {
  const py::scoped_critical_section section(object);
  PyObject* const* const items = PySequence_Fast_ITEMS(object.ptr());
  objects.assign(items, items + PySequence_Fast_GET_SIZE(object.ptr()));
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (i + kAhead < objects.size()) __builtin_prefetch(objects[i + kAhead], 1);
    Py_INCREF(objects[i]);
  }
}

void Arrays::release(std::vector<PyObject*>& objects) {
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (i + kAhead < objects.size()) __builtin_prefetch(objects[i + kAhead], 1);
    Py_DECREF(objects[i]);
  }
  objects.clear();
}

std::span<const Array> Arrays::all(py::handle object, const char* name, Access access) {
  if (!PyList_Check(object.ptr()) && !PyTuple_Check(object.ptr())) {
    single_[n_single_] = one(object, name, access);
    return {&single_[n_single_++], 1};
  }
  List& list = lists_.emplace_back();
  if (!spare_lists.empty()) {
    list = std::move(spare_lists.back());
    spare_lists.pop_back();
  }
  hold(object, list.objects);
  const std::size_t n = list.objects.size();
  list.arrays.resize(n);
  PyObject* const* const items = list.objects.data();
  // Most lists are of one type.
  const PyTypeObject* numpy = n > 0 && on_host_ && is_numpy(items[0]) ? Py_TYPE(items[0]) : nullptr;
  for (std::size_t i = 0; i < n; ++i) {
    if (i + kAhead < n) {
      __builtin_prefetch(reinterpret_cast<char*>(items[i + kAhead]) + 64);
      PyObject* const next = items[i + kAhead / 2];
      if (Py_TYPE(next) == numpy) __builtin_prefetch(proxy(next)->dimensions);
    }
    Array& array = list.arrays[i];
    array.name = name;
    array.position = static_cast<int>(i);
    if (Py_TYPE(items[i]) == numpy) fill_from_numpy(array, items[i], access);
    else fill(array, items[i], access);
  }
  return list.arrays;
}

bool Arrays::are_still(std::span<PyObject* const> objects, std::span<const Array> arrays,
                       Access access) const {
  using Flags = py::detail::npy_api;
  const int flags = Flags::NPY_ARRAY_C_CONTIGUOUS_ | Flags::NPY_ARRAY_ALIGNED_ |
                    (access == Access::kModify ? Flags::NPY_ARRAY_WRITEABLE_ : 0);
  const void* const plain = Flags::get().PyArray_Type_;  // a subclass may have come to be masked
  // The types of 16 bits are not told apart: looking closer takes microseconds.
  const auto is_of = [](const void* descriptor, Type type) {
    Type now;
    return is_usual_type(descriptor, now) ? now == type : size_of(type) == 2;
  };
  const auto same = [](const Array& array, const void* data, int n_dimensions, const auto* shape) {
    bool is_same = data == array.data && n_dimensions == array.n_dimensions;
    for (int i = 0; is_same && i < n_dimensions; ++i) is_same = shape[i] == array.shape[i];
    return is_same;
  };
  const std::size_t n = objects.size();
  if (n != arrays.size()) return false;
  for (std::size_t i = 0; i < n; ++i) {
    if (i + kAhead < n) {
      __builtin_prefetch(objects[i + kAhead]);
      __builtin_prefetch(&arrays[i + kAhead]);
    }
    if (on_host_ && is_numpy(objects[i])) {
      const auto* at = proxy(objects[i]);
      if (Py_TYPE(objects[i]) != plain || (at->flags & flags) != flags ||
          !is_of(at->descr, arrays[i].type) || !same(arrays[i], at->data, at->nd, at->dimensions))
        return false;
      continue;
    }
    dlpack::Tensor tensor;
    Type type;
    if (!describe(objects[i], tensor) ||
        tensor.device.kind != (on_host_ ? dlpack::kCpu : dlpack::kCuda) ||
        (!on_host_ && tensor.device.id != device_) || !known(tensor.type, type) ||
        type != arrays[i].type ||
        !same(arrays[i], memory_of(tensor), tensor.n_dimensions, tensor.shape))
      return false;
    if (arrays[i].size() > 0 &&
        (!is_contiguous(tensor, size_of(type)) || is_negated(objects[i], tensor)))
      return false;
  }
  return true;
}

namespace {

std::string text_of(std::initializer_list<std::int64_t> shape) {
  Array array;
  for (const std::int64_t n : shape) array.shape[array.n_dimensions++] = n;
  return array.shape_text();
}

}  // namespace

Array Arrays::exact(py::handle object, const char* name, Type type,
                    std::initializer_list<std::int64_t> shape) {
  const Array array = one(object, name, Access::kExact);
  if (array.type != type)
    refuse<TypeError>(function_, array.quoted(), "have the right type", name_of(array.type),
                      name_of(type));
  bool same = array.n_dimensions == static_cast<int>(shape.size());
  int i = 0;
  for (const std::int64_t n : shape) same = same && array.shape[i++] == n;
  if (!same)
    refuse(function_, array.quoted(), "have the right shape", array.shape_text(), text_of(shape));
  return array;
}

void* Arrays::vector(py::handle object, const char* name, const py::dtype& type, std::int64_t n) {
  if (is_numpy(object)) {
    const py::array array = py::reinterpret_borrow<py::array>(object);
    if (array.dtype().equal(type) && array.ndim() == 1 && array.size() == n &&
        (array.flags() & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_))
      return const_cast<void*>(array.data());
  }
  refuse<TypeError>(function_, "`" + std::string(name) + "`",
                    "be a contiguous " + std::string(py::str(type)) + " array", type_name(object),
                    std::to_string(n) + " entries");
}

}  // namespace aruba_fast::python
