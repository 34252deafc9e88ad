// The kernels for AVX2, FMA and F16C.
#define ARUBA_ISA avx2
#include "table-inl.h"
