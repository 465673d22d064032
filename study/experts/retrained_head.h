#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "data/samples.h"
#include "dist/params/flat_buckets.h"
#include "dist/params/parameter_registry.h"
#include "dist/process_mesh.h"
#include "model/classifier.h"
#include "run/options.h"

namespace mumoe::study {

/// Samples with two targets each, the class and a group (0 or 1); as they are,
/// or evenly of each pair of both: those of a rare one come more often, so that
/// one pass has as many of each as there are of the most frequent.
class GroupedSamples final : public data::Samples {
 public:
  /// `target`: the class that a pair tells from the others; `groups`: of each
  /// item of `samples`, which must outlive this.
  GroupedSamples(const data::Samples& samples,
                 std::vector<std::uint8_t> groups,
                 std::int64_t target,
                 bool even);

  std::uint64_t size() const override { return items_.size(); }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override;

 private:
  const data::Samples& samples_;
  std::vector<std::uint8_t> groups_;
  std::vector<std::uint64_t> items_;  ///< Of `samples_`.
};

/// How a head is trained to be fair.
struct Retraining {
  /// Samples evenly of each pair of target and group (oversampling).
  bool oversample = false;
  /// Weight of an adversary that tells the group from logits and class, against
  /// whose success the head is trained (Zhang, Lemoine and Mitchell, 2018); 0:
  /// none.
  double adversary = 0;
  std::int64_t target = 0;  ///< As of `GroupedSamples`.
};

/// A head trained from the start by the recipe of a run of family head: its
/// batch, steps, schedule and optimizer, from another start.
class RetrainedHead {
 public:
  /// `steps`: that it is trained for. In the precision `dtype` on `device`.
  /// Collective over `mesh`, which must outlive this. Throws `NonFiniteError`.
  RetrainedHead(const run::Options& recipe,
                std::int64_t steps,
                const data::Samples& train,
                const std::vector<std::uint8_t>& groups,
                const Retraining& how,
                dist::ProcessMesh& mesh,
                at::ScalarType dtype,
                at::Device device);
  ~RetrainedHead();
  RetrainedHead(const RetrainedHead&) = delete;
  RetrainedHead& operator=(const RetrainedHead&) = delete;

  const model::Classifier& model() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace mumoe::study
