#pragma once

#include <functional>
#include <string>

// Of cairo.h, which those include that draw.
typedef struct _cairo cairo_t;

namespace mumoe::study {

struct Colour {
  double red = 0;
  double green = 0;
  double blue = 0;
};

/// Of text, axes and all that is no series.
inline constexpr Colour kInk = {0.13, 0.13, 0.13};

/// Width and height in points.
struct Extent {
  double width = 0;
  double height = 0;
};

/// What draws on a page of some extent, from its upper left corner.
using Drawing = std::function<void(cairo_t*)>;

/// The drawing as an SVG file; text is in it as outlines, so that it needs no
/// fonts where it is shown. Both throw `InternalError` with cairo's reason, and
/// `InputError` for text that is no UTF-8.
std::string svg_of(Extent extent, const Drawing& drawing);

/// The drawing as a PNG file, on white, with `scale` pixels a point.
std::string png_of(Extent extent, double scale, const Drawing& drawing);

/// Calls `measure` with something to measure text with, which shows nothing.
void measure_text(const Drawing& measure);

struct Font {
  double size = 11;
  bool bold = false;
};
enum class Align { left, centre, right };

/// Width of `text` on one line; control characters are spelled out.
double text_width(cairo_t* cr, Font font, const std::string& text);

/// `text`, or as much of its beginning as fits into `width`, and an ellipsis.
std::string shortened(cairo_t* cr,
                      Font font,
                      const std::string& text,
                      double width);

/// Writes `text` with its base line at `y`.
void write_text(cairo_t* cr,
                Font font,
                const std::string& text,
                double x,
                double y,
                Align align = Align::left);

/// Writes it upwards, its middle at `x`, `y`.
void write_upwards(cairo_t* cr,
                   Font font,
                   const std::string& text,
                   double x,
                   double y);

void set_colour(cairo_t* cr, Colour colour, double opacity = 1);

/// Colours that also those tell apart who do not see red, green or blue, on
/// white as on black (Okabe and Ito's, without yellow and black); they repeat.
Colour series_colour(int look);

/// A mark of its own for each of eight `look`s, then again, at `x`, `y`, in the
/// colour that is set.
void draw_mark(cairo_t* cr, int look, double x, double y);

}  // namespace mumoe::study
