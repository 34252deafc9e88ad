// PyTorch's tensors by DLPack's exchange API.
#include "torch_tensors.h"

#include <pybind11/gil_safe_call_once.h>

#include <bit>
#include <utility>

#include "objects.h"

namespace aruba_fast::python {

namespace py = pybind11;

namespace {

// The head of a DLPackExchangeAPI. Source: dlpack.h of version 1.3.
struct ExchangeApi {
  std::uint32_t major, minor;
  ExchangeApi* previous;
  void* allocate;
  void* managed_from_object;
  void* object_from_managed;
  int (*tensor_from_object)(void* object, dlpack::Tensor* out);  // may be null
};

// What was found for a type; a model has two, parameters and gradients. The types are kept alive,
// so that no other type can come to lie at their addresses.
struct Known {
  PyTypeObject* type = nullptr;
  const ExchangeApi* api = nullptr;
};
thread_local Known known_types[2];

// An attribute of PyTorch, if the program uses that.
py::object of_torch(const char* name) {
  const py::dict modules = py::reinterpret_borrow<py::dict>(PyImport_GetModuleDict());
  PyObject* torch = PyDict_GetItemString(modules.ptr(), "torch");
  return torch ? attribute(torch, name) : py::object();
}

// PyTorch's alone: a description has no flag for what may not be written to. Not of a class that
// handles all operations itself (DTensor, MaskedTensor): what its memory holds is its own affair.
const ExchangeApi* api_of(py::handle type) {
  const py::object tensor = of_torch("Tensor");
  if (!tensor) return nullptr;
  const int derived = PyObject_IsSubclass(type.ptr(), tensor.ptr());
  if (derived < 0) throw py::error_already_set();
  if (!derived ||
      !attribute(type, "__torch_dispatch__").is(attribute(tensor, "__torch_dispatch__")))
    return nullptr;
  const py::object capsule = attribute(type, "__dlpack_c_exchange_api__");
  if (!capsule || !PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return nullptr;
  const auto* api =
      static_cast<const ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  // A newer one leads to those before it.
  while (api && api->major > dlpack::kMajor) api = api->previous;
  return api && api->major == dlpack::kMajor && api->tensor_from_object ? api : nullptr;
}

const ExchangeApi* cached_api(py::handle object) {
  PyTypeObject* type = Py_TYPE(object.ptr());
  for (const Known& known : known_types)
    if (known.type == type) return known.api;
  const ExchangeApi* api = api_of(py::handle(reinterpret_cast<PyObject*>(type)));
  if (!api) return nullptr;
  Py_INCREF(type);
  Py_XDECREF(known_types[1].type);
  known_types[1] = known_types[0];
  known_types[0] = {type, api};
  return api;
}

std::int64_t size_of(const dlpack::Tensor& tensor) {
  std::int64_t n = 1;
  for (int i = 0; i < tensor.n_dimensions; ++i) n *= tensor.shape[i];
  return n;
}

// The bit of a tensor that says: read me with the other sign. Asking for it takes 50 ns, more than
// all else that is done for a small tensor. But sizes and strides of up to five dimensions lie in
// the tensor itself, a few words before its dispatch keys, the bit among them: where it is shows a
// comparison of tensors that differ in nothing else. A tensor that is made otherwise is asked, and
// so is everyone if the comparison leaves a doubt.
class NegativeBit {
 public:
  NegativeBit() {
    try {
      find();
    } catch (const py::error_already_set& error) {
      require_failure(error);
    }
  }

  bool known(const dlpack::Tensor& tensor) const { return mask_ != 0 && is_usual(tensor); }
  bool is_set(const dlpack::Tensor& tensor) const { return (at(tensor, word_) & mask_) != 0; }

 private:
  // In words from the first of five sizes: five strides, then all else of a tensor.
  static constexpr int kSizes = 5, kFirst = 2 * kSizes, kLast = 13;

  static bool is_usual(const dlpack::Tensor& tensor) {
    return tensor.n_dimensions <= kSizes && tensor.strides == tensor.shape + kSizes;
  }
  static std::uint64_t at(const dlpack::Tensor& tensor, int word) {
    return static_cast<std::uint64_t>(tensor.shape[word]);
  }

  void find() {
    const py::object torch = py::module_::import("torch");
    std::vector<std::pair<py::object, py::object>> twins;
    for (const char* type : {"float32", "float64", "bfloat16"})
      for (int n_dimensions = 1; n_dimensions <= kSizes; ++n_dimensions) {
        const py::object plain =
            torch.attr("empty")(py::tuple(py::list(py::make_tuple(2)) * py::int_(n_dimensions)),
                                py::arg("dtype") = torch.attr(type), py::arg("device") = "cpu");
        twins.emplace_back(plain, torch.attr("_neg_view")(plain));
      }
    int found = 0;
    for (int word = kFirst; word <= kLast; ++word) {
      std::uint64_t difference = ~std::uint64_t{0};
      for (const auto& [plain, negated] : twins) {
        dlpack::Tensor one, other;
        if (!describe(plain, one) || !describe(negated, other) || !is_usual(one) ||
            !is_usual(other))
          return;
        difference &= ~at(one, word) & at(other, word);
      }
      if (difference == 0) continue;
      if (++found > 1 || !std::has_single_bit(difference)) {
        mask_ = 0;
        return;
      }
      word_ = word;
      mask_ = difference;
    }
  }

  int word_ = kFirst;
  std::uint64_t mask_ = 0;
};

}  // namespace

bool describe(py::handle object, dlpack::Tensor& tensor) {
  const ExchangeApi* api = cached_api(object);
  if (!api) return false;
  if (api->tensor_from_object(object.ptr(), &tensor) == 0)
    return tensor.data || size_of(tensor) == 0;
  require_failure(py::error_already_set());  // sparse, or within a transform of torch.func
  return false;
}

bool is_negated(py::handle object, const dlpack::Tensor& tensor) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<NegativeBit> storage;
  const NegativeBit& bit =
      storage.call_once_and_store_result([] { return NegativeBit(); }).get_stored();
  if (bit.known(tensor)) return bit.is_set(tensor);
  return object.attr("is_neg")().cast<bool>();
}

namespace {

// How a type's attribute is read: by the function of a descriptor in C where it has one, as
// PyTorch's tensors have for `.grad`. Looking it up takes as long as the call.
class Attribute {
 public:
  explicit Attribute(const char* name) : name_(PyUnicode_InternFromString(name)) {}

