#include "study/report/chart_layout.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace mumoe::study {
namespace {

constexpr double kMargin = 12;
constexpr double kPanelGap = 18;

/// The least and the largest of what was added.
struct Bounds {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(const ChartAxis& axis, double value) {
    if (!has_place(axis.scale, value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  AxisRange range(const ChartAxis& axis) const {
    if (low > high) return axis_range(axis.scale, 1, 1, axis.from_zero);
    return axis_range(axis.scale, low, high, axis.from_zero);
  }
};

void find_ranges(const Chart& chart, ChartLayout& layout) {
  Bounds x, y;
  for (const Panel& panel : chart.panels) {
    for (const Series& series : panel.series) {
      for (const ChartPoint& point : series.points) {
        x.add(chart.x, point.x);
        for (const double value : {point.y,
                                   point.low.value_or(point.y),
                                   point.high.value_or(point.y)}) {
          y.add(chart.y, value);
        }
      }
      for (const BandPoint& point : series.band) {
        x.add(chart.x, point.x);
        y.add(chart.y, point.low);
        y.add(chart.y, point.high);
      }
    }
  }
  layout.x = x.range(chart.x);
  layout.y = y.range(chart.y);
}

/// Every name once, in the order in which they come up, then the keys.
std::vector<Series> legend_of(const Chart& chart) {
  std::vector<Series> legend;
  const auto add = [&](const Series& series) {
    const bool known =
        std::any_of(legend.begin(), legend.end(), [&](const Series& entry) {
          return entry.name == series.name;
        });
    if (!known && !series.name.empty()) {
      legend.push_back({series.name,
                        series.look,
                        {},
                        {},
                        series.banded || !series.band.empty()});
    }
  };
  for (const Panel& panel : chart.panels) {
    for (const Series& series : panel.series) add(series);
  }
  for (const Series& key : chart.keys) add(key);
  return legend;
}

/// Puts the legend's entries into rows from `top` on; returns where they end.
double place_legend(cairo_t* cr,
                    const Chart& chart,
                    double top,
                    ChartLayout& layout) {
  const double right = layout.extent.width - kMargin;
  double x = kMargin;
  for (Series& series : legend_of(chart)) {
    const double room = right - kMargin - kSampleWidth - kSampleGap;
    series.name = shortened(cr, kLabelFont, series.name, room);
    const double width =
        kSampleWidth + kSampleGap + text_width(cr, kLabelFont, series.name);
    if (x > kMargin && x + width > right) {
      x = kMargin;
      top += kLegendRow;
    }
    layout.legend.push_back({std::move(series), x, top + kLegendRow / 2});
    x += width + kEntryGap;
  }
  return layout.legend.empty() ? top : top + kLegendRow;
}

double widest_tick(cairo_t* cr, const AxisRange& range) {
  double widest = 0;
  for (const Tick& tick : range.ticks) {
    widest = std::max(widest, text_width(cr, kTickFont, tick.text));
  }
  return widest;
}

/// Leaves out ticks of x whose texts would touch in a plot of this width.
void thin_out(cairo_t* cr, AxisRange& range, double width) {
  const double room = widest_tick(cr, range) + 8;
  while (range.ticks.size() > 2 &&
         (place(range, range.ticks[1].at) - place(range, range.ticks[0].at)) *
                 width <
             room) {
    std::vector<Tick> every_other;
    for (std::size_t i = 0; i < range.ticks.size(); i += 2) {
      every_other.push_back(range.ticks[i]);
    }
    range.ticks = std::move(every_other);
  }
}

/// Puts the plots below `top`; returns where the last one's labels end.
double place_panels(cairo_t* cr,
                    const Chart& chart,
                    double top,
                    ChartLayout& layout) {
  const std::size_t panels = chart.panels.size();
  const std::size_t columns = std::clamp<std::size_t>(panels, 1, 3);
  const double height = columns == 1 ? 270 : columns == 2 ? 230 : 210;
  const double left = kMargin + 20 + widest_tick(cr, layout.y) + 8;
  const double room = layout.extent.width - left - kMargin -
                      kPanelGap * static_cast<double>(columns - 1);
  const double width = room / static_cast<double>(columns);
  thin_out(cr, layout.x, width);
  for (std::size_t i = 0; i < panels; ++i) {
    const std::size_t column = i % columns;
    if (column == 0 && i > 0) top += height + 64;
    const double title = chart.panels[i].title.empty() ? 6 : 20;
    const double x = left + static_cast<double>(column) * (width + kPanelGap);
    layout.panels.push_back({{x, top + title, width, height}, column == 0});
  }
  return panels == 0 ? top : layout.panels.back().plot.bottom() + 40;
}

/// Breaks `text` at blanks into lines of up to `width`.
void add_lines(cairo_t* cr,
               const std::string& text,
               double width,
               std::vector<std::string>& lines) {
  std::string line;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    const std::string longer = line.empty() ? word : line + ' ' + word;
    if (!line.empty() && text_width(cr, kNoteFont, longer) > width) {
      lines.push_back(line);
      line = word;
    } else {
      line = longer;
    }
    begin = end + 1;
  }
  if (!line.empty()) lines.push_back(shortened(cr, kNoteFont, line, width));
}

}  // namespace

ChartLayout lay_out(const Chart& chart) {
  ChartLayout layout;
  find_ranges(chart, layout);
  const std::size_t panels = chart.panels.size();
  layout.extent.width = panels <= 1 ? 560 : panels == 2 ? 760 : 920;
  measure_text([&](cairo_t* cr) {
    const double room = layout.extent.width - 2 * kMargin;
    layout.title = shortened(cr, kTitleFont, chart.title, room);
    double y = kMargin + (chart.title.empty() ? 0 : 24);
    y = place_legend(cr, chart, y, layout) + 7;
    y = place_panels(cr, chart, y, layout);
    for (const std::string& note : chart.notes) {
      add_lines(cr, note, room, layout.notes);
    }
    layout.notes_top = y + 4;
    y += kNoteRow * static_cast<double>(layout.notes.size());
    layout.extent.height = y + kMargin;
  });
  return layout;
}

}  // namespace mumoe::study
