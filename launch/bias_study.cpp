#include "launch/bias_study.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "launch/decisions.h"
#include "launch/study_data.h"
#include "model/classifier.h"
#include "model/families.h"
#include "study/experts/exact_sums.h"
#include "study/experts/retrained_head.h"
#include "study/experts/routing.h"
#include "study/experts/thresholding.h"

namespace mumoe::launch {
namespace {

using study::Shift;
using study::Subgroup;

constexpr const char* kCommand = "mumoe study bias";
constexpr std::uint64_t kRandomDraws = 10;
constexpr Subgroup kSubgroups[] = {{false, false},
                                   {false, true},
                                   {true, false},
                                   {true, true}};

/// The study in the making. Collective.
class BiasStudy {
 public:
  BiasStudy(AskedRun& run,
            const run::CommandLine& line,
            const BiasQuestion& asked)
      : run_(run),
        line_(line),
        asked_(asked),
        model_(classifier_of(run)),
        pass_(run.asked.model(),
              {run.session.mesh, run.settled.compute.device},
              line.text("run", "")),
        train_(open_study_data(run, line, "train")),
        val_(open_study_data(run, line, "val")),
        target_(target_class(asked.target, val_.facts.class_names)),
        train_groups_(groups_of(train_, asked.group)),
        val_groups_(groups_of(val_, asked.group)) {
    const std::string name = line.text("gate", pass_.gates().back().name);
    const auto gates = pass_.gates();
    const auto found = std::ranges::find(gates, name, &study::Gate::name);
    require(found != gates.end(),
            "--gate {}: expected a gate as mumoe study load names them, such "
            "as {}",
            name,
            gates.back().name);
    gate_ = static_cast<std::size_t>(found - gates.begin());
  }

  BiasReport report() {
    learn();
    judge();
    require_subgroups();
    report_.run = line_.text("run", "");
    report_.checkpoint = run_.opened.checkpoint.string();
    report_.step = run_.asked.step();
    report_.model = run_.asked.model().describe();
    report_.data = val_.facts.source;
    report_.target = val_.facts.class_names[static_cast<std::size_t>(target_)];
    report_.group = asked_.group;
    report_.subpopulation = subgroup_text(asked_.subpopulation);
    report_.gate = pass_.gates()[gate_].name;
    report_.chosen_by = asked_.choice.by.name;
    report_.cost = asked_.choice.cost;
    correct();
    return report_;
  }

 private:
  static const model::Classifier& classifier_of(AskedRun& run) {
    const auto* found =
        dynamic_cast<const model::Classifier*>(&run.asked.model());
    require(found != nullptr,
            "{}: a language model has no classes; expected a classifier",
            kCommand);
    return *found;
  }

  std::string subgroup_text(Subgroup subgroup) const {
    return fmt::format(
        "{}{}, {}{}",
        subgroup.target ? "" : "not ",
        val_.facts.class_names[static_cast<std::size_t>(target_)],
        subgroup.group ? "" : "not ",
        asked_.group);
  }

  /// The coefficients of each sample, the mean of its tokens: fp64 [B, N].
  at::Tensor coefficients_of(const study::RoutedBatch& batch) const {
    const at::Tensor& a = batch.coefficients[gate_];
    const auto samples = static_cast<std::int64_t>(batch.samples.size());
    return a.view({samples, -1, a.size(1)})
        .to(at::kDouble)
        .mean(1)
        .contiguous();
  }

  /// Adds up coefficients, of the subpopulation and of all, and samples of each
  /// subgroup.
  void count(const study::RoutedBatch& batch,
             study::ExactSums& sums,
             std::vector<std::int64_t>& counts) const {
    const at::Tensor a = coefficients_of(batch);
    const auto classes =
        numbers_of(batch.batch.target.to(at::kCPU, at::kDouble).flatten());
    const auto n = static_cast<std::size_t>(a.size(1));
    for (std::size_t row = 0; row < batch.samples.size(); ++row) {
      const Subgroup subgroup{classes[row] == static_cast<double>(target_),
                              train_groups_[batch.samples[row]] != 0};
      counts[subgroup.place()] += 1;
      const double* of_row = a.const_data_ptr<double>() + row * n;
      for (std::size_t e = 0; e < n; ++e) {
        sums.add(n + e, of_row[e]);
        if (subgroup.place() == asked_.subpopulation.place()) {
          sums.add(e, of_row[e]);
        }
      }
    }
  }

  /// The mean coefficients of training, of the subpopulation and of all.
  void learn() {
    const auto n = static_cast<std::size_t>(pass_.gates()[gate_].experts);
    study::ExactSums sums(2 * n);
    std::vector<std::int64_t> counts(4);
    pass_.run(*train_.samples, train_.batches, [&](const auto& batch) {
      count(batch, sums, counts);
    });
    if (!pass_.tells()) {
      sums = study::ExactSums(2 * n);
      counts.assign(4, 0);
    }
    auto& world = run_.session.mesh.control();
    sums.merge(world);
    study::merge_counts(world, counts);
    report_.trained = counts;
    const auto of = static_cast<double>(counts[asked_.subpopulation.place()]);
    require(of > 0,
            "--subpopulation: no training sample is of {}; expected some",
            subgroup_text(asked_.subpopulation));
    const auto all = static_cast<double>(train_.indices.size());
    coefficients_.experts = static_cast<std::int64_t>(n);
    for (std::size_t e = 0; e < n; ++e) {
      coefficients_.subpopulation.push_back(sums.of(e) / of);
      coefficients_.everyone.push_back(sums.of(n + e) / all);
    }
  }

