#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mumoe::data {

/// Side in pixels of the pictures, that of Fashion-MNIST's.
inline constexpr int kGlyphSide = 28;

/// The classes: A to Z, a to z, 0 to 9.
std::vector<std::string> glyph_classes();

/// A font whose letters and digits are drawn.
struct GlyphFont {
  std::filesystem::path path;
  std::string family, style;
  bool val = false;
};

/// Whether a family is for validation: by a hash of the first word of its name
/// in small letters, about one in five. So a family, and those that share that
/// word ("PT Sans", "PT Serif"), are on one side, whatever other fonts there
/// are.
bool family_is_for_validation(const std::string& family);

/// The fonts below `folder` (.ttf, .otf), by path, that are regular, bold or
/// italic and have an outline of their own for each letter and digit; small
/// capitals and ornaments are left out, as is a family's style that was there
/// already. Throws `InputError` naming a font that cannot be read.
std::vector<GlyphFont> find_glyph_fonts(const std::filesystem::path& folder);

/// Draws each letter and digit of each font twice, in sizes and places of their
/// own, which are functions of family, style and character, and writes them to
/// `into`: idx files train and val, classes.txt, and fonts.txt, a line a font.
/// The same bytes for any number of threads. Throws `InputError`, also where no
/// font is for training or none for validation.
void write_glyphs(const std::filesystem::path& fonts,
                  const std::filesystem::path& into,
                  int threads);

}  // namespace mumoe::data
