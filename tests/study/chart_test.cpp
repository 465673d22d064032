#include "study/report/chart.h"

#include <cairo.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <set>

#include "study/report/canvas.h"
#include "study/report/inline_svg.h"
#include "tests/study/markup.h"
#include "tests/support/errors.h"

namespace mumoe::study {
namespace {

using testing::count_of;
using testing::expect_input_error;
using testing::markup_error;

/// The pixels of a PNG file, as cairo reads it.
class Picture {
 public:
  explicit Picture(const std::string& file) {
    rest_ = file;
    surface_.reset(cairo_image_surface_create_from_png_stream(read, this));
    EXPECT_EQ(cairo_surface_status(surface_.get()), CAIRO_STATUS_SUCCESS);
  }

  int width() const { return cairo_image_surface_get_width(surface_.get()); }
  int height() const { return cairo_image_surface_get_height(surface_.get()); }

  /// Red, green and blue, from 0 to 255.
  std::array<int, 3> at(int x, int y) const {
    const auto* row = cairo_image_surface_get_data(surface_.get()) +
                      static_cast<std::ptrdiff_t>(y) *
                          cairo_image_surface_get_stride(surface_.get());
    std::uint32_t pixel = 0;
    std::memcpy(&pixel, row + 4 * x, 4);
    return {static_cast<int>(pixel >> 16 & 255),
            static_cast<int>(pixel >> 8 & 255),
            static_cast<int>(pixel & 255)};
  }

  /// How many pixels are of `colour`, of all or those above `height`.
  int count(Colour colour, int height = 1 << 20) const {
    int found = 0;
    for (int y = 0; y < std::min(height, this->height()); ++y) {
      for (int x = 0; x < width(); ++x) {
        const auto [red, green, blue] = at(x, y);
        found += std::abs(red - 255 * colour.red) < 2 &&
                 std::abs(green - 255 * colour.green) < 2 &&
                 std::abs(blue - 255 * colour.blue) < 2;
      }
    }
    return found;
  }

 private:
  static cairo_status_t read(void* self, unsigned char* to, unsigned int size) {
    auto& rest = static_cast<Picture*>(self)->rest_;
    if (rest.size() < size) return CAIRO_STATUS_READ_ERROR;
    std::memcpy(to, rest.data(), size);
    rest.erase(0, size);
    return CAIRO_STATUS_SUCCESS;
  }
  struct Destroy {
    void operator()(cairo_surface_t* surface) const {
      cairo_surface_destroy(surface);
    }
  };

