#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mumoe::train {

/// How one gate of a model, a level of one of its mixtures, used its experts on
/// all tokens of a step.
struct ExpertFigures {
  std::string layer =
      {};  ///< "h.3.mlp"; "h.3.mlp.1" where it has several levels.
  std::int64_t experts = 0;
  std::int64_t tokens = 0;
  /// Mean share of the experts to which a token gives more than 0.
  double active = 0;
  /// Experts to which no token gave more than 0; and to which none gave
  /// `kIdleShare / experts` or more. Of gates that are never 0 (softmax) the
  /// first is always 0.
  std::int64_t dead = 0;
  std::int64_t idle = 0;
  /// Mean over tokens of -sum a ln a, nats: what one token is spread over.
  double entropy = 0;
  /// exp(-sum m ln m) of the mean coefficients m, of which the sum is 1: of
  /// how many experts, used evenly, that is the entropy.
  double effective = 0;
  /// Percentiles 10, 50 and 90 over tokens of the largest coefficient, each
  /// known to about 1 %: of `kLargestBins` bins from 1/experts to 1.
  double largest[3] = {};
  /// Mean coefficient of each expert over that of an even load: 1 is even.
  /// metrics.jsonl has its least, quartiles and largest.
  std::vector<double> load = {};
  /// Tokens by largest coefficient; bin b begins at `largest_bin(b, experts)`.
  std::vector<std::int64_t> largest_counts = {};

  static constexpr double kIdleShare = 0.5;
  static constexpr int kLargestBins = 256;
};

/// Where bin `bin` of the largest coefficients begins: experts^(bin/bins - 1).
double largest_bin(int bin, std::int64_t experts);

/// Least, quartiles and largest of `values`, of which there are some.
std::vector<double> quartiles(std::vector<double> values);

/// An array of JSON for metrics.jsonl, an object a gate, numbers with 17
/// digits:
/// {"layer":"h.0.mlp","n":64,"tokens":4096,"active":...,"dead":0,"idle":2,
/// "entropy":...,"effective":...,"largest":[p10,p50,p90],"load":[5 quartiles]}.
std::string to_json(const std::vector<ExpertFigures>& figures);

/// What a person is told: "experts 12.1% active, 3 dead, 31.0 effective", means
/// over the gates but for the dead, which are counted together.
std::string describe(const std::vector<ExpertFigures>& figures);

}  // namespace mumoe::train
