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

/// `number`, or the next multiple of `of`.
constexpr std::int64_t rounded_up(std::int64_t number, std::int64_t of) {
  return (number + of - 1) / of * of;
}

/// Part `rank` of `extent` elements cut over `size` ranks, stored in a multiple
/// of `multiple` places.
inline Slice slice_of(std::int64_t extent,
                      int rank,
                      int size,
                      std::int64_t multiple = 1) {
  const std::int64_t padded = rounded_up((extent + size - 1) / size, multiple);
  const std::int64_t begin = std::min(rank * padded, extent);
  return {begin, std::min(padded, extent - begin), padded};
}

}  // namespace mumoe::dist
