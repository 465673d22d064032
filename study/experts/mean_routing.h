#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "study/experts/routing.h"

namespace mumoe::study {

/// The mean coefficients of each sample, over its tokens.
struct MeanRouting {
  std::vector<Gate> gates;
  /// Samples of `batches`, in their order, and what each has: the coefficients
  /// of all gates one after the other.
  std::size_t samples = 0;
  std::size_t width = 0;
  std::vector<double> means;  ///< [samples, width], row-major.

  /// The columns of gate `gate`.
  std::size_t begin(std::size_t gate) const;
  std::size_t count(std::size_t gate) const {
    return static_cast<std::size_t>(gates[gate].experts);
  }
};

/// Puts rows of numbers together that ranks have made, each on one dp rank, so
/// that every rank has all of them, with their bits.
class GatheredRows {
 public:
  GatheredRows(std::span<const std::vector<std::uint64_t>> batches,
               std::size_t width);

  /// The rows of a batch of `batches`, which begins with sample `first`, row by
  /// row; [samples, width], fp64 on the host.
  void set(std::span<const std::uint64_t> samples, const at::Tensor& rows);
  /// `tells`: whether what this rank has set counts. Collective; once.
  std::vector<double> finish(dist::Communicator& world, bool tells);

 private:
  std::vector<std::vector<std::uint64_t>> batches_;
  std::vector<std::size_t> begins_;
  std::size_t width_;
  std::vector<double> values_;
};

/// Of the samples of `batches`. The same bits over any number of dp ranks.
/// Collective over `world`, all ranks of `pass`.
MeanRouting mean_routing(const RoutingPass& pass,
                         const data::Samples& samples,
                         const train::BatchList& batches,
                         dist::Communicator& world);

/// The mean of a_[T, n] over the tokens of each of `samples` samples, fp64:
/// [samples, n], added up token by token.
at::Tensor means_of_samples(const at::Tensor& a_TN, std::int64_t samples);

}  // namespace mumoe::study
