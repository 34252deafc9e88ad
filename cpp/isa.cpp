// The kernels of one instruction set for one type of numbers: compiled once for each pair, with
// ARUBA_ISA and ARUBA_NUMBER from CMakeLists.txt.
#include "table-inl.h"

namespace aruba_fast::ARUBA_ISA {

template void add_kernels<ARUBA_NUMBER>(Kernels&);

}  // namespace aruba_fast::ARUBA_ISA
