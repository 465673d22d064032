#include "study/report/chart.h"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "study/report/canvas.h"
#include "study/report/chart_layout.h"

namespace mumoe::study {
namespace {

constexpr double kMargin = 12;
constexpr Colour kGrey = {0.5, 0.5, 0.5};
constexpr double kSoft = 0.7;  // ink of small print
constexpr double kBandOpacity = 0.2;

/// Numbers of one panel as places in its plot.
class Plot {
 public:
  Plot(const ChartLayout& layout, const Box& box)
      : layout_(layout), box_(box) {}

  double x(double value) const {
    return box_.left + place(layout_.x, value) * box_.width;
  }
  double y(double value) const {
    return box_.bottom() - place(layout_.y, value) * box_.height;
  }

 private:
  const ChartLayout& layout_;
  const Box& box_;
};

Colour colour_of(const Look& look) {
  return look.number < 0 ? kGrey : series_colour(look.number);
}

void set_line(cairo_t* cr, const Look& look) {
  static constexpr std::array<double, 2> kDashes = {5, 3.5};
  static constexpr std::array<double, 2> kDots = {1.5, 3};
  const bool dashed = look.line == Line::dashed;
  const auto& pattern = dashed ? kDashes : kDots;
  set_colour(cr, colour_of(look));
  cairo_set_line_width(cr, 1.6);
  cairo_set_dash(cr,
                 pattern.data(),
                 dashed || look.line == Line::dotted ? 2 : 0,
                 0);
}

void draw_band(cairo_t* cr, const Plot& plot, const Series& series) {
  if (series.band.empty()) return;
  std::vector<BandPoint> band = series.band;
  std::sort(band.begin(), band.end(), [](const auto& a, const auto& b) {
    return a.x < b.x;
  });
  cairo_new_path(cr);
  for (const BandPoint& at : band) {
    cairo_line_to(cr, plot.x(at.x), plot.y(at.high));
  }
  for (auto at = band.rbegin(); at != band.rend(); ++at) {
    cairo_line_to(cr, plot.x(at->x), plot.y(at->low));
  }
  cairo_close_path(cr);
  set_colour(cr, colour_of(series.look), kBandOpacity);
  cairo_fill(cr);
  if (band.size() > 1) return;
  // An area of one point has no width: a thick bar.
  cairo_set_line_width(cr, 9);
  cairo_move_to(cr, plot.x(band[0].x), plot.y(band[0].low));
  cairo_line_to(cr, plot.x(band[0].x), plot.y(band[0].high));
  cairo_stroke(cr);
}

void draw_line(cairo_t* cr, const Plot& plot, const Series& series) {
  if (series.look.line == Line::none) return;
  std::vector<ChartPoint> points = series.points;
  std::stable_sort(points.begin(), points.end(), [](auto& a, auto& b) {
    return a.x < b.x;
  });
  set_line(cr, series.look);
  cairo_new_path(cr);
  for (const ChartPoint& at : points) {
    cairo_line_to(cr, plot.x(at.x), plot.y(at.y));
  }
  cairo_stroke(cr);
  cairo_set_dash(cr, nullptr, 0, 0);
}

void draw_points(cairo_t* cr, const Plot& plot, const Series& series) {
  set_colour(cr, colour_of(series.look));
  cairo_set_line_width(cr, 1.1);
  for (const ChartPoint& at : series.points) {
    const double x = plot.x(at.x);
    if (at.low && at.high && *at.low < *at.high) {
      const double low = plot.y(*at.low), high = plot.y(*at.high);
      cairo_move_to(cr, x, low);
      cairo_line_to(cr, x, high);
      for (const double y : {low, high}) {
        cairo_move_to(cr, x - 3.5, y);
        cairo_line_to(cr, x + 3.5, y);
      }
      cairo_stroke(cr);
    }
    if (series.look.marks) {
      draw_mark(cr, std::max(series.look.number, 0), x, plot.y(at.y));
      cairo_set_line_width(cr, 1.1);
    }
  }
}

void draw_grid(cairo_t* cr,
               const ChartLayout& layout,
               const Plot& plot,
               const Box& box) {
  cairo_set_line_width(cr, 0.7);
  set_colour(cr, kInk, 0.16);
  for (const Tick& tick : layout.x.ticks) {
    cairo_move_to(cr, plot.x(tick.at), box.top);
    cairo_line_to(cr, plot.x(tick.at), box.bottom());
  }
  for (const Tick& tick : layout.y.ticks) {
    cairo_move_to(cr, box.left, plot.y(tick.at));
    cairo_line_to(cr, box.right(), plot.y(tick.at));
  }
  cairo_stroke(cr);
}

void draw_axes(cairo_t* cr,
               const Chart& chart,
               const ChartLayout& layout,
               const PanelPlace& panel) {
  const Box& box = panel.plot;
  const Plot plot(layout, box);
  set_colour(cr, kInk);
  cairo_set_line_width(cr, 1);
  for (const Tick& tick : layout.x.ticks) {
    const double x = plot.x(tick.at);
    cairo_move_to(cr, x, box.bottom());
    cairo_line_to(cr, x, box.bottom() + 4);
    cairo_stroke(cr);
    write_text(cr, kTickFont, tick.text, x, box.bottom() + 16, Align::centre);
  }
  for (const Tick& tick : layout.y.ticks) {
    const double y = plot.y(tick.at);
    cairo_move_to(cr, box.left - 4, y);
    cairo_line_to(cr, box.left, y);
    cairo_stroke(cr);
    if (!panel.first_in_row) continue;
    write_text(cr, kTickFont, tick.text, box.left - 7, y + 3.8, Align::right);
  }
  cairo_move_to(cr, box.left, box.top);
  cairo_line_to(cr, box.left, box.bottom());
  cairo_line_to(cr, box.right(), box.bottom());
  cairo_stroke(cr);
  const double middle = box.left + box.width / 2;
  write_text(cr,
             kLabelFont,
             chart.x.label,
             middle,
             box.bottom() + 33,
             Align::centre);
  if (panel.first_in_row) {
    const double y = box.top + box.height / 2;
    write_upwards(cr, kLabelFont, chart.y.label, kMargin + 6, y);
  }
}

void draw_series(cairo_t* cr, const Plot& plot, const Panel& panel) {
  for (const Series& series : panel.series) draw_band(cr, plot, series);
  for (const Series& series : panel.series) draw_line(cr, plot, series);
  for (const Series& series : panel.series) draw_points(cr, plot, series);
}

void draw_panel(cairo_t* cr,
                const Chart& chart,
                const ChartLayout& layout,
                std::size_t index) {
  const Panel& panel = chart.panels[index];
  const Box& box = layout.panels[index].plot;
  const Plot plot(layout, box);
  draw_grid(cr, layout, plot, box);
  draw_series(cr, plot, panel);
  draw_axes(cr, chart, layout, layout.panels[index]);
  if (!panel.title.empty()) {
    const auto title = shortened(cr, kPanelFont, panel.title, box.width);
    write_text(cr, kPanelFont, title, box.left, box.top - 8);
  }
  const bool empty =
      std::all_of(panel.series.begin(),
                  panel.series.end(),
                  [](const Series& series) {
                    return series.points.empty() && series.band.empty();
                  });
  if (empty) {
    const double x = box.left + box.width / 2, y = box.top + box.height / 2;
    set_colour(cr, kInk, kSoft);
    write_text(cr, kLabelFont, "nothing to show", x, y, Align::centre);
  }
}

void draw_legend(cairo_t* cr, const ChartLayout& layout) {
  for (const LegendEntry& entry : layout.legend) {
    const Look& look = entry.series.look;
    const double left = entry.x, y = entry.y;
    if (entry.series.banded) {
      set_colour(cr, colour_of(look), kBandOpacity);
      cairo_rectangle(cr, left, y - 5.5, kSampleWidth, 11);
      cairo_fill(cr);
    }
    if (look.line != Line::none) {
      set_line(cr, look);
      cairo_move_to(cr, left, y);
      cairo_line_to(cr, left + kSampleWidth, y);
      cairo_stroke(cr);
      cairo_set_dash(cr, nullptr, 0, 0);
    }
    set_colour(cr, colour_of(look));
    if (look.marks) {
      draw_mark(cr, std::max(look.number, 0), left + kSampleWidth / 2, y);
    }
    set_colour(cr, kInk);
    const double x = left + kSampleWidth + kSampleGap;
    write_text(cr, kLabelFont, entry.series.name, x, y + 4);
  }
}

/// The chart without points that have no place, and a note that counts them.
Chart with_places(Chart chart) {
  std::size_t left_out = 0;
  const auto keep = [&](auto& points, const auto& placed) {
    left_out += std::erase_if(points, [&](const auto& at) {
      return !has_place(chart.x.scale, at.x) || !placed(at);
    });
  };
  const auto on_y = [&](double value) {
    return has_place(chart.y.scale, value);
  };
  for (Panel& panel : chart.panels) {
    for (Series& series : panel.series) {
      for (ChartPoint& at : series.points) {
        const bool finite = std::isfinite(at.low.value_or(0)) &&
                            std::isfinite(at.high.value_or(0));
        if (!finite) at.low = at.high = {};
      }
      keep(series.points, [&](const ChartPoint& at) { return on_y(at.y); });
      keep(series.band,
           [&](const BandPoint& at) { return on_y(at.low) && on_y(at.high); });
    }
  }
  if (left_out > 0) {
    chart.notes.push_back(fmt::format(
        "{} point{} left out: not finite, or not above 0 on a logarithmic axis",
        left_out,
        left_out == 1 ? "" : "s"));
  }
  return chart;
}

/// Lays `chart` out and has `make` draw it on a page of the extent it takes.
template <class Make>
std::string drawn(const Chart& given, const Make& make) {
  const Chart chart = with_places(given);
  const ChartLayout layout = lay_out(chart);
  return make(layout.extent, [&](cairo_t* cr) {
    set_colour(cr, kInk);
    write_text(cr, kTitleFont, layout.title, kMargin, kMargin + 13);
    draw_legend(cr, layout);
    for (std::size_t i = 0; i < chart.panels.size(); ++i) {
      draw_panel(cr, chart, layout, i);
    }
    set_colour(cr, kInk, kSoft);
    double y = layout.notes_top;
    for (const std::string& line : layout.notes) {
      write_text(cr, kNoteFont, line, kMargin, y + 9);
      y += kNoteRow;
    }
  });
}

}  // namespace

std::string chart_svg(const Chart& chart) {
  return drawn(chart, svg_of);
}

std::string chart_png(const Chart& chart, double pixels_a_point) {
  return drawn(chart, [&](Extent extent, const Drawing& drawing) {
    return png_of(extent, pixels_a_point, drawing);
  });
}

}  // namespace mumoe::study
