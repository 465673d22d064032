#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/samples.h"
#include "data/text/tokenizer.h"

namespace mumoe::study {

/// Texts that somebody asks about, as samples of unlike lengths: one at a time.
class Prompts final : public data::Samples {
 public:
  /// Each is seen behind the end of a document, and of it the last `context`
  /// tokens. Throws `InputError` as the tokenizer does.
  Prompts(const std::vector<std::string>& texts,
          const data::Tokenizer& tokenizer,
          std::int64_t context);

  const std::vector<std::int32_t>& tokens(std::uint64_t index) const {
    return tokens_.at(index);
  }
  std::uint64_t size() const override { return tokens_.size(); }
  /// Of the first.
  std::int64_t targets_per_sample() const override {
    return static_cast<std::int64_t>(tokens_.front().size());
  }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override;

 private:
  std::vector<std::vector<std::int32_t>> tokens_;
};

}  // namespace mumoe::study
