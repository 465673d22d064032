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
    const auto count = std::min(out.size(), block_.size() - from);
    std::memcpy(out.data(), block_.data() + from, count);
    out = out.subspan(count);
    begin += static_cast<std::int64_t>(count);
  }
}

void CheckedReader::check() {
  for (std::int64_t begin = 0; begin < file_.bytes; begin += kBlockBytes) {
    load(begin / kBlockBytes, {});
  }
}

void CheckedReader::load(std::int64_t block, std::string_view what) {
  if (loaded_ == block) return;
  loaded_ = -1;
  try {
    read_block(block, what);
  } catch (const DamageError& damage) {
    if (!rebuild_) throw;
    block_ = rebuild_(block, damage.what());
  }
  ++blocks_read_;
  loaded_ = block;
}

void CheckedReader::read_block(std::int64_t block, std::string_view what) {
  if (!lost_.empty()) throw DamageError(lost_);
  const std::int64_t begin = block * kBlockBytes;
  block_.resize(
      static_cast<std::size_t>(std::min(kBlockBytes, file_.bytes - begin)));
  const std::string tensor = what.empty() ? "" : fmt::format("{}: ", what);
  for (std::size_t read = 0; read < block_.size();) {
    const ssize_t more = ::pread(fd_,
                                 block_.data() + read,
                                 block_.size() - read,
                                 begin + static_cast<off_t>(read));
    if (more < 0 && errno == EINTR) continue;
    if (more <= 0) {
      fail<DamageError>("{}: {}cannot be read at byte {}: {}",
                        path_.string(),
                        tensor,
                        begin + static_cast<std::int64_t>(read),
                        more < 0 ? std::strerror(errno) : "it ends there");
    }
    read += static_cast<std::size_t>(more);
  }
  if (file_.blocks.empty()) return;
  if (hash_of(block_) != file_.blocks[static_cast<std::size_t>(block)]) {
    fail<DamageError>("{}: {}bytes {} to {} are not those that were written",
                      path_.string(),
                      tensor,
                      begin,
                      begin + std::ssize(block_));
  }
}

}  // namespace mumoe::run
