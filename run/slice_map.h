#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dist/params/parameter_registry.h"

namespace mumoe::run {

/// A part of a whole tensor, which begins at `begin` and is `extent` long in
/// each dim, in the three orders in which its elements are counted: in memory,
/// where each dim has `padded` places; in a file, without padding; and in the
/// whole tensor. All are row-major.
class SliceMap {
 public:
  /// What rank `rank` of `tp` has of a parameter.
  SliceMap(const dist::Parameter& parameter, int rank, int tp);
  /// A part without padding.
  SliceMap(std::span<const std::int64_t> shape,
           std::span<const std::int64_t> begin,
           std::span<const std::int64_t> extent);

  const std::vector<std::int64_t>& begin() const { return begin_; }
  const std::vector<std::int64_t>& extent() const { return extent_; }
  /// Elements, without padding.
  std::int64_t numel() const { return numel_; }
  bool is_padded() const { return padded_numel_ != numel_; }
  /// How many elements lie before place `place` of the memory: where, in the
  /// file's order, one begins that begins there.
  std::int64_t before(std::int64_t place) const;

  /// Elements that follow each other in all three orders; where the first lies
  /// in each.
  struct Run {
    std::int64_t memory;
    std::int64_t file;
    std::int64_t whole;
    std::int64_t count;
  };
  /// Run number `row`, of `rows()`; in ascending order of all three.
  Run run(std::int64_t row) const;
  std::int64_t rows() const { return rows_; }
  /// Elements of each run.
  std::int64_t row_length() const { return row_; }

 private:
  void lay_out();

  std::vector<std::int64_t> shape_, begin_, extent_, padded_;
  /// The last dim that is cut or padded: what lies behind it is in one piece.
  std::size_t last_ = 0;
  std::int64_t inner_ = 1;
  std::int64_t row_ = 1;
  std::int64_t rows_ = 1;
  std::int64_t numel_ = 1;
  std::int64_t padded_numel_ = 1;
};

/// [first, first + count) of a part's elements, in the file's order.
struct FileInterval {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// Elements to copy from one part to another.
struct Copy {
  std::int64_t from;    ///< In the source's file order.
  std::int64_t memory;  ///< In the target's memory.
  std::int64_t count;
};

/// What `from` of one part of a tensor has of `to` of another part of it, in
/// ascending order.
std::vector<Copy> copies_between(const SliceMap& source,
                                 FileInterval from,
                                 const SliceMap& target,
                                 FileInterval to);

}  // namespace mumoe::run
