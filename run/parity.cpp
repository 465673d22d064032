#include "run/parity.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace mumoe::run {
namespace {

std::int64_t divide_up(std::int64_t number, std::int64_t by) {
  return number / by + (number % by == 0 ? 0 : 1);
}

/// Chunks that n files are cut into.
std::int64_t chunks_of(std::size_t files) {
  return std::max<std::int64_t>(static_cast<std::int64_t>(files) - 1, 1);
}

}  // namespace

ParityLayout::ParityLayout(std::vector<std::int64_t> lengths, std::int64_t unit)
    : lengths_(std::move(lengths)), unit_(unit) {
  MUMOE_CHECK(!lengths_.empty() && unit_ > 0, "parity of no files");
  const std::int64_t longest = std::ranges::max(lengths_);
  const std::int64_t units =
      divide_up(divide_up(longest, chunks_of(count())), unit_);
  chunk_ = std::max<std::int64_t>(units, 1) * unit_;
}

std::size_t ParityLayout::stripe_of(std::size_t file,
                                    std::int64_t chunk) const {
  const auto number = static_cast<std::size_t>(chunk);
  if (count() == 1 || number < file) return number;
  return number + 1;
}

std::int64_t ParityLayout::bytes(std::size_t file) const {
  if (file < count()) return lengths_[file];
  const auto parts = stripe(file - count());
  return parts.empty() ? 0 : parts.back().bytes;
}

std::vector<ParityPart> ParityLayout::stripe(std::size_t stripe) const {
  MUMOE_CHECK(stripe < count(), "stripe {} of {}", stripe, count());
  std::vector<ParityPart> parts;
  std::int64_t longest = 0;
  for (std::size_t file = 0; file < count(); ++file) {
    if (file == stripe && count() > 1) continue;
    // The reverse of `stripe_of`.
    const std::size_t chunk = stripe > file ? stripe - 1 : stripe;
    const std::int64_t begin = static_cast<std::int64_t>(chunk) * chunk_;
    const std::int64_t bytes = std::min(chunk_, lengths_[file] - begin);
    if (bytes <= 0) continue;
    parts.push_back({file, begin, bytes});
    longest = std::max(longest, bytes);
  }
  if (longest > 0) parts.push_back({count() + stripe, 0, longest});
  return parts;
}

std::vector<ParityPart> ParityLayout::others(std::size_t file,
                                             std::int64_t block) const {
  const std::int64_t begin = block * unit_;
  MUMOE_CHECK(file < 2 * count() && begin >= 0 && begin < bytes(file),
              "block {} of file {}",
              block,
              file);
  const bool parity = file >= count();
  const std::size_t number =
      parity ? file - count() : stripe_of(file, begin / chunk_);
  const std::int64_t offset = parity ? begin : begin % chunk_;
  std::vector<ParityPart> found;
  for (const ParityPart& part : stripe(number)) {
    if (part.file == file || part.bytes <= offset) continue;
    found.push_back(
        {part.file, part.begin + offset, std::min(unit_, part.bytes - offset)});
  }
  return found;
}

std::optional<std::pair<std::size_t, std::size_t>> ParityLayout::clash(
    std::span<const std::size_t> lost) const {
  for (std::size_t s = 0; s < count(); ++s) {
    std::optional<std::size_t> first;
    for (const ParityPart& part : stripe(s)) {
      if (std::ranges::find(lost, part.file) == lost.end()) continue;
      if (first) return std::pair(*first, part.file);
      first = part.file;
    }
  }
  return std::nullopt;
}

std::vector<std::int64_t> lengths_of(std::span<const CheckedFile> files) {
  std::vector<std::int64_t> lengths;
  for (const CheckedFile& file : files) lengths.push_back(file.bytes);
  return lengths;
}

void xor_into(std::span<char> sum, std::string_view bytes) {
  const std::size_t size = std::min(sum.size(), bytes.size());
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= size; at += sizeof(std::uint64_t)) {
    std::uint64_t a, b;
    std::memcpy(&a, sum.data() + at, sizeof(a));
    std::memcpy(&b, bytes.data() + at, sizeof(b));
    a ^= b;
    std::memcpy(sum.data() + at, &a, sizeof(a));
  }
  for (; at < size; ++at) {
    sum[at] = static_cast<char>(sum[at] ^ bytes[at]);
  }
}

}  // namespace mumoe::run