  /// What the model says of validation, and by which experts.
  void judge() {
    const std::int64_t n = coefficients_.experts;
    const auto numbers = pass_.numbers(
        *val_.samples,
        val_.batches,
        n + 2,
        [&](const study::RoutedBatch& batch) {
          const at::Tensor rows = at::cat(
              {margins_of(batch.output, target_).unsqueeze(1),
               batch.batch.target.to(at::kCPU, at::kDouble).reshape({-1, 1}),
               coefficients_of(batch)},
              1);
          return numbers_of(rows);
        });
    const auto columns = static_cast<std::size_t>(n + 2);
    for (std::size_t i = 0; i < val_.indices.size(); ++i) {
      const double* row = numbers.data() + i * columns;
      judged_.margin.push_back(row[0]);
      judged_.target.push_back(row[1] == static_cast<double>(target_));
      judged_.group.push_back(val_groups_[val_.indices[i]]);
      coefficients_.of_samples.insert(coefficients_.of_samples.end(),
                                      row + 2,
                                      row + columns);
    }
    halves_ = study::halves_of(judged_.size());
  }

  void require_subgroups() {
    for (const auto* half : {&halves_.choosing, &halves_.telling}) {
      std::vector<std::int64_t> counts(4);
      for (const std::size_t i : *half) counts[judged_.subgroup(i)] += 1;
      for (const Subgroup one : kSubgroups) {
        require(counts[one.place()] > 0,
                "{}: none of {} validation samples (a half) is of {}; expected "
                "some of each subgroup",
                kCommand,
                half->size(),
                subgroup_text(one));
      }
      report_.tested = counts;
    }
  }

  /// Of decisions by other logits, as of this model.
  study::JudgedSamples judged_by(const model::Classifier& model) const {
    study::JudgedSamples judged = judged_;
    const train::Scorer scorer{run_.session.mesh, run_.settled.compute.device};
    const auto margins = [&](const model::Batch& batch, auto) {
      return numbers_of(margins_of(model.logits(batch.input), target_));
    };
    judged.margin = scorer.score(*val_.samples, val_.batches, 1, margins);
    return judged;
  }

  void add(const std::string& name,
           const study::JudgedSamples& judged,
           std::span<const Shift> shifts,
           std::optional<double> lambda = {}) {
    report_.techniques.push_back({name,
                                  lambda,
                                  study::fairness_found(judged,
                                                        halves_.telling,
                                                        asked_.subpopulation,
                                                        shifts)});
  }

  std::vector<double> lambdas() const {
    return asked_.lambdas.empty() ? study::usual_lambdas(coefficients_.experts)
                                  : asked_.lambdas;
  }

  double choose(const std::function<Shift(double)>& shifts) const {
    return study::best_lambda(judged_,
                              halves_.choosing,
                              asked_.subpopulation,
                              asked_.choice,
                              lambdas(),
                              shifts);
  }

  /// Of the chosen lambda, and what every other one would have done.
  void add_chosen(const char* name,
                  const std::function<Shift(double)>& shifts) {
    const double lambda = choose(shifts);
    const Shift shift = shifts(lambda);
    add(name, judged_, {&shift, 1}, lambda);
    for (const double other : lambdas()) {
      report_.techniques.back().curve.emplace_back(
          other,
          study::fairness(judged_,
                          halves_.telling,
                          asked_.subpopulation,
                          shifts(other)));
    }
  }

  void retrain(const char* name, const study::Retraining& how) {
    const study::RetrainedHead head(run_.opened.options,
                                    run_.asked.step(),
                                    *train_.samples,
                                    train_groups_,
                                    how,
                                    run_.session.mesh,
                                    run_.settled.compute.dtype,
                                    run_.settled.compute.device);
    const Shift none = [](std::size_t) { return 0.0; };
    add(name, judged_by(head.model()), {&none, 1});
  }

  void correct() {
    const Shift none = [](std::size_t) { return 0.0; };
    add("none", judged_, {&none, 1});
    const bool retrains =
        asked_.retrain &&
        model::family(run_.settled.options.family).learns_from ==
            model::LearnsFrom::features;
    if (retrains)
      retrain("oversampling", {.oversample = true, .target = target_});
    add_chosen("blind", [&](double lambda) {
      return study::blind_shift(coefficients_, lambda);
    });
    if (retrains) {
      retrain("adversarial",
              {.adversary = asked_.adversary, .target = target_});
    }
    const auto by_mean = [&](const std::vector<double>& mean) {
      return [this, mean](double lambda) {
        return study::expert_shift(coefficients_, mean, lambda);
      };
    };
    add_chosen("expert", by_mean(coefficients_.subpopulation));
    std::vector<Shift> random;
    double sizes = 0;
    for (std::uint64_t draw = 0; draw < kRandomDraws; ++draw) {
      const auto control =
          by_mean(study::permuted(coefficients_.subpopulation, draw));
      const double lambda = choose(control);
      sizes += std::abs(lambda) / kRandomDraws;
      random.push_back(control(lambda));
    }
    add("random experts", judged_, random, sizes);
  }

  AskedRun& run_;
  const run::CommandLine& line_;
  const BiasQuestion& asked_;
  const model::Classifier& model_;
  study::RoutingPass pass_;
  StudyData train_, val_;
  std::int64_t target_;
  std::vector<std::uint8_t> train_groups_, val_groups_;
  std::size_t gate_ = 0;
  study::Coefficients coefficients_;
  study::JudgedSamples judged_;
  study::Halves halves_;
  BiasReport report_;
};

}  // namespace

BiasReport study_of_bias(AskedRun& run,
                         const run::CommandLine& line,
                         const BiasQuestion& asked) {
  return BiasStudy(run, line, asked).report();
}

}  // namespace mumoe::launch
