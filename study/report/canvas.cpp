#include "study/report/canvas.h"

#include <cairo-svg.h>
#include <cairo.h>

#include <array>
#include <cmath>
#include <memory>
#include <numbers>

#include "base/error.h"

namespace mumoe::study {
namespace {

struct Destroy {
  void operator()(cairo_surface_t* surface) const {
    cairo_surface_destroy(surface);
  }
  void operator()(cairo_t* cr) const { cairo_destroy(cr); }
};
using Surface = std::unique_ptr<cairo_surface_t, Destroy>;
using Context = std::unique_ptr<cairo_t, Destroy>;

void check(cairo_status_t status) {
  require(status != CAIRO_STATUS_INVALID_STRING,
          "a chart has text that is not UTF-8");
  if (status != CAIRO_STATUS_SUCCESS) {
    fail<InternalError>("cairo cannot draw: {}",
                        cairo_status_to_string(status));
  }
}

/// Appends to the std::string at `closure`; C calls it, so it throws nothing.
cairo_status_t append(void* closure,
                      const unsigned char* bytes,
                      unsigned int size) noexcept {
  try {
    static_cast<std::string*>(closure)->append(
        reinterpret_cast<const char*>(bytes),
        size);
    return CAIRO_STATUS_SUCCESS;
  } catch (const std::exception&) {
    return CAIRO_STATUS_NO_MEMORY;
  }
}

void draw_on(cairo_surface_t* surface, double scale, const Drawing& drawing) {
  check(cairo_surface_status(surface));
  const Context cr(cairo_create(surface));
  cairo_scale(cr.get(), scale, scale);
  drawing(cr.get());
  check(cairo_status(cr.get()));
}

void set_font(cairo_t* cr, Font font) {
  cairo_select_font_face(
      cr,
      "sans-serif",
      CAIRO_FONT_SLANT_NORMAL,
      font.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cr, font.size);
}

/// A closed line through the corners, each {x, y} from the mark's middle.
template <std::size_t N>
void fill_corners(cairo_t* cr, const std::array<std::array<double, 2>, N>& at) {
  for (const auto& [x, y] : at) cairo_line_to(cr, x, y);
  cairo_close_path(cr);
  cairo_fill(cr);
}

/// Bars through the middle, the first upright, at equal angles.
void draw_bars(cairo_t* cr, int bars, double turn, double length) {
  for (int bar = 0; bar < bars; ++bar) {
    const double angle = turn + bar * std::numbers::pi / bars;
    const double x = length * std::sin(angle), y = length * std::cos(angle);
    cairo_move_to(cr, -x, -y);
    cairo_line_to(cr, x, y);
  }
  cairo_set_line_width(cr, 1.8);
  cairo_stroke(cr);
}

}  // namespace

std::string svg_of(Extent extent, const Drawing& drawing) {
  std::string file;
  {
    const Surface surface(cairo_svg_surface_create_for_stream(append,
                                                              &file,
                                                              extent.width,
                                                              extent.height));
    draw_on(surface.get(), 1, drawing);
    cairo_surface_finish(surface.get());
    check(cairo_surface_status(surface.get()));
  }
  return file;
}

std::string png_of(Extent extent, double scale, const Drawing& drawing) {
  const Surface surface(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24,
                                 static_cast<int>(extent.width * scale),
                                 static_cast<int>(extent.height * scale)));
  draw_on(surface.get(), scale, [&](cairo_t* cr) {
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    drawing(cr);
  });
  std::string file;
  check(cairo_surface_write_to_png_stream(surface.get(), append, &file));
  return file;
}

void measure_text(const Drawing& measure) {
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1));
  draw_on(surface.get(), 1, measure);
}

double text_width(cairo_t* cr, Font font, const std::string& text) {
  set_font(cr, font);
  cairo_text_extents_t extents;
  cairo_text_extents(cr, one_line(text).c_str(), &extents);
  return extents.x_advance;
}

std::string shortened(cairo_t* cr,
                      Font font,
                      const std::string& text,
                      double width) {
  std::string kept = one_line(text);
  if (text_width(cr, font, kept) <= width) return kept;
  while (!kept.empty()) {
    // A whole character: its last bytes begin with the bits 10.
    while (kept.size() > 1 && (kept.back() & 0xc0) == 0x80) kept.pop_back();
    kept.pop_back();
    if (text_width(cr, font, kept + "…") <= width) break;
  }
  return kept + "…";
}

void write_text(cairo_t* cr,
                Font font,
                const std::string& text,
                double x,
                double y,
                Align align) {
  const double width = text_width(cr, font, text);
  if (align == Align::centre) x -= width / 2;
  if (align == Align::right) x -= width;
  cairo_move_to(cr, x, y);
  cairo_show_text(cr, one_line(text).c_str());
}

void write_upwards(cairo_t* cr,
                   Font font,
                   const std::string& text,
                   double x,
                   double y) {
  cairo_save(cr);
  cairo_translate(cr, x, y);
  cairo_rotate(cr, -std::numbers::pi / 2);
  write_text(cr, font, text, 0, font.size * 0.36, Align::centre);
  cairo_restore(cr);
}

void set_colour(cairo_t* cr, Colour colour, double opacity) {
  cairo_set_source_rgba(cr, colour.red, colour.green, colour.blue, opacity);
}

Colour series_colour(int look) {
  static constexpr std::array<Colour, 7> kColours = {{
      {0, 0.447, 0.698},      // blue
      {0.835, 0.369, 0},      // vermilion
      {0, 0.62, 0.451},       // bluish green
      {0.8, 0.475, 0.655},    // reddish purple
      {0.902, 0.624, 0},      // orange
      {0.337, 0.706, 0.914},  // sky blue
      {0.5, 0.5, 0.5},        // grey
  }};
  return kColours[static_cast<std::size_t>(look) % kColours.size()];
}

void draw_mark(cairo_t* cr, int look, double x, double y) {
  cairo_save(cr);
  cairo_translate(cr, x, y);
  cairo_new_path(cr);
  switch (look % 8) {
    case 0:
      cairo_arc(cr, 0, 0, 3.6, 0, 2 * std::numbers::pi);
      cairo_fill(cr);
      break;
    case 1:
      cairo_rectangle(cr, -3.2, -3.2, 6.4, 6.4);
      cairo_fill(cr);
      break;
    case 2:
      fill_corners<3>(cr, {{{0, -4.4}, {4.2, 3.2}, {-4.2, 3.2}}});
      break;
    case 3:
      fill_corners<4>(cr, {{{0, -4.6}, {4.6, 0}, {0, 4.6}, {-4.6, 0}}});
      break;
    case 4:
      fill_corners<3>(cr, {{{0, 4.4}, {4.2, -3.2}, {-4.2, -3.2}}});
      break;
    case 5:
      draw_bars(cr, 2, 0, 4.4);
      break;
    case 6:
      draw_bars(cr, 2, std::numbers::pi / 4, 4.4);
      break;
    default:
      draw_bars(cr, 3, 0, 4.4);
  }
  cairo_restore(cr);
}

}  // namespace mumoe::study
