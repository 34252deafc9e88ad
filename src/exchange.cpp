// Tensors by DLPack's exchange API.
#include "exchange.h"

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

// PyTorch's alone: a description has no flag for what may not be written to.
const ExchangeApi* api_of(py::handle type) {
  const py::dict modules = py::reinterpret_borrow<py::dict>(PyImport_GetModuleDict());
  PyObject* torch = PyDict_GetItemString(modules.ptr(), "torch");
  if (!torch || !py::hasattr(torch, "Tensor") ||
      PyObject_IsSubclass(type.ptr(), py::object(py::handle(torch).attr("Tensor")).ptr()) != 1)
    return nullptr;
  const py::object capsule = py::getattr(type, "__dlpack_c_exchange_api__", py::none());
  if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return nullptr;
  const auto* api =
      static_cast<const ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  // A newer one leads to those before it.
  while (api && api->major > dlpack::kMajor) api = api->previous;
  return api && api->major == dlpack::kMajor && api->tensor_from_object ? api : nullptr;
}

// What was found for a type; a model has two, parameters and gradients. The types are kept alive,
// so that no other type can come to lie at their addresses.
struct Known {
  PyTypeObject* type = nullptr;
  const ExchangeApi* api = nullptr;
};
thread_local Known known_types[2];

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

}  // namespace

bool describe(py::handle object, dlpack::Tensor& tensor) {
  const ExchangeApi* api = cached_api(object);
  if (!api) return false;
  if (api->tensor_from_object(object.ptr(), &tensor) == 0) return true;
  PyErr_Clear();  // a sparse or fake tensor: the protocol in Python says what is wrong with it
  return false;
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
