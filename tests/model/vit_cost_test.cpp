// What a ViT says it costs, against what it moves and keeps.
#include <gtest/gtest.h>

#include "tests/support/classifier_cost.h"
#include "tests/support/small_vit.h"

namespace mumoe {
namespace {

using On = testing::VitOnMesh;

TEST(VitCost, BytesAndCallsAreWhatARankMoves) {
  testing::expect_moved<On>(testing::vit_cases(), 8);
}

TEST(VitCost, KeptIsWhatTensorsHoldBetweenForwardAndBackward) {
  testing::expect_kept<On>(testing::vit_cases(), 64);
}

TEST(VitCost, OfAllRanksIsThatOfOne) {
  testing::expect_shared<On>(testing::vit_cases(), 8);
}

}  // namespace
}  // namespace mumoe
