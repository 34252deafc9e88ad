// The kernels for NEON of AArch64.
#define ARUBA_NEON
#define ARUBA_ISA neon
#include "table-inl.h"
