#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "mumoe/mixture.h"

// How the mixture's autograd node holds what it works with: autograd keeps
// lists of tensors and of integers.

namespace mumoe {

/// What the node has to know besides tensors.
struct MixtureSettings {
  std::int64_t levels = 0;
  std::int64_t norm = 0;
  std::int64_t layers = 0;
  std::int64_t form[2] = {};
  std::int64_t bias[2] = {};
  std::int64_t gemm = 0;
  std::int64_t support_only = 0;
  std::int64_t recompute = 0;
  std::int64_t in_place = 0;
  std::int64_t sparse = 0;  ///< Bit e: level e.
  std::int64_t plan = 0;
  std::int64_t tp = 0;  ///< The address of the group; 0: none.

  std::vector<std::int64_t> to_list() const;
  static MixtureSettings from_list(const std::vector<std::int64_t>& list);

  GemmLibrary library() const { return static_cast<GemmLibrary>(gemm); }
  SparseLevels sparse_levels() const;
  LayerSharding sharding(std::size_t layer) const;
};

/// A list of tensors that is read from front to back.
class TensorCursor {
 public:
  explicit TensorCursor(at::TensorList list) : list_(list) {}
  const at::Tensor& next() { return list_[at_++]; }
  std::vector<at::Tensor> next(std::size_t count);

 private:
  at::TensorList list_;
  std::size_t at_ = 0;
};

/// Arguments, gradients and saved tensors are flat lists in the order of this
/// struct; autograd takes no undefined tensors, so what is missing is left out.
struct MixtureOperands {
  std::vector<at::Tensor> a;
  at::Tensor x;
  InputNorm norm;
  std::vector<Factors> layers;

  std::vector<at::Tensor> flatten() const;
  static MixtureOperands read(TensorCursor& list,
                              const MixtureSettings& settings);
  /// Throws `InternalError` when the shapes do not fit together.
  void check() const;
};

}  // namespace mumoe
