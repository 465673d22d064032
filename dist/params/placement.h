#pragma once

#include <algorithm>
#include <cstdint>

namespace mumoe::dist {

/// How a parameter lies over the ranks of a tp group: whole on each of them,
/// or cut along one dim into equal parts, the last ones padded with zeros when
/// the dim does not divide.
struct Placement {
  int cut_dim = -1;

  static Placement replicated() { return {}; }
  static Placement cut(int dim) { return {dim}; }
  bool is_cut() const { return cut_dim >= 0; }
};

/// One rank's part of a dim: `count` elements from `begin` of the global dim,
/// stored in `padded` ≥ `count` places.
struct Slice {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t padded = 0;
};

/// Part `rank` of `extent` elements cut over `size` ranks.
inline Slice slice_of(std::int64_t extent, int rank, int size) {
  const std::int64_t padded = (extent + size - 1) / size;
  const std::int64_t begin = std::min(rank * padded, extent);
  return {begin, std::min(padded, extent - begin), padded};
}

}  // namespace mumoe::dist
