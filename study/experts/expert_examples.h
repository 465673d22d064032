#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "study/experts/routing.h"

namespace mumoe::study {

/// A token that an expert worked at.
struct Example {
  std::uint64_t sample = 0;
  std::int64_t token = 0;  ///< Its place among the tokens of the sample.
  double coefficient = 0;

  bool operator==(const Example&) const = default;
};

/// What an expert is shown by.
struct ExpertExamples {
  /// The tokens with its largest coefficients above 0, the largest first; of
  /// equal ones (a trained gate often gives 1) those that are drawn first.
  std::vector<Example> top;
  /// Drawn without replacement among those from the threshold on, in the order
  /// of the draw.
  std::vector<Example> drawn;
};

/// Picks the tokens by which experts are shown: the same over any number of
/// ranks, and in whatever order they see their batches.
class ExamplePicker {
 public:
  struct Options {
    std::int64_t per_expert = 8;  ///< At most, of each kind; at least 1.
    double threshold = 0.5;       ///< In (0, 1].
    std::uint64_t seed = 1;       ///< Of what is drawn.
  };

  /// Throws `InputError` for options that it cannot take.
  ExamplePicker(std::span<const Gate> gates, const Options& options);

  void add(const RoutedBatch& batch);
  /// Of each gate and expert what all ranks have seen, the same on all of them;
  /// `tells`: whether what this one has counts. Collective over `world`; once.
  std::vector<std::vector<ExpertExamples>> finish(dist::Communicator& world,
                                                  bool tells);

 private:
  struct Candidate {
    Example example;
    std::uint64_t draw = 0;
  };
  /// Heaps of the best so far, the worst of them in front.
  struct Pool {
    std::vector<Candidate> top, drawn;
  };
  using Better = bool (*)(const Candidate& one, const Candidate& other);
  static bool by_coefficient(const Candidate& one, const Candidate& other);
  static bool by_draw(const Candidate& one, const Candidate& other);

  void add(std::size_t gate,
           std::size_t expert,
           std::int64_t tokens,
           const Example& example);
  void keep(std::vector<Candidate>& heap,
            const Candidate& candidate,
            Better better) const;
  void merge(dist::Communicator& world, std::vector<Pool>& pools) const;
  static std::vector<Example> in_order(std::vector<Candidate>& heap,
                                       Better better);

  Options options_;
  std::vector<std::vector<Pool>> pools_;  ///< [gate][expert]
};

}  // namespace mumoe::study
