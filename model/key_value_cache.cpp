// Shapes: B sequences, T new tokens, S held ones, H heads of this rank, D = C /
// heads.
#include "model/key_value_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::model {

KeyValueCache::KeyValueCache(const Shape& shape,
                             const at::TensorOptions& options)
    : lengths_(static_cast<std::size_t>(shape.samples), 0) {
  MUMOE_CHECK(shape.layers > 0 && shape.samples > 0 && shape.capacity > 0);
  for (std::int64_t l = 0; l < shape.layers; ++l) {
    // Zeros: a place that a mask hides is multiplied by zero all the same.
    const auto room = [&] {
      return at::zeros(
          {shape.samples, shape.capacity, shape.heads, shape.head_dim},
          options);
    };
    layers_.push_back({room(), room()});
  }
}

KeyValueCache::Places KeyValueCache::next(std::int64_t tokens) const {
  const auto [least, most] = std::ranges::minmax(lengths_);
  MUMOE_CHECK(tokens >= 1 && most + tokens <= capacity(),
              "{} more tokens behind {}, of at most {}",
              tokens,
              most,
              capacity());
  Places places;
  places.first = least;
  places.together = least == most;
  places.tokens = tokens;
  const at::Device device = layers_.front().keys.device();
  const at::Tensor begins_B1 =
      at::tensor(lengths_, at::kLong).unsqueeze(1).to(device);
  const auto counted = begins_B1.options();
  places.positions = begins_B1 + at::arange(tokens, counted);
  // What fused attention does without a mask.
  if (places.together && (least == 0 || tokens == 1)) return places;
  places.mask = at::arange(most + tokens, counted)
                    .le(places.positions.unsqueeze(-1))
                    .unsqueeze(1);
  return places;
}

std::pair<at::Tensor, at::Tensor> KeyValueCache::put(std::size_t layer,
                                                     const Places& places,
                                                     const at::Tensor& keys,
                                                     const at::Tensor& values) {
  const Layer& held = layers_.at(layer);
  const auto write = [&](const at::Tensor& room, const at::Tensor& x_BTHD) {
    if (places.together) {
      room.narrow(1, places.first, places.tokens).copy_(x_BTHD);
      return;
    }
    const auto at_B11 = places.positions.view({samples(), places.tokens, 1, 1});
    at::Tensor(room).scatter_(1, at_B11.expand_as(x_BTHD), x_BTHD);
  };
  write(held.keys, keys);
  write(held.values, values);
  const std::int64_t seen = *std::ranges::max_element(lengths_) + places.tokens;
  return {held.keys.narrow(1, 0, seen).transpose(1, 2),
          held.values.narrow(1, 0, seen).transpose(1, 2)};
}

void KeyValueCache::advance(std::span<const std::int64_t> counts) {
  MUMOE_CHECK(counts.size() == lengths_.size());
  for (std::size_t b = 0; b < counts.size(); ++b) lengths_[b] += counts[b];
}

KeyValueCache KeyValueCache::only(std::size_t sample) const {
  KeyValueCache one(*this);
  const auto b = static_cast<std::int64_t>(sample);
  for (Layer& layer : one.layers_) {
    layer.keys = layer.keys.narrow(0, b, 1);
    layer.values = layer.values.narrow(0, b, 1);
  }
  one.lengths_ = {0};
  return one;
}

void KeyValueCache::keep(const std::vector<std::int64_t>& samples) {
  const at::Tensor chosen =
      at::tensor(samples, at::kLong).to(layers_.front().keys.device());
  for (Layer& layer : layers_) {
    layer.keys = layer.keys.index_select(0, chosen);
    layer.values = layer.values.index_select(0, chosen);
  }
  std::vector<std::int64_t> lengths;
  for (const auto b : samples) lengths.push_back(length(b));
  lengths_ = std::move(lengths);
}

}  // namespace mumoe::model
