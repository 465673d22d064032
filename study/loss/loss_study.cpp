#include "study/loss/loss_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/families.h"
#include "study/loss/budget_steps.h"
#include "study/scale/json_place.h"
#include "study/scale/study_layout.h"
#include "study/scale/study_settings.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

// Of budgets and seeds, and of a step: a budget rounded up is a number still.
constexpr std::int64_t kMost = 1'000'000'000'000'000'000;
constexpr std::int64_t kMostInStep = 1'000'000'000'000;
constexpr std::int64_t kLongestWarmup = 2000;
constexpr std::array kKeys = {"name",
                              "config",
                              "settings",
                              "models",
                              "layout",
                              "budgets",
                              "seeds",
                              "decay",
                              "minutes",
                              "branch",
                              "draws",
                              "draw_seed"};
/// Those that a scaling study has none of.
constexpr std::array kOnlyHere = {"budgets",
                                  "seeds",
                                  "decay",
                                  "branch",
                                  "layout"};
/// What a study decides itself, for every run of it.
constexpr std::array kOwn = {"parallel.dp",
                             "parallel.tp",
                             "schedule.kind",
                             "schedule.steps",
                             "schedule.decay",
                             "train.steps",
                             "train.epochs",
                             "train.seed",
                             "train.out",
                             "train.resume",
                             "train.branch",
                             "train.max_minutes",
                             "train.eval_every",
                             "checkpoint.last",
                             "log.trace"};

/// What a step of such a run learns from; its model is not yet counted.
LossModel step_of(const run::Options& options) {
  const auto learns = model::family(options.family).learns_from;
  const bool tokens = learns == model::LearnsFrom::tokens;
  const std::int64_t batch = options.trainer.batch;
  const std::int64_t each = tokens ? options.model.context : 1;
  require(batch > 0 && each > 0 && batch <= kMostInStep / each,
          "train.batch = {}, model.context = {}: expected a step of 1 to {} {}",
          batch,
          each,
          kMostInStep,
          tokens ? "tokens" : "images");
  return {.form = {},
          .target = tokens ? "token" : "image",
          .step_targets = batch * each};
}

/// A list of whole numbers.
std::vector<std::int64_t> counts_of(const JsonPlace& place,
                                    std::int64_t least) {
  place.require_that(place.value.is_array() && !place.value.empty(),
                     "a list of at least one whole number");
  std::vector<std::int64_t> counts;
  for (std::size_t i = 0; i < place.value.size(); ++i) {
    counts.push_back(place.at(i).count(least, kMost));
  }
  return counts;
}

/// The study in the making.
class LossReader {
 public:
  LossReader(LossStudy& study, const CheckCell& check)
      : study_(study), check_(check) {}

  void read(const JsonPlace& root) {
    require_known(root, kKeys, "a loss study");
    read_head(root);
    read_budgets(root);
    if (root.has("seeds")) read_seeds(root.at("seeds"));
    if (root.has("settings")) {
      settings_ = settings_of(root.at("settings"), kOwn);
    }
    if (root.has("layout")) read_layout(root.at("layout"));
    models_ = models_of(root, settings_, kOwn);
    for (const auto& [name, settings] : models_) prepare(name, settings);
    for (const std::int64_t seed : study_.seeds) {
      for (const auto& [name, unused] : models_) add(name, seed);
    }
  }

 private:
  void read_head(const JsonPlace& root) {
    ScaleStudy& common = study_.common;
    common.name =
        root.has("name") ? root.at("name").word() : common.file.stem().string();
    if (root.has("config")) {
      common.config = std::filesystem::absolute(root.at("config").word());
    }
    common.minutes = minutes_of(root, common.minutes);
    if (root.has("branch")) {
      const JsonPlace place = root.at("branch");
      place.require_that(place.value.is_boolean(), "true or false");
      study_.branched = place.value.get<bool>();
    }
    if (root.has("draws")) {
      study_.draws.draws =
          static_cast<int>(root.at("draws").count(1, 1'000'000));
    }
    if (root.has("draw_seed")) {
      study_.draws.seed =
          static_cast<std::uint64_t>(root.at("draw_seed").count(0, kMost));
    }
    if (!root.has("decay")) return;
    const JsonPlace place = root.at("decay");
    study_.decay = place.value.is_number() ? place.value.get<double>() : 0;
    place.require_that(study_.decay > 0 && study_.decay < 1,
                       "a share of the steps between 0 and 1");
  }

