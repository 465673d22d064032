#pragma once

#include <vector>

#include "study/report/chart.h"

namespace mumoe::study {

/// What a series keeps of a long run.
struct Thinned {
  std::vector<ChartPoint> points;
  std::vector<BandPoint> band;  ///< Empty where all points are kept.
};

/// `points`, in any order, as at most `most` points along x: all of them, or of
/// each of `most` equal stretches the mean of x and y, and in the band the
/// least and the largest y. Those without a place are left out.
Thinned thinned(std::vector<ChartPoint> points, std::size_t most = 400);

}  // namespace mumoe::study
