#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "train/scores.h"

namespace mumoe::train {

/// How often a model knows what it sees. Of logits that are equal the one of
/// the lower class counts as the larger.
struct ImageScore {
  struct Class {
    std::int64_t images = 0;
    std::int64_t right = 0;
  };
  std::int64_t images = 0;
  std::int64_t top1 = 0;  ///< Whose class has the largest logit,
  std::int64_t top5 = 0;  ///< one of the five largest.
  double loss = 0;        ///< Mean cross-entropy, nats an image.
  std::vector<Class> classes;
};

/// Logits [B, classes] of images [B, …].
using Logits = std::function<at::Tensor(const at::Tensor& images)>;

/// Of `images` among `samples`, whose targets are classes [B, 1] below
/// `classes`, `per_batch` at once. Without gradients. Throws `InputError` for a
/// class that is not below. Collective.
ImageScore score_images(const Scorer& scorer,
                        const Logits& logits,
                        const data::Samples& samples,
                        std::span<const std::uint64_t> images,
                        std::int64_t per_batch,
                        std::int64_t classes);

}  // namespace mumoe::train
