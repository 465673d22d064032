#include "train/prometheus.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "train/tensorboard.h"

namespace mumoe::train {
namespace {

/// As Prometheus reads numbers.
std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{:.17g}", value);
}

/// The value of a label, between its quotes.
std::string label_text(std::string_view text) {
  std::string value;
  for (const char c : text) {
    if (c == '\\' || c == '"') value += '\\';
    if (c == '\n') {
      value += "\\n";
    } else {
      value += c;
    }
  }
  return value;
}

/// Families of values, one after the other.
class Exposition {
 public:
  explicit Exposition(const std::string& run)
      : run_(fmt::format("run=\"{}\"", label_text(run))) {}

  void gauge(const char* name, const char* help, double value) {
    begin(name, help, "gauge");
    add(name, run_, value);
  }
  void counter(const char* name, const char* help, std::int64_t value) {
    begin(name, help, "counter");
    add(name, run_, static_cast<double>(value));
  }
  /// A gauge of each gate.
  void layers(const char* name,
              const char* help,
              const std::vector<ExpertFigures>& gates,
              const std::function<double(const ExpertFigures&)>& value) {
    if (gates.empty()) return;
    begin(name, help, "gauge");
    for (const ExpertFigures& gate : gates) {
      add(name,
          fmt::format("{},layer=\"{}\"", run_, label_text(gate.layer)),
          value(gate));
    }
  }
  const std::string& text() const { return text_; }

 private:
  void begin(const char* name, const char* help, const char* type) {
    text_ += fmt::format("# HELP mumoe_{0} {1}\n# TYPE mumoe_{0} {2}\n",
                         name,
                         help,
                         type);
  }
  void add(const char* name, const std::string& labels, double value) {
    text_ += fmt::format("mumoe_{}{{{}}} {}\n", name, labels, number(value));
  }

  std::string run_;
  std::string text_;
};

void add_experts(Exposition& all, const std::vector<ExpertFigures>& gates) {
  using Figures = ExpertFigures;
  all.layers("active_experts_ratio",
             "Mean share of the experts that a token mixes.",
             gates,
             [](const Figures& f) { return f.active; });
  all.layers("dead_experts",
             "Experts to which no token of the step gave more than 0.",
             gates,
             [](const Figures& f) { return static_cast<double>(f.dead); });
  all.layers("idle_experts",
             "Experts to which no token gave half of an even share.",
             gates,
             [](const Figures& f) { return static_cast<double>(f.idle); });
  all.layers("effective_experts",
             "Exponential of the entropy of the mean load.",
             gates,
             [](const Figures& f) { return f.effective; });
  all.layers("gate_entropy_nats",
             "Mean entropy of a token's coefficients.",
             gates,
             [](const Figures& f) { return f.entropy; });
}

}  // namespace

std::string prometheus_text(const RunGauges& g) {
  const StepReport& r = g.step;
  Exposition all(g.run);
  all.gauge("step", "Steps done.", static_cast<double>(r.step));
  all.gauge("steps", "Steps of the whole run.", static_cast<double>(g.last));
  all.gauge("loss", "Training loss of the last step, nats.", r.loss);
  if (g.evaluated) {
    all.gauge("validation_loss",
              "Validation loss, nats, when it was last evaluated.",
              g.evaluation.loss);
  }
  all.gauge("gradient_norm", "Norm of the gradient, unclipped.", r.grad_norm);
  all.gauge("learning_rate", "Learning rate.", r.lr);
  all.gauge("step_seconds", "Time of the last step.", r.step_ms / 1000);
  all.gauge("elapsed_seconds", "Time of the run so far.", r.elapsed_s);
  all.gauge("last_step_timestamp_seconds",
            "When the last step ended, since 1970.",
            seconds_of(r.time));
  const std::string targets = r.target + "s";
  all.counter((targets + "_total").c_str(),
              "What was trained on, over all steps.",
              r.targets);
  all.gauge((targets + "_per_second").c_str(),
            "Of the last step, all ranks.",
            r.targets_per_s);
  all.gauge("mfu", "Model FLOPs over the peak of all ranks.", r.mfu);
  all.gauge("speed_of_light",
            "Share of the step that products at their peak would take.",
            r.sol);
  all.gauge("resident_bytes",
            "Resident memory of rank 0.",
            r.rss_mib * (1 << 20));
  all.counter("bad_steps_total",
              "Bad steps since the process began.",
              g.bad_steps);
  all.counter("rewinds_total",
              "Times that it went back since the process began.",
              g.rewinds);
  all.counter("failed_saves_total",
              "Checkpoints not written since the process began.",
              g.failed_saves);
  add_experts(all, r.experts);
  return all.text();
}

PrometheusFile::PrometheusFile(std::filesystem::path path,
                               std::string run,
                               std::int64_t last_step,
                               std::chrono::milliseconds interval)
    : path_(std::move(path)), interval_(interval) {
  gauges_.run = std::move(run);
  gauges_.last = last_step;
}

void PrometheusFile::step(const StepReport& report) {
  // Those of the step that had some stay until there are others.
  auto experts = std::move(gauges_.step.experts);
  gauges_.step = report;
  if (report.experts.empty()) gauges_.step.experts = std::move(experts);
  write_if_due();
}

void PrometheusFile::evaluated(const Evaluation& evaluation) {
  gauges_.evaluation = evaluation;
  gauges_.evaluated = true;
  changed_ = true;
}

void PrometheusFile::bad_step(bool rewinds) {
  ++gauges_.bad_steps;
  gauges_.rewinds += rewinds;
  changed_ = true;
}

void PrometheusFile::failed_save() {
  ++gauges_.failed_saves;
  changed_ = true;
}

void PrometheusFile::finish() {
  if (changed_) write();
}

void PrometheusFile::write_if_due() {
  changed_ = true;
  const auto now = std::chrono::steady_clock::now();
  if (written_ && now - *written_ < interval_) return;
  written_ = now;
  write();
}

void PrometheusFile::write() {
  if (gauges_.step.step == 0) return;  // nothing is known yet
  try {
    write_file_atomically(path_, prometheus_text(gauges_));
    problem_.clear();
    changed_ = false;
  } catch (const InputError& error) {
    problem_ = error.what();
  }
}

}  // namespace mumoe::train
