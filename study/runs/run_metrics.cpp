#include "study/runs/run_metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace mumoe::study {
namespace {

using nlohmann::json;
using train::StepReport;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Takes the numbers and texts of an object; what lies deeper is passed by.
/// A run has a million lines, of which none becomes a tree.
class FlatLine : public json::json_sax_t {
 public:
  explicit FlatLine(StepReport& report) : report_(report) {}

  bool null() override { return number(kNone); }
  bool boolean(bool) override { return true; }
  bool number_integer(json::number_integer_t value) override {
    return whole(value);
  }
  bool number_unsigned(json::number_unsigned_t value) override {
    return whole(static_cast<std::int64_t>(value));
  }
  bool number_float(json::number_float_t value, const std::string&) override {
    return number(value);
  }
  bool string(std::string& value) override {
    if (depth_ == 1 && key_ == "time") report_.time = value;
    return true;
  }
  bool binary(json::binary_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_ > 0; }
  bool key(std::string& value) override {
    if (depth_ != 1) return true;
    if (key_ == "step") targets_ = value;  // "tokens" stands behind it
    key_.swap(value);
    return true;
  }
  bool end_object() override { return --depth_ >= 0; }
  bool start_array(std::size_t) override { return ++depth_ > 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool parse_error(std::size_t,
                   const std::string&,
                   const json::exception&) override {
    return false;
  }

 private:
  bool whole(std::int64_t value) {
    if (depth_ == 1 && key_ == "step") report_.step = value;
    return number(static_cast<double>(value));
  }

  bool number(double value) {
    if (depth_ != 1) return true;
    if (key_.ends_with("s_per_s")) {
      report_.target = key_.substr(0, key_.size() - 7);
      report_.targets_per_s = value;
    } else if (key_ == targets_) {
      report_.targets = static_cast<std::int64_t>(value);
    } else {
      other(value);
    }
    return true;
  }

  void other(double value) {
    static constexpr std::pair<std::string_view, double StepReport::*>
        kMembers[] = {{"loss", &StepReport::loss},
                      {"grad_norm", &StepReport::grad_norm},
                      {"lr", &StepReport::lr},
                      {"step_ms", &StepReport::step_ms},
                      {"mfu", &StepReport::mfu},
                      {"sol", &StepReport::sol},
                      {"rss_mib", &StepReport::rss_mib},
                      {"elapsed_s", &StepReport::elapsed_s}};
    for (const auto& [name, member] : kMembers) {
      if (key_ == name) report_.*member = value;
    }
    if (key_ == "active_share") report_.active_share = value;
    if (key_ == "gpu_peak_mib") report_.gpu.emplace().peak_mib = value;
    if (key_ == "val_loss") evaluation().loss = value;
    if (key_ == "val_top1") evaluation().top1 = value;
    if (key_ == "val_top5") evaluation().top5 = value;
    if (key_ == "save_stall_s") report_.saved.emplace().stall_s = value;
  }

  train::Evaluation& evaluation() {
    if (!report_.evaluation) report_.evaluation.emplace();
    return *report_.evaluation;
  }

  StepReport& report_;
  std::string key_;
  std::string targets_;
  int depth_ = 0;
};

/// What a line of an older version does not say is NaN.
StepReport empty_report() {
  StepReport report;
  report.loss = report.grad_norm = report.lr = kNone;
  report.step_ms = report.targets_per_s = report.mfu = report.sol = kNone;
  report.elapsed_s = kNone;
  return report;
}

train::ExpertFigures gate_of(const json& said) {
  train::ExpertFigures gate{.layer = said.at("layer").get<std::string>(),
                            .experts = said.at("n"),
                            .tokens = said.at("tokens"),
                            .active = said.at("active"),
                            .dead = said.at("dead"),
                            .idle = said.at("idle"),
                            .entropy = said.at("entropy"),
                            .effective = said.at("effective")};
  for (std::size_t i = 0; i < std::size(gate.largest); ++i) {
    gate.largest[i] = said.at("largest").at(i);
  }
  gate.load = said.at("load").get<std::vector<double>>();
  require(gate.experts > 0 && !gate.load.empty(), "a gate without experts");
  return gate;
}

std::string text_of(const json& entry, const char* name) {
  const auto found = entry.find(name);
  if (found == entry.end()) return "";
  return found->is_string() ? found->get<std::string>() : to_text(*found);
}

RunEvent event_of(const json& entry, std::int64_t step) {
  const std::string kind = text_of(entry, "event");
  if (kind == "bad_step") {
    return {step,
            "bad step",
            fmt::format("{}: {} (loss {}, norm {})",
                        text_of(entry, "action"),
                        text_of(entry, "why"),
                        text_of(entry, "loss"),
                        text_of(entry, "grad_norm"))};
  }
  if (kind == "save_failed") {
    return {step, "failed save", text_of(entry, "why")};
  }
  if (kind == "sample") return {step, kind, text_of(entry, "text")};
  return {step, kind, to_text(entry)};
}

/// Of a line that has more than numbers; throws `InputError`.
void read_deep(const std::string& line,
               const std::string& where,
               StepReport& report,
               const MetricsReader& reader) {
  const json entry = parse_json(line, where);
  if (entry.contains("event")) {
    reader.event(event_of(entry, report.step));
    return;
  }
  try {
    for (const json& gate : entry.at("experts")) {
      report.experts.push_back(gate_of(gate));
    }
  } catch (const json::exception&) {
    fail<InputError>("{}: experts: expected those of mumoe train", where);
  }
  reader.step(report);
}

void read_line(const std::string& line,
               const std::string& where,
               const MetricsReader& reader) {
  StepReport report = empty_report();
  FlatLine flat(report);
  if (!json::sax_parse(line, &flat)) {
    parse_json(line, where);  // which says what is wrong
  }
  require(line.starts_with('{') && report.step > 0,
          "{}: expected an object whose step is a whole number, 1 or more",
          where);
  const bool deep = line.find("\"event\":") != line.npos ||
                    line.find("\"experts\":") != line.npos;
  if (deep) return read_deep(line, where, report, reader);
  reader.step(report);
}

RunPoint point_of(const StepReport& r) {
  return {r.step,
          static_cast<double>(r.targets),
          r.elapsed_s,
          r.loss,
          r.grad_norm,
          r.lr,
          r.step_ms,
          r.targets_per_s,
          r.mfu,
          r.sol};
}

/// Takes what is of step `step` or later from the end of `all`.
template <class All, class StepOf>
void drop_from(All& all, std::int64_t step, const StepOf& step_of) {
  while (!all.empty() && step_of(all.back()) >= step) all.pop_back();
}

void add(RunMetrics& all, const StepReport& r) {
  drop_from(all.points, r.step, [](const auto& p) { return p.step; });
  drop_from(all.evaluations, r.step, [](const auto& e) { return e.at.step; });
  drop_from(all.experts, r.step, [](const auto& e) { return e.step; });
  const RunPoint point = point_of(r);
  all.target = r.target;
  all.points.push_back(point);
  if (r.evaluation) all.evaluations.push_back({point, *r.evaluation});
  if (!r.experts.empty()) all.experts.push_back({r.step, r.experts});
  all.rss_mib = std::max(all.rss_mib, r.rss_mib);
  if (r.gpu) all.gpu_mib = std::max(all.gpu_mib, r.gpu->peak_mib);
  if (r.saved) {
    ++all.saves;
    all.save_stall_s += r.saved->stall_s;
  }
  if (all.began.empty()) all.began = r.time;
  all.ended = r.time;
}

}  // namespace

bool read_metrics(const std::filesystem::path& file,
                  const MetricsReader& reader) {
  std::error_code error;
  require(std::filesystem::is_regular_file(file, error),
          "{}: is not there, or no file; expected the metrics of a run",
          file.string());
  std::ifstream in(file, std::ios::binary);
  require(in.is_open(), "{}: cannot read", file.string());
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (in.eof()) return true;
    line.resize(line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) continue;
    read_line(line, fmt::format("{}:{}", file.string(), number), reader);
  }
  return false;
}

RunMetrics metrics_in(const std::filesystem::path& file) {
  RunMetrics all;
  all.growing = read_metrics(
      file,
      {[&](const StepReport& report) { add(all, report); },
       [&](const RunEvent& event) { all.events.push_back(event); }});
  require(!all.points.empty(),
          "{}: has no step yet; expected the metrics of a run",
          file.string());
  return all;
}

}  // namespace mumoe::study
