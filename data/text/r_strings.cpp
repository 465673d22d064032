#include "data/text/r_strings.h"

#include <zlib.h>

#include <cstdint>

#include "base/error.h"

namespace mumoe::data {
namespace {

constexpr std::uint32_t kStringVector = 16, kString = 9;
constexpr std::uint32_t kHasAttributes = 1u << 9;
/// A value is not larger than this; a damaged count may say so.
constexpr std::uint32_t kLargest = 1u << 30;

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& where)
      : bytes_(bytes), where_(where) {}

  std::string_view take(std::size_t count) {
    check(count <= bytes_.size() - at_, "is cut short");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  std::uint32_t number() { return big_endian(take(4)); }
  std::size_t left() const { return bytes_.size() - at_; }
  void check(bool condition, const char* what) const {
    require(condition,
            "{}: {} at byte {}; expected a vector of strings that R has "
            "serialised",
            where_,
            what,
            at_);
  }

 private:
  std::string_view bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<std::string> read_r_strings(std::string_view bytes,
                                        const std::string& where) {
  Reader in(bytes, where);
  in.check(in.take(2) == "X\n", "is not in the form XDR");
  const std::uint32_t version = in.number();
  in.check(version == 2 || version == 3, "has another version");
  in.take(8);  // of R: who wrote it, who can read it
  if (version == 3) in.take(in.number());  // the encoding
  const std::uint32_t flags = in.number();
  in.check((flags & 255) == kStringVector && !(flags & kHasAttributes),
           "holds another value");
  const std::uint32_t count = in.number();
  in.check(count <= in.left() / 8, "counts more strings than there are");
  std::vector<std::string> strings;
  for (std::uint32_t i = 0; i < count; ++i) {
    in.check((in.number() & 255) == kString, "holds another value");
    const std::uint32_t length = in.number();
    in.check(length <= in.left(), "has a missing string or is cut short");
    strings.emplace_back(in.take(length));
  }
  return strings;
}

std::vector<std::string> unpack_r_values(std::string_view bytes,
                                         const std::string& where) {
  std::vector<std::string> values;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t start = at;
    std::uint32_t size = 0;
    if (bytes.size() - at >= 4) size = big_endian(bytes.substr(at));
    at += 4;
    require(size > 0 && size <= kLargest && at < bytes.size(),
            "{}: no value at byte {}; expected one that R has serialised",
            where,
            start);
    std::string value(size, '\0');
    auto* out = reinterpret_cast<Bytef*>(value.data());
    uLongf filled = size;
    uLong used = bytes.size() - at;
    const auto* in = reinterpret_cast<const Bytef*>(bytes.data() + at);
    const int code = ::uncompress2(out, &filled, in, &used);
    require(
        code == Z_OK && filled == size,
        "{}: the value at byte {} does not unpack to its {} bytes; expected "
        "zlib's form",
        where,
        start,
        size);
    at += used;
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace mumoe::data
