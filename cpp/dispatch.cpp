// Chooses the table of kernels once, by what the processor says or ARUBA_ISA asks for.
#include <cstdlib>
#include <string>
#include <vector>

#include "aruba_fast/error.h"
#include "kernels.h"

namespace aruba_fast {

#define ARUBA_INSTRUCTION_SET(name) \
  namespace name {                  \
  template <class T>                \
  void add_kernels(Kernels& table); \
  }
ARUBA_INSTRUCTION_SET(baseline)
#if defined(__x86_64__)
ARUBA_INSTRUCTION_SET(avx2)
ARUBA_INSTRUCTION_SET(avx512)
#elif defined(__aarch64__)
ARUBA_INSTRUCTION_SET(neon)
#endif

namespace {

// Slowest first.
const std::vector<Kernels>& available() {
  static const std::vector<Kernels> tables = [] {
    std::vector<Kernels> found;
    const auto add = [&](const char* name, auto add_floats, auto add_doubles) {
      Kernels& table = found.emplace_back();
      table.name = name;
      add_floats(table);
      add_doubles(table);
    };
#define ARUBA_ADD(name) add(#name, name::add_kernels<float>, name::add_kernels<double>)
    ARUBA_ADD(baseline);
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c")) {
      ARUBA_ADD(avx2);
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        ARUBA_ADD(avx512);
    }
#elif defined(__aarch64__)
    ARUBA_ADD(neon);
#endif
    return found;
  }();
  return tables;
}

const Kernels& choose() {
  const char* wanted = std::getenv("ARUBA_ISA");
  if (!wanted || !*wanted) return available().back();
  std::string names;
  for (const Kernels& table : available()) {
    if (std::string(wanted) == table.name) return table;
    names += (names.empty() ? "" : ", ") + std::string(table.name);
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
const char* instruction_set(int i) { return available()[static_cast<std::size_t>(i)].name; }

}  // namespace aruba_fast
