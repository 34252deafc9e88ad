// What a shared library shows of itself: whatever is marked, and nothing else. Who links the static
// library has ARUBA_FAST_STATIC defined, and hands nothing of it on.
#pragma once

#if defined(ARUBA_FAST_STATIC)
#define ARUBA_FAST_API
#else
#define ARUBA_FAST_API __attribute__((visibility("default")))
#endif
