#include "train/tensorboard.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

namespace mumoe::train {
namespace {

constexpr int kLoadBuckets = 30;

/// The tokens of a gate by their largest coefficient.
EventHistogram largest_of(const ExpertFigures& gate) {
  EventHistogram h;
  h.min = 1;
  for (std::size_t bin = 0; bin < gate.largest_counts.size(); ++bin) {
    const auto count = static_cast<double>(gate.largest_counts[bin]);
    const double low = largest_bin(static_cast<int>(bin), gate.experts);
    const double high = largest_bin(static_cast<int>(bin) + 1, gate.experts);
    const double middle = std::sqrt(low * high);
    h.limits.push_back(high);
    h.counts.push_back(count);
    h.sum += count * middle;
    h.sum_squares += count * middle * middle;
    if (count == 0) continue;
    h.min = std::min(h.min, low);
    h.max = high;
  }
  return h;
}

void add_experts(StepEvent& event, const ExpertFigures& gate) {
  const std::string at = "experts/" + gate.layer + "/";
  const auto add = [&](const char* name, double value) {
    event.scalars.emplace_back(at + name, value);
  };
  add("active", gate.active);
  add("dead", static_cast<double>(gate.dead));
  add("idle", static_cast<double>(gate.idle));
  add("entropy", gate.entropy);
  add("effective", gate.effective);
  add("largest_median", gate.largest[1]);
  if (gate.largest_counts.empty()) return;  // read from metrics.jsonl
  event.histograms.emplace_back(at + "load",
                                histogram_of(gate.load, kLoadBuckets));
  event.histograms.emplace_back(at + "largest", largest_of(gate));
}

void add_evaluation(StepEvent& event, const Evaluation& evaluation) {
  event.scalars.emplace_back("loss/validation", evaluation.loss);
  if (evaluation.top1) {
    event.scalars.emplace_back("accuracy/top1", *evaluation.top1);
  }
  if (evaluation.top5) {
    event.scalars.emplace_back("accuracy/top5", *evaluation.top5);
  }
}

}  // namespace

std::optional<std::filesystem::path> event_folder(
    const run::TrainerConfig& config) {
  if (!config.writes_events() || config.out.empty()) return std::nullopt;
  if (config.tensorboard == "yes") return config.out;
  std::error_code error;
  const auto run = std::filesystem::absolute(config.out, error);
  auto name = run.lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  return std::filesystem::path(config.tensorboard) / name.filename();
}

double seconds_of(const std::string& time) {
  std::tm parts = {};
  const char* rest = ::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return 0;
  double seconds = static_cast<double>(::timegm(&parts));
  double place = 0.1;
  for (++rest; rest[-1] != '\0' && *rest >= '0' && *rest <= '9'; ++rest) {
    seconds += place * (*rest - '0');
    place /= 10;
  }
  return seconds;
}

TensorBoard::TensorBoard(std::filesystem::path folder, std::int64_t steps)
    : folder_(std::move(folder)) {
  cut_event_files(folder_, steps);
  file_.emplace(folder_, steps + 1);
}

void TensorBoard::write(const StepReport& r) {
  StepEvent event{seconds_of(r.time), r.step};
  event.scalars = {{"loss/train", r.loss},
                   {"grad_norm", r.grad_norm},
                   {"lr", r.lr},
                   {r.target + "s", static_cast<double>(r.targets)},
                   {r.target + "s_per_s", r.targets_per_s},
                   {"step_ms", r.step_ms},
                   {"mfu", r.mfu},
                   {"sol", r.sol},
                   {"elapsed_s", r.elapsed_s},
                   {"rss_mib", r.rss_mib}};
  if (r.gpu) event.scalars.emplace_back("gpu_peak_mib", r.gpu->peak_mib);
  if (r.active_share) {
    event.scalars.emplace_back("experts/active", *r.active_share);
  }
  for (const ExpertFigures& gate : r.experts) add_experts(event, gate);
  if (r.evaluation) add_evaluation(event, *r.evaluation);
  file_->write(event);
}

void TensorBoard::write(std::int64_t step,
                        double wall_time,
                        const Evaluation& evaluation) {
  StepEvent event{wall_time, step};
  add_evaluation(event, evaluation);
  file_->write(event);
}

void TensorBoard::write_text(std::int64_t step,
                             double wall_time,
                             const std::string& text) {
  // It is shown as Markdown, in which what is indented stays as it is.
  std::string code = "    ";
  for (const char c : text) {
    code += c;
    if (c == '\n') code += "    ";
  }
  StepEvent event{wall_time, step};
  event.texts.emplace_back("sample", code);
  file_->write(event);
}

void TensorBoard::go_back(std::int64_t steps) {
  file_.reset();
  cut_event_files(folder_, steps);
  file_.emplace(folder_, steps + 1);
}

}  // namespace mumoe::train
