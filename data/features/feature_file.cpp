#include "data/features/feature_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace mumoe::data {
namespace {

static_assert(std::endian::native == std::endian::little,
              "features are little-endian and read in place");

/// Of the header, whose length stands before it.
constexpr std::size_t kLengthBytes = 8;

/// What the header says of a tensor.
struct Entry {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;
};

std::optional<Entry> entry_of(const nlohmann::json& json) {
  const auto counts = [](const nlohmann::json& list) {
    std::vector<std::int64_t> values;
    for (const auto& each : list) {
      const auto count = as_count(each);
      if (!count) return std::vector<std::int64_t>{-1};
      values.push_back(*count);
    }
    return values;
  };
  for (const char* name : {"dtype", "shape", "data_offsets"}) {
    if (!json.is_object() || !json.contains(name)) return std::nullopt;
  }
  if (!json["dtype"].is_string() || !json["shape"].is_array() ||
      !json["data_offsets"].is_array()) {
    return std::nullopt;
  }
  const auto offsets = counts(json["data_offsets"]);
  if (offsets.size() != 2 || offsets[0] < 0) return std::nullopt;
  return Entry{json["dtype"].get<std::string>(),
               counts(json["shape"]),
               offsets[0],
               offsets[1]};
}

std::int64_t bytes_of(const std::string& dtype) {
  if (dtype == "U8") return 1;
  if (dtype == "F16") return 2;
  return dtype == "F32" ? 4 : 8;
}

/// What the header of file `name` says of `tensor`, of one of these types and
/// so many dims.
Entry find_entry(const nlohmann::json& json,
                 const std::string& name,
                 const char* tensor,
                 std::initializer_list<const char*> dtypes,
                 std::size_t dims) {
  require(json.is_object() && json.contains(tensor),
          "{}: no tensor {}; expected features, labels and index",
          name,
          tensor);
  const auto entry = entry_of(json[tensor]);
  require(entry.has_value(), "{}: its header is broken at {}", name, tensor);
  bool known = false;
  for (const char* dtype : dtypes) known = known || entry->dtype == dtype;
  require(known && entry->shape.size() == dims,
          "{}: {} is {} of {} dims; expected {} of {}",
          name,
          tensor,
          entry->dtype,
          entry->shape.size(),
          fmt::join(dtypes, " or "),
          dims);
  return *entry;
}

/// Behind the header are `held` bytes: do they have all of the tensor?
void require_whole(const std::string& name,
                   const char* tensor,
                   const Entry& entry,
                   std::int64_t held) {
  std::int64_t bytes = bytes_of(entry.dtype);
  for (const std::int64_t extent : entry.shape) {
    require(extent > 0 && bytes <= held / extent,
            "{}: {} is [{}], more than the {} bytes behind the header, or "
            "nothing; expected all of it (is the file truncated?)",
            name,
            tensor,
            fmt::join(entry.shape, ", "),
            held);
    bytes *= extent;
  }
  require(
      entry.end - entry.begin == bytes && entry.end <= held,
      "{}: {} ends at byte {} behind the header, and there are {}: the file "
      "is truncated, or its header is broken",
      name,
      tensor,
      entry.end,
      held);
}

}  // namespace

float half_to_float(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  float value = 0;
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<float>::infinity()
                          : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

FeatureFile::FeatureFile(std::filesystem::path path) : path_(std::move(path)) {
  const std::string name = path_.string();
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(fd >= 0, "{}: cannot open: {}", name, std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  length_ = regular ? static_cast<std::size_t>(status.st_size) : 0;
  void* start = MAP_FAILED;
  if (length_ > 0) {
    start = ::mmap(nullptr, length_, PROT_READ, MAP_SHARED, fd, 0);
  }
  const int error = errno;
  ::close(fd);  // the mapping keeps the file
  require(regular, "{}: not a file; expected one of features", name);
  require(length_ > 0, "{}: 0 bytes; expected a .safetensors file", name);
  require(start != MAP_FAILED,
          "{}: cannot map {} bytes: {}",
          name,
          length_,
          std::strerror(error));
  mapped_ = static_cast<const char*>(start);
  try {
    read_head();
  } catch (...) {
    // A constructor that throws runs no destructor.
    ::munmap(start, length_);
    throw;
  }
}

FeatureFile::~FeatureFile() {
  ::munmap(const_cast<char*>(mapped_), length_);
}

void FeatureFile::read_head() {
  const std::string name = path_.string();
  std::uint64_t head = 0;
  std::memcpy(&head, mapped_, std::min(length_, kLengthBytes));
  require(length_ > kLengthBytes && head <= length_ - kLengthBytes,
          "{}: {} bytes; expected a .safetensors file, or it is truncated",
          name,
          length_);
  const nlohmann::json json =
      parse_json({mapped_ + kLengthBytes, head}, name + ": its header");
  const std::size_t begin = kLengthBytes + head;
  const auto held = static_cast<std::int64_t>(length_ - begin);
  const auto place = [&](const char* tensor, const Entry& entry) {
    require_whole(name, tensor, entry, held);
    return mapped_ + begin + entry.begin;
  };
  const Entry features = find_entry(json, name, "features", {"F32", "F16"}, 2);
  const Entry labels = find_entry(json, name, "labels", {"I64"}, 1);
  const Entry images = find_entry(json, name, "index", {"I64"}, 1);
  features_ = place("features", features);
  labels_ = place("labels", labels);
  images_ = place("index", images);
  half_ = features.dtype == "F16";
  size_ = features.shape[0];
  width_ = features.shape[1];
  require(labels.shape[0] == size_ && images.shape[0] == size_,
          "{}: {} rows of features, {} labels and {} of index; expected as "
          "many",
          name,
          size_,
          labels.shape[0],
          images.shape[0]);
  if (!json.contains("attributes")) return;
  const Entry attributes = find_entry(json, name, "attributes", {"U8"}, 2);
  require(attributes.shape[0] == size_,
          "{}: attributes of {} images; expected {}",
          name,
          attributes.shape[0],
          size_);
  attribute_rows_ =
      reinterpret_cast<const std::uint8_t*>(place("attributes", attributes));
  attributes_ = attributes.shape[1];
}

namespace {

std::int64_t number_at(const char* numbers, std::int64_t row) {
  std::int64_t value = 0;
  std::memcpy(&value,
              numbers + row * static_cast<std::int64_t>(sizeof value),
              sizeof value);
  return value;
}

}  // namespace

std::int64_t FeatureFile::label(std::int64_t row) const {
  return number_at(labels_, row);
}

std::span<const std::uint8_t> FeatureFile::attributes_of(
    std::int64_t row) const {
  return {attribute_rows_ + row * attributes_,
          static_cast<std::size_t>(attributes_)};
}

std::int64_t FeatureFile::image(std::int64_t row) const {
  return number_at(images_, row);
}

void FeatureFile::read(std::int64_t row, float* to) const {
  const std::int64_t first = row * width_;
  if (!half_) {
    std::memcpy(to,
                features_ + first * static_cast<std::int64_t>(sizeof(float)),
                static_cast<std::size_t>(width_) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < width_; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, features_ + (first + i) * 2, sizeof bits);
    to[i] = half_to_float(bits);
  }
}

}  // namespace mumoe::data
