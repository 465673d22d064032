#pragma once

#include <optional>
#include <string>
#include <vector>

#include "study/report/axis.h"

namespace mumoe::study {

/// A point of a series, with an error bar where `low` and `high` are there.
struct ChartPoint {
  double x = 0;
  double y = 0;
  std::optional<double> low = {};
  std::optional<double> high = {};
};

struct BandPoint {
  double x = 0;
  double low = 0;
  double high = 0;
};

enum class Line { none, solid, dashed, dotted };

/// What a series looks like.
struct Look {
  /// Number of its colour and its mark, from 0; of no colour (-1) it is grey,
  /// as for what was not measured.
  int number = 0;
  Line line = Line::solid;
  bool marks = true;
};

/// Points in any order; the line goes along x.
struct Series {
  std::string name;  ///< In the legend, once a name; empty: not there.
  Look look;
  std::vector<ChartPoint> points = {};
  std::vector<BandPoint> band = {};  ///< Shaded, from low to high.
  bool banded = false;               ///< In the legend with a band.
};

struct ChartAxis {
  std::string label;  ///< With the unit.
  Scale scale = Scale::linear;
  bool from_zero = false;
};

/// One of a chart's plots.
struct Panel {
  std::string title;
  std::vector<Series> series;
};

/// Panels in rows of up to three, on the same axes, with one legend.
struct Chart {
  std::string title;
  ChartAxis x;
  ChartAxis y;
  std::vector<Panel> panels;
  /// Entries of the legend without points: what kinds of lines mean.
  std::vector<Series> keys = {};
  std::vector<std::string> notes = {};  ///< Below, small.
};

/// The chart as an SVG and as a PNG file, of one drawing. Points without a
/// place (not finite; zero or less on a logarithmic axis) are left out, and a
/// note below says how many. Without any point a panel says so. Throws
/// `InputError` for text that is not UTF-8.
std::string chart_svg(const Chart& chart);
std::string chart_png(const Chart& chart, double pixels_a_point = 2);

}  // namespace mumoe::study