  PyObject* of(PyObject* object) {
    if (Py_TYPE(object) != type_ || type_->tp_version_tag != version_) look_at(Py_TYPE(object));
    return get_ ? get_->get(object, get_->closure) : PyObject_GetAttr(object, name_);
  }

 private:
  void look_at(PyTypeObject* type) {
    get_ = nullptr;
    const py::object found = py::reinterpret_steal<py::object>(
        PyObject_GetAttr(reinterpret_cast<PyObject*>(type), name_));
    if (!found) PyErr_Clear();
    // What a class defines for itself, or for all of its attributes, is asked as Python asks.
    if (found && Py_IS_TYPE(found.ptr(), &PyGetSetDescr_Type) &&
        type->tp_getattro == PyObject_GenericGetAttr)
      get_ = reinterpret_cast<PyGetSetDescrObject*>(found.ptr())->d_getset;
    // Kept alive, so that no other type comes to lie at its address. Its version changes with what
    // it or one of its bases defines.
    Py_INCREF(type);
    Py_XDECREF(std::exchange(type_, type));
    version_ = type->tp_version_tag;
  }

  PyObject* name_;
  PyTypeObject* type_ = nullptr;
  decltype(PyTypeObject::tp_version_tag) version_ = 0;
  PyGetSetDef* get_ = nullptr;
};

}  // namespace

std::pair<py::tuple, bool> gradients(const py::tuple& tensors) {
  thread_local Attribute& grad = *new Attribute("grad");
  const auto n = static_cast<Py_ssize_t>(tensors.size());
  py::tuple found(n);
  bool has_none = false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* const value = grad.of(PyTuple_GET_ITEM(tensors.ptr(), i));
    if (!value) throw py::error_already_set();
    has_none = has_none || value == Py_None;
    PyTuple_SET_ITEM(found.ptr(), i, value);
  }
  return {std::move(found), has_none};
}

void count_writes(const std::vector<PyObject*>& tensors) {
  if (tensors.empty()) return;
  py::tuple written(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    Py_INCREF(tensors[i]);
    PyTuple_SET_ITEM(written.ptr(), static_cast<Py_ssize_t>(i), tensors[i]);
  }
  count_writes(written);
}

void count_writes(const py::tuple& tensors) {
  if (tensors.empty()) return;
  // Looking it up takes as long as its work on a tensor. It is that of the module which is there.
  thread_local PyObject* const name = PyUnicode_InternFromString("torch");
  thread_local PyObject *torch = nullptr, *count = nullptr;
  PyObject* const now = PyDict_GetItemWithError(PyImport_GetModuleDict(), name);
  if (!now) return;
  if (now != torch) {
    const py::object autograd = attribute(now, "autograd");
    py::object found;
    if (autograd) found = autograd.attr("graph").attr("increment_version");
    Py_XDECREF(std::exchange(count, found.release().ptr()));
    Py_XDECREF(std::exchange(torch, Py_NewRef(now)));
  }
  if (!count) return;
  PyObject* const argument = tensors.ptr();
  PyObject* const result = PyObject_Vectorcall(count, &argument, 1, nullptr);
  if (!result) throw py::error_already_set();
  Py_DECREF(result);
}

bool known_type(const dlpack::DataType& given, Type& type) {
  const auto [code, bits, lanes] = given;
  if (lanes != 1) return false;
  if (code == dlpack::kBFloat && bits == 16) {
    type = Type::kBFloat16;
    return true;
  }
  if (code != dlpack::kFloat || (bits != 16 && bits != 32 && bits != 64)) return false;
  type = bits == 64 ? Type::kFloat64 : bits == 32 ? Type::kFloat32 : Type::kFloat16;
  return true;
}

}  // namespace aruba_fast::python
