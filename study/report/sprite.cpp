#include "study/report/sprite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "study/report/picture_file.h"

namespace mumoe::study {
namespace {

constexpr int kColumns = 64;
// Up to here tiles keep every pixel; larger ones are photographs.
constexpr int kExact = 32;

/// A square of an image made smaller: means over its pixels, [channels, tile,
/// tile].
std::vector<float> shrunk(std::span<const float> image,
                          const ImageForm& form,
                          std::int64_t patch,
                          int tile) {
  const bool whole = patch < 0;
  const std::int64_t side = whole ? form.side : form.patch;
  const std::int64_t across = whole ? 1 : form.side / form.patch;
  const std::int64_t at = std::max<std::int64_t>(patch, 0);
  std::vector<float> small;
  for (std::int64_t c = 0; c < form.channels; ++c) {
    const float* plane = image.data() + c * form.side * form.side +
                         at / across * side * form.side + at % across * side;
    for (int y = 0; y < tile; ++y) {
      for (int x = 0; x < tile; ++x) {
        const auto top = y * side / tile, bottom = (y + 1) * side / tile;
        const auto left = x * side / tile, right = (x + 1) * side / tile;
        float sum = 0;
        for (auto v = top; v < bottom; ++v) {
          for (auto u = left; u < right; ++u) sum += plane[v * form.side + u];
        }
        small.push_back(sum /
                        static_cast<float>((bottom - top) * (right - left)));
      }
    }
  }
  return small;
}

struct Range {
  float low = std::numeric_limits<float>::max();
  float high = std::numeric_limits<float>::lowest();

  std::uint8_t byte(float value) const {
    if (!(high > low)) return 0;
    const float part = std::clamp((value - low) / (high - low), 0.0F, 1.0F);
    return static_cast<std::uint8_t>(std::lround(255 * part));
  }
};

}  // namespace

Sprite sprite_of(const data::Samples& pictures,
                 const ImageForm& form,
                 const std::set<Cutting>& cuttings,
                 int most) {
  if (cuttings.empty()) return {};
  const bool whole = cuttings.begin()->patch < 0;
  const auto count = static_cast<int>(cuttings.size());
  Sprite sprite{
      .tile = static_cast<int>(
          std::min<std::int64_t>(whole ? form.side : form.patch, most)),
      .columns = std::min(count, kColumns)};
  const int tile = sprite.tile;
  std::vector<std::vector<float>> tiles;
  std::vector<Range> ranges(static_cast<std::size_t>(form.channels));
  const std::size_t plane = static_cast<std::size_t>(tile) * tile;
  data::HostBatch made;
  std::optional<std::uint64_t> last;
  for (const auto& [sample, patch] : cuttings) {
    if (last != sample) made = pictures.make({&sample, 1});
    last = sample;
    tiles.push_back(
        shrunk(std::get<std::vector<float>>(made.input), form, patch, tile));
    for (std::size_t i = 0; i < tiles.back().size(); ++i) {
      Range& range = ranges[i / plane];
      range.low = std::min(range.low, tiles.back()[i]);
      range.high = std::max(range.high, tiles.back()[i]);
    }
  }
  const int rows = (count + sprite.columns - 1) / sprite.columns;
  Raster raster{sprite.columns * tile, rows * tile};
  raster.rgb.resize(std::size_t{3} * raster.width * raster.height);
  int i = 0;
  for (const Cutting& cutting : cuttings) {
    sprite.place.emplace(cutting, i);
    const int left = i % sprite.columns * tile;
    const int top = i / sprite.columns * tile;
    for (int p = 0; p < tile * tile; ++p) {
      std::uint8_t* to =
          &raster.rgb[std::size_t{3} *
                      ((top + p / tile) * raster.width + left + p % tile)];
      for (std::size_t k = 0; k < 3; ++k) {
        const std::size_t c = ranges.size() == 3 ? k : 0;
        to[k] = ranges[c].byte(tiles[i][c * plane + p]);
      }
    }
    ++i;
  }
  const bool exact = tile <= kExact;
  sprite.uri =
      fmt::format("data:image/{};base64,{}",
                  exact ? "png" : "jpeg",
                  base64(exact ? png_file(raster) : jpeg_file(raster)));
  return sprite;
}

}  // namespace mumoe::study
