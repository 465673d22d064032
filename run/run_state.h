#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mumoe::run {

/// How a run on GPUs chooses between ways to mix its experts.
struct MixingState {
  /// The share of active experts at or below which it reads those alone.
  double sparse_share = 0;
  /// The share in the last step, of all ranks.
  double active = 1;

  bool operator==(const MixingState&) const = default;
};

/// What a run says of the samples that it took (data/sample_chain.h).
struct TakenSamples {
  /// The chain of all steps so far.
  std::uint64_t chain = 0;
  /// The digest of the samples of the next step, whoever makes it.
  std::uint64_t next = 0;

  bool operator==(const TakenSamples&) const = default;
};

/// The last steps by which a run tells a spike, the oldest first.
struct SpikeHistory {
  std::vector<double> losses;
  std::vector<double> norms;

  bool operator==(const SpikeHistory&) const = default;
};

/// Where a run stands, beside its tensors.
struct RunState {
  /// Optimizer steps done.
  std::int64_t step = 0;
  /// Samples consumed by all ranks: the position in the data.
  std::int64_t samples = 0;
  /// The settings that a resumed run must share, by their keys.
  std::map<std::string, std::string> settings = {};
  /// Of a run on GPUs alone.
  std::optional<MixingState> mixing = {};
  /// None in a checkpoint of a version that did not write it.
  std::optional<TakenSamples> taken = {};
  /// Of a run that looks for spikes.
  std::optional<SpikeHistory> spikes = {};
  /// Of the steps done, those whose update was left out: the optimizer has made
  /// `step` - `skipped`.
  std::int64_t skipped = 0;

  bool operator==(const RunState&) const = default;
};

}  // namespace mumoe::run
