#include "train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "train/tensorboard.pb.h"

namespace mumoe::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBegin = "events.out.tfevents.";
constexpr std::string_view kEnd = ".mumoe";
constexpr std::size_t kHead = 12, kTail = 4;
constexpr int kStrings = 7;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table = {};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    }
    table[i] = crc;
  }
  return table;
}

template <class Whole>
std::string little_endian(Whole value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(Whole); ++i) {
    bytes += static_cast<char>(value >> (8 * i) & 0xff);
  }
  return bytes;
}

template <class Whole>
Whole from_little_endian(std::string_view bytes) {
  Whole value = 0;
  for (std::size_t i = 0; i < sizeof(Whole); ++i) {
    value |= Whole{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return value;
}

std::string record_of(const std::string& message) {
  const auto length = little_endian<std::uint64_t>(message.size());
  return length + little_endian(masked_crc32c(length)) + message +
         little_endian(masked_crc32c(message));
}

/// Of `text` from `begin` on, the message of a whole record.
std::optional<std::string_view> message_at(std::string_view text,
                                           std::size_t begin) {
  if (text.size() - begin < kHead + kTail) return std::nullopt;
  const auto head = text.substr(begin, kHead);
  const auto size = from_little_endian<std::uint64_t>(head);
  const auto crc = from_little_endian<std::uint32_t>(head.substr(8));
  if (crc != masked_crc32c(head.substr(0, 8)) ||
      size > text.size() - begin - kHead - kTail) {
    return std::nullopt;
  }
  const auto message = text.substr(begin + kHead, size);
  const auto tail = text.substr(begin + kHead + size, kTail);
  if (from_little_endian<std::uint32_t>(tail) != masked_crc32c(message)) {
    return std::nullopt;
  }
  return message;
}

/// Bytes that stay of a file, and whether any step is among them.
std::pair<std::size_t, bool> kept_of(std::string_view text,
                                     std::int64_t steps) {
  std::size_t begin = 0;
  bool any = false;
  while (const auto message = message_at(text, begin)) {
    events::Event event;
    if (!event.ParseFromArray(message->data(),
                              static_cast<int>(message->size()))) {
      break;
    }
    if (event.has_summary() && event.step() > steps) break;
    any = any || event.has_summary();
    begin += kHead + message->size() + kTail;
  }
  return {begin, any};
}

double now() {
  using namespace std::chrono;
  return duration<double>(system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  std::string text(name);
  std::ranges::replace(text, '/', '_');
  return text.empty() ? "host" : text;
}

void fill(events::Histogram& to, const EventHistogram& from) {
  double num = 0;
  for (const double count : from.counts) num += count;
  to.set_min(from.min);
  to.set_max(from.max);
  to.set_num(num);
  to.set_sum(from.sum);
  to.set_sum_squares(from.sum_squares);
  to.mutable_bucket_limit()->Add(from.limits.begin(), from.limits.end());
  to.mutable_bucket()->Add(from.counts.begin(), from.counts.end());
}

}  // namespace

std::uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_crc_table();
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

EventHistogram histogram_of(const std::vector<double>& values, int buckets) {
  EventHistogram h;
  if (values.empty()) return h;
  const auto [low, high] = std::ranges::minmax(values);
  h.min = low;
  h.max = high;
  const double width = high > low ? (high - low) / buckets : 1;
  for (int i = 1; i <= buckets; ++i) h.limits.push_back(low + i * width);
  h.limits.back() = std::max(h.limits.back(), high);
  h.counts.resize(h.limits.size());
  for (const double value : values) {
    const auto at = std::ranges::lower_bound(h.limits, value);
    h.counts[static_cast<std::size_t>(at - h.limits.begin())] += 1;
    h.sum += value;
    h.sum_squares += value * value;
  }
  return h;
}

EventFile::EventFile(const fs::path& folder, std::int64_t step) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, "{}: cannot create: {}", folder.string(), error.message());
  const double time = now();
  for (int n = 0; path_.empty() || fs::exists(path_, error); ++n) {
    // Readers take the files of a folder by name: by time.
    path_ = folder / fmt::format("{}{:010d}.{}.{}.{}{}",
                                 kBegin,
                                 static_cast<std::int64_t>(time),
                                 host_name(),
                                 ::getpid(),
                                 n,
                                 kEnd);
  }
  events::Event version;
  version.set_wall_time(time);
  version.set_file_version("brain.Event:2");
  write_file_atomically(path_, record_of(version.SerializeAsString()));
  out_.emplace(path_);
  events::Event began;
  began.set_wall_time(time);
  began.set_step(step);
  began.mutable_session_log()->set_status(1);
  append(began.SerializeAsString());
}

void EventFile::append(const std::string& message) {
  out_->append(record_of(message));
}

void EventFile::write(const StepEvent& said) {
  events::Event event;
  event.set_wall_time(said.wall_time);
  event.set_step(said.step);
  events::Summary& summary = *event.mutable_summary();
  for (const auto& [tag, number] : said.scalars) {
    auto& value = *summary.add_value();
    value.set_tag(tag);
    value.set_simple_value(static_cast<float>(number));
  }
  for (const auto& [tag, histogram] : said.histograms) {
    auto& value = *summary.add_value();
    value.set_tag(tag);
    fill(*value.mutable_histo(), histogram);
  }
  for (const auto& [tag, text] : said.texts) {
    auto& value = *summary.add_value();
    value.set_tag(tag);
    value.mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
    events::Tensor& tensor = *value.mutable_tensor();
    tensor.set_dtype(kStrings);
    tensor.mutable_tensor_shape()->add_dim()->set_size(1);
    tensor.add_string_val(text);
  }
  append(event.SerializeAsString());
}

void cut_event_files(const fs::path& folder, std::int64_t steps) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path& path = entry.path();
    const std::string name = path.filename().string();
    if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) continue;
    const std::string text = read_file(path);
    const auto [size, any] = kept_of(text, steps);
    if (size == text.size() && any) continue;
    if (any) {
      fs::resize_file(path, size, error);
    } else {
      fs::remove(path, error);
    }
    require(!error, "{}: cannot cut: {}", path.string(), error.message());
  }
}

}  // namespace mumoe::train
