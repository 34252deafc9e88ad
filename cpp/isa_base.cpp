// The kernels for the instruction set that every processor of the architecture has.
#define ARUBA_ISA baseline
#include "table-inl.h"
