#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "dist/process_mesh.h"
#include "mumoe/block.h"
#include "train/expert_figures.h"

namespace mumoe::train {

/// Adds up how the gates of a model use their experts while it trains, on the
/// device where it is. All sums are of whole numbers, coefficients and
/// entropies in units of 2^-32, so that the same coefficients give the same
/// figures in whatever order, and on however many ranks, they are added.
class ExpertWatch {
 public:
  /// `blocks`: a model's mixtures, which outlive this, as `mesh` does. On the
  /// meta device nothing is seen.
  ExpertWatch(std::span<const MuMoEBlock* const> blocks,
              dist::ProcessMesh& mesh,
              at::Device device);
  ~ExpertWatch() { drop(); }
  ExpertWatch(const ExpertWatch&) = delete;
  ExpertWatch& operator=(const ExpertWatch&) = delete;

  /// Looks at the forward passes from now on.
  void begin();
  /// Whether what passes through the model now counts: a rank that has no
  /// sample left goes through the same motions.
  void count(bool counts) { counts_ = counts; }
  /// Looks no longer, and says what all ranks have seen since `begin`; nothing
  /// where that was not called. The host waits for the device, once. Collective
  /// over the world, if `begin` was called.
  std::vector<ExpertFigures> finish();
  /// Looks no longer; what was seen is forgotten.
  void drop();

 private:
  /// Sums of a level of a block, one after the other in one tensor: tokens
  /// [1], entropy [1], mean [N], active [N], chosen [N], largest [bins].
  struct Gate {
    std::string layer;
    std::int64_t experts = 0;
    at::Tensor sums;   ///< int64
    at::Tensor edges;  ///< Where bins but the first begin, fp64.
  };
  static void add(const Gate& gate, const at::Tensor& a_TN);

  std::span<const MuMoEBlock* const> blocks_;
  dist::ProcessMesh& mesh_;
  at::Device device_;
  bool tells_ = true;
  bool counts_ = true;
  std::vector<std::vector<Gate>> gates_;  ///< Of each block, while it looks.
};

}  // namespace mumoe::train
