#pragma once

#include "data/samples.h"
#include "model/config.h"
#include "model/families.h"

namespace mumoe::study {

/// Samples as a model takes them that say nothing: all zeros. For a step whose
/// numbers nobody looks at, without data.
class BlankSamples final : public data::Samples {
 public:
  BlankSamples(const model::Family& family, const model::ModelConfig& config);

  std::uint64_t size() const override { return std::uint64_t{1} << 40; }
  std::int64_t targets_per_sample() const override { return targets_; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override;

 private:
  bool images_;
  std::int64_t inputs_;
  std::int64_t targets_;
};

}  // namespace mumoe::study
