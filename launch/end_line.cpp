#include "launch/end_line.h"

#include <fmt/format.h>

#include <numbers>

namespace mumoe::launch {

std::string done_line(std::int64_t step,
                      const std::optional<train::Evaluation>& evaluation,
                      const run::DataFacts& data,
                      const std::filesystem::path& out) {
  std::string line = fmt::format("done: {} steps", step);
  if (evaluation) {
    line += fmt::format(", validation loss {:.4f} nats/{}",
                        evaluation->loss,
                        data.target);
    line += train::describe_shares(*evaluation);
  }
  if (evaluation && data.bytes_per_token > 0) {
    const double nats = evaluation->loss / data.bytes_per_token;
    line += fmt::format(", {:.4f} nats/byte, {:.4f} bits/byte",
                        nats,
                        nats / std::numbers::ln2);
  }
  if (!out.empty()) line += "; run directory " + out.string();
  return line;
}

std::string by_time(double max_minutes) {
  return fmt::format("after train.max_minutes = {},", max_minutes);
}

std::string stopped_early_line(const std::string& cause) {
  return fmt::format("stopped {} before the first step: nothing was written",
                     cause);
}

std::string stopped_line(const std::string& cause,
                         std::int64_t step,
                         std::int64_t steps,
                         const std::filesystem::path& out) {
  std::string line =
      step == 0 ? fmt::format("stopped {} in the first step; ", cause)
                : fmt::format("stopped {} after step {}; ", cause, step);
  if (out.empty()) return line + "train.out = none: nothing was saved";
  line += fmt::format("run directory {}", out.string());
  if (step == 0) return line + ", there was nothing to save";
  return line + (step < steps
                     ? ", saved: --train.resume goes on"
                     : ", saved: --train.resume makes the evaluation that is "
                       "left");
}

}  // namespace mumoe::launch
