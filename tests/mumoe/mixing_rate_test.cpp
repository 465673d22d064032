#include "mumoe/mixing_rate.h"

#include <gtest/gtest.h>

namespace mumoe {
namespace {

/// Sparse mixing takes `base` + `slope` · share, dense 1.1.
double share(double base, double slope) {
  return sparse_share({.dense = 1.1,
                       .few = {0.03, base + 0.03 * slope},
                       .more = {0.25, base + 0.25 * slope}});
}

TEST(SparseShare, IsAPowerOfTwoBelowWhichSparseIsFaster) {
  EXPECT_EQ(share(0, 10), 0.0625);
  EXPECT_EQ(share(0.5, 10), 0.03125);
  // Times that differ a little from moment to moment.
  for (const double noise : {0.9, 1.1}) EXPECT_EQ(share(0, 12 * noise), 0.0625);
  EXPECT_EQ(share(0, 0.5), 1) << "never slower";
  EXPECT_EQ(share(0.5, 0), 1);
  EXPECT_EQ(share(0.5, -1), 1) << "times that noise has turned round";
  EXPECT_EQ(share(1.2, 10), 0) << "never faster";
  EXPECT_EQ(share(0, 1e6), 0) << "only with hardly any";
}

TEST(SparseShare, IsMeasuredForEveryForm) {
  for (const auto& [form, ranks] :
       {std::pair{Form::cp, std::vector<std::int64_t>{8}},
        {Form::tensor_ring, {2, 3, 5}},
        {Form::tucker, {4, 3, 5}}}) {
    const LayerShape layer{.form = form,
                           .inputs = 6,
                           .outputs = 7,
                           .experts = {16},
                           .ranks = ranks};
    const MixingTimes times =
        measure_mixing({layer, layer}, 20, at::kFloat, at::kCPU);
    EXPECT_GT(times.dense, 0);
    EXPECT_GT(times.few.seconds, 0);
    EXPECT_GT(times.more.seconds, 0);
    EXPECT_LT(times.few.share, times.more.share);
  }
}

}  // namespace
}  // namespace mumoe