  std::string rest_;
  std::unique_ptr<cairo_surface_t, Destroy> surface_;
};

Chart two_series() {
  Chart chart{"Throughput",
              {"ranks", Scale::log2},
              {"tokens/s", Scale::log10},
              {}};
  chart.panels.push_back(
      {"cp",
       {{"dp", {0, Line::solid, true}, {{1, 100, 90, 120}, {2, 190}, {4, 350}}},
        {"tp",
         {1, Line::dashed, true},
         {{1, 100}, {2, 150}},
         {{1, 80, 120}, {2, 130, 170}}}}});
  return chart;
}

TEST(Chart, SvgIsWellFormedAndNeedsNothing) {
  const auto svg = chart_svg(two_series());
  EXPECT_EQ(markup_error(svg), "");
  EXPECT_EQ(count_of(svg, "<svg"), 1u);
  // Text is outlines: no font is asked for, nothing is fetched.
  EXPECT_EQ(count_of(svg, "<text"), 0u);
  EXPECT_EQ(count_of(svg, "<image"), 0u);
  EXPECT_GT(count_of(svg, "<use "), 40u);
  EXPECT_EQ(count_of(svg, "http"), count_of(svg, "\"http://www.w3.org/"));
}

TEST(Chart, PngShowsEverySeriesInItsColour) {
  const auto png = chart_png(two_series());
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  const Picture picture(png);
  EXPECT_EQ(picture.width(), 2 * 560);
  EXPECT_GT(picture.height(), 400);
  EXPECT_EQ(picture.at(0, 0), (std::array<int, 3>{255, 255, 255}));
  // Some 2 pixels a line's width, for hundreds of pixels.
  EXPECT_GT(picture.count(series_colour(0)), 1000);
  EXPECT_GT(picture.count(series_colour(1)), 500);
  EXPECT_LT(picture.count(series_colour(2)), 5);
  Chart without = two_series();
  without.panels[0].series.pop_back();
  EXPECT_LT(Picture(chart_png(without)).count(series_colour(1)), 5);
}

TEST(Chart, TextIsThereWithoutFontsOfOnesOwn) {
  const int title = Picture(chart_png(two_series())).count(kInk, 60);
  Chart untitled = two_series();
  untitled.title = " ";
  const int none = Picture(chart_png(untitled)).count(kInk, 60);
  EXPECT_GT(title, none + 200);
}

TEST(Chart, LinesAndBandsGoAlongXWhateverTheOrder) {
  Chart sorted = two_series(), turned = two_series();
  turned.panels[0].series[0].look.marks = false;
  sorted.panels[0].series[0].look.marks = false;
  std::ranges::reverse(turned.panels[0].series[0].points);
  std::ranges::reverse(turned.panels[0].series[1].band);
  // Error bars are drawn in the order of points, which touch nothing here.
  EXPECT_EQ(chart_png(sorted), chart_png(turned));
}

TEST(Chart, ErrorBarsAreDrawn) {
  Chart bars = two_series(), plain = two_series();
  plain.panels[0].series[0].points[0].low = {};
  plain.panels[0].series[0].points[0].high = {};
  EXPECT_GT(Picture(chart_png(bars)).count(series_colour(0)),
            Picture(chart_png(plain)).count(series_colour(0)) + 20);
}

TEST(Chart, PointsWithoutAPlaceAreLeftOutAndCounted) {
  Chart good = two_series();
  good.notes.push_back(
      "3 points left out: not finite, or not above 0 on a logarithmic axis");
  Chart bad = two_series();
  auto& points = bad.panels[0].series[0].points;
  points.insert(points.begin() + 1, {2, 0});
  points.push_back({8, std::nan("")});
  bad.panels[0].series[1].band.push_back({4, -1, 5});
  EXPECT_EQ(chart_png(good), chart_png(bad));
  // On a linear axis 0 has a place.
  Chart linear = two_series();
  linear.y.scale = Scale::linear;
  Chart zero = linear;
  zero.panels[0].series[0].points.push_back({4, 0});
  zero.panels[0].series[0].points.push_back({4, 350});
  EXPECT_NE(chart_png(linear), chart_png(zero));
}

TEST(Chart, BarsThatAreNotFiniteOrReachZeroDoNotSpoilAPoint) {
  Chart chart = two_series();
  chart.panels[0].series[0].points = {{1, 100, 0, 200},
                                      {2, 100, std::nan(""), 200}};
  const Picture picture(chart_png(chart));
  EXPECT_GT(picture.count(series_colour(0)), 300);
  EXPECT_EQ(markup_error(chart_svg(chart)), "");
  EXPECT_EQ(count_of(chart_svg(chart), "nan"), 0u);
}

TEST(Chart, OnePointNoPointAndNoPanelAreCharts) {
  Chart chart = two_series();
  chart.panels[0].series.resize(1);
  chart.panels[0].series[0].points.resize(1);
  EXPECT_GT(Picture(chart_png(chart)).count(series_colour(0)), 100);
  chart.panels[0].series[0].points.clear();
  EXPECT_EQ(markup_error(chart_svg(chart)), "");
  EXPECT_GT(Picture(chart_png(chart)).height(), 300);
  chart.panels.clear();
  EXPECT_EQ(markup_error(chart_svg(chart)), "");
}

TEST(Chart, LongAndOddTextsStayWithinThePicture) {
  Chart chart = two_series();
  chart.title = std::string(500, 'W');
  chart.panels[0].title = "<b>&\"'\n\x01µ×";
  chart.panels[0].series[0].name = std::string(300, 'M');
  chart.notes = {std::string(400, 'x'), "one two " + std::string(200, 'y')};
  EXPECT_EQ(markup_error(chart_svg(chart)), "");
  const Picture picture(chart_png(chart));
  for (int y = 0; y < picture.height(); ++y) {
    ASSERT_EQ(picture.at(picture.width() - 1, y),
              (std::array<int, 3>{255, 255, 255}));
  }
  chart.title = "\xff\xfe";
  expect_input_error([&] { chart_svg(chart); }, {"not UTF-8"});
}

TEST(Chart, ManySeriesAreAllDifferent) {
  std::set<std::string> pictures;
  for (int look = 0; look < 56; ++look) {
    Chart chart = two_series();
    chart.panels[0].series[0].look.number = look;
    pictures.insert(chart_png(chart, 1));
  }
  EXPECT_EQ(pictures.size(), 56u);
}

TEST(InlineSvg, HasNamesOfItsOwnAndThePagesInk) {
  const auto svg = chart_svg(two_series());
  const auto element = inline_svg(svg, "one", "<b>&\"");
  EXPECT_EQ(markup_error(element), "");
  EXPECT_EQ(element.substr(0, 4), "<svg");
  EXPECT_EQ(count_of(element, "http"), 0u);
  EXPECT_EQ(count_of(element, "xmlns"), 0u);
  EXPECT_EQ(count_of(element, "id=\""), count_of(element, "id=\"one-"));
  EXPECT_EQ(count_of(element, "href=\"#"), count_of(element, "href=\"#one-"));
  EXPECT_EQ(count_of(element, "url(#"), count_of(element, "url(#one-"));
  EXPECT_GT(count_of(element, "currentColor"), 10u);
  EXPECT_EQ(count_of(element, "rgb(13%"), 0u);
  // Series keep theirs.
  EXPECT_GT(count_of(element, "rgb(0%"), 0u);
  EXPECT_EQ(count_of(element, "aria-label=\"&lt;b&gt;&amp;&quot;\""), 1u);
}

}  // namespace
}  // namespace mumoe::study
