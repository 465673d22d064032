#pragma once

#include <string>
#include <vector>

#include "study/report/axis.h"
#include "study/report/canvas.h"
#include "study/report/chart.h"

namespace mumoe::study {

inline constexpr Font kTitleFont = {14, true};
inline constexpr Font kPanelFont = {11.5, true};
inline constexpr Font kLabelFont = {11.5, false};
inline constexpr Font kTickFont = {10.5, false};
inline constexpr Font kNoteFont = {9.5, false};

/// Of the samples in the legend, and between its entries.
inline constexpr double kSampleWidth = 26;
inline constexpr double kSampleGap = 6;
inline constexpr double kEntryGap = 18;
inline constexpr double kLegendRow = 18;
inline constexpr double kNoteRow = 13;

struct Box {
  double left = 0;
  double top = 0;
  double width = 0;
  double height = 0;

  double right() const { return left + width; }
  double bottom() const { return top + height; }
};

struct LegendEntry {
  Series series;  ///< Its name cut to what fits.
  double x = 0;
  double y = 0;  ///< Of its middle.
};

struct PanelPlace {
  Box plot;  ///< What the axes enclose.
  bool first_in_row = false;
};

/// Where everything of a chart lies.
struct ChartLayout {
  Extent extent;
  AxisRange x;
  AxisRange y;
  std::string title;
  std::vector<LegendEntry> legend;
  std::vector<PanelPlace> panels;
  std::vector<std::string> notes;  ///< In lines.
  double notes_top = 0;
};

/// Lays out `chart`, of whose points all have a place.
ChartLayout lay_out(const Chart& chart);

}  // namespace mumoe::study
