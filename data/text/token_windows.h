#pragma once

#include <cstdint>
#include <optional>

#include "data/samples.h"
#include "data/text/token_view.h"

namespace mumoe::data {

/// Samples that are windows of `context` tokens; the targets are the
/// same one token later. Windows start `context` apart, so that each token is a
/// target at most once an epoch. With a seed every epoch shifts them by its own
/// random offset in [0, context), so that texts are cut at other places. One
/// window is given up for the shift, which makes epochs equally long; a single
/// window is not shifted.
class TokenWindows final : public Samples {
 public:
  /// Of `tokens`, whose files must outlive this. Throws `InputError`, a line
  /// that names the first file, both numbers, and what to do, unless one window
  /// fits.
  TokenWindows(TokenView tokens,
               std::int64_t context,
               std::optional<std::uint64_t> seed = {});

  std::uint64_t size() const override { return size_; }
  std::int64_t targets_per_sample() const override {
    return static_cast<std::int64_t>(context_);
  }
  HostBatch make(std::span<const std::uint64_t> indices) const override;

  /// Where sample `index` starts; its last target lies within the file.
  std::uint64_t first_token(std::uint64_t index) const;

 private:
  TokenView tokens_;
  std::uint64_t context_;
  std::uint64_t size_;
  /// Of the shifts, if there are any.
  std::optional<std::uint64_t> seed_;
};

}  // namespace mumoe::data
