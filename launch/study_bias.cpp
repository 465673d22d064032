// mumoe study bias: decisions of a classifier made fairer by its experts,
// beside other ways.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/number.h"
#include "base/terminal.h"
#include "launch/asked_model.h"
#include "launch/bias_report.h"
#include "launch/bias_study.h"
#include "launch/planted_features.h"
#include "launch/read_switch.h"
#include "launch/show_facts.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

using study::Subgroup;

constexpr const char* kCommand = "mumoe study bias";
constexpr double kMostLambda = 1e12;

Subgroup read_subgroup(const std::string& text) {
  const bool right = text.size() == 3 && text[1] == ',' &&
                     (text[0] == '0' || text[0] == '1') &&
                     (text[2] == '0' || text[2] == '1');
  require(right,
          "--subpopulation {}: expected whether the target is true of it and "
          "the group, such as 1,1 or 0,1",
          text);
  return {text[0] == '1', text[2] == '1'};
}

std::vector<double> read_lambdas(const std::string& text) {
  std::vector<double> lambdas;
  for (std::size_t begin = 0; !text.empty() && begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    try {
      lambdas.push_back(parse_number<double>(text.substr(begin, end - begin),
                                             -kMostLambda,
                                             kMostLambda));
    } catch (const InputError& error) {
      fail<InputError>("--lambda {}: {}", text, error.what());
    }
    begin = end + 1;
  }
  return lambdas;
}

BiasQuestion read_question(const run::CommandLine& line) {
  const std::string group = line.text("group", "");
  require(!group.empty(), "{}: --group ATTRIBUTE is missing", kCommand);
  return {
      .target = line.text("target", ""),
      .group = group,
      .subpopulation = read_subgroup(line.text("subpopulation", "1,1")),
      .choice = {study::fairness_figure(line.text("choose", "subpopulation")),
                 line.number("cost", 0.01, 0.0, 1.0)},
      .lambdas = read_lambdas(line.text("lambda", "")),
      .adversary = line.number("adversary", 1.0, 1e-6, 1e6),
      .retrain = read_switch(line, "retrain", "yes")};
}

/// "Coat,Dress"
std::array<std::string, 2> read_pair(const run::CommandLine& line,
                                     const std::string& name) {
  const std::string text = line.text(name, "");
  const auto comma = text.find(',');
  require(comma != text.npos && comma > 0 && comma + 1 < text.size() &&
              text.find(',', comma + 1) == text.npos,
          "--{} {}: expected two classes of the features, such as Coat,Dress",
          name,
          text);
  return {text.substr(0, comma), text.substr(comma + 1)};
}

/// mumoe study bias --plant
ExitCode plant(const Invocation& invocation, const run::CommandLine& line) {
  require(!invocation.mpi || invocation.mpi->world().size() == 1,
          "{} --plant: expected one process, without mpirun",
          kCommand);
  const Plant plant{.features = line.text("plant", ""),
                    .out = line.text("out", ""),
                    .positive = read_pair(line, "positive"),
                    .negative = read_pair(line, "negative"),
                    .share = line.number("share", 0.05),
                    .seed = line.number("seed", std::uint64_t{1})};
  require(!plant.out.empty(), "{} --plant: --out FOLDER is missing", kCommand);
  const data::FeatureFacts facts = plant_features(plant);
  fmt::print(
      "{}: {} samples for training, {} for validation; classes {} (0) "
      "and {} (1); group: {}, {}\n",
      plant.out.string(),
      facts.train.samples,
      facts.val.samples,
      facts.class_names[0],
      facts.class_names[1],
      plant.negative[0],
      plant.positive[0]);
  return ExitCode::done;
}

/// Retrained heads are compared with this one in the same precision, in which
/// any number of ranks says the same.
void widen(run::Options& options) {
  if (model::family(options.family).learns_from ==
      model::LearnsFrom::features) {
    options.precision = run::Precision::fp64;
  }
}

}  // namespace

std::vector<run::OwnOption> study_bias_options() {
  auto options = study_data_options();
  std::erase_if(options, [](const run::OwnOption& option) {
    return option.name == "part";
  });
  const std::vector<run::OwnOption> own = {
      {"target",
       "CLASS",
       "that decisions are about, against all others [of two, the second]",
       "class label"},
      {"group",
       "ATTRIBUTE",
       "that decisions should not depend on",
       "attribute sensitive protected"},
      {"subpopulation",
       "T,G",
       "whether the target is true of those who are to be helped, and the "
       "group: 1 or 0 each [1,1]",
       "subgroup"},
      {"lambda",
       "X,Y,...",
       "sizes of corrections to choose from; unless said 0, and from 1/16 to "
       "64 "
       "times the number of experts by factors of sqrt(2), of both signs",
       "lambdas strength"},
      {"choose",
       "FIGURE",
       "that is to be best on one half of the samples: subpopulation, worst, "
       "opportunity, deviation or accuracy [subpopulation]",
       "criterion metric"},
      {"cost",
       "X",
       "accuracy of all samples of that half that it may cost, as a share "
       "[0.01]",
       "budget"},
      {"gate",
       "NAME",
       "whose experts correct, as mumoe study load names it [the last]",
       "layer mixture"},
      {"retrain",
       "yes|no",
       "whether heads on features are also trained anew, by oversampling and "
       "against an adversary [yes]",
       "train"},
      {"adversary", "X", "the adversary's weight [1]", "adversarial_weight"},
      {"json",
       "FILE",
       "where to write the result, - for stdout, without the table",
       "output out_json"},
      {"plant",
       "FEATURES",
       "instead of --run: make features in which a correlation is planted, of "
       "this folder of features, in --out",
       "make"},
      {"out", "FOLDER", "with --plant: where they are made", "output folder"},
      {"positive",
       "A,B",
       "with --plant: classes that make up the target, A of the group, B not",
       "target_classes"},
      {"negative",
       "C,D",
       "with --plant: classes that make up the rest, C of the group, D not",
       "other_classes"},
      {"share",
       "X",
       "with --plant: of the target's training samples that is A; of the "
       "others', that is D [0.05]",
       "correlation"},
      {"seed", "N", "with --plant: of the drawing of samples [1]", "random"}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

ExitCode study_bias(const Invocation& invocation,
                    const run::CommandLine& line) {
  if (line.own.contains("plant")) return plant(invocation, line);
  const BiasQuestion asked = read_question(line);
  auto output = open_output(invocation, line);
  const auto ask = [&](AskedRun& run) {
    const BiasReport report = study_of_bias(run, line, asked);
    if (!output) return;
    output->show([&] { return bias_table(report, terminal_columns()); },
                 [&] { return bias_json(report); });
  };
  return ask_run(invocation, line, kCommand, true, ask, widen);
}

}  // namespace mumoe::launch
