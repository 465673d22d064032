#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace mumoe::data {

/// A rectangle in units of a font, the base line at 0, upwards.
struct GlyphBox {
  double left = 0, bottom = 0, right = 0, top = 0;
  double width() const { return right - left; }
  double height() const { return top - bottom; }
};

/// Where a glyph goes in a picture: a point (x, y) of the font lands at
/// (`left` + x `scale`, `bottom` + y `scale`) pixels from the lower left
/// corner.
struct GlyphPlace {
  double scale = 1;
  double left = 0, bottom = 0;
};

/// A colour picture: [height, width, 4] bytes, red, green and blue, each times
/// opacity, and opacity, from the top.
struct GlyphBitmap {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgba;
};

/// A font file (TrueType, OpenType, Type 1) as FreeType reads it. One thread at
/// a time.
class Font {
 public:
  /// Throws `InputError` naming the file and what FreeType says.
  explicit Font(const std::filesystem::path& path);
  ~Font();
  Font(Font&&) noexcept;
  Font& operator=(Font&&) noexcept;

  const std::string& family() const { return family_; }
  const std::string& style() const { return style_; }  ///< "Regular", "Bold"
  bool scalable() const;  ///< Whether it has outlines.

  /// The number of the glyph for a character; 0: it has none.
  std::uint32_t glyph(char32_t character) const;

  /// The smallest box about the outline of a glyph; of size 0 where it is
  /// empty.
  GlyphBox box(std::uint32_t glyph) const;
  /// Whether two glyphs have the same outline.
  bool same_outline(std::uint32_t one, std::uint32_t other) const;
  /// How much of each of `side` x `side` pixels the outline covers, 0 to 255,
  /// from the top; what lies outside is cut. Without hints: only the outline
  /// and `place` have a say in it.
  std::vector<std::uint8_t> draw(std::uint32_t glyph,
                                 const GlyphPlace& place,
                                 int side) const;

  /// The colour bitmap of a glyph, of the largest size there is. Throws
  /// `InputError` where the font has none.
  GlyphBitmap bitmap(std::uint32_t glyph) const;

  /// A table of a TrueType or OpenType file by its name, such as "GSUB"; empty:
  /// it has none.
  std::string table(const char (&name)[5]) const;

 private:
  struct Face;
  std::filesystem::path path_;
  std::unique_ptr<Face> face_;
  std::string family_, style_;
};

}  // namespace mumoe::data
