#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/terminal.h"
#include "data/features/feature_data.h"
#include "launch/asked_model.h"
#include "launch/expert_material.h"
#include "launch/fitted_table.h"
#include "launch/show_facts.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "model/language_model.h"
#include "study/experts/delphi.h"
#include "study/experts/expert_study.h"
#include "study/experts/prompts.h"
#include "study/experts/removal.h"
#include "study/report/expert_json.h"
#include "study/report/expert_page.h"

namespace mumoe::launch {
namespace {

using study::CloserLook;
using study::ExamplePicker;
using study::ExpertLoad;
using study::ExpertStudy;
using study::GateLoad;
using study::RemovalCost;
using study::RoutedBatch;
using study::RoutingPass;
using study::RunFacts;
using study::ShownSample;
using study::Tracer;

// About a line of text around an example.
constexpr CloserLook::Options kAroundWords{.before = 12, .after = 8};
constexpr CloserLook::Options kAroundBytes{.before = 48, .after = 24};
constexpr std::int64_t kPromoted = 10;

/// What is asked for beside the data.
struct Request {
  std::string run;
  ExamplePicker::Options pick;
  std::int64_t removal = 0;
  std::int64_t shown = 4;
  std::vector<std::string> prompts;
  std::string json;
  std::string delphi;
  std::filesystem::path out;
};

Request read_request(const run::CommandLine& line) {
  Request request;
  request.run = line.text("run", "");
  request.pick = {.per_expert = line.number("per-expert",
                                            std::int64_t{8},
                                            std::int64_t{1},
                                            std::int64_t{1000}),
                  .threshold = line.number("threshold", 0.5),
                  .seed = line.number("seed", std::uint64_t{1})};
  request.removal = line.number("removal", std::int64_t{0}, std::int64_t{0});
  request.shown = line.number("shown", std::int64_t{4}, std::int64_t{0});
  request.prompts = line.texts("prompt");
  request.json = line.text("json", "");
  request.out = line.text("out", "");
  request.delphi = line.text("delphi", "");
  return request;
}

RunFacts facts_of(const AskedRun& run,
                  const std::string& name,
                  const StudyData& data) {
  return {.run = name,
          .checkpoint = run.opened.checkpoint.string(),
          .step = run.asked.step(),
          .model = run.asked.model().describe(),
          .data = data.facts.source,
          .part = data.part,
          .samples = std::ssize(data.indices)};
}

/// A run that is asked, and the study that grows of its answers.
class Asking {
 public:
  Asking(AskedRun& run, const run::CommandLine& line, const Request& request)
      : run_(run),
        request_(request),
        world_(run.session.mesh.control()),
        data_(open_study_data(run, line)),
        pass_(run.asked.model(),
              {run.session.mesh, run.settled.compute.device},
              request.run),
        study_{.facts = facts_of(run, request.run, data_),
               .threshold = request.pick.threshold,
               .per_expert = request.pick.per_expert,
               .seed = request.pick.seed,
               .material = expert_material(run.settled.options, data_)} {}

  ExpertStudy answer() {
    look();
    if (study_.text()) look_closer();
    if (request_.removal > 0) remove();
    if (study_.text()) ask_prompts();
    return std::move(study_);
  }

 private:
  /// All samples: examples, load, hierarchies, and the first traces.
  void look() {
    std::vector<std::uint64_t> traced = data_.indices;
    traced.resize(
        std::min(traced.size(), static_cast<std::size_t>(request_.shown)));
    ExamplePicker picker(pass_.gates(), request_.pick);
    ExpertLoad load(pass_.gates(), request_.pick.threshold);
    study::LevelPairs pairs(pass_.gates());
    Tracer tracer(pass_.gates(), traced);
    std::optional<study::DelphiExport> delphi;
    if (!request_.delphi.empty()) {
      delphi.emplace(request_.delphi,
                     study_.material,
                     pass_.gates(),
                     data_.indices);
    }
    pass_.run(*data_.samples, data_.batches, [&](const RoutedBatch& batch) {
      picker.add(batch);
      load.add(batch);
      pairs.add(batch);
      tracer.add(batch);
      if (delphi) delphi->add(batch);
    });
    const bool tells = pass_.tells();
    study_.examples = picker.finish(world_, tells);
    study_.loads = load.finish(world_, tells);
    study_.pairs = pairs.finish(world_, tells);
    study_.units =
        study::units_of(study_.loads, study_.material.images, study_.text());
    const auto traces = tracer.finish(world_, tells);
    for (std::size_t i = 0; i < traced.size(); ++i) {
      ShownSample shown{.title = fmt::format("sample {}", traced[i]),
                        .sample = traced[i],
                        .trace = traces[i]};
      if (study_.text())
        shown.tokens = study::tokens_of(*data_.samples, traced[i]);
      study_.shown.push_back(std::move(shown));
    }
    if (delphi) delphi->finish(world_, tells, study_.facts);
  }

