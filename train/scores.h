#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "data/samples.h"
#include "data/text/choices.h"
#include "dist/process_mesh.h"
#include "model/language_model.h"

namespace mumoe::train {

/// Batches, each the indices of its samples.
using BatchList = std::vector<std::vector<std::uint64_t>>;

/// `samples` in their order, `per_batch` together.
BatchList in_batches(std::span<const std::uint64_t> samples,
                     std::int64_t per_batch);

/// Where scores are made, and how far they are.
struct Scorer {
  dist::ProcessMesh& mesh;
  at::Device device;
  /// Called on each rank before each of its batches, with how many there are.
  std::function<void(std::int64_t done, std::int64_t batches)> progress =
      [](std::int64_t, std::int64_t) {};

  /// What one batch scores: `numbers` for each of its samples, one sample after
  /// the other. Collective over the tp group, whose ranks all say the same.
  using ScoreBatch = std::function<std::vector<double>(
      const model::Batch& batch,
      std::span<const std::uint64_t> samples)>;

  /// The numbers of all samples, in the order of `batches`; the same on every
  /// rank. A batch goes to a dp rank whole, so that what a sample scores has
  /// the same bits over any number of dp ranks, with the same number of threads
  /// each; over tp it is equal up to rounding. Collective.
  std::vector<double> score(const data::Samples& samples,
                            const BatchList& batches,
                            std::int64_t numbers,
                            const ScoreBatch& score_batch) const;
};

/// What a model says of windows of a text.
struct WindowScore {
  std::int64_t tokens = 0;  ///< Targets.
  std::int64_t bytes = 0;   ///< That they stand for.
  double loss = 0;          ///< Mean, nats a target.
};

/// Of `windows` among `samples`, `per_batch` at once. `bytes_of_ids`: bytes of
/// text that each token stands for. Collective.
WindowScore score_windows(const Scorer& scorer,
                          const model::LanguageModel& model,
                          const data::Samples& samples,
                          std::span<const std::uint64_t> windows,
                          std::int64_t per_batch,
                          std::span<const std::int64_t> bytes_of_ids);

/// How often the right ending is the most likely one, of equals the first.
struct ChoiceScore {
  std::int64_t questions = 0;
  std::int64_t right_by_mean = 0;  ///< By the mean log-likelihood of a token,
  std::int64_t right_by_sum = 0;   ///< by that of the whole ending.
  double loss = 0;                 ///< Nats a token of the right endings, mean.
  std::int64_t tokens = 0;         ///< Of all endings.
};

/// At most `tokens` tokens at once. Collective.
ChoiceScore score_choices(const Scorer& scorer,
                          const model::LanguageModel& model,
                          const data::ChoiceRows& rows,
                          std::int64_t tokens);

}  // namespace mumoe::train
