// Python arrays as the core's Array: NumPy by its buffer, anything else that lives in host memory
// by DLPack.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <span>
#include <vector>

#include "array.h"
#include "dlpack.h"
#include "objects.h"

namespace aruba_fast::python {

namespace py = pybind11;

// kExact: neither copied nor, as far as is known here, modified.
enum class Access { kRead, kExact, kModify };

// A view of `object`, and whatever keeps its memory alive. Read-only arguments of any strides are
// copied to contiguous memory; an argument to be modified is refused instead. The memory is the
// host's; DeviceArrays reads that of a GPU.
class Arrays {
 public:
  explicit Arrays(const char* function) : Arrays(function, true) {}
  virtual ~Arrays();
  Array one(py::handle object, const char* name, Access access);
  // One array, or every array of a list or tuple.
  std::span<const Array> all(py::handle object, const char* name, Access access);
  // One array of exactly this type and shape; for arguments of the package's own code.
  Array exact(py::handle object, const char* name, Type type,
              std::initializer_list<std::int64_t> shape);
  double* doubles(py::handle object, const char* name, std::initializer_list<std::int64_t> shape) {
    return static_cast<double*>(exact(object, name, Type::kFloat64, shape).data);
  }
  // A contiguous vector of n integers of T, std::int64_t or std::uint8_t.
  template <class T>
  T* integers(py::handle object, const char* name, std::int64_t n) {
    return static_cast<T*>(vector(object, name, py::dtype::of<T>(), n));
  }
  const char* function() const { return function_; }
  // Whether all that was read is memory of NumPy's arrays or PyTorch's tensors themselves, neither
  // copied nor lent by another library.
  bool is_direct() const { return kept_.empty(); }
  // Whether a reading of the objects would find what such a one has found, in memory that is still
  // there.
  bool are_still(std::span<PyObject* const> objects, std::span<const Array> arrays,
                 Access access) const;
  // To be called when the arrays that are modified have been written to.
  void written() const;
  // From here on, uint16 arrays are the words of this type, "bfloat16" or "float16"; None: they are
  // refused.
  void read_words_as(py::handle type);
  bool on_host() const { return on_host_; }

 protected:
  Arrays(const char* function, bool on_host) : function_(function), on_host_(on_host) {}
  void fill(Array& array, py::handle object, Access access);
  // False for a type that is none of the kernels', nor words that were said to be one.
  bool known(const dlpack::DataType& given, Type& type) const;
  // Whatever is not NumPy's; off the host, NumPy's too. Only that costs a virtual call.
  virtual void fill_from_foreign(Array& array, py::handle object, Access access);
  virtual void* vector(py::handle object, const char* name, const py::dtype& type, std::int64_t n);

  // A floating-point type of NumPy or ml_dtypes in native byte order, or words.
  bool known_type(const py::dtype& dtype, Type& type) const;

  const char* function_;
  int device_ = -1;  // its number; off the host, once an array was read
  std::vector<py::object> kept_;
  std::optional<Type> words_;
  std::vector<PyObject*> modified_tensors_;  // of PyTorch

 private:
  void fill_from_numpy(Array& array, py::handle object, Access access);
  void fill_from_tensor(Array& array, py::handle object, const dlpack::Tensor& tensor,
                        Access access);
  py::object to_numpy(py::handle object, const Array& named, Access access) const;

  // The objects are held: the list is the caller's, to be changed by any of its threads, or by the
  // code of an object in it.
  struct List {
    std::vector<Array> arrays;
    std::vector<PyObject*> objects;
  };
  static void hold(py::handle object, std::vector<PyObject*>& objects);
  static void release(std::vector<PyObject*>& objects);

  bool on_host_;
  Array single_[8];
  int n_single_ = 0;
  std::vector<List> lists_;
  // Memory of lists that are no longer in use.
  static thread_local std::vector<List> spare_lists;
};

}  // namespace aruba_fast::python
