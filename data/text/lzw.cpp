#include "data/text/lzw.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace mumoe::data {
namespace {

constexpr std::uint32_t kClear = 256;
constexpr std::uint32_t kFirstFree = 257;
constexpr int kLeastBits = 9, kMostBits = 16;

/// A string of the table lies where it was written first.
struct Entry {
  std::size_t begin, length;
};

std::uint32_t code_at(std::string_view packed, std::size_t bit, int bits) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t byte = bit / 8 + i;
    if (byte >= packed.size()) break;
    value |= std::uint32_t{static_cast<unsigned char>(packed[byte])} << 8 * i;
  }
  return value >> bit % 8 & ((1u << bits) - 1);
}

}  // namespace

std::string unpack_lzw(std::string_view packed,
                       std::size_t size,
                       const std::string& where) {
  std::string out;
  std::vector<Entry> table;  // from kFirstFree on
  Entry previous{0, 0};
  int bits = kLeastBits;
  for (std::size_t bit = 0;
       out.size() < size && bit + bits <= packed.size() * 8;) {
    const std::uint32_t code = code_at(packed, bit, bits);
    bit += static_cast<std::size_t>(bits);
    if (code == kClear) break;
    const std::size_t begin = out.size();
    if (code < kClear) {
      out += static_cast<char>(code);
    } else {
      // The newest string, whose last byte is the first of itself.
      const std::size_t index = code - kFirstFree;
      require(previous.length > 0 && index <= table.size(),
              "{}: code {} at bit {} is not in the table yet; expected what "
              "compress packs",
              where,
              code,
              bit - static_cast<std::size_t>(bits));
      const Entry entry = index < table.size()
                              ? table[index]
                              : Entry{previous.begin, previous.length + 1};
      for (std::size_t i = 0; i < entry.length; ++i) {
        out += out[entry.begin + i];
      }
    }
    const std::size_t known = kFirstFree + table.size();
    if (previous.length > 0 && known < (1u << kMostBits)) {
      // The string before and the first byte of this one stand together.
      table.push_back({previous.begin, previous.length + 1});
      if (known + 1 == 1u << bits && bits < kMostBits) ++bits;
    }
    previous = {begin, out.size() - begin};
  }
  out.resize(std::min(out.size(), size));
  return out;
}

}  // namespace mumoe::data
