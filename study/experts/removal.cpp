#include "study/experts/removal.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "model/classifier.h"
#include "model/language_model.h"
#include "study/experts/exact_sums.h"
#include "study/experts/expert_parts.h"

namespace mumoe::study {
namespace {

using at::Tensor;

/// Scores are added up in multiples of this (`ExactSums`).
constexpr double kUnits = 1LL << 34;

Tensor units_of(const Tensor& scores) {
  return scores.to(at::kDouble).mul(kUnits).round().to(at::kLong);
}

/// Keeps the edits of a block as they were.
class EditsKept {
 public:
  explicit EditsKept(MuMoEBlock& block)
      : block_(block), edits_(block.edits()) {}
  ~EditsKept() { block_.set_edits(edits_); }
  EditsKept(const EditsKept&) = delete;
  EditsKept& operator=(const EditsKept&) = delete;

 private:
  MuMoEBlock& block_;
  std::vector<Tensor> edits_;
};

/// Adds up the scores of one gate's removals, batch by batch.
class Removals {
 public:
  /// Of gate `place` of all `gates` of the model.
  Removals(model::Model& model,
           std::span<const Gate> gates,
           std::size_t place,
           const RemovalOptions& options)
      : place_(place),
        gate_(gates[place]),
        options_(options),
        block_(*model.blocks()[gate_.mixture]),
        text_(dynamic_cast<const model::LanguageModel*>(&model)),
        images_(dynamic_cast<const model::Classifier*>(&model)),
        logits_(logit_mixture(model)) {
    if (logits_ && logits_->block != &block_) logits_.reset();
    MUMOE_CHECK(text_ != nullptr || images_ != nullptr,
                "a model of neither text nor classes");
  }

  bool one_pass() const { return logits_.has_value(); }

  void add(const RoutedBatch& batch) {
    const Tensor classes = classes_of(batch.batch.target);
    begin(batch, classes);
    const Tensor used = used_experts(batch, classes.size(0));
    active_.add_(used.sum(0));
    const Tensor some = used.any(0);
    const auto* any = some.const_data_ptr<bool>();
    std::optional<ExpertParts> parts;
    if (one_pass()) parts.emplace(parts_of(batch));
    for (std::int64_t n = 0; n < gate_.experts; ++n) {
      if (!any[n]) {
        if (one_pass() && options_.check) compare(batch, n, batch.output);
      } else if (one_pass()) {
        remove_in_one_pass(batch, classes, *parts, n);
      } else {
        remove_in_a_pass(batch, classes, n);
      }
    }
  }

  Removal finish(dist::Communicator& world, bool tells) {
    // Ranks without a batch know no number of classes.
    std::vector<std::int64_t> counts = {classes_};
    const Tensor widest = at::from_blob(counts.data(), {1}, at::kLong);
    world.all_reduce(widest, dist::ReduceOp::max);
    make_room(counts[0]);
    std::vector<Tensor> all = {targets_, units_, active_};
    for (Tensor& each : all) {
      each = each.cpu().contiguous();
      if (!tells) each.zero_();
      world.all_reduce(each);
    }
    Removal removal{.scores = scores_of(all[0], all[1], all[2]),
                    .one_pass = one_pass(),
                    .check = check_};
    merge(world, tells, removal.check);
    return removal;
  }

 private:
  Tensor classes_of(const Tensor& target) const {
    require(!at::isFloatingType(target.scalar_type()),
            "samples whose targets are shares of classes; expected a class of "
            "each");
    return target.reshape({-1});
  }

  /// For so many classes, of which those that were seen are the first.
  void make_room(std::int64_t classes) {
    if (units_.defined() && classes <= classes_) return;
    const auto longs = at::TensorOptions(at::kLong).device(device());
    const Tensor targets = at::zeros({classes}, longs);
    const Tensor units = at::zeros({gate_.experts + 1, classes}, longs);
    if (units_.defined()) {
      targets.narrow(0, 0, classes_).copy_(targets_);
      units.narrow(1, 0, classes_).copy_(units_);
    } else {
      active_ = at::zeros({gate_.experts}, at::kLong);
    }
    targets_ = targets;
    units_ = units;
    classes_ = classes;
  }

  at::Device device() const {
    return text_ != nullptr ? text_->device() : images_->device();
  }

  /// Scores [targets] of what a pass gave.
  Tensor scored(const Tensor& output, const Tensor& classes) const {
    if (text_ != nullptr) return output.reshape({-1}).neg();
    return predicted_classes(output).eq(classes).to(at::kDouble);
  }

  void begin(const RoutedBatch& batch, const Tensor& classes) {
    make_room(text_ != nullptr ? classes.max().item<std::int64_t>() + 1
                               : images_->classes());
    targets_.index_add_(0, classes, at::ones_like(classes));
    old_ = units_of(scored(batch.output, classes));
    units_[0].index_add_(0, classes, old_);
  }

  /// Of each target, whether a token of it has a coefficient of each expert.
  Tensor used_experts(const RoutedBatch& batch, std::int64_t targets) const {
    const Tensor& a = batch.coefficients[place_];
    const Tensor used = a.ne(0);
    if (used.size(0) == targets) return used;
    return used.view({targets, -1, gate_.experts}).any(1);
  }

