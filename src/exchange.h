// Tensors by DLPack's exchange API: a call in C, where a capsule made in Python costs microseconds.
#pragma once

#include <pybind11/pybind11.h>

#include "array.h"
#include "dlpack.h"

namespace aruba_fast::python {

// Describes a tensor of PyTorch, whatever its strides and whether or not it requires a gradient.
// The description holds as long as the tensor. False where it must be read another way.
bool describe(pybind11::handle object, dlpack::Tensor& tensor);

// False for anything but the floating-point types of the kernels.
bool known_type(const dlpack::DataType& given, Type& type);

}  // namespace aruba_fast::python