  /// The texts around examples, and what experts write there.
  void look_closer() {
    study_.look = study_.material.tokenizer->name() == "bytes" ? kAroundBytes
                                                               : kAroundWords;
    study_.look.per_expert = request_.pick.per_expert;
    study_.look.inputs = true;
    model::Model& model = run_.asked.model();
    CloserLook closer(model, pass_.gates(), study_.examples, study_.look);
    const auto samples = closer.samples();
    pass_.run(*data_.samples,
              train::in_batches(samples, data_.per_batch),
              [&](const RoutedBatch& batch) { closer.add(batch); });
    study_.surroundings = closer.finish(world_, pass_.tells());
    const study::Unembedding unembedding =
        study::unembedding_of(run_.asked.registry());
    for (std::size_t g = 0; g < study_.loads.size(); ++g) {
      const study::Gate& gate = pass_.gates()[g];
      study_.promoted.push_back(
          study::promoted_tokens(*model.mixtures()[gate.mixture],
                                 gate.level,
                                 study_.examples[g],
                                 study_.surroundings[g],
                                 unembedding,
                                 study_.material.tokenizer->vocabulary(),
                                 kPromoted));
    }
  }

  void remove() {
    const auto samples =
        data::evaluation_samples(data_.samples->size(), request_.removal);
    const auto batches = train::in_batches(samples, data_.per_batch);
    study_.removal_samples = std::ssize(samples);
    for (std::size_t g = 0; g < pass_.gates().size(); ++g) {
      const auto scores = study::remove_each(run_.asked.model(),
                                             pass_,
                                             g,
                                             *data_.samples,
                                             batches,
                                             world_)
                              .scores;
      RemovalCost cost{.with_all = scores.score()};
      for (std::int64_t n = 0; n < scores.gate.experts; ++n) {
        cost.without.push_back(
            scores.score_without(static_cast<std::size_t>(n)));
      }
      study_.removal.push_back(std::move(cost));
    }
  }

