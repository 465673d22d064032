// What a model leaves: learnt where it was measured, nothing far from there.
#include "study/predict/local_correction.h"

#include "study/predict/likely_scales.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace mumoe::study {
namespace {

TEST(LocalCorrection, OfNothingIsNothing) {
  const LocalCorrection none({}, {}, {1});
  const double place[] = {3};
  EXPECT_EQ(none.at(place).mean, 0);
  EXPECT_EQ(none.at(place).deviation, 0);
}

TEST(LocalCorrection, GoesThroughWhatWasMeasuredAndFadesAway) {
  std::vector<std::vector<double>> places;
  std::vector<double> left;
  for (int i = 0; i < 40; ++i) {
    places.push_back({0.25 * i});
    left.push_back(0.2 * std::sin(0.25 * i));
  }
  const LocalCorrection correction(places, left, {4});
  double last = 0;
  for (int i = 0; i < 40; ++i) {
    EXPECT_NEAR(correction.at(places[i]).mean, left[i], 1e-3);
  }
  const double between[] = {3.1};
  EXPECT_NEAR(correction.at(between).mean, 0.2 * std::sin(3.1), 0.01);
  for (const double x : {9.75, 10.5, 13.0, 30.0, 100.0}) {
    const Estimate estimate = correction.at(std::vector<double>{x});
    EXPECT_GT(estimate.deviation, last) << x;
    last = estimate.deviation;
  }
  const Estimate far = correction.at(std::vector<double>{1000});
  EXPECT_NEAR(far.mean, 0, 1e-12);
  EXPECT_NEAR(far.deviation,
              std::sqrt(correction.variance() * (1 + correction.noise())),
              1e-9);
}

// An error that changes along one coordinate alone has a long way along the
// other, and a short one along its own.
TEST(LikelyScales, AreLongWhereNothingChanges) {
  std::vector<std::vector<double>> places;
  std::vector<double> left;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 4; ++j) {
      places.push_back({double(i), double(j)});
      left.push_back(0.1 * std::sin(2.1 * i));
    }
  }
  const auto scales = likely_scales(places, left, {2, 2});
  EXPECT_GT(scales[1], 2);
  EXPECT_GT(scales[1], 2 * scales[0]);
  EXPECT_LE(LocalCorrection(places, left, scales).objective(),
            LocalCorrection(places, left, {2, 2}).objective());
}

TEST(LocalCorrection, SeesWhatIsNoise) {
  std::vector<std::vector<double>> places;
  std::vector<double> left;
  std::uint32_t state = 1;
  for (int i = 0; i < 200; ++i) {
    state = state * 1664525 + 1013904223;
    places.push_back({0.05 * i});
    left.push_back(0.5 + 0.1 * (state / 4294967296.0 - 0.5));
  }
  const LocalCorrection noisy(places, left, {50});
  EXPECT_NEAR(std::sqrt(noisy.variance() * noisy.noise()),
              0.1 / std::sqrt(12),
              0.006);
  EXPECT_NEAR(noisy.at(std::vector<double>{5}).mean, 0.5, 0.02);
}

TEST(LocalCorrection, IsLessCertainFarAwayTheMoreWasFitted) {
  // Four clusters that have nothing to do with each other.
  std::vector<std::vector<double>> places;
  std::vector<double> left;
  for (int i = 0; i < 40; ++i) {
    places.push_back({100.0 * (i % 4), 1e-3 * i});
    left.push_back(i % 2 == 0 ? 0.1 : -0.1);
  }
  const std::vector<double> far = {5000, 0}, near = {100, 1e-3};
  const LocalCorrection plain(places, left, {1, 1});
  const LocalCorrection fitted(places, left, {1, 1}, 2);
  EXPECT_NEAR(fitted.at(far).deviation / plain.at(far).deviation,
              std::sqrt(2),
              0.02);
  EXPECT_NEAR(fitted.at(near).deviation / plain.at(near).deviation, 1, 0.02);
  EXPECT_EQ(fitted.at(near).mean, plain.at(near).mean);
}

}  // namespace
}  // namespace mumoe::study
