#pragma once

#include <optional>
#include <string>

namespace mumoe::train {

/// What an evaluation finds.
struct Evaluation {
  double loss = 0;  ///< Mean, nats a target.
  /// Shares of targets that were the likeliest, and one of the five likeliest;
  /// of models that tell classes apart.
  std::optional<double> top1 = {};
  std::optional<double> top5 = {};
};

/// ", top-1 91.20 %, top-5 99.80 %"; empty where there are none.
std::string describe_shares(const Evaluation& evaluation);

}  // namespace mumoe::train
