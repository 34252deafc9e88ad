// Tables of arrays in device memory, kept so that a training loop copies its table once.
#pragma once

#include <cstdint>
#include <vector>

#include "device.h"

namespace aruba_fast::cuda {

// Device memory that holds `table` for work that is enqueued on `stream` until the TableUse ends.
// Found again by content; copied by one cudaMemcpyAsync otherwise. What a graph captures is its own
// for as long as it lives: a replay copies it again.
class TableUse {
 public:
  TableUse(const Stream& stream, const std::vector<std::int64_t>& table);
  ~TableUse();
  TableUse(const TableUse&) = delete;
  TableUse& operator=(const TableUse&) = delete;

  const std::int64_t* data() const;

 private:
  struct Entry* entry_;
  const Stream stream_;
};

}  // namespace aruba_fast::cuda
