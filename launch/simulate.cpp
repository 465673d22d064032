#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/terminal.h"
#include "dist/null_communicator.h"
#include "dist/self_communicator.h"
#include "dist/watch/link_model.h"
#include "launch/commands.h"
#include "launch/compute.h"
#include "launch/named_machine.h"
#include "launch/plan_choice.h"
#include "launch/show_facts.h"
#include "launch/simulate_report.h"
#include "run/command_line.h"
#include "study/simulate/calibration.h"
#include "study/simulate/simulation.h"
#include "study/simulate/taken_time.h"

namespace mumoe::launch {
namespace {

constexpr const char* kHere = "here";
/// Steps that are measured of a calibration and of a simulation.
constexpr int kCalibrated = 6, kSimulated = 2;

/// What all machines share: of whom, cut how.
struct Question {
  run::CommandLine line;
  run::Options options;
  study::RunLayout layout;
  dist::Communicator& world;  ///< The ranks that were started.
  /// Of rank 0, where what is found goes.
  std::optional<FactsOutput> output = {};
  std::optional<AtomicFile> trace = {};

  bool shown() const { return world.rank() == 0; }
  /// What cannot be written is found before there is anything to write.
  void open() {
    if (!shown()) return;
    output.emplace(line);
    if (!options.trace.empty()) trace.emplace(options.trace);
  }
};

/// Throws unless the layout can be.
study::RunLayout layout_of(run::Options& options, int ranks) {
  const int tp = options.parallel.tp;
  require(tp >= 1 && ranks % tp == 0,
          "parallel.tp = {}: does not divide {} ranks",
          tp,
          ranks);
  if (options.parallel.dp == 0) options.parallel.dp = ranks / tp;
  require(options.parallel.dp * tp == ranks,
          "parallel.dp = {} x parallel.tp = {}: are not {} ranks",
          options.parallel.dp,
          tp,
          ranks);
  if (!options.parallel.plan) {
    options.parallel.plan = Plan::sequence;
    require(tp == 1,
            "parallel.plan = auto: a simulation does not choose; expected "
            "sequence, bottleneck or rank (mumoe plan compares them)");
  }
  const auto mesh_world =
      dist::make_null_communicator({.dp = options.parallel.dp, .tp = tp});
  const dist::ProcessMesh mesh(*mesh_world, options.parallel.dp, tp);
  const auto batch = require_layout(options, mesh, /*unequal_cpus=*/"");
  return study::layout_of(options, mesh.shape(), batch.micro_batch);
}

void write_trace(Question& question, const study::SimulatedStep& step) {
  if (!question.trace) return;
  question.trace->write(study::chrome_trace(
      step.spans,
      0,
      fmt::format("rank 0 of {} (simulated)", question.layout.ranks())));
  question.trace->commit();
  if (!question.output->alone()) {
    fmt::print("trace    {}\n", question.options.trace.string());
  }
}

void report(Question& question, const SimulatedCase& simulated) {
  write_trace(question, simulated.step);
  question.output->show(
      [&] { return simulation_table(simulated, terminal_columns()); },
      [&] { return simulation_json(simulated); });
}

void simulate_and_report(Question& question,
                         const study::SimulatedRun& run,
                         SimulatedCase simulated) {
  const auto began = std::chrono::steady_clock::now();
  simulated.step = study::simulate(run);
  simulated.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began)
          .count();
  report(question, simulated);
}

void simulate_named(Question& question, const study::Machine& machine) {
  const study::Rates rates;
  const study::MachineCharges charges(machine, rates);
  study::NetworkModel network;
  network.machine = machine;
  network.rates = rates;
  std::string over = "its links";
  if (!question.options.parallel.link.empty()) {
    network.link = dist::parse_link(question.options.parallel.link);
    over = "parallel.link " + question.options.parallel.link;
  }
  simulate_and_report(question,
                      {.options = question.options,
                       .layout = question.layout,
                       .charges = charges,
                       .network = network,
                       .steps = kSimulated,
                       .keeps_spans = !question.options.trace.empty()},
                      {.options = question.options,
                       .layout = question.layout,
                       .machine = fmt::format("{}, {:.0f} a node",
                                              machine.name,
                                              machine.gpus_per_node),
                       .network = over,
                       .peak_flops = machine.peak_flops});
}

/// The link that was given, or that of the ranks that were started; also of one
/// that was given they see the end later than it comes, which is measured where
/// there are several. Collective.
dist::Bandwidth link_here(const Question& question) {
  const std::string& given = question.options.parallel.link;
  dist::Communicator& world = question.world;
  if (question.layout.ranks() == 1) return {0, 1};
  require(!given.empty() || world.size() > 1,
          "parallel.link: a process that is alone has no link to measure; "
          "expected \"latency_us,GB/s\", or mpirun -n 2 or more");
  if (given.empty()) return dist::measure_bandwidth(world);
  dist::Bandwidth link = dist::parse_link(given);
  if (world.size() == 1) return link;
  dist::LinkModel model(link);
  world.observe(model);
  constexpr std::int64_t kLittle = 64 << 10;  // latency is what is asked for
  const double latency = dist::measure_bandwidth(world, kLittle).latency_s;
  world.unobserve(model);
  // A ring of 16 floats, 64 bytes, is all latency.
  link.latency_s = std::max(link.latency_s, latency);
  return link;
}

study::Together together_on(dist::Communicator& world) {
  return {.begin = [&world] { world.barrier(); },
          .slowest =
              [&world](double own) {
                const at::Tensor most = at::full({1}, own, at::kDouble);
                world.all_reduce(most, dist::ReduceOp::max);
                return most.item<double>();
              }};
}

void simulate_here(Question& question) {
  dist::Communicator& world = question.world;
  const dist::Bandwidth link = link_here(question);
  const Compute compute = choose_compute(question.options,
                                         world,
                                         at::kCPU,
                                         question.layout.micro_batch);
  question.options = compute.settled(question.options);
  const double peak = measure_peak_flops(question.options,
                                         compute,
                                         world,
                                         question.layout.micro_batch) /
                      world.size();
  const auto calibration = study::calibrate(question.options,
                                            question.layout,
                                            compute.dtype,
                                            kCalibrated,
                                            together_on(world));
  study::NetworkModel network;
  network.link = link;
  network.taken_s = study::measure_taken(world, link);
  if (!question.shown()) return;
  simulate_and_report(
      question,
      {.options = question.options,
       .layout = question.layout,
       .dtype = compute.dtype,
       .kind = c10::kCPU,
       .charges = calibration.charges,
       .network = network,
       .active_shares = calibration.active_shares,
       .steps = kSimulated,
       .keeps_spans = !question.options.trace.empty()},
      {.options = question.options,
       .layout = question.layout,
       .machine = fmt::format("this one, {} beside each other", world.size()),
       .network = fmt::format("link of {:.3g} us and {:.3g} GB/s",
                              1e6 * link.latency_s,
                              1e-9 * link.bytes_per_s),
       .peak_flops = peak});
}

}  // namespace

