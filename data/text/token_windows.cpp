#include "data/text/token_windows.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

std::uint64_t whole_windows(const TokenView& tokens_in, std::int64_t context) {
  const std::string subject = printable(tokens_in.path().string());
  require(context > 0,
          "{}: context {}: expected model.context to be at least 1",
          subject,
          context);
  const std::uint64_t tokens = tokens_in.size();
  const auto length = static_cast<std::uint64_t>(context);
  require(tokens > length,
          "{}: {} tokens with context {}: expected at least {} tokens, one "
          "window: prepare more text{}",
          subject,
          tokens,
          context,
          length + 1,
          tokens > 1
              ? fmt::format(", or choose a model.context below {}", tokens)
              : "");
  return (tokens - 1) / length;
}

}  // namespace

TokenWindows::TokenWindows(TokenView tokens,
                           std::int64_t context,
                           std::optional<std::uint64_t> seed)
    : tokens_(std::move(tokens)),
      context_(static_cast<std::uint64_t>(context)),
      size_(whole_windows(tokens_, context)) {
  if (!seed || size_ == 1) return;
  seed_ = seed;
  --size_;
}

std::uint64_t TokenWindows::first_token(std::uint64_t index) const {
  const std::uint64_t shift =
      seed_ ? CounterRandom(*seed_, Purpose::window_offset)
                  .below(index / size_, context_)
            : 0;
  return shift + index % size_ * context_;
}

HostBatch TokenWindows::make(std::span<const std::uint64_t> indices) const {
  std::vector<std::int32_t> input(indices.size() * context_);
  std::vector<std::int32_t> target(input.size());
  for (std::size_t row = 0; row < indices.size(); ++row) {
    const std::uint64_t first = first_token(indices[row]);
    const std::size_t begin = row * context_;
    tokens_.copy(first, std::span(input).subspan(begin, context_));
    tokens_.copy(first + 1, std::span(target).subspan(begin, context_));
  }
  return {static_cast<std::int64_t>(indices.size()),
          std::move(input),
          std::move(target)};
}

}  // namespace mumoe::data
