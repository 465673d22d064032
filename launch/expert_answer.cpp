#include "launch/expert_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/order.h"
#include "launch/expert_material.h"
#include "model/language_model.h"
#include "study/experts/delphi.h"
#include "study/experts/prompts.h"
#include "study/experts/removal.h"

namespace mumoe::launch {
namespace {

using study::CloserLook;
using study::ExamplePicker;
using study::ExpertLoad;
using study::ExpertStudy;
using study::RemovalCost;
using study::RoutedBatch;
using study::RoutingPass;
using study::ShownSample;
using study::Tracer;

// About a line of text around an example.
constexpr CloserLook::Options kAroundWords{.before = 12, .after = 8};
constexpr CloserLook::Options kAroundBytes{.before = 48, .after = 24};
constexpr std::int64_t kPromoted = 10;

/// A run that is asked, and the study that grows of its answers.
class Asking {
 public:
  Asking(AskedRun& run,
         const run::CommandLine& line,
         const ExpertRequest& request)
      : run_(run),
        request_(request),
        world_(run.session.mesh.control()),
        data_(open_study_data(run, line)),
        pass_(run.asked.model(),
              {run.session.mesh, run.settled.compute.device},
              request.run),
        study_{.facts = expert_facts(run, request.run, data_),
               .threshold = request.pick.threshold,
               .per_expert = request.pick.per_expert,
               .seed = request.pick.seed,
               .material = expert_material(run.settled.options, data_)} {}

  ExpertStudy answer() {
    require(request_.prompts.empty() || study_.text(),
            "--prompt: the model of {} reads no text",
            request_.run);
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
    require_chosen();
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

  void require_chosen() const {
    double largest = 0;
    for (std::size_t g = 0; g < study_.loads.size(); ++g) {
      if (study_.loads[g].never_chosen() < study_.loads[g].gate.experts) return;
      for (const study::ExpertExamples& of : study_.examples[g]) {
        if (of.top.empty()) continue;
        largest = std::max(largest, of.top.front().coefficient);
      }
    }
    fail<InputError>(
        "--threshold {}: no expert has such a coefficient at any token; the "
        "largest is {:.4g}",
        study_.threshold,
        largest);
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
  const ExpertRequest& request_;
  dist::Communicator& world_;
  const StudyData data_;
  const RoutingPass pass_;
  ExpertStudy study_;
};

}  // namespace

ExpertRequest read_expert_request(const run::CommandLine& line) {
  ExpertRequest request;
  request.run = line.text("run", "");
  request.pick = {.per_expert = line.number("per-expert",
                                            std::int64_t{8},
                                            std::int64_t{1},
                                            std::int64_t{1000}),
                  .threshold = line.number("threshold", 0.5),
                  .seed = line.number("seed", std::uint64_t{1})};
  request.removal = line.number("removal", std::int64_t{0}, std::int64_t{0});
  request.shown =
      line.number("shown", std::int64_t{4}, std::int64_t{0}, std::int64_t{100});
  request.prompts = line.texts("prompt");
  request.out = line.text("out", "");
  request.delphi = line.text("delphi", "");
  for (const auto& [option, folder] :
       {std::pair("out", request.out), std::pair("delphi", request.delphi)}) {
    std::error_code error;
    require(!std::filesystem::exists(folder, error) ||
                std::filesystem::is_directory(folder, error),
            "--{} {}: is no folder",
            option,
            folder.string());
  }
  return request;
}

study::RunFacts expert_facts(const AskedRun& run,
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

ExpertStudy answer_experts(AskedRun& run,
                           const run::CommandLine& line,
                           const ExpertRequest& request) {
  return Asking(run, line, request).answer();
}

}  // namespace mumoe::launch
