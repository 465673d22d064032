#include "study/simulate/calibration.h"

#include <chrono>
#include <vector>

#include "study/scale/run_facts.h"
#include "study/simulate/lone_rank.h"
#include "study/simulate/operation_watch.h"

namespace mumoe::study {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Takes the time of operations.
class OperationTimer final : public OperationSink {
 public:
  explicit OperationTimer(MeasuredCharges& charges) : charges_(charges) {}

  void began() override { began_ = Clock::now(); }
  void operation(const Operation& operation) override {
    const double seconds = since(began_);
    if (!keeps) return;
    charges_.add(operation, seconds);
    all += seconds;
  }

  bool keeps = false;
  double all = 0;

 private:
  MeasuredCharges& charges_;
  Clock::time_point began_;
};

/// Keeps what null communicators do, which others would do otherwise, out of
/// operations, and takes its time.
class OutOfTheWay final : public dist::Observer {
 public:
  void phase(std::string_view name) override {
    if (watch != nullptr) watch->host(std::string(name));
  }
  void begin(const dist::Communicator&, const dist::Collective&) override {
    if (watch != nullptr) watch->hold();
    began_ = Clock::now();
  }
  dist::Work started(const dist::Communicator&,
                     const dist::Collective& collective,
                     dist::Work work) override {
    seconds += since(began_);
    if (watch != nullptr) {
      watch->release();
      watch->host("after " + std::string(dist::to_string(collective.op)));
    }
    return work;
  }

  OperationWatch* watch = nullptr;
  double seconds = 0;

 private:
  Clock::time_point began_;
};

}  // namespace

Calibration calibrate(const run::Options& asked,
                      const RunLayout& layout,
                      at::ScalarType dtype,
                      int steps,
                      const Together& together) {
  run::Options options = asked;
  options.trainer.batch = layout.dp * layout.micro_batch;
  Calibration found;
  OutOfTheWay network;
  LoneRank rank(options, layout, dtype, at::kCPU, c10::kCPU);
  rank.observe(network);
  // The first step finds memory that no other step has to find.
  together.begin();
  rank.step();
  std::vector<double> plain;
  for (int i = 0; i < steps; ++i) {
    together.begin();
    const double before = network.seconds;
    const auto began = Clock::now();
    rank.step();
    plain.push_back(
        together.slowest(since(began) - (network.seconds - before)));
  }
  found.step_seconds = median(plain);
  OperationTimer timer(found.charges);
  OperationWatch watch(timer);
  network.watch = &watch;
  for (int i = 0; i <= steps; ++i) {
    timer.keeps = i > 0;
    together.begin();
    rank.step();
    watch.pause();
    found.active_shares = watch.take_counted();
  }
  // Watching costs, and what is between operations is nobody's.
  found.charges.set_scale(found.step_seconds / (timer.all / steps));
  return found;
}

}  // namespace mumoe::study
