#include "data/images/font.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_BBOX_H
#include FT_OUTLINE_H
#include FT_TRUETYPE_TABLES_H

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mumoe::data {
namespace {

void check(FT_Error error,
           const std::filesystem::path& path,
           const char* doing) {
  if (error == 0) return;
  const char* text = FT_Error_String(error);
  fail<InputError>("{}: FreeType cannot {}: {}; expected a font file",
                   path.string(),
                   doing,
                   text != nullptr ? text : fmt::format("error {}", error));
}

}  // namespace

struct Font::Face {
  ~Face() {
    if (face != nullptr) FT_Done_Face(face);
    if (library != nullptr) FT_Done_FreeType(library);
  }
  FT_Library library = nullptr;
  FT_Face face = nullptr;
};

Font::Font(const std::filesystem::path& path)
    : path_(path), face_(std::make_unique<Face>()) {
  check(FT_Init_FreeType(&face_->library), path_, "begin");
  check(FT_New_Face(face_->library, path_.c_str(), 0, &face_->face),
        path_,
        "open it");
  const FT_Face face = face_->face;
  family_ = face->family_name != nullptr ? face->family_name : "";
  style_ = face->style_name != nullptr ? face->style_name : "";
}

Font::~Font() = default;
Font::Font(Font&&) noexcept = default;
Font& Font::operator=(Font&&) noexcept = default;

bool Font::scalable() const {
  return FT_IS_SCALABLE(face_->face);
}

std::uint32_t Font::glyph(char32_t character) const {
  return FT_Get_Char_Index(face_->face, character);
}

namespace {

/// The outline of a glyph in units of the font.
FT_Outline& outline_of(FT_Face face,
                       std::uint32_t glyph,
                       const std::filesystem::path& path) {
  check(FT_Load_Glyph(face, glyph, FT_LOAD_NO_SCALE), path, "load a glyph");
  require(face->glyph->format == FT_GLYPH_FORMAT_OUTLINE,
          "{}: glyph {} is no outline; expected a font of outlines",
          path.string(),
          glyph);
  return face->glyph->outline;
}

}  // namespace

GlyphBox Font::box(std::uint32_t glyph) const {
  FT_Outline& outline = outline_of(face_->face, glyph, path_);
  FT_BBox box{};
  check(FT_Outline_Get_BBox(&outline, &box), path_, "measure a glyph");
  return {static_cast<double>(box.xMin),
          static_cast<double>(box.yMin),
          static_cast<double>(box.xMax),
          static_cast<double>(box.yMax)};
}

bool Font::same_outline(std::uint32_t one, std::uint32_t other) const {
  const auto points = [&](std::uint32_t glyph) {
    const FT_Outline& outline = outline_of(face_->face, glyph, path_);
    std::vector<FT_Pos> all;
    for (int i = 0; i < outline.n_points; ++i) {
      all.push_back(outline.points[i].x);
      all.push_back(outline.points[i].y);
    }
    return all;
  };
  return points(one) == points(other);
}

std::vector<std::uint8_t> Font::draw(std::uint32_t glyph,
                                     const GlyphPlace& place,
                                     int side) const {
  FT_Outline& outline = outline_of(face_->face, glyph, path_);
  // A pixel has 64 steps; the matrix is in parts of 65536.
  const auto fixed = [](double value, double steps) {
    return static_cast<FT_Fixed>(std::lround(value * steps));
  };
  const FT_Fixed scale = fixed(place.scale * 64, 65536);
  FT_Matrix matrix{scale, 0, 0, scale};
  FT_Outline_Transform(&outline, &matrix);
  FT_Outline_Translate(&outline,
                       fixed(place.left, 64),
                       fixed(place.bottom, 64));
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(side) * side);
  FT_Bitmap bitmap{};
  bitmap.rows = bitmap.width = static_cast<unsigned>(side);
  bitmap.pitch = side;
  bitmap.buffer = pixels.data();
  bitmap.num_grays = 256;
  bitmap.pixel_mode = FT_PIXEL_MODE_GRAY;
  check(FT_Outline_Get_Bitmap(face_->library, &outline, &bitmap),
        path_,
        "draw a glyph");
  return pixels;
}

GlyphBitmap Font::bitmap(std::uint32_t glyph) const {
  const FT_Face face = face_->face;
  require(face->num_fixed_sizes > 0,
          "{}: no bitmaps; expected a font of colour bitmaps",
          path_.string());
  int largest = 0;
  for (int i = 1; i < face->num_fixed_sizes; ++i) {
    if (face->available_sizes[i].height >
        face->available_sizes[largest].height) {
      largest = i;
    }
  }
  check(FT_Select_Size(face, largest), path_, "select a size");
  check(FT_Load_Glyph(face, glyph, FT_LOAD_COLOR), path_, "load a glyph");
  const FT_Bitmap& from = face->glyph->bitmap;
  require(face->glyph->format == FT_GLYPH_FORMAT_BITMAP &&
              from.pixel_mode == FT_PIXEL_MODE_BGRA,
          "{}: glyph {} is no colour bitmap; expected one",
          path_.string(),
          glyph);
  GlyphBitmap result{static_cast<int>(from.width),
                     static_cast<int>(from.rows),
                     {}};
  result.rgba.reserve(std::size_t{4} * from.width * from.rows);
  for (unsigned y = 0; y < from.rows; ++y) {
    const unsigned char* row =
        from.buffer + static_cast<std::ptrdiff_t>(y) * from.pitch;
    for (unsigned x = 0; x < from.width; ++x, row += 4) {
      result.rgba.insert(result.rgba.end(), {row[2], row[1], row[0], row[3]});
    }
  }
  return result;
}

std::string Font::table(const char (&name)[5]) const {
  const FT_ULong tag = FT_MAKE_TAG(name[0], name[1], name[2], name[3]);
  FT_ULong length = 0;
  if (FT_Load_Sfnt_Table(face_->face, tag, 0, nullptr, &length) != 0) return "";
  std::string bytes(length, '\0');
  check(FT_Load_Sfnt_Table(face_->face,
                           tag,
                           0,
                           reinterpret_cast<FT_Byte*>(bytes.data()),
                           &length),
        path_,
        "read a table");
  return bytes;
}

}  // namespace mumoe::data
