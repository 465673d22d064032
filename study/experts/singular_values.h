#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/samples.h"
#include "dist/params/parameter_registry.h"
#include "model/model.h"
#include "train/scores.h"

namespace mumoe::study {

/// Which matrices of a model are cut down.
enum class Matrices {
  /// Those of linear layers: of attention (queries, keys and values together),
  /// dense MLPs, a stem, a head that is no embedding.
  linear,
  /// Gates, and factors of mixtures as the matrices of their products
  /// (`factor_matrix`); no cores.
  factors,
  all,
};

/// A parameter that is a matrix, rows before columns.
struct WeightMatrix {
  std::size_t parameter = 0;  ///< Index into the registry.
  std::string name;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  /// Singular values that it has.
  std::int64_t values() const { return rows < columns ? rows : columns; }
  /// Of these `percent` per cent, rounded up, at least one.
  std::int64_t kept(double percent) const;
};

/// Those of `model`, whose parameters `registry` has, front to back.
std::vector<WeightMatrix> weight_matrices(
    const model::Model& model,
    const dist::ParameterRegistry& registry,
    Matrices which);

/// Singular value decompositions of a model's matrices, from which it gets
/// weights of lower rank, and its own back. In fp64 and on one thread, so that
/// all ranks, however many, get the same bits.
class SingularValues {
 public:
  /// Decomposes all of `matrices`. Collective over tp. `registry` must outlive
  /// this.
  SingularValues(const dist::ParameterRegistry& registry,
                 std::vector<WeightMatrix> matrices);

  const std::vector<WeightMatrix>& matrices() const { return matrices_; }
  /// Matrix `index` becomes U_k Σ_k V_kᵀ with the largest `percent` per cent of
  /// its singular values; itself for 100.
  void keep(std::size_t index, double percent) const;
  /// Share of Σσ² that the largest `percent` per cent of matrix `index` have.
  double energy(std::size_t index, double percent) const;

 private:
  struct Decomposed {
    at::Tensor own;  ///< As it was, this rank's slice.
    at::Tensor us;   ///< U Σ [rows, values]
    at::Tensor v;    ///< Vᵀ [values, columns]
    at::Tensor s;    ///< [values]
  };

  const dist::ParameterRegistry& registry_;
  std::vector<WeightMatrix> matrices_;
  std::vector<Decomposed> decomposed_;
};

/// What a model makes of samples.
struct Quality {
  double loss = 0;       ///< Nats a target, mean.
  double accuracy = -1;  ///< Share of samples told right; text: -1.
};

/// Of the samples of `batches`; the same bits over any number of dp ranks.
/// Collective.
Quality quality_of(const model::Model& model,
                   const train::Scorer& scorer,
                   const data::Samples& samples,
                   const train::BatchList& batches);

}  // namespace mumoe::study
