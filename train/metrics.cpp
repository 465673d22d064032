#include "train/metrics.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"

namespace mumoe::train {
namespace {

constexpr std::string_view kLineEnd = "}\n";
constexpr auto kAllSamples = std::numeric_limits<std::int64_t>::max();

/// JSON has no word for what is not finite.
std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.17g}", value) : "null";
}

/// The members that an evaluation adds to a line, which they end.
std::string members(const Evaluation& evaluation) {
  std::string text = R"(,"val_loss":)" + number(evaluation.loss);
  if (evaluation.top1) text += R"(,"val_top1":)" + number(*evaluation.top1);
  if (evaluation.top5) text += R"(,"val_top5":)" + number(*evaluation.top5);
  return text;
}

std::filesystem::path file_in(const std::filesystem::path& folder) {
  return folder / "metrics.jsonl";
}

/// What is needed of one line.
struct Line {
  std::int64_t step = 0;
  std::optional<double> elapsed_s = {};  ///< None in lines of older versions.
  double step_s = 0;
  std::optional<Evaluation> evaluation = {};
  std::optional<std::uint64_t> samples_hash = {};
  bool event = false;  ///< Something of a step, which has a line of its own.
  bool ended = false;  ///< It ended the run.
  /// Of an event: its samples are before this one; none of other programs'.
  std::optional<std::int64_t> samples_end = {};
};

/// What is needed of an event. `entry`: an object.
void read_event(const nlohmann::json& entry, Line& read) {
  read.event = true;
  const auto action = entry.find("action");
  read.ended = action != entry.end() && *action == "stop";
  const auto samples = entry.find("samples");
  if (samples == entry.end() || !samples->is_array() || samples->size() != 2) {
    return;
  }
  const auto first = as_count((*samples)[0]), count = as_count((*samples)[1]);
  if (first && count && *first <= kAllSamples - *count) {
    read.samples_end = *first + *count;
  }
}

/// Throws `InputError` that begins with `where`.
Line read_line(std::string_view line, const std::string& where) {
  const auto entry = parse_json(line, where);
  const auto found = entry.is_object() ? entry.find("step") : entry.end();
  const auto step = found == entry.end() ? std::nullopt : as_count(*found);
  require(step && *step > 0,
          "{}: {}: expected an object whose step is a whole number, 1 or more; "
          "mend or remove this line",
          where,
          line);
  Line read{.step = *step};
  if (entry.contains("event")) {
    read_event(entry, read);
    return read;
  }
  const auto share = [&](const char* name) -> std::optional<double> {
    const auto value = entry.find(name);
    if (value == entry.end() || !value->is_number()) return std::nullopt;
    return value->get<double>();
  };
  if (const auto loss = share("val_loss")) {
    read.evaluation = {*loss, share("val_top1"), share("val_top5")};
  }
  if (const auto ms = entry.find("step_ms");
      ms != entry.end() && ms->is_number()) {
    read.step_s = std::max(ms->get<double>(), 0.0) / 1000;
  }
  if (const auto elapsed = entry.find("elapsed_s"); elapsed != entry.end()) {
    read.elapsed_s = elapsed->is_number() ? elapsed->get<double>() : -1;
    require(*read.elapsed_s >= 0 && std::isfinite(*read.elapsed_s),
            "{}: {}: expected an elapsed_s of 0 or more, or none; mend or "
            "remove this line",
            where,
            line);
  }
  if (const auto hash = entry.find("samples_hash"); hash != entry.end()) {
    if (hash->is_string())
      read.samples_hash = parse_hexadecimal(hash->get<std::string>());
    require(
        read.samples_hash.has_value(),
        "{}: {}: expected a samples_hash of 16 hexadecimal digits, or none; "
        "mend or remove this line",
        where,
        line);
  }
  return read;
}

/// What stays of a file.
struct Kept {
  std::string text;
  double elapsed_s = 0;
  Line last = {};
  std::string events = {};  ///< Behind the last step.
};

/// The lines of the file that belong to steps up to `last`, and the events
/// (`MetricsFile`).
Kept lines_up_to(const std::filesystem::path& path,
                 std::int64_t last,
                 std::int64_t samples = kAllSamples) {
  std::error_code error;
  if (last == 0 || !(std::filesystem::exists(path, error) || error)) return {};
  const std::string text = read_file(path);
  Kept kept;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    // Cut short by a crash; its step is repeated.
    if (end == text.npos) break;
    auto line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) continue;
    const Line read =
        read_line(line, fmt::format("{}:{}", path.string(), number));
    const bool stays = read.samples_end
                           ? read.ended || *read.samples_end <= samples
                           : read.step <= last;
    if (!stays) continue;
    kept.text.append(line) += '\n';
    if (read.event) {
      kept.events.append(line) += '\n';
      continue;
    }
    kept.events.clear();
    kept.elapsed_s = read.elapsed_s.value_or(kept.elapsed_s + read.step_s);
    kept.last = read;
  }
  return kept;
}

}  // namespace

