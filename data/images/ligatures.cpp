#include "data/images/ligatures.h"

#include "base/error.h"

namespace mumoe::data {
namespace {

constexpr std::uint32_t kLigature = 4, kExtension = 7;

/// Numbers in a table, the high byte first.
class Table {
 public:
  Table(std::string_view bytes, const std::string& what)
      : bytes_(bytes), what_(what) {}

  std::uint32_t two(std::size_t at) const {
    require_inside(at + 2);
    return static_cast<unsigned char>(bytes_[at]) << 8 |
           static_cast<unsigned char>(bytes_[at + 1]);
  }
  std::uint32_t four(std::size_t at) const {
    return two(at) << 16 | two(at + 2);
  }
  /// What begins `two(at)` bytes after the start of this.
  Table below(std::size_t at) const { return from(two(at)); }
  Table from(std::size_t begin) const {
    require_inside(begin);
    return {bytes_.substr(begin), what_};
  }

 private:
  void require_inside(std::size_t end) const {
    require(end <= bytes_.size(),
            "{}: table GSUB is damaged: byte {} of {}; expected it inside",
            what_,
            end,
            bytes_.size());
  }

  std::string_view bytes_;
  const std::string& what_;
};

/// The glyphs that a coverage lists, in its order.
std::vector<std::uint32_t> covered(const Table& coverage) {
  std::vector<std::uint32_t> glyphs;
  const std::uint32_t count = coverage.two(2);
  for (std::size_t i = 0; i < count; ++i) {
    if (coverage.two(0) == 1) {
      glyphs.push_back(coverage.two(4 + 2 * i));
      continue;
    }
    const std::size_t range = 4 + 6 * i;
    const std::uint32_t last = coverage.two(range + 2);
    for (std::uint32_t g = coverage.two(range); g <= last; ++g) {
      glyphs.push_back(g);
    }
  }
  return glyphs;
}

void add_ligatures(const Table& lookup, Ligatures& all) {
  const auto first = covered(lookup.below(2));
  const std::uint32_t sets = lookup.two(4);
  for (std::size_t s = 0; s < sets && s < first.size(); ++s) {
    const Table set = lookup.below(6 + 2 * s);
    const std::uint32_t count = set.two(0);
    for (std::size_t i = 0; i < count; ++i) {
      const Table ligature = set.below(2 + 2 * i);
      std::vector<std::uint32_t> row{first[s]};
      const std::uint32_t length = ligature.two(2);
      for (std::size_t c = 1; c < length; ++c) {
        row.push_back(ligature.two(2 + 2 * c));
      }
      all.emplace(std::move(row), ligature.two(0));
    }
  }
}

}  // namespace

Ligatures read_ligatures(std::string_view gsub, const std::string& what) {
  Ligatures all;
  if (gsub.empty()) return all;
  const Table lookups = Table(gsub, what).below(8);
  const std::uint32_t count = lookups.two(0);
  for (std::size_t i = 0; i < count; ++i) {
    const Table lookup = lookups.below(2 + 2 * i);
    const std::uint32_t type = lookup.two(0);
    const std::uint32_t subtables = lookup.two(4);
    for (std::size_t s = 0; s < subtables; ++s) {
      const Table subtable = lookup.below(6 + 2 * s);
      if (type == kLigature) {
        add_ligatures(subtable, all);
      } else if (type == kExtension && subtable.two(2) == kLigature) {
        add_ligatures(subtable.from(subtable.four(4)), all);
      }
    }
  }
  return all;
}

}  // namespace mumoe::data
