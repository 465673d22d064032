#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace mumoe::model {

/// The keys and values of the tokens that a model of several layers has seen,
/// of several sequences, each of its own length. A copy shares the tensors.
class KeyValueCache {
 public:
  struct Shape {
    std::int64_t layers = 0;
    std::int64_t samples = 0;
    std::int64_t capacity = 0;  ///< Tokens of a sequence.
    std::int64_t heads = 0;     ///< Of this rank.
    std::int64_t head_dim = 0;
  };
  /// Empty sequences.
  KeyValueCache(const Shape& shape, const at::TensorOptions& options);

  std::int64_t samples() const {
    return static_cast<std::int64_t>(lengths_.size());
  }
  std::int64_t capacity() const { return layers_.front().keys.size(1); }
  /// Tokens that are held of sequence `sample`.
  std::int64_t length(std::size_t sample) const { return lengths_.at(sample); }

  /// Where T more tokens of every sequence go, and what they see: the same in
  /// all layers.
  struct Places {
    std::int64_t first = 0;  ///< Where they begin, if everywhere there;
    bool together = true;    ///< whether it is everywhere there.
    std::int64_t tokens = 0;
    /// [B, T] int64: the position of each token.
    at::Tensor positions;
    /// [B, 1, T, S] bool, which of S held tokens each one sees; undefined: all,
    /// or, if they are the first ones, those before it and itself.
    at::Tensor mask;
  };
  /// Of `tokens` more tokens a sequence, for which there must be room.
  Places next(std::int64_t tokens) const;
  /// Takes keys and values [B, T, H, D] of them in `layer`, and gives all that
  /// they may see, [B, H, S, D].
  std::pair<at::Tensor, at::Tensor> put(std::size_t layer,
                                        const Places& places,
                                        const at::Tensor& keys,
                                        const at::Tensor& values);
  /// From now on the first `counts[b]` of those tokens are held. Others, which
  /// filled up a batch, are never seen.
  void advance(std::span<const std::int64_t> counts);

  /// Sequence `sample` alone, empty, in the same memory.
  KeyValueCache only(std::size_t sample) const;
  /// Says that the first `length` tokens of `sample` are held, which were put
  /// there through `only`.
  void hold(std::size_t sample, std::int64_t length) {
    lengths_.at(sample) = length;
  }
  /// Drops all sequences but `samples`, in that order.
  void keep(const std::vector<std::int64_t>& samples);

 private:
  struct Layer {
    at::Tensor keys;    ///< [B, capacity, H, D]
    at::Tensor values;  ///< [B, capacity, H, D]
  };

  std::vector<Layer> layers_;
  std::vector<std::int64_t> lengths_;
};

}  // namespace mumoe::model
