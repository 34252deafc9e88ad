// PyTorch's tensors by DLPack's exchange API: a call in C, where a capsule made in Python costs
// microseconds.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>
#include <vector>

#include "array.h"
#include "dlpack.h"

namespace aruba_fast::python {

// Describes a tensor of PyTorch, whatever its strides and whether or not it requires a gradient.
// The description holds as long as the tensor. False where it must be read another way, or has no
// memory that holds its numbers.
bool describe(pybind11::handle object, dlpack::Tensor& tensor);

// Whether the numbers of a tensor that was described are those in its memory with the other sign.
bool is_negated(pybind11::handle object, const dlpack::Tensor& tensor);

// Tells autograd that tensors were written to past it, as an operation in place would.
void count_writes(const std::vector<PyObject*>& tensors);
void count_writes(const pybind11::tuple& tensors);

// What `tuple(tensor.grad for tensor in tensors)` is, and whether one of them is None.
std::pair<pybind11::tuple, bool> gradients(const pybind11::tuple& tensors);

// False for anything but the floating-point types of the kernels.
bool known_type(const dlpack::DataType& given, Type& type);

}  // namespace aruba_fast::python
