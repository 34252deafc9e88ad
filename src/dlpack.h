// The part of the DLPack ABI that is read here: what a capsule "dltensor" or "dltensor_versioned"
// points to. Source: the specification, dmlc.github.io/dlpack, version 1.0.
#pragma once

#include <cstdint>

namespace aruba_fast::python::dlpack {

constexpr std::uint32_t kMajor = 1;
constexpr int kCpu = 1, kCuda = 2;
constexpr std::uint8_t kUnsigned = 1, kFloat = 2, kBFloat = 4;
constexpr std::uint64_t kReadOnly = 1;

struct Device {
  std::int32_t kind, id;
};

struct DataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t n_dimensions;
  DataType type;
  std::int64_t *shape, *strides;  // strides in elements, null: C-contiguous
  std::uint64_t byte_offset;
};

struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

struct ManagedVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

}  // namespace aruba_fast::python::dlpack
