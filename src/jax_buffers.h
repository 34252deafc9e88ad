// Buffers of XLA as plain memory: leading dimensions of a batch, whose entries `vmap` may share,
// and one dimension of numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "array.h"
#include "core_entries.h"
#include "xla/ffi/api/ffi.h"

namespace aruba_fast::python {

namespace ffi = xla::ffi;

const CoreEntries& core();

struct JaxBuffer {
  char* data;
  ffi::DataType type;
  ffi::Span<const std::int64_t> dimensions;

  explicit JaxBuffer(const ffi::AnyBuffer& buffer)
      : data(static_cast<char*>(buffer.untyped_data())),
        type(buffer.element_type()),
        dimensions(buffer.dimensions()) {}

  // Numbers of an entry of the batch.
  std::int64_t n() const { return dimensions.back(); }
  std::int64_t n_bytes() const { return n() * static_cast<std::int64_t>(ffi::ByteWidth(type)); }
  std::int64_t n_entries() const {
    std::int64_t product = 1;
    for (std::size_t i = 0; i + 1 < dimensions.size(); ++i) product *= dimensions[i];
    return product;
  }
  bool is_double() const { return type == ffi::F64; }
  Type type_of_numbers() const {
    switch (type) {
      case ffi::F64:
        return Type::kFloat64;
      case ffi::BF16:
        return Type::kBFloat16;
      case ffi::F16:
        return Type::kFloat16;
      default:
        return Type::kFloat32;
    }
  }
  // Which of the own rows belongs to an entry of a batch of the dimensions of `whole`; one that is
  // shared has 1 there.
  std::int64_t row(std::int64_t entry, const JaxBuffer& whole) const {
    std::int64_t row = 0, stride = 1;
    for (std::size_t i = whole.dimensions.size() - 1; i-- > 0;) {
      if (dimensions[i] > 1) row += entry % whole.dimensions[i] * stride;
      entry /= whole.dimensions[i];
      stride *= dimensions[i];
    }
    return row;
  }
  char* at(std::int64_t entry, const JaxBuffer& whole) const {
    return data + row(entry, whole) * n_bytes();
  }
  double number(std::int64_t i) const {
    switch (type) {
      case ffi::F64:
        return reinterpret_cast<const double*>(data)[i];
      case ffi::F32:
        return reinterpret_cast<const float*>(data)[i];
      case ffi::S64:
        return static_cast<double>(reinterpret_cast<const std::int64_t*>(data)[i]);
      default:
        return static_cast<double>(reinterpret_cast<const std::int32_t*>(data)[i]);
    }
  }
  // A buffer that XLA has not given the memory of what it starts from.
  void start_from(const JaxBuffer& other) const {
    if (data != other.data)
      std::memcpy(data, other.data, static_cast<std::size_t>(n_entries() * n_bytes()));
  }
};

inline std::vector<JaxBuffer> all(const ffi::RemainingArgs& args) {
  std::vector<JaxBuffer> result;
  for (std::size_t i = 0; i < args.size(); ++i)
    result.emplace_back(args.get<ffi::AnyBuffer>(i).value());
  return result;
}

inline std::vector<JaxBuffer> all(const ffi::RemainingRets& rets) {
  std::vector<JaxBuffer> result;
  for (std::size_t i = 0; i < rets.size(); ++i)
    result.emplace_back(*rets.get<ffi::AnyBuffer>(i).value());
  return result;
}

// body(), whose exceptions become an error of XLA.
template <class Body>
ffi::Error guarded(Body body) {
  try {
    body();
    return ffi::Error::Success();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "aruba_fast: out of memory");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

extern "C" {
XLA_FFI_Error* aruba_fast_jax_step(XLA_FFI_CallFrame* frame);
XLA_FFI_Error* aruba_fast_jax_statistics(XLA_FFI_CallFrame* frame);
XLA_FFI_Error* aruba_fast_jax_learn(XLA_FFI_CallFrame* frame);
XLA_FFI_Error* aruba_fast_cuda_step(XLA_FFI_CallFrame* frame);
XLA_FFI_Error* aruba_fast_cuda_statistics(XLA_FFI_CallFrame* frame);
XLA_FFI_Error* aruba_fast_cuda_learn(XLA_FFI_CallFrame* frame);
}

}  // namespace aruba_fast::python
