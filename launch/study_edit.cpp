// mumoe study edit: a run with other experts.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "dist/self_communicator.h"
#include "launch/asked_model.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "run/agreed_errors.h"
#include "run/option_table.h"
#include "study/experts/edited_run.h"
#include "study/experts/mean_routing.h"

namespace mumoe::launch {
namespace {

constexpr const char* kCommand = "mumoe study edit";

std::string required(const run::CommandLine& line, const std::string& name) {
  const std::string value = line.text(name, "");
  require(!value.empty(), "{}: --{} FOLDER is missing", kCommand, name);
  return value;
}

std::vector<std::int64_t> experts_of(const run::CommandLine& line,
                                     const std::string& name) {
  const std::string text = line.text(name, "");
  if (text.empty()) return {};
  try {
    return run::parse_list(text, "numbers of experts with commas between");
  } catch (const InputError& error) {
    fail<InputError>("--{} {}: {}", name, text, error.what());
  }
}

/// "5=0.5,7=2".
std::map<std::int64_t, double> pairs_of(const run::CommandLine& line,
                                        const std::string& name,
                                        const char* what) {
  const std::string text = line.text(name, "");
  std::map<std::int64_t, double> pairs;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, end - at);
    const std::size_t equals = part.find('=');
    try {
      require(equals != part.npos, "expected {}=NUMBER, with commas", what);
      const auto key =
          parse_number<std::int64_t>(part.substr(0, equals), std::int64_t{0});
      const auto value = parse_number<double>(part.substr(equals + 1));
      require(pairs.emplace(key, value).second, "expected {} once", key);
    } catch (const InputError& error) {
      fail<InputError>("--{} {}: {}", name, text, error.what());
    }
    at = end + 1;
  }
  return pairs;
}

/// The numbers of a JSON file: a list.
std::vector<double> direction_in(const std::string& file) {
  const auto json = parse_json(read_file(file), file);
  require(json.is_array() && !json.empty() &&
              std::ranges::all_of(
                  json,
                  [](const auto& each) { return each.is_number(); }),
          "{}: expected a list of numbers, one an expert",
          file);
  return json.get<std::vector<double>>();
}

/// The mean coefficients of the samples of class `wanted`.
std::vector<double> direction_of_class(AskedRun& run,
                                       const run::CommandLine& line,
                                       std::int64_t wanted,
                                       std::size_t level) {
  const StudyData data = open_study_data(run, line, "train");
  const study::RoutingPass pass(run.asked.model(),
                                {run.session.mesh, run.settled.compute.device},
                                line.text("run", ""));
  const auto routing = study::mean_routing(pass,
                                           *data.samples,
                                           data.batches,
                                           run.session.mesh.control());
  const auto classes = std::ssize(data.facts.class_names);
  require(wanted < classes,
          "--of-class {}: {}",
          wanted,
          classes == 0
              ? "the run learns from text, which has no classes"
              : fmt::format("expected a class from 0 to {}", classes - 1));
  require(level < routing.gates.size(),
          "--level {}: expected 0 to {}",
          level,
          routing.gates.size() - 1);
  std::vector<double> mean(routing.count(level));
  double count = 0;
  for (std::size_t i = 0; i < routing.samples; ++i) {
    const std::uint64_t index[] = {data.indices[i]};
    const auto target =
        std::get<std::vector<std::int32_t>>(data.samples->make(index).target);
    if (target.front() != wanted) continue;
    ++count;
    for (std::size_t n = 0; n < mean.size(); ++n) {
      mean[n] += routing.means[i * routing.width + routing.begin(level) + n];
    }
  }
  require(count > 0,
          "--of-class {}: none of {} {} samples",
          wanted,
          routing.samples,
          data.part);
  for (double& each : mean) each /= count;
  return mean;
}

/// Of a shift: where it points, as the options say. Collective.
std::vector<double> find_direction(const Invocation& invocation,
                                   const run::CommandLine& line,
                                   int level) {
  const std::string file = line.text("direction", "");
  const auto wanted = line.number<std::int64_t>("of-class", -1, 0);
  require(file.empty() != (wanted < 0),
          "--shift: expected a direction: --direction FILE or --of-class "
          "CLASS, one of the two");
  if (!file.empty()) return direction_in(file);
  std::vector<double> found;
  ask_run(invocation, line, kCommand, true, [&](AskedRun& run) {
    found = direction_of_class(run,
                               line,
                               wanted,
                               static_cast<std::size_t>(std::max(level, 0)));
  });
  return found;
}

}  // namespace

std::vector<run::OwnOption> study_edit_options() {
  auto options = study_data_options();
  const std::vector<run::OwnOption> own = {
      {"to", "FOLDER", "the run directory to make", "output dst out"},
      {"gate",
       "NAME",
       "whose experts, as study load calls it: h.3.mlp [the only one]",
       "layer block mixture"},
      {"level", "E", "of a hierarchy, from 0"},
      {"remove", "N,...", "experts to take out", "ablate zero drop"},
      {"keep", "N,...", "experts to keep; all others are taken out"},
      {"scale", "N=X,...", "experts to multiply by X"},
      {"shift",
       "CLASS=LAMBDA,...",
       "add LAMBDA times v.a to a class's logit, a the coefficients and v of "
       "--direction or --of-class; of a head of one layer"},
      {"direction", "FILE", "v: a JSON list of a number an expert"},
      {"of-class",
       "CLASS",
       "v: the mean coefficients of the training images of that class"}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

ExitCode study_edit(const Invocation& invocation,
                    const run::CommandLine& line) {
  study::EditRequest request{
      .from = required(line, "run"),
      .checkpoint = line.text("checkpoint", ""),
      .to = required(line, "to"),
      .gate = line.text("gate", ""),
      .level = line.number<int>("level", -1, 0, 3),
      .edit = {.remove = experts_of(line, "remove"),
               .keep = experts_of(line, "keep"),
               .scale = pairs_of(line, "scale", "EXPERT")},
      .shift = {.direction = {}, .of_class = pairs_of(line, "shift", "CLASS")}};
  require(!line.own.contains("keep") || !request.edit.keep.empty(),
          "--keep: expected one expert or more");
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto& mpi = invocation.mpi;
  dist::Communicator& world = mpi ? mpi->world() : *self;
  run::agree_on_errors(world, [&] { study::require_new_run(request.to); });
  if (!request.shift.of_class.empty()) {
    request.shift.direction = find_direction(invocation, line, request.level);
  }
  run::agree_on_errors(world, [&] {
    if (world.rank() != 0) return;
    for (const auto& said : study::write_edited_run(request)) {
      std::printf("%s\n", said.c_str());
    }
  });
  return ExitCode::done;
}

}  // namespace mumoe::launch
