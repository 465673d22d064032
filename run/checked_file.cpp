#include "run/checked_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace mumoe::run {
namespace {

constexpr auto kBlock = static_cast<std::size_t>(kBlockBytes);

}  // namespace

std::string hash_of(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

void BlockHasher::add(std::string_view bytes) {
  file_.bytes += static_cast<std::int64_t>(bytes.size());
  while (!bytes.empty()) {
    if (block_.empty() && bytes.size() >= kBlock) {
      file_.blocks.push_back(hash_of(bytes.substr(0, kBlock)));
      bytes.remove_prefix(kBlock);
      continue;
    }
    const auto part = bytes.substr(0, kBlock - block_.size());
    block_ += part;
    bytes.remove_prefix(part.size());
    if (block_.size() == kBlock) end_block();
  }
}

void BlockHasher::end_block() {
  file_.blocks.push_back(hash_of(block_));
  block_.clear();
}

CheckedFile BlockHasher::finish(std::string name) {
  if (!block_.empty()) end_block();
  file_.name = std::move(name);
  return std::move(file_);
}

CheckedReader::CheckedReader(const std::filesystem::path& folder,
                             const CheckedFile& file,
                             Rebuild rebuild)
    : path_(folder / file.name), file_(file), rebuild_(std::move(rebuild)) {
  lost_ = open();
  if (lost_.empty()) return;
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  if (!rebuild_) throw DamageError(lost_);
}

std::string CheckedReader::open() {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const int error = errno;
  struct stat status = {};
  if (fd_ < 0 || ::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    return fmt::format("{}: {}",
                       path_.string(),
                       fd_ < 0 ? std::strerror(error) : "not a regular file");
  }
  if (status.st_size == file_.bytes) return {};
  return fmt::format("{}: {} bytes, of {} that were written",
                     path_.string(),
                     status.st_size,
                     file_.bytes);
}

CheckedReader::~CheckedReader() {
  if (fd_ >= 0) ::close(fd_);
}

void CheckedReader::read(std::int64_t begin,
                         std::span<char> out,
                         std::string_view what) {
  MUMOE_CHECK(begin >= 0 && begin + std::ssize(out) <= file_.bytes,
              "{}: bytes behind its end",
              path_.string());
  while (!out.empty()) {
    const std::int64_t block = begin / kBlockBytes;
    load(block, what);
    const auto from = static_cast<std::size_t>(begin - block * kBlockBytes);
    const auto count = std::min(out.size(), size_of(block) - from);
    std::memcpy(out.data(), block_->data() + from, count);
    out = out.subspan(count);
    begin += static_cast<std::int64_t>(count);
  }
}

void CheckedReader::check() {
  DirectBuffer buffer(kBlock);
  if (fd_ >= 0) set_direct(fd_, true);
  for (std::int64_t block = 0; block * kBlockBytes < file_.bytes; ++block) {
    try {
      read_block(block, {}, buffer.data());
    } catch (const DamageError& damage) {
      if (!rebuild_) throw;
      rebuild_(block, damage.what());
    }
  }
  if (fd_ >= 0) set_direct(fd_, false);
}

void CheckedReader::load(std::int64_t block, std::string_view what) {
  if (loaded_ == block) return;
  loaded_ = -1;
  try {
    if (!block_) block_.emplace(kBlock);
    read_block(block, what, block_->data());
  } catch (const DamageError& damage) {
    if (!rebuild_) throw;
    const std::string bytes = rebuild_(block, damage.what());
    std::memcpy(block_->data(), bytes.data(), bytes.size());
  }
  ++blocks_read_;
  loaded_ = block;
}

std::size_t CheckedReader::size_of(std::int64_t block) const {
  return static_cast<std::size_t>(
      std::min(kBlockBytes, file_.bytes - block * kBlockBytes));
}

void CheckedReader::read_block(std::int64_t block,
                               std::string_view what,
                               char* to) {
  if (!lost_.empty()) throw DamageError(lost_);
  const std::int64_t begin = block * kBlockBytes;
  const std::size_t size = size_of(block);
  const std::string tensor = what.empty() ? "" : fmt::format("{}: ", what);
  const auto read = read_all(fd_, static_cast<std::size_t>(begin), size, to);
  if (read != static_cast<std::ptrdiff_t>(size)) {
    fail<DamageError>("{}: {}cannot be read at byte {}: {}",
                      path_.string(),
                      tensor,
                      begin + std::max<std::ptrdiff_t>(read, 0),
                      read < 0 ? std::strerror(errno) : "it ends there");
  }
  if (file_.blocks.empty()) return;
  if (hash_of({to, size}) != file_.blocks[static_cast<std::size_t>(block)]) {
    fail<DamageError>("{}: {}bytes {} to {} are not those that were written",
                      path_.string(),
                      tensor,
                      begin,
                      begin + static_cast<std::int64_t>(size));
  }
}

}  // namespace mumoe::run
