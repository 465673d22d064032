#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/params/bucket_reduction.h"
#include "dist/params/flat_buckets.h"

namespace mumoe::dist {

struct ReducerOptions {
  Wire wire = Wire::fp32;
  /// Whether parameters are `GradientSink`s: whoever makes a gradient by a
  /// product adds it to its place in the buckets, whatever the dtypes. Products
  /// of bf16 with fp32 sums are GPUs' alone.
  bool sinks = false;
};

/// Collects the gradients of backward passes in the flat buckets and sums each
/// bucket over its group while backward still runs.
///
/// Each parameter's gradient is added to its place in `Bucket::grad` the moment
/// autograd has it, and released; where their dtypes agree, the parameter's
/// .grad is that place during backward, so that products may add to it
/// directly. In the last micro-step of a step, a bucket is reduced as soon as
/// its last gradient has come; buckets start strictly in order, and what is
/// left to do for one begins when a later one starts, so that all ranks run the
/// same sequence of collectives.
///
/// Use: begin(last) before each backward, finish() after the last one.
/// Gradients are sums: the loss carries its own 1/tokens. Collective over the
/// buckets' groups. Errors: `CommunicationError`, from backward or finish().
class GradientReducer {
 public:
  /// `buckets` must outlive the reducer. One reducer at a time may watch a set
  /// of buckets.
  explicit GradientReducer(FlatBuckets& buckets,
                           const ReducerOptions& options = {});
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Announces a backward pass; `last` is the one after which gradients are
  /// complete.
  void begin(bool last);
  /// Waits until every bucket holds, where this rank owns it, the sum over its
  /// group. Gradients that no backward pass produced are zero.
  void finish();

 private:
  struct Watch;
  struct BucketState {
    std::size_t waiting = 0;
    BucketReduction reduction;
  };
  struct Place {  // of the gradient of a parameter
    std::size_t bucket;
    BucketEntry entry;
    bool filled = false;
    bool arrived = false;
    bool open = false;  ///< To who adds to it in a product.
  };

  /// The part of its bucket that takes a parameter's gradient.
  at::Tensor target(const Place& place) const;
  void take(Place& place, const at::Tensor& value);
  /// Once its gradient is in its place.
  void arrive(Place& place);
  void start_ready_buckets();

  FlatBuckets& buckets_;
  ReducerOptions options_;
  std::vector<Place> places_;
  std::vector<BucketState> states_;
  std::size_t next_bucket_ = 0;
  bool last_ = false;
};

}  // namespace mumoe::dist
