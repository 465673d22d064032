#include "data/images/glyphs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/purposes.h"
#include "data/images/font.h"
#include "data/images/idx.h"
#include "data/workers.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::size_t kLetters = 26;

/// Pictures of a character of a font.
constexpr std::size_t kLooks = 2;

/// Of the picture's 28 pixels: how high the characters of a font are together,
/// and how wide the widest may be.
constexpr double kHeight = 22, kWidth = 24;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

bool plain_style(const std::string& style) {
  constexpr std::string_view kStyles[] =
      {"regular", "book", "roman", "normal", "bold", "italic", "oblique"};
  return std::ranges::find(kStyles, lower(style)) != std::end(kStyles);
}

/// Families whose small letters are capitals, or which are ornaments.
bool ornamental(const std::string& family) {
  constexpr std::string_view kWords[] =
      {"Smallcaps", "Titling", "Style", "Initials", "Keyboard", "Math"};
  return std::ranges::any_of(kWords, [&](std::string_view word) {
    return family.find(word) != std::string::npos;
  });
}

bool has_all(const Font& font) {
  if (!font.scalable()) return false;
  for (const char c : kCharacters) {
    const auto glyph = font.glyph(static_cast<unsigned char>(c));
    if (glyph == 0 || font.box(glyph).height() <= 0) return false;
  }
  for (std::size_t i = 0; i < kLetters; ++i) {
    if (font.same_outline(font.glyph(kCharacters[i]),
                          font.glyph(kCharacters[kLetters + i]))) {
      return false;
    }
  }
  return true;
}

std::vector<fs::path> font_files(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string ending = lower(entry->path().extension().string());
    // A link is another name of a font that is there.
    if ((ending == ".ttf" || ending == ".otf") && !entry->is_symlink()) {
      paths.push_back(entry->path());
    }
  }
  require(!error, "{}: cannot list: {}", folder.string(), error.message());
  std::ranges::sort(paths);
  return paths;
}

/// All characters of a font, kLooks pictures each, [62, kLooks, side, side].
std::vector<std::uint8_t> draw_font(const GlyphFont& of) {
  const Font font(of.path);
  GlyphBox all{0, 0, 0, 0};
  double widest = 0;
  for (const char c : kCharacters) {
    const GlyphBox box = font.box(font.glyph(static_cast<unsigned char>(c)));
    all.bottom = std::min(all.bottom, box.bottom);
    all.top = std::max(all.top, box.top);
    widest = std::max(widest, box.width());
  }
  const double scale = std::min(kHeight / all.height(), kWidth / widest);
  std::vector<std::uint8_t> pixels;
  for (const char c : kCharacters) {
    const auto glyph = font.glyph(static_cast<unsigned char>(c));
    const GlyphBox box = font.box(glyph);
    const CounterRandom random(
        0,
        kGlyphPurpose,
        hash_name(fmt::format("{}\n{}\n{}", of.family, of.style, c)));
    for (std::size_t look = 0; look < kLooks; ++look) {
      // Four fifths to all of the size: a small capital stays larger than a
      // large small letter. Up to a pixel and a half from the middle.
      GlyphPlace place;
      place.scale = scale * (1 - random.below(3 * look, 33) / 160.0);
      const auto shift = [&](std::size_t draw) {
        return (static_cast<double>(random.below(3 * look + draw, 13)) - 6) / 4;
      };
      const auto middle = [&](double low, double high) {
        return kGlyphSide / 2.0 - place.scale * (low + high) / 2;
      };
      place.left = middle(box.left, box.right) + shift(1);
      place.bottom = middle(all.bottom, all.top) + shift(2);
      const auto picture = font.draw(glyph, place, kGlyphSide);
      pixels.insert(pixels.end(), picture.begin(), picture.end());
    }
  }
  return pixels;
}

/// Writes the pictures of the fonts of one side.
void write_part(const std::vector<GlyphFont>& fonts,
                const std::string& part,
                const fs::path& into,
                Workers& workers) {
  std::vector<std::vector<std::uint8_t>> of_font(fonts.size());
  workers.for_each(fonts.size(),
                   [&](std::size_t i) { of_font[i] = draw_font(fonts[i]); });
  IdxArray pixels, labels;
  for (const auto& drawn : of_font) {
    pixels.bytes.insert(pixels.bytes.end(), drawn.begin(), drawn.end());
    for (std::size_t c = 0; c < kCharacters.size(); ++c) {
      labels.bytes.insert(labels.bytes.end(),
                          kLooks,
                          static_cast<std::uint8_t>(c));
    }
  }
  labels.dims = {std::ssize(labels.bytes)};
  pixels.dims = {labels.dims[0], kGlyphSide, kGlyphSide};
  write_idx(into / (part + "-images-idx3-ubyte"), pixels);
  write_idx(into / (part + "-labels-idx1-ubyte"), labels);
}

}  // namespace

std::vector<std::string> glyph_classes() {
  std::vector<std::string> names;
  for (const char c : kCharacters) names.emplace_back(1, c);
  return names;
}

bool family_is_for_validation(const std::string& family) {
  const std::string name = lower(family);
  return hash_name(name.substr(0, name.find_first_of(" -"))) % 5 == 0;
}

std::vector<GlyphFont> find_glyph_fonts(const fs::path& folder) {
  std::vector<GlyphFont> fonts;
  std::set<std::pair<std::string, std::string>> known;
  for (const fs::path& path : font_files(folder)) {
    const Font font(path);
    if (!plain_style(font.style()) || ornamental(font.family()) ||
        !has_all(font) ||
        !known.emplace(lower(font.family()), lower(font.style())).second) {
      continue;
    }
    fonts.push_back({path,
                     font.family(),
                     font.style(),
                     family_is_for_validation(font.family())});
  }
  return fonts;
}

void write_glyphs(const fs::path& folder, const fs::path& into, int threads) {
  std::vector<GlyphFont> train, val;
  std::string list;
  for (GlyphFont& font : find_glyph_fonts(folder)) {
    list += fmt::format("{}\t{}\t{}\t{}\n",
                        font.val ? "val" : "train",
                        font.family,
                        font.style,
                        font.path.lexically_relative(folder).generic_string());
    (font.val ? val : train).push_back(std::move(font));
  }
  require(!train.empty() && !val.empty(),
          "{}: {} fonts for training and {} for validation with all letters "
          "and digits; expected some of both",
          folder.string(),
          train.size(),
          val.size());
  Workers workers(threads);
  write_part(train, "train", into, workers);
  write_part(val, "val", into, workers);
  write_names(into / kClassNames, glyph_classes());
  write_file_atomically(into / "fonts.txt", list);
}

}  // namespace mumoe::data
