#include "study/runs/thinned.h"

#include <algorithm>
#include <cmath>

namespace mumoe::study {

Thinned thinned(std::vector<ChartPoint> points, std::size_t most) {
  std::erase_if(points, [](const ChartPoint& point) {
    return !std::isfinite(point.x) || !std::isfinite(point.y);
  });
  if (points.size() <= most) return {std::move(points), {}};
  std::ranges::stable_sort(points, {}, &ChartPoint::x);
  const double first = points.front().x;
  const double width = (points.back().x - first) / static_cast<double>(most);
  Thinned kept;
  for (std::size_t begin = 0; begin < points.size();) {
    const double stretch = std::floor((points[begin].x - first) / width);
    BandPoint band{0, points[begin].y, points[begin].y};
    double x = 0, y = 0;
    std::size_t end = begin;
    while (end < points.size() &&
           (end == begin ||
            std::floor((points[end].x - first) / width) <= stretch)) {
      x += points[end].x;
      y += points[end].y;
      band.low = std::min(band.low, points[end].y);
      band.high = std::max(band.high, points[end].y);
      ++end;
    }
    const double count = static_cast<double>(end - begin);
    band.x = x / count;
    kept.points.push_back({band.x, y / count});
    kept.band.push_back(band);
    begin = end;
  }
  return kept;
}

}  // namespace mumoe::study
