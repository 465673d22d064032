#include "train/image_scores.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

#include "base/random.h"
#include "dist/process_mesh.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::train {
namespace {

constexpr std::int64_t kClasses = 7;

/// "Images" that are their own logits, some of them equal.
class LogitImages final : public data::Samples {
 public:
  std::uint64_t size() const override { return 53; }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    std::vector<float> input;
    std::vector<std::int32_t> target;
    for (const auto i : indices) {
      const auto logits = logits_of(i);
      input.insert(input.end(), logits.begin(), logits.end());
      target.push_back(class_of(i));
    }
    return {static_cast<std::int64_t>(indices.size()), input, target};
  }

  static std::vector<float> logits_of(std::uint64_t image) {
    const CounterRandom random(2, Purpose::test, image);
    std::vector<float> logits;
    for (std::uint64_t k = 0; k < kClasses; ++k) {
      logits.push_back(static_cast<float>(random.below(k, 5)));
    }
    return logits;
  }
  /// The sixth class has no image.
  static std::int32_t class_of(std::uint64_t image) {
    const auto drawn = CounterRandom(3, Purpose::test).below(image, 6);
    return static_cast<std::int32_t>(drawn == 5 ? 6 : drawn);
  }
};

std::vector<std::uint64_t> all_images() {
  std::vector<std::uint64_t> images(LogitImages().size());
  std::iota(images.begin(), images.end(), 0);
  return images;
}

ImageScore score(int dp, int tp) {
  ImageScore found;
  std::mutex mutex;
  dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, dp, tp);
    const auto here = score_images(
        {mesh, at::kCPU},
        [](const at::Tensor& images) { return images; },
        LogitImages(),
        all_images(),
        4,
        kClasses);
    const std::lock_guard lock(mutex);
    if (found.images == 0) found = here;
    EXPECT_EQ(here.loss, found.loss) << "the same on all ranks";
  });
  return found;
}

TEST(ImageScores, AreThoseByHand) {
  ImageScore expected;
  expected.classes.resize(kClasses);
  for (const auto image : all_images()) {
    const auto logits = LogitImages::logits_of(image);
    const auto label = static_cast<std::size_t>(LogitImages::class_of(image));
    std::vector<std::size_t> order(kClasses);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t k) {
      return logits[k];
    });
    const auto place = std::ranges::find(order, label) - order.begin();
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    expected.loss += (std::log(sum) - logits[label]) / 53;
    expected.top1 += place == 0;
    expected.top5 += place < 5;
    ++expected.classes[label].images;
    expected.classes[label].right += place == 0;
  }
  const ImageScore found = score(1, 1);
  EXPECT_EQ(found.images, 53);
  EXPECT_NEAR(found.loss / expected.loss, 1, 1e-12);
  EXPECT_EQ(found.top1, expected.top1);
  EXPECT_EQ(found.top5, expected.top5);
  ASSERT_EQ(found.classes.size(), expected.classes.size());
  for (std::size_t k = 0; k < expected.classes.size(); ++k) {
    EXPECT_EQ(found.classes[k].images, expected.classes[k].images) << k;
    EXPECT_EQ(found.classes[k].right, expected.classes[k].right) << k;
  }
}

TEST(ImageScores, AreTheSameAtEveryLayout) {
  const ImageScore one = score(1, 1);
  for (const auto& [dp, tp] :
       {std::pair{2, 1}, {3, 1}, {4, 1}, {2, 2}, {1, 3}}) {
    const ImageScore several = score(dp, tp);
    EXPECT_EQ(several.loss, one.loss) << dp << " x " << tp;
    EXPECT_EQ(several.top1, one.top1);
    EXPECT_EQ(several.top5, one.top5);
  }
}

TEST(ImageScores, AClassThatIsNotThereIsNamed) {
  dist::ThreadWorld::run(1, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, 1, 1);
    testing::expect_input_error(
        [&] {
          score_images(
              {mesh, at::kCPU},
              [](const at::Tensor& images) { return images.narrow(1, 0, 4); },
              LogitImages(),
              all_images(),
              8,
              4);
        },
        {"an image of class 6: the model knows 4 classes"});
  });
}

}  // namespace
}  // namespace mumoe::train
