#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "run/checked_file.h"

namespace mumoe::run {

/// What of a file takes part in a stripe, or in one block of it.
struct ParityPart {
  std::size_t file = 0;    ///< Index, as `ParityLayout` counts.
  std::int64_t begin = 0;  ///< Bytes from the file's beginning.
  std::int64_t bytes = 0;

  bool operator==(const ParityPart&) const = default;
};

/// Which bytes of n files share a sum modulo 2 (XOR), and where it lies: n
/// parity files, in the manner of RAID 5.
///
/// Each file is cut into n - 1 chunks, of one length for all files: those of
/// the longest, in whole units. Stripe s is one chunk of every file but the
/// s-th (chunk s of the files behind it, s - 1 of those before it), and parity
/// file s is the sum of these, each with zeros up to the longest. So whatever
/// is of file s is in the sums of the others alone: any one file can be lost,
/// also together with the parity file of the same number, which is what one
/// rank has written. A parity file is 1 / (n - 1) of the longest file, up to a
/// unit. Of a single file it is a copy.
///
/// Files are counted from 0, parity file s as file n + s.
class ParityLayout {
 public:
  /// Of files of these `lengths`, at least one (MUMOE_CHECK), in bytes.
  explicit ParityLayout(std::vector<std::int64_t> lengths,
                        std::int64_t unit = kBlockBytes);

  /// Of all but the last chunk of a file.
  std::int64_t chunk_bytes() const { return chunk_; }
  /// Length of a file, or of a parity file.
  std::int64_t bytes(std::size_t file) const;
  /// What of files, and then of its parity file, lies in a stripe, without what
  /// is empty: at each place the sum of all, zeros behind the end, is zero.
  std::vector<ParityPart> stripe(std::size_t stripe) const;
  /// Whose sum is block `block` (of a unit, or less at a file's end) of a file:
  /// no two blocks of one file are needed for it.
  std::vector<ParityPart> others(std::size_t file, std::int64_t block) const;
  /// Two of the files that are `lost`, and are needed for each other.
  std::optional<std::pair<std::size_t, std::size_t>> clash(
      std::span<const std::size_t> lost) const;

 private:
  std::size_t count() const { return lengths_.size(); }
  std::size_t stripe_of(std::size_t file, std::int64_t chunk) const;

  std::vector<std::int64_t> lengths_;
  std::int64_t unit_;
  std::int64_t chunk_;
};

/// Adds `bytes`, modulo 2, as far as `sum` goes: what lies behind the end of
/// either is zero.
void xor_into(std::span<char> sum, std::string_view bytes);

/// What a `ParityLayout` asks for.
std::vector<std::int64_t> lengths_of(std::span<const CheckedFile> files);

}  // namespace mumoe::run