  void read_budgets(const JsonPlace& root) {
    require(root.has("budgets"),
            "{}budgets: is missing: expected a list of tokens to train on, "
            "ascending",
            root.where);
    const JsonPlace place = root.at("budgets");
    study_.budgets = counts_of(place, 1);
    for (std::size_t i = 1; i < study_.budgets.size(); ++i) {
      place.at(i).require_that(study_.budgets[i - 1] < study_.budgets[i],
                               "more than the one before it");
    }
  }

  void read_seeds(const JsonPlace& place) {
    study_.seeds = counts_of(place, 0);
    for (std::size_t i = 1; i < study_.seeds.size(); ++i) {
      const auto before = study_.seeds.begin() + static_cast<std::ptrdiff_t>(i);
      place.at(i).require_that(
          std::find(study_.seeds.begin(), before, *before) == before,
          "a seed that does not stand there before");
    }
  }

  void read_layout(const JsonPlace& place) {
    place.require_that(place.value.is_object() && !place.has("models"),
                       "one layout of all models, such as {\"dp\": 2}");
    const auto layouts = study_layouts(place, {});
    place.require_that(layouts.size() == 1,
                       "one layout: a value, not a list of them");
    layout_ = layouts.front();
  }

  /// `what` is said of a model of the study.
  template <class What>
  void of_model(const std::string& name, const What& what) {
    try {
      what();
    } catch (const InputError& error) {
      fail<InputError>("{}: model {}: {}",
                       study_.common.file.string(),
                       name,
                       error.what());
    }
  }

  /// What is the same of all runs of a model.
  void prepare(const std::string& name, const Settings& own) {
    of_model(name, [&] {
      Settings settings = settings_;
      replace(settings, own);
      replace(settings, layout_.settings);
      run::Draft draft = draft_of(study_.common.config);
      apply(draft, settings, "the study");
      const run::Options& options = draft.unresolved();
      if (options.epochs != 0) replace(settings, {{"train.epochs", "0"}});
      if (!options.trainer.checkpoint_last) {
        replace(settings, {{"checkpoint.last", "yes"}});
      }
      LossModel& model = study_.models[name] = step_of(options);
      steps_[name] = budget_steps(study_.budgets,
                                  study_.decay,
                                  model.step_targets,
                                  model.target);
      std::int64_t warmup = options.schedule.warmup;
      if (warmup == run::kOpenSteps) {
        warmup = std::min(steps_[name].front().all / 10, kLongestWarmup);
        replace(settings, {{"schedule.warmup", std::to_string(warmup)}});
      }
      require_stable(name, warmup);
      settings_of_[name] = settings;
      const auto any = run_of(name, study_.seeds.front(), 0, std::nullopt);
      model.form = run::to_map(any.cell.options).at("model.mlp");
      model.counts = count_model(any.cell.options);
      if (check_) check_(any.cell);
    });
  }

  /// What is warmed up when the first budget leaves the stable run.
  void require_stable(const std::string& name, std::int64_t warmup) const {
    const BudgetSteps& first = steps_.at(name).front();
    require(!study_.branched || (first.stable >= warmup && first.stable > 0),
            "budgets[0] = {}: its rate comes down after step {} of {}, the "
            "warm-up has {}; expected a longer budget, or less "
            "schedule.warmup",
            study_.budgets[0],
            first.stable,
            first.all,
            warmup);
  }