std::vector<run::OwnOption> simulate_options() {
  return {
      {"machine",
       "NAME",
       "of study/predict/machines.json, or of --machines; here: this one's "
       "CPU, as it is with the ranks that were started [here]",
       "gpu hardware accelerator"},
      {"machines",
       "FILE",
       "more machines, in the form of study/predict/machines.json",
       "machine_file"},
      {"nodes",
       "N",
       "of a named machine; parallel.dp and parallel.tp, given both, ask for "
       "as many as they need [1]",
       "num_nodes nnodes hosts"},
      {"gpus-per-node",
       "N",
       "ranks of each [as the machine has]",
       "gpus ngpus nproc_per_node"},
      {"json",
       "FILE",
       "where to write the same facts, - for stdout, without the table",
       "output out_json output_path"}};
}

ExitCode simulate_command(const Invocation& invocation) {
  auto line = run::read_run(invocation.arguments, simulate_options());
  const auto alone =
      invocation.mpi ? nullptr : dist::make_self_communicator(at::kCPU);
  dist::Communicator& world = alone ? *alone : invocation.mpi->world();
  run::Options options = line.options;
  const std::string name = line.text("machine", kHere);
  const int asked = options.parallel.dp * options.parallel.tp;
  if (name == kHere) {
    for (const char* other : {"machines", "nodes", "gpus-per-node"}) {
      require(!line.own.contains(other),
              "--{}: is of a named machine; expected --machine NAME",
              other);
    }
    const auto layout = layout_of(options, asked > 0 ? asked : world.size());
    Question question{std::move(line), options, layout, world};
    question.open();
    simulate_here(question);
    return ExitCode::done;
  }
  require(world.size() == 1,
          "--machine {}: {} ranks were started, each of which would do the "
          "whole work; expected one process",
          name,
          world.size());
  const study::Machine machine = named_machine(line, name);
  const int gpus = static_cast<int>(machine.gpus_per_node);
  const bool counted = line.own.contains("nodes") || asked == 0;
  const int ranks = counted ? gpus * nodes_of(line) : asked;
  const auto layout = layout_of(options, ranks);
  Question question{std::move(line), options, layout, world};
  question.open();
  simulate_named(question, machine);
  return ExitCode::done;
}

}  // namespace mumoe::launch
