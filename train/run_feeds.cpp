#include "train/run_feeds.h"

#include "base/error.h"

namespace mumoe::train {

RunFeeds::RunFeeds(const run::TrainerConfig& config, std::int64_t step) {
  if (const auto folder = event_folder(config)) board_.emplace(*folder, step);
  if (config.prometheus.empty()) return;
  prometheus_.emplace(config.prometheus, config.out.string(), config.steps);
}

void RunFeeds::step(const StepReport& report) {
  if (board_) board_->write(report);
  if (prometheus_) prometheus_->step(report);
}

void RunFeeds::evaluated(std::int64_t step, const Evaluation& evaluation) {
  if (board_) board_->write(step, seconds_of(utc_now()), evaluation);
  if (prometheus_) prometheus_->evaluated(evaluation);
}

void RunFeeds::sampled(std::int64_t step, const std::string& text) {
  if (board_) board_->write_text(step, seconds_of(utc_now()), text);
}

void RunFeeds::bad_step(const BadStepReport& bad) {
  if (prometheus_) prometheus_->bad_step(bad.action == run::BadStep::rewind);
}

void RunFeeds::failed_save() {
  if (prometheus_) prometheus_->failed_save();
}

void RunFeeds::go_back(std::int64_t step) {
  if (board_) board_->go_back(step);
}

void RunFeeds::finish() {
  if (prometheus_) prometheus_->finish();
}

std::string RunFeeds::problem() const {
  if (board_ && !board_->problem().empty()) return board_->problem();
  return prometheus_ ? prometheus_->problem() : "";
}

}  // namespace mumoe::train
