// Chooses the table of kernels once, by what the processor says or ARUBA_ISA asks for.
#include <cstdlib>
#include <string>
#include <vector>

#include "error.h"
#include "kernels.h"

namespace aruba_fast {

namespace baseline {
extern const Kernels kTable;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
#elif defined(__aarch64__)
namespace neon {
extern const Kernels kTable;
}
#endif

namespace {

// Slowest first.
const std::vector<const Kernels*>& available() {
  static const std::vector<const Kernels*> tables = [] {
    std::vector<const Kernels*> found = {&baseline::kTable};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c")) {
      found.push_back(&avx2::kTable);
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        found.push_back(&avx512::kTable);
    }
#elif defined(__aarch64__)
    found.push_back(&neon::kTable);
#endif
    return found;
  }();
  return tables;
}

const Kernels& choose() {
  const char* wanted = std::getenv("ARUBA_ISA");
  if (!wanted || !*wanted) return *available().back();
  std::string names;
  for (const Kernels* table : available()) {
    if (std::string(wanted) == table->name) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  throw ValueError("ARUBA_ISA must name an instruction set of this processor: got " +
                   std::string(wanted) + ", expected one of " + names);
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

int n_instruction_sets() { return static_cast<int>(available().size()); }
const char* instruction_set(int i) { return available()[static_cast<std::size_t>(i)]->name; }

}  // namespace aruba_fast
