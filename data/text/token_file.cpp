#include "data/text/token_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

static_assert(std::endian::native == std::endian::little,
              "token files are little-endian and read in place");

constexpr std::int32_t kMagic = 20240520;
constexpr std::int32_t kVersion = 1;
using Header = std::array<std::int32_t, 256>;

std::span<const std::byte> map_file(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(fd >= 0, "{}: cannot open: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = regular ? static_cast<std::size_t>(status.st_size) : 0;
  void* start = MAP_FAILED;
  if (size > 0) start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  const int error = errno;
  ::close(fd);  // the mapping keeps the file
  require(regular, "{}: not a file; expected a token file", path.string());
  require(size > 0, "{}: 0 bytes; expected 16-bit tokens", path.string());
  require(start != MAP_FAILED,
          "{}: cannot map {} bytes: {}",
          path.string(),
          size,
          std::strerror(error));
  return {static_cast<const std::byte*>(start), size};
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path)
    : path_(path), mapped_(map_file(path)) {
  try {
    read_header();
  } catch (...) {
    unmap();  // a constructor that throws runs no destructor
    throw;
  }
}

void TokenFile::read_header() {
  std::size_t start = 0;
  Header header{};
  std::memcpy(header.data(),
              mapped_.data(),
              std::min(mapped_.size(), sizeof header));
  if (mapped_.size() >= sizeof kMagic && header[0] == kMagic) {
    start = sizeof header;
    require(mapped_.size() > start,
            "{}: {} bytes; expected a header of 1024 bytes and tokens after it",
            path_.string(),
            mapped_.size());
    require(header[1] == kVersion,
            "{}: version {} at byte 4; expected {}",
            path_.string(),
            header[1],
            kVersion);
    const std::size_t held = mapped_.size() - start;
    const std::int64_t count = header[2];
    require(count > 0 && held == static_cast<std::size_t>(count) * 2,
            "{}: {} bytes after the header; expected 2 for each of the {} "
            "tokens counted at byte 8",
            path_.string(),
            held,
            count);
  } else {
    check_token_form(path_, mapped_);
  }
  require(mapped_.size() % 2 == 0,
          "{}: {} bytes; expected an even number, 2 a token",
          path_.string(),
          mapped_.size());
  tokens_ = {reinterpret_cast<const std::uint16_t*>(mapped_.data() + start),
             (mapped_.size() - start) / 2};
}

void TokenFile::unmap() noexcept {
  if (mapped_.empty()) return;
  ::munmap(const_cast<std::byte*>(mapped_.data()), mapped_.size());
  mapped_ = {};
  tokens_ = {};
}

TokenFile::~TokenFile() {
  unmap();
}

TokenFile::TokenFile(TokenFile&& other) noexcept
    : path_(std::move(other.path_)),
      mapped_(std::exchange(other.mapped_, {})),
      tokens_(std::exchange(other.tokens_, {})) {}

TokenFile& TokenFile::operator=(TokenFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(mapped_, other.mapped_);
  std::swap(tokens_, other.tokens_);
  return *this;
}

void TokenFile::check_range(std::uint64_t first, std::uint64_t count) const {
  require(first <= size() && count <= size() - first,
          "{}: tokens {} to {} wanted; expected an end of at most {}",
          path_.string(),
          first,
          first + count,
          size());
}

void TokenFile::copy(std::uint64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size());
  std::copy_n(tokens_.begin() + first, out.size(), out.begin());
}

void TokenFile::copy(std::uint64_t first, std::span<std::int64_t> out) const {
  check_range(first, out.size());
  std::copy_n(tokens_.begin() + first, out.size(), out.begin());
}

void TokenFile::check_vocabulary(std::int64_t vocabulary) const {
  constexpr std::size_t kBlock = 1 << 16;
  for (std::size_t first = 0; first < size(); first += kBlock) {
    const auto block = tokens_.subspan(first, std::min(kBlock, size() - first));
    // The largest of a block vectorises; a search for the first would not.
    std::uint16_t largest = 0;
    for (const std::uint16_t token : block) largest = std::max(largest, token);
    if (largest < vocabulary) continue;
    const auto bad = std::find_if(block.begin(), block.end(), [&](auto token) {
      return token >= vocabulary;
    });
    fail<InputError>("{}: token {} at position {}; expected tokens below {}",
                     path_.string(),
                     *bad,
                     first + (bad - block.begin()),
                     vocabulary);
  }
}

std::string TokenFile::hash() const {
  return hash_hex(
      {reinterpret_cast<const char*>(mapped_.data()), mapped_.size()});
}

void write_token_file(const std::filesystem::path& path,
                      std::span<const std::uint16_t> tokens) {
  require(!tokens.empty() && tokens.size() < (std::size_t{1} << 31),
          "{}: {} tokens; expected 1 to 2^31 - 1 in one file",
          path.string(),
          tokens.size());
  Header header{};
  header[0] = kMagic;
  header[1] = kVersion;
  header[2] = static_cast<std::int32_t>(tokens.size());
  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(header.data()), sizeof header});
  file.write(
      {reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
  file.commit();
}

std::string hash_hex(std::string_view bytes) {
  return hash_hex(std::uint64_t{XXH64(bytes.data(), bytes.size(), 0)});
}

std::string hash_hex(std::uint64_t hash) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex(16, '0');
  for (auto digit = hex.rbegin(); digit != hex.rend(); ++digit, hash >>= 4) {
    *digit = kDigits[hash & 15];
  }
  return hex;
}

}  // namespace mumoe::data
