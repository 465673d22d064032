#pragma once

#include <ATen/ATen.h>

#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/small_run.h"

// Runs with bad samples among theirs, and what their metrics.jsonl tells.

namespace mumoe::testing {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// By sample: what its loss is multiplied by.
using Bad = std::map<std::int64_t, double>;

/// Multiplies the loss of a micro-batch by that of the samples in it.
inline auto spoilt_by(const Bad& bad) {
  return [bad](const at::Tensor& loss, const model::Batch& batch) {
    at::Tensor spoilt = loss;
    for (const auto& [number, factor] : bad) {
      if ((batch.ids == number).any().item<bool>()) spoilt = spoilt * factor;
    }
    return spoilt;
  };
}

/// Samples 32 to 39 are those of step 5; the second half of them is rank 1's at
/// 2x1.
inline SmallRun bad_run(run::BadStep action, const Bad& bad = {{37, kNan}}) {
  SmallRun run;
  run.bad_step = action;
  run.spoil_batch = spoilt_by(bad);
  run.schedule =
      run::ScheduleConfig{.kind = run::ScheduleKind::constant, .lr = 3e-3};
  return run;
}

inline RunResult alone(const SmallRun& run) {
  return train_small(*dist::make_self_communicator(at::kCPU), run);
}

/// What the run says at (dp, tp); tensors and numbers are the same on all.
inline RunResult train_over(int dp, int tp, SmallRun run) {
  run.tp = tp;
  RunResult result;
  dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
    auto of_rank = train_small(world, run);
    if (world.rank() == 0) result = std::move(of_rank);
  });
  return result;
}

/// Lines of metrics.jsonl without what depends on time.
inline std::vector<nlohmann::json> lines_of(
    const std::filesystem::path& folder) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(read_file(folder / "metrics.jsonl"));
  for (std::string text; std::getline(in, text);) {
    const nlohmann::json line = nlohmann::json::parse(text);
    nlohmann::json& kept = lines.emplace_back(nlohmann::json::object());
    for (const char* name : {"event",
                             "step",
                             "action",
                             "ranks",
                             "samples",
                             "indices",
                             "tokens",
                             "loss",
                             "grad_norm",
                             "lr",
                             "samples_hash"}) {
      if (line.contains(name)) kept[name] = line[name];
    }
  }
  return lines;
}

struct Told {
  std::vector<std::int64_t> steps;
  std::vector<nlohmann::json> events;
};

inline Told told_in(const std::filesystem::path& folder) {
  Told told;
  for (const nlohmann::json& line : lines_of(folder)) {
    if (line.contains("event")) {
      told.events.push_back(line);
    } else {
      told.steps.push_back(line["step"]);
    }
  }
  return told;
}

inline std::vector<std::int64_t> up_to(std::int64_t last) {
  std::vector<std::int64_t> steps;
  for (std::int64_t step = 1; step <= last; ++step) steps.push_back(step);
  return steps;
}

}  // namespace mumoe::testing
