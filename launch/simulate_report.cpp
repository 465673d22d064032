#include "launch/simulate_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/number.h"
#include "launch/fitted_table.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

/// What a step's samples add to the loss.
double targets_of(const run::Options& options) {
  const bool tokens =
      model::family(options.family).learns_from == model::LearnsFrom::tokens;
  return static_cast<double>(options.trainer.batch) *
         (tokens ? static_cast<double>(options.model.context) : 1);
}

/// Shares of the peak of all ranks; none where it is not known.
double share_of(double flops, const SimulatedCase& simulated, double ranks) {
  return flops / (simulated.step.seconds * simulated.peak_flops * ranks);
}

std::string target_of(const run::Options& options) {
  return model::family(options.family).learns_from == model::LearnsFrom::tokens
             ? "tokens"
             : "images";
}

}  // namespace

std::string simulation_table(const SimulatedCase& simulated,
                             std::size_t columns) {
  const study::SimulatedStep& step = simulated.step;
  const run::Options& options = simulated.options;
  FittedTable table(columns);
  table.fact("machine", {simulated.machine, simulated.network});
  table.fact("rank 0 of",
             {fmt::format("{} ranks", simulated.layout.ranks()),
              study::arguments_of(simulated.layout)});
  const auto ms = [](const std::string& name, double seconds) {
    return fmt::format("{} {:.4g}", name, 1e3 * seconds);
  };
  std::vector<std::string> parts{ms("all", step.seconds),
                                 ms("products", step.products),
                                 ms("own kernels", step.kernels),
                                 ms("passes over memory", step.passes)};
  if (step.host > 0) parts.push_back(ms("between operations", step.host));
  if (step.idle > 0) parts.push_back(ms("waiting for launches", step.idle));
  for (const auto& [network, seconds] : step.waits) {
    parts.push_back(ms("waiting for " + network, seconds));
  }
  table.fact("ms a step", parts);
  table.fact("rate",
             fmt::format("{:.4g} {}/s of all ranks",
                         targets_of(options) / step.seconds,
                         target_of(options)));
  if (simulated.peak_flops > 0) {
    const double ranks = simulated.layout.ranks();
    table.fact("of the peak",
               {fmt::format("mfu {:.1f} %",
                            100 * share_of(step.model_flops, simulated, ranks)),
                fmt::format("speed of light {:.1f} %",
                            100 * share_of(step.flops, simulated, 1))});
  }
  table.fact("sent a step, a rank",
             {"tp " + size_text(static_cast<double>(step.tp_bytes)),
              "dp " + size_text(static_cast<double>(step.dp_bytes)),
              "all " + size_text(static_cast<double>(step.all_bytes))});
  table.fact("tensors at most",
             size_text(static_cast<double>(step.peak_bytes)));
  table.fact("simulated",
             {fmt::format("{} operations a step", step.operations),
              fmt::format("in {:.1f} s", simulated.seconds)});
  return table.text() + "\n";
}

std::string simulation_json(const SimulatedCase& simulated) {
  const study::SimulatedStep& step = simulated.step;
  nlohmann::json json = {
      {"machine", simulated.machine},
      {"network", simulated.network},
      {"ranks", simulated.layout.ranks()},
      {"arguments", study::arguments_of(simulated.layout)},
      {"step_s", step.seconds},
      {"products_s", step.products},
      {"kernels_s", step.kernels},
      {"passes_s", step.passes},
      {"host_s", step.host},
      {"idle_s", step.idle},
      {"waits_s", step.waits},
      {"targets_per_s", targets_of(simulated.options) / step.seconds},
      {"dp_bytes", step.dp_bytes},
      {"tp_bytes", step.tp_bytes},
      {"all_bytes", step.all_bytes},
      {"peak_bytes", step.peak_bytes},
      {"operations", step.operations},
      {"simulated_in_s", simulated.seconds}};
  if (simulated.peak_flops > 0) {
    const double ranks = simulated.layout.ranks();
    json["mfu"] = share_of(step.model_flops, simulated, ranks);
    json["sol"] = share_of(step.flops, simulated, 1);
  }
  return json.dump(1) + "\n";
}

}  // namespace mumoe::launch