  ExpertParts parts_of(const RoutedBatch& batch) const {
    const Tensor x = logits_->seen(batch.batch.input);
    const auto dtype = block_.layers()[0].input.scalar_type();
    std::vector<Tensor> levels;
    const std::size_t count = block_.config().experts.size();
    for (std::size_t e = 0; e < count; ++e) {
      levels.push_back(
          batch.coefficients[place_ - gate_.level + e].to(device(), dtype));
    }
    return {block_, std::move(levels), x.to(dtype)};
  }

  void remove_in_one_pass(const RoutedBatch& batch,
                          const Tensor& classes,
                          const ExpertParts& parts,
                          std::int64_t n) {
    const Tensor& a = batch.coefficients[place_];
    const Tensor rows_host = a.select(1, n).nonzero().view({-1});
    const Tensor rows = rows_host.to(device());
    Tensor logits = batch.output.index_select(0, rows) -
                    parts.part(gate_.level, n, rows).to(batch.output.dtype());
    // Nothing is mixed where it was the only one: no rounding is left.
    const Tensor lone =
        a.index_select(0, rows_host).ne(0).sum(1).eq(1).to(device());
    logits = logits.masked_fill(lone.unsqueeze(1), 0);
    const Tensor of_rows = classes.index_select(0, rows);
    units_[n + 1].index_add_(
        0,
        of_rows,
        units_of(scored(logits, of_rows)) - old_.index_select(0, rows));
    if (!options_.check) return;
    compare(batch, n, batch.output.index_copy(0, rows, logits));
  }

  /// What the model says of a batch without an expert.
  Tensor output_without(const RoutedBatch& batch, std::int64_t n) {
    const EditsKept kept(block_);
    block_.remove_expert(gate_.level, n);
    return text_ != nullptr ? text_->token_losses(batch.batch)
                            : images_->logits(batch.batch.input);
  }

  void remove_in_a_pass(const RoutedBatch& batch,
                        const Tensor& classes,
                        std::int64_t n) {
    const Tensor output = output_without(batch, n);
    units_[n + 1].index_add_(0,
                             classes,
                             units_of(scored(output, classes)) - old_);
  }

  void compare(const RoutedBatch& batch,
               std::int64_t n,
               const Tensor& in_one_pass) {
    const Tensor removed = output_without(batch, n);
    const Tensor differs =
        predicted_classes(removed).ne(predicted_classes(in_one_pass));
    check_.predictions += differs.numel();
    check_.differing += differs.sum().item<std::int64_t>();
    check_.largest =
        std::max(check_.largest,
                 (removed - in_one_pass).abs().max().item<double>());
  }

  ClassScores scores_of(const Tensor& targets,
                        const Tensor& units,
                        const Tensor& active) const {
    const auto longs = [](const Tensor& t) {
      const auto* first = t.const_data_ptr<std::int64_t>();
      return std::vector<std::int64_t>(first, first + t.numel());
    };
    ClassScores scores{.gate = gate_,
                       .classes = classes_,
                       .targets = longs(targets),
                       .with_all = {},
                       .without = {},
                       .active = longs(active)};
    const Tensor without = units.narrow(0, 1, gate_.experts) + units[0];
    for (const std::int64_t sum : longs(units[0])) {
      scores.with_all.push_back(static_cast<double>(sum) / kUnits);
    }
    for (const std::int64_t sum : longs(without)) {
      scores.without.push_back(static_cast<double>(sum) / kUnits);
    }
    return scores;
  }

  static void merge(dist::Communicator& world,
                    bool tells,
                    RemovalCheck& check) {
    std::vector<std::int64_t> counts = {check.predictions, check.differing};
    if (!tells) counts = {0, 0};
    merge_counts(world, counts);
    check.predictions = counts[0];
    check.differing = counts[1];
    world.all_reduce(at::from_blob(&check.largest, {1}, at::kDouble),
                     dist::ReduceOp::max);
  }

  std::size_t place_;
  const Gate& gate_;
  RemovalOptions options_;
  MuMoEBlock& block_;
  const model::LanguageModel* text_;
  const model::Classifier* images_;
  std::optional<LogitMixture> logits_;
  std::int64_t classes_ = 0;
  Tensor targets_;  ///< [classes]
  /// Of scores with all experts, and by how much they change without each.
  Tensor units_;
  Tensor active_;
  Tensor old_;  ///< Of the batch, with all experts.
  RemovalCheck check_;
};

}  // namespace

Removal remove_each(model::Model& model,
                    const RoutingPass& pass,
                    std::size_t gate,
                    const data::Samples& samples,
                    const train::BatchList& batches,
                    dist::Communicator& world,
                    const RemovalOptions& options) {
  Removals removals(model, pass.gates(), gate, options);
  pass.run(samples, batches, [&](const RoutedBatch& batch) {
    removals.add(batch);
  });
  return removals.finish(world, pass.tells());
}

Tensor predicted_classes(const Tensor& logits) {
  const auto [least, unused] = logits.min(1);
  const auto [most, first] = logits.max(1);
  return first.masked_fill(least.eq(most), -1);
}

}  // namespace mumoe::study
