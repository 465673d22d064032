#include "study/experts/mean_routing.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::study {

std::size_t MeanRouting::begin(std::size_t gate) const {
  std::size_t begin = 0;
  for (std::size_t g = 0; g < gate; ++g) begin += count(g);
  return begin;
}

GatheredRows::GatheredRows(std::span<const std::vector<std::uint64_t>> batches,
                           std::size_t width)
    : batches_(batches.begin(), batches.end()), width_(width) {
  std::size_t samples = 0;
  for (const auto& batch : batches_) {
    begins_.push_back(samples);
    samples += batch.size();
  }
  values_.resize(samples * width_);
}

void GatheredRows::set(std::span<const std::uint64_t> samples,
                       const at::Tensor& rows) {
  const auto found = std::ranges::find_if(batches_, [&](const auto& batch) {
    return std::ranges::equal(batch, samples);
  });
  MUMOE_CHECK(found != batches_.end(), "rows of an unknown batch");
  MUMOE_CHECK(rows.scalar_type() == at::kDouble && rows.is_contiguous() &&
              rows.numel() ==
                  static_cast<std::int64_t>(samples.size() * width_));
  const double* from = rows.const_data_ptr<double>();
  std::copy(from,
            from + rows.numel(),
            values_.begin() + begins_[found - batches_.begin()] * width_);
}

std::vector<double> GatheredRows::finish(dist::Communicator& world,
                                         bool tells) {
  // Each number is of one rank and zero on the others: their sum has its bits.
  if (!tells) std::ranges::fill(values_, 0.0);
  if (!values_.empty()) {
    world.all_reduce(at::from_blob(values_.data(),
                                   {static_cast<std::int64_t>(values_.size())},
                                   at::kDouble));
  }
  return std::move(values_);
}

at::Tensor means_of_samples(const at::Tensor& a_TN, std::int64_t samples) {
  const at::Tensor a = a_TN.to(at::kDouble).contiguous();
  const std::int64_t tokens = a.size(0) / samples, n = a.size(1);
  const at::Tensor means = at::zeros({samples, n}, at::kDouble);
  const double* from = a.const_data_ptr<double>();
  double* to = means.data_ptr<double>();
  for (std::int64_t s = 0; s < samples; ++s, to += n) {
    for (std::int64_t t = 0; t < tokens; ++t, from += n) {
      for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
    }
    for (std::int64_t i = 0; i < n; ++i) to[i] /= static_cast<double>(tokens);
  }
  return means;
}

MeanRouting mean_routing(const RoutingPass& pass,
                         const data::Samples& samples,
                         const train::BatchList& batches,
                         dist::Communicator& world) {
  MeanRouting found;
  found.gates.assign(pass.gates().begin(), pass.gates().end());
  found.width = found.begin(found.gates.size());
  for (const auto& batch : batches) found.samples += batch.size();
  GatheredRows rows(batches, found.width);
  pass.run(samples, batches, [&](const RoutedBatch& batch) {
    std::vector<at::Tensor> means;
    for (const at::Tensor& a_TN : batch.coefficients) {
      means.push_back(
          means_of_samples(a_TN,
                           static_cast<std::int64_t>(batch.samples.size())));
    }
    rows.set(batch.samples, at::cat(means, 1).contiguous());
  });
  found.means = rows.finish(world, pass.tells());
  return found;
}

}  // namespace mumoe::study
