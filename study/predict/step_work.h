#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mumoe::study {

/// `times` products of `batch` matrices each: [m, k] by [k, n].
struct Product {
  double m = 0, n = 0, k = 0;
  double batch = 1;
  double times = 1;

  double flops() const { return 2 * m * n * k * batch * times; }
};

/// What an operation that is bound by memory passes over. Each kind has a rate
/// of its own: how many such passes a program needs depends on what it fuses.
enum class PassKind {
  whole,   ///< activations that every tp rank holds whole
  cut,     ///< activations that tp cuts
  scores,  ///< attention's scores
  logits,
  state,  ///< gradients, masters, moments
  // Of CPUs, which know more apart:
  norm,    ///< the stream, its norms
  gate,    ///< coefficients of experts
  mixing,  ///< what experts mix and combine
  gelu,    ///< hidden activations
};
constexpr std::size_t kPassKinds = 9;

/// Bytes read and written by operations of one kind.
struct Pass {
  PassKind kind = PassKind::whole;
  double bytes = 0;
};

enum class CollectiveKind { all_reduce, all_gather, reduce_scatter };
enum class Axis { tp, dp };

/// `times` collectives of one rank.
struct Collective {
  Axis axis = Axis::tp;
  CollectiveKind kind = CollectiveKind::all_reduce;
  double bytes = 0;  ///< of the whole tensor, not of one rank's share
  double ranks = 1;
  double ranks_per_node = 1;   ///< of this group
  double groups_per_node = 1;  ///< that use a node's network at once
  double times = 1;
  /// Goes on while the part's kernels run; else they wait for it.
  bool overlapped = false;
};

/// A stretch of a step that is run `repeats` times: its kernels in a row, as
/// fast as the slower of processor and host, and its collectives.
struct Part {
  std::string name;
  double repeats = 1;
  std::vector<Product> products;
  std::vector<Pass> passes;
  std::vector<Collective> collectives;
  double kernels = 0;  ///< that the host launches
};

/// What one rank does in a step.
struct StepWork {
  std::vector<Part> parts;
  double micro_steps = 1;

  /// Of all products of the step, of this rank.
  double flops() const;
};

}  // namespace mumoe::study
