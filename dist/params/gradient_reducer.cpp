#include "dist/params/gradient_reducer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/variable.h>

#include "base/error.h"
#include "dist/params/gradient_slot.h"

namespace mumoe::dist {
namespace {

// How many buckets start after one before its second half begins: enough for
// the first half to have ended, so that backward does not wait, and few enough
// that staging memory stays small.
constexpr std::size_t kBehind = 2;

}  // namespace

/// Called by autograd when the gradient of one parameter is complete, or by the
/// node that has put it in its place.
struct GradientReducer::Watch final : GradientSink {
  Watch(GradientReducer& reducer, std::size_t place)
      : reducer(reducer), place(place) {}
  void operator()(const at::Tensor& value) override {
    reducer.take(reducer.places_[place], value);
  }
  bool open() const override { return reducer.places_[place].open; }
  at::Tensor target() const override {
    return reducer.target(reducer.places_[place]);
  }
  bool filled() const override { return reducer.places_[place].filled; }
  void arrived() override { reducer.arrive(reducer.places_[place]); }
  GradientReducer& reducer;
  std::size_t place;
};

GradientReducer::GradientReducer(FlatBuckets& buckets,
                                 const ReducerOptions& options)
    : buckets_(buckets), options_(options), states_(buckets.buckets().size()) {
  for (std::size_t b = 0; b < states_.size(); ++b) {
    const Bucket& bucket = buckets.buckets()[b];
    if (!bucket.trained) continue;
    for (const BucketEntry& entry : bucket.entries) {
      torch::autograd::impl::set_post_acc_grad_hooks(
          buckets.parameter(entry).value,
          std::make_unique<Watch>(*this, places_.size()));
      places_.push_back({b, entry});
    }
  }
}

GradientReducer::~GradientReducer() {
  for (const Place& place : places_) {
    torch::autograd::impl::set_post_acc_grad_hooks(
        buckets_.parameter(place.entry).value,
        nullptr);
  }
}

void GradientReducer::begin(bool last) {
  last_ = last;
  next_bucket_ = 0;
  for (BucketState& state : states_) state.waiting = 0;
  for (Place& place : places_) {
    ++states_[place.bucket].waiting;
    place.arrived = false;
    place.open = options_.sinks;
    if (place.open) continue;
    const at::Tensor& value = buckets_.parameter(place.entry).value;
    const at::Tensor part = target(place);
    if (part.scalar_type() != value.scalar_type()) continue;
    if (!place.filled) part.zero_();
    at::Tensor(value).mutable_grad() = part;
  }
}

at::Tensor GradientReducer::target(const Place& place) const {
  return buckets_.view(buckets_.buckets()[place.bucket].grad, place.entry);
}

void GradientReducer::take(Place& place, const at::Tensor& value) {
  // A gradient that was added in place came before; autograd calls once more,
  // without one.
  if (!value.grad().defined()) return;
  MUMOE_CHECK(!place.arrived,
              "a gradient of {} came twice in one backward pass",
              buckets_.parameter(place.entry).name);
  const at::Tensor part = target(place);
  if (!value.grad().is_alias_of(part)) {
    if (place.filled) {
      part.add_(value.grad());
    } else {
      part.copy_(value.grad());
    }
  }
  value.mutable_grad().reset();
  arrive(place);
}

void GradientReducer::arrive(Place& place) {
  place.filled = true;
  place.arrived = true;
  place.open = false;
  --states_[place.bucket].waiting;
  if (last_) start_ready_buckets();
}

void GradientReducer::start_ready_buckets() {
  for (; next_bucket_ < states_.size() && states_[next_bucket_].waiting == 0;
       ++next_bucket_) {
    const Bucket& bucket = buckets_.buckets()[next_bucket_];
    if (bucket.trained) {
      states_[next_bucket_].reduction.start(bucket, options_.wire);
    }
    if (next_bucket_ >= kBehind) {
      states_[next_bucket_ - kBehind].reduction.advance();
    }
  }
}

void GradientReducer::finish() {
  MUMOE_CHECK(last_, "finish() before the last backward pass was announced");
  for (Place& place : places_) {
    if (!place.filled) target(place).zero_();
    place.filled = false;
    place.open = false;
    at::Tensor(buckets_.parameter(place.entry).value).mutable_grad().reset();
  }
  for (BucketState& state : states_) state.waiting = 0;
  start_ready_buckets();
  for (BucketState& state : states_) state.reduction.advance();
  for (BucketState& state : states_) state.reduction.finish();
  last_ = false;
}

}  // namespace mumoe::dist
