// What a Mixer says it costs, against what it moves and keeps.
#include <gtest/gtest.h>

#include "tests/support/classifier_cost.h"
#include "tests/support/small_mixer.h"

namespace mumoe {
namespace {

using On = testing::MixerOnMesh;

TEST(MixerCost, BytesAndCallsAreWhatARankMoves) {
  testing::expect_moved<On>(testing::mixer_cases(), 8);
}

TEST(MixerCost, KeptIsWhatTensorsHoldBetweenForwardAndBackward) {
  testing::expect_kept<On>(testing::mixer_cases(), 8);
}

TEST(MixerCost, OfAllRanksIsThatOfOne) {
  testing::expect_shared<On>(testing::mixer_cases(), 8);
}

}  // namespace
}  // namespace mumoe