std::string to_json(const StepReport& r) {
  std::string line =
      fmt::format(R"({{"step":{},"{}s":{},"loss":{},"grad_norm":{},"lr":{},)"
                  R"("step_ms":{},"{}s_per_s":{},"mfu":{},"sol":{},)"
                  R"("dp_bytes":{},"tp_bytes":{},"all_bytes":{},"rss_mib":{},)"
                  R"("elapsed_s":{},"time":"{}")",
                  r.step,
                  r.target,
                  r.targets,
                  number(r.loss),
                  number(r.grad_norm),
                  number(r.lr),
                  number(r.step_ms),
                  r.target,
                  number(r.targets_per_s),
                  number(r.mfu),
                  number(r.sol),
                  r.dp_bytes,
                  r.tp_bytes,
                  r.all_bytes,
                  number(r.rss_mib),
                  number(r.elapsed_s),
                  r.time);
  if (r.gpu) {
    line += fmt::format(R"(,"gpu_peak_mib":{},"gpu_reserved_mib":{})",
                        number(r.gpu->peak_mib),
                        number(r.gpu->reserved_mib));
  }
  if (r.samples_hash) {
    line += fmt::format(R"(,"samples_hash":"{:016x}")", *r.samples_hash);
  }
  if (r.active_share) line += R"(,"active_share":)" + number(*r.active_share);
  if (r.saved) {
    line += fmt::format(R"(,"save_step":{},"save_s":{},"save_stall_s":{},)"
                        R"("save_bytes":{},"save_copied_bytes":{})",
                        r.saved->step,
                        number(r.saved->seconds),
                        number(r.saved->stall_s),
                        r.saved->bytes,
                        r.saved->copied_bytes);
  }
  if (!r.experts.empty()) line += R"(,"experts":)" + to_json(r.experts);
  if (r.evaluation) line += members(*r.evaluation);
  return line + "}";
}

std::string save_failed_json(const run::Saved& failed) {
  return to_text(nlohmann::json{{"event", "save_failed"},
                                {"step", failed.step},
                                {"why", failed.failure}});
}

std::string sample_json(std::int64_t step, const std::string& text) {
  return to_text(
      nlohmann::json{{"event", "sample"}, {"step", step}, {"text", text}});
}

std::string to_json(const BadStepReport& bad) {
  return fmt::format(
      R"({{"event":"bad_step","step":{},"action":"{}","loss":{},)"
      R"("grad_norm":{},"why":"{}","ranks":[{}],)"
      R"("samples":[{},{}],"indices":[{}]}})",
      bad.step,
      name_of(bad.action),
      number(bad.loss),
      number(bad.grad_norm),
      bad.why,
      fmt::join(bad.ranks, ","),
      bad.first,
      bad.count,
      fmt::join(bad.indices, ","));
}

std::string utc_now() {
  using namespace std::chrono;
  const auto now = floor<milliseconds>(system_clock::now());
  return fmt::format("{:%FT%T}.{:03}Z",
                     fmt::gmtime(system_clock::to_time_t(now)),
                     (now.time_since_epoch() % seconds(1)).count());
}

void require_metrics(const std::filesystem::path& folder) {
  lines_up_to(file_in(folder), std::numeric_limits<std::int64_t>::max());
}

std::optional<std::uint64_t> samples_hash_at(
    const std::filesystem::path& folder,
    std::int64_t step) {
  const Line last = lines_up_to(file_in(folder), step).last;
  return last.step == step ? last.samples_hash : std::nullopt;
}

MetricsFile::MetricsFile(const std::filesystem::path& folder,
                         std::int64_t resumed_step,
                         std::int64_t resumed_samples)
    : path_(file_in(folder)) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: cannot create: {}", folder.string(), error.message());
  keep(resumed_step, resumed_samples);
}

void MetricsFile::keep(std::int64_t step, std::int64_t samples) {
  const Kept kept = lines_up_to(path_, step, samples);
  write_file_atomically(path_, kept.text);
  out_.emplace(path_);
  events_ = kept.events;
  elapsed_s_ = kept.elapsed_s;
  last_step_ = kept.last.step;
  evaluation_ = kept.last.evaluation;
}

void MetricsFile::go_back(std::int64_t step, std::int64_t samples) {
  out_->sync();
  if (!out_->problem().empty()) return;
  try {
    keep(step, samples);
  } catch (const InputError&) {
    // Who resumes cuts what is too much; readers take the last of a step.
  }
}

void MetricsFile::append(const std::string& line) {
  out_->append(line + "\n");
}

void MetricsFile::append_event(const std::string& line) {
  append(line);
  events_ += line + "\n";
}

void MetricsFile::write(const BadStepReport& bad) {
  append_event(to_json(bad));
}

void MetricsFile::write_failed_save(const run::Saved& failed) {
  append_event(save_failed_json(failed));
}

void MetricsFile::write_sample(std::int64_t step, const std::string& text) {
  append_event(sample_json(step, text));
}

void MetricsFile::write(const StepReport& report) {
  append(to_json(report));
  events_.clear();
  last_step_ = report.step;
  evaluation_ = report.evaluation;
}

void MetricsFile::add(const Evaluation& evaluation) {
  out_->replace_end(kLineEnd.size() + events_.size(),
                    members(evaluation).append(kLineEnd).append(events_));
  evaluation_ = evaluation;
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) *
         static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace mumoe::train