  void ask_prompts() {
    if (request_.prompts.empty()) return;
    const auto& text =
        dynamic_cast<const model::LanguageModel&>(run_.asked.model());
    const study::Prompts prompts(request_.prompts,
                                 *study_.material.tokenizer,
                                 text.context());
    std::vector<std::uint64_t> all(prompts.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    Tracer tracer(pass_.gates(), all);
    pass_.run(prompts,
              train::in_batches(all, 1),
              [&](const RoutedBatch& batch) { tracer.add(batch); });
    const auto traces = tracer.finish(world_, pass_.tells());
    std::vector<ShownSample> shown;
    for (std::size_t i = 0; i < all.size(); ++i) {
      shown.push_back({.title = fmt::format("prompt {}", i + 1),
                       .tokens = prompts.tokens(i),
                       .trace = traces[i]});
    }
    study_.shown.insert(study_.shown.begin(), shown.begin(), shown.end());
  }

  AskedRun& run_;
  const Request& request_;
  dist::Communicator& world_;
  const StudyData data_;
  const RoutingPass pass_;
  ExpertStudy study_;
};

/// The load of a run that another is compared with.
struct OtherRun {
  RunFacts facts;
  std::vector<GateLoad> loads;
};

OtherRun ask_other(const Invocation& invocation,
                   run::CommandLine line,
                   const std::string& name,
                   double threshold) {
  line.own["run"] = name;
  line.own.erase("checkpoint");
  OtherRun other;
  ask_run(invocation, line, "mumoe study experts", true, [&](AskedRun& run) {
    const StudyData data = open_study_data(run, line);
    const RoutingPass pass(run.asked.model(),
                           {run.session.mesh, run.settled.compute.device},
                           name);
    ExpertLoad load(pass.gates(), threshold);
    pass.run(*data.samples, data.batches, [&](const auto& batch) {
      load.add(batch);
    });
    other = {facts_of(run, name, data),
             load.finish(run.session.mesh.control(), pass.tells())};
  });
  return other;
}

std::string table_of(const ExpertStudy& study, const Request& request) {
  FittedTable table(terminal_columns());
  table.fact("run",
             fmt::format("{}, step {}", study.facts.run, study.facts.step));
  table.fact("model", study.facts.model);
  table.fact("data",
             fmt::format("{}, {}, {} samples",
                         study.facts.data,
                         study.facts.part,
                         study.facts.samples));
  std::vector<FittedTable::Cells> rows;
  for (std::size_t g = 0; g < study.loads.size(); ++g) {
    const GateLoad& load = study.loads[g];
    const auto busiest = static_cast<std::size_t>(
        std::ranges::max_element(load.chosen) - load.chosen.begin());
    std::string worth;
    if (!study.removal.empty()) {
      const RemovalCost& cost = study.removal[g];
      worth =
          fmt::format("{:.4f}",
                      cost.with_all - *std::ranges::min_element(cost.without));
    }
    rows.push_back(
        {load.gate.name,
         study::name_of(study.units[g]),
         fmt::format("{}", load.gate.experts),
         fmt::format("{}", load.never_chosen()),
         fmt::format("{}", busiest),
         fmt::format("{:.2f} %",
                     100 * static_cast<double>(load.chosen[busiest]) /
                         static_cast<double>(load.tokens)),
         worth});
  }
  table.rows({"gate",
              "of a",
              "experts",
              "unchosen",
              "busiest",
              "chosen by",
              "dearest"},
             rows);
  std::string text =
      table.text() +
      fmt::format(
          "\n\nunchosen: no coefficient of at least {}; busiest: the "
          "expert most often chosen so, and by\nhow many; dearest: "
          "what the removal of one expert costs at most\n",
          study.threshold);
  if (!request.out.empty()) {
    text +=
        fmt::format("page: {}\n", (request.out / study::kExpertPage).string());
  }
  return text;
}

}  // namespace

std::vector<run::OwnOption> study_experts_options() {
  auto options = study_data_options();
  const std::vector<run::OwnOption> own = {
      {"threshold", "X", "an expert is chosen from this coefficient on [0.5]"},
      {"per-expert",
       "K",
       "tokens shown of an expert: the K with the largest coefficients, and K "
       "drawn among those that chose it [8]",
       "top k examples"},
      {"seed", "N", "of that draw [1]"},
      {"removal",
       "N",
       "also what the removal of each expert costs, on N samples: a pass of "
       "these for each that is used [0]"},
      {"prompt",
       "TEXT",
       "a text whose tokens are shown with the experts that worked there; "
       "several: one after the other",
       "input text",
       /*repeats=*/true},
      {"shown", "N", "so many of the samples are shown like that [4]"},
      {"other", "FOLDER", "a run to compare with", "compare against"},
      {"json",
       "FILE",
       "where to write the result, - for stdout, without the table",
       "output out_json"},
      {"out", "FOLDER", "where to write the page, experts.html", "html page"},
      {"delphi",
       "FOLDER",
       "where to write the coefficients of all tokens in the form that Delphi "
       "reads",
       "activations cache"}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

ExitCode study_experts(const Invocation& invocation,
                       const run::CommandLine& line) {
  const Request request = read_request(line);
  const std::string other = line.text("other", "");
  OtherRun compared;
  if (!other.empty()) {
    compared = ask_other(invocation, line, other, request.pick.threshold);
  }
  return ask_run(invocation,
                 line,
                 "mumoe study experts",
                 true,
                 [&](AskedRun& run) {
                   ExpertStudy study = Asking(run, line, request).answer();
                   if (!other.empty()) {
                     study.other = compared.facts;
                     study.other_loads = compared.loads;
                   }
                   if (run.session.mesh.control().rank() != 0) return;
                   if (!request.out.empty())
                     study::write_expert_page(request.out, study);
                   show_facts(
                       request.json,
                       [&] { return table_of(study, request); },
                       [&] { return study::expert_json(study); });
                 });
}

}  // namespace mumoe::launch
