// Arrays in the memory of a CUDA device as the core's Array: CuPy's by their attributes, others by
// DLPack or __cuda_array_interface__.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "arrays.h"
#include "cuda/device.h"

namespace aruba_fast::python {

// Throws CudaError when there is no device to work on.
void require_device(const char* function);

// All arrays of a call lie on one device. The call runs on the caller's current stream there: that
// of CuPy or PyTorch, whose arrays come first; else the stream that the first array names; else the
// legacy default stream. Whatever other stream produced an array is waited for by an event, once
// all arrays were read, for reading may copy; it waits for the call in turn. What was read or made
// for the call stays until the device is done with it, or a graph that it was captured into is
// gone.
class DeviceArrays : public Arrays {
 public:
  explicit DeviceArrays(const char* function);

  // By the first array of a call whose others are all known: whether it is a tensor of PyTorch, and
  // nothing is captured, for a graph would need to hold them. The call runs where it lives.
  bool goes_on(py::handle first);
  // As of Arrays, where PyTorch's tensors alone can be looked at again.
  bool is_direct() const { return Arrays::is_direct() && !has_others_ && !is_captured_; }

  // Keeps for the call, as the arrays that it reads.
  void keep(const std::vector<py::object>& objects) {
    kept_.insert(kept_.end(), objects.begin(), objects.end());
  }
  // Memory for the call, of CuPy's pool.
  void* workspace(std::size_t n_bytes);
  // Calls `work` with the stream to enqueue on. Other streams wait for what it has enqueued, too,
  // when it throws.
  template <class Work>
  void enqueue(Work work) {
    begin();
    try {
      work(std::as_const(stream_));
    } catch (...) {
      end_in_spite();
      throw;
    }
    end();
  }

 protected:
  void fill_from_foreign(Array& array, py::handle object, Access access) override;
  void* vector(py::handle object, const char* name, const py::dtype& type, std::int64_t n) override;

 private:
  void fill_from_cupy(Array& array, py::handle object, Access access);
  void fill_from_dlpack(Array& array, py::handle object, Access access);
  void fill_from_interface(Array& array, py::handle object, Access access);
  // A tensor of PyTorch that was described: no Python call for it.
  void fill_from_tensor(Array& array, py::handle object, const dlpack::Tensor& tensor,
                        Access access);
  // What a description says of type, shape and memory.
  void read(Array& array, py::handle object, const dlpack::Tensor& tensor, Access access);
  void require_unnegated(const Array& array, bool is_negated) const;
  [[noreturn]] void refuse_place(const Array& array, py::handle object, int kind) const;
  // The first array decides where the call runs.
  void place(const Array& array, py::handle object, int device);
  void place_tensor(const Array& array, py::handle object, int device);
  void read_capsule(Array& array, py::handle object, Access access);
  void require_contiguous(Array& array, py::handle object, bool contiguous, Access access);
  void produced_on(void* producer);
  void begin();
  void end();
  void end_in_spite() noexcept;

  cuda::Stream stream_{-1, nullptr};
  bool is_captured_ = false;
  bool has_others_ = false;  // than PyTorch's tensors that could be described
  const char* first_ = "";
  std::vector<void*> producers_;
  std::optional<void*> torch_stream_;  // PyTorch's current one, which a call does not change
  // To be held: what libraries lent whose streams are not known, for nothing else keeps its memory
  // from being used anew; everything, where a graph is captured.
  std::vector<py::object> held_;
};

}  // namespace aruba_fast::python
