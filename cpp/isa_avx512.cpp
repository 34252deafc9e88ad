// The kernels for AVX-512 F, BW, DQ and VL.
#define ARUBA_ISA avx512
#include "table-inl.h"
