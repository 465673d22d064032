#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/corpus.h"

namespace mumoe::data {

/// Which part of a corpus is for validation: about a tenth of its bytes.
struct SplitPlan {
  /// A document whose end is for validation, from about byte `at` on.
  struct Cut {
    std::size_t document = 0;
    std::uint64_t at = 0;
    std::uint64_t tolerance = 0;  ///< How far from `at`, bytes.
  };

  std::vector<bool> validation;  ///< For each document: all of it.
  std::optional<Cut> cut;
  /// The documents i with i % 10 == 0 are for validation, the others are not.
  bool every_tenth = false;
  /// Where that would be far from a tenth: what is done instead, one line.
  std::string note;
};

/// Plans the split by the bytes of the documents alone:
/// 1. every tenth document, if that is 5 to 20 % of the bytes, or if there are
///    several and fewer than 10 bytes;
/// 2. else those of them that fit into a tenth, and what is missing, if they
///    are less than 5 %, from the end of the largest other document; where that
///    would take more than half of it, from further whole documents first.
/// Throws `InputError` when the only document has fewer than 10 bytes.
/// `counts` says how many documents each file has; empty: one.
SplitPlan plan_split(const Corpus& corpus,
                     std::span<const std::uint64_t> sizes,
                     std::span<const std::uint64_t> counts = {});

/// Where to cut `text` in two, neither empty: near `at`, after the line that
/// ends there, else before the space, if either is at most `tolerance` bytes
/// away; else at a character.
std::size_t cut_near(std::string_view text,
                     std::uint64_t at,
                     std::uint64_t tolerance);

}  // namespace mumoe::data
