#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "data/text/token_file.h"

namespace mumoe::data {

/// One sequence of tokens that lies in one file or in several, one after the
/// other. The files must outlive it and stay where they are in memory. Safe to
/// read from many threads.
class TokenView {
 public:
  TokenView(const TokenFile& file) : TokenView(std::span(&file, 1)) {}
  explicit TokenView(std::span<const TokenFile> files);

  std::uint64_t size() const { return starts_.back(); }

  /// Tokens [first, first + out.size()). Throws `InputError` when they reach
  /// beyond the end.
  void copy(std::uint64_t first, std::span<std::int32_t> out) const;

  /// Of the first file.
  const std::filesystem::path& path() const { return files_.front()->path(); }

 private:
  std::vector<const TokenFile*> files_;
  std::vector<std::uint64_t> starts_;  ///< Of each file, and the end.
};

}  // namespace mumoe::data