  /// The run of budget `b`, or the part of the stable run up to where it leaves
  /// it.
  LossRun run_of(const std::string& name,
                 std::int64_t seed,
                 std::size_t b,
                 std::optional<std::size_t> from,
                 bool stable = false) const {
    const BudgetSteps& steps = steps_.at(name).at(b);
    LossRun run;
    run.seed = seed;
    run.budget = stable ? 0 : study_.budgets[b];
    run.from = from;
    if (from) run.first_step = study_.runs[*from].last_step;
    run.last_step = stable ? steps.stable : steps.all;
    run.cell.name = fmt::format("{}/seed-{}/{}-{}",
                                name,
                                seed,
                                stable ? "stable" : "budget",
                                run.last_step);
    run.cell.model = name;
    run.cell.scaling = "loss";
    run.cell.dp = layout_.dp;
    run.cell.tp = layout_.tp;
    run.cell.settings = settings_of_.at(name);
    // The stable run is that of the longest budget.
    const BudgetSteps& schedule = stable ? steps_.at(name).back() : steps;
    settle(run, schedule);
    return run;
  }

  /// Adds what is the run's own to its settings, and resolves them.
  void settle(LossRun& run, const BudgetSteps& schedule) const {
    Settings& settings = run.cell.settings;
    replace(settings,
            {{"schedule.kind", study_.branched ? "wsd" : "cosine"},
             {"schedule.steps", std::to_string(schedule.all)},
             {"train.steps", std::to_string(run.last_step)},
             {"train.seed", std::to_string(run.seed)},
             {"train.eval_every", "0"},
             {"train.resume", "auto"}});
    if (study_.branched) {
      const std::int64_t decay = schedule.all - schedule.stable;
      replace(settings, {{"schedule.decay", std::to_string(decay)}});
    }
    // Nobody asks how good the stable run is.
    if (run.budget == 0) replace(settings, {{"train.eval_windows", "1"}});
    run::Draft draft = draft_of(study_.common.config);
    apply(draft, settings, "the study");
    run.cell.options = draft.resolved();
  }

  /// All runs of a model and seed.
  void add(const std::string& name, std::int64_t seed) {
    of_model(name, [&] {
      std::optional<std::size_t> from;
      std::int64_t reached = 0;
      const auto& steps = steps_.at(name);
      for (std::size_t b = 0; b < steps.size(); ++b) {
        // Rounded, two budgets may leave at the same step.
        const bool leaves = study_.branched && b + 1 < steps.size();
        if (leaves && steps[b].stable > reached) {
          study_.runs.push_back(run_of(name, seed, b, from, /*stable=*/true));
          from = study_.runs.size() - 1;
          reached = steps[b].stable;
        }
        study_.runs.push_back(run_of(name, seed, b, from));
      }
    });
  }

  LossStudy& study_;
  const CheckCell& check_;
  Settings settings_;
  StudyLayout layout_{.settings = {{"parallel.dp", "1"}, {"parallel.tp", "1"}}};
  std::vector<std::pair<std::string, Settings>> models_;
  std::map<std::string, Settings> settings_of_;
  std::map<std::string, std::vector<BudgetSteps>> steps_;
};

}  // namespace

double LossStudy::cost_ratio(const std::string& model) const {
  std::int64_t all = 0, longest = 0;
  for (const LossRun& run : runs) {
    if (run.cell.model != model || run.seed != seeds.front()) continue;
    all += run.steps();
    longest = std::max(longest, run.last_step);
  }
  return longest == 0 ? 0
                      : static_cast<double>(all) / static_cast<double>(longest);
}

bool is_loss_study(const std::filesystem::path& file) {
  try {
    const json object = parse_json(read_file(file), file.string());
    return object.is_object() &&
           std::ranges::any_of(kOnlyHere, [&](const char* key) {
             return object.contains(key);
           });
  } catch (const InputError&) {
    return false;  // whoever reads it says why
  }
}

LossStudy read_loss_study(const std::filesystem::path& file,
                          const CheckCell& check) {
  LossStudy study;
  study.seeds = {1};
  study.common.file = file;
  study.common.text = read_file(file);
  const json object = parse_json(study.common.text, file.string());
  require(object.is_object(), "{}: expected an object, a study", file.string());
  LossReader(study, check).read({object, file.string() + ": "});
  study.common.config_hash = config_hash(study.common.config);
  return study;
}

}  // namespace mumoe::study
