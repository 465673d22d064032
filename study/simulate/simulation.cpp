#include "study/simulate/simulation.h"

#include <fmt/format.h>

#include "base/error.h"
#include "study/simulate/lone_rank.h"
#include "study/simulate/meta_memory.h"

namespace mumoe::study {
namespace {

/// Lets a virtual clock pass by what operations are charged.
class ChargedClock final : public OperationSink {
 public:
  ChargedClock(const Charges& charges, VirtualClock& clock)
      : charges_(charges), clock_(clock) {}

  void operation(const Operation& operation) override {
    const double seconds = charges_.seconds(operation);
    clock_.compute(operation.name, seconds, charges_.launch(operation));
    ++step_.operations;
    for (const Product& product : operation.products) {
      step_.flops += product.flops();
    }
    switch (operation.kind) {
      case Operation::Kind::host:
        step_.host += seconds;
        break;
      case Operation::Kind::passes:
        step_.passes += seconds;
        break;
      case Operation::Kind::kernel:
        step_.kernels += seconds;
        break;
      case Operation::Kind::product:
        step_.products += seconds;
        break;
    }
  }
  void read_back() override { clock_.read_back(); }

  /// What was charged since this was called last.
  SimulatedStep take() { return std::exchange(step_, {}); }

 private:
  const Charges& charges_;
  VirtualClock& clock_;
  SimulatedStep step_;
};

}  // namespace

SimulatedStep simulate(const SimulatedRun& run) {
  MUMOE_CHECK(run.steps > 0);
  const MetaMemory memory;
  VirtualClock clock(run.kind == c10::kCUDA, run.keeps_spans);
  ChargedClock charged(run.charges, clock);
  OperationWatch watch(charged);
  watch.set_active_shares(run.active_shares);
  VirtualNetwork network(run.network,
                         {.dp = run.layout.dp, .tp = run.layout.tp},
                         clock,
                         watch);
  LoneRank rank(run.options, run.layout, run.dtype, at::kMeta, run.kind);
  rank.observe(network);
  rank.step();
  watch.pause();
  const double begin = clock.now(), idle = clock.idle();
  const auto waited = clock.waited();
  charged.take();
  network.take_taken();
  MetaMemory::begin_peak();
  train::StepReport last;
  for (int i = 0; i < run.steps; ++i) last = rank.step();
  watch.pause();
  const double times = 1.0 / run.steps;
  SimulatedStep step = charged.take();
  step.host += network.take_taken();
  step.seconds = (clock.now() - begin) * times;
  for (double* part :
       {&step.products, &step.kernels, &step.passes, &step.host, &step.flops}) {
    *part *= times;
  }
  step.operations /= run.steps;
  step.model_flops = rank.model_flops();
  step.idle = (clock.idle() - idle) * times;
  for (const auto& [name, seconds] : clock.waited()) {
    const auto before = waited.find(name);
    const double since =
        seconds - (before == waited.end() ? 0 : before->second);
    step.waits[name] = since * times;
  }
  step.dp_bytes = last.dp_bytes;
  step.tp_bytes = last.tp_bytes;
  step.all_bytes = last.all_bytes;
  step.peak_bytes = MetaMemory::peak();
  for (VirtualSpan span : clock.spans()) {
    if (span.begin < begin) continue;
    step.spans.push_back(
        {span.row, span.name, span.begin - begin, span.end - begin});
  }
  return step;
}

}  // namespace mumoe::study
