#include "data/text/byte_stream.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"
#include "data/text/forms.h"

namespace mumoe::data {

bool ends_in(const std::filesystem::path& name, std::string_view suffix) {
  std::string lower = name.filename().string();
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower.ends_with(suffix);
}

bool is_packed(const std::filesystem::path& path) {
  return ends_in(path, ".gz");
}

ByteStream::ByteStream(const std::filesystem::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(fd_ >= 0,
          "{}: cannot open: {}",
          printable(path.string()),
          std::strerror(errno));
  if (!is_packed(path)) return;
  packed_ = ::gzdopen(fd_, "rb");
  if (packed_ == nullptr) {
    ::close(fd_);
    fail<InputError>("{}: no memory to unpack it", printable(path.string()));
  }
  ::gzbuffer(packed_, 1 << 17);
}

ByteStream::~ByteStream() {
  // gzclose closes the file too.
  if (packed_ != nullptr) {
    ::gzclose(packed_);
  } else {
    ::close(fd_);
  }
}

std::size_t ByteStream::read(std::span<char> out) {
  std::size_t filled = 0;
  while (filled < out.size()) {
    const auto rest = out.subspan(filled);
    const std::size_t got =
        packed_ != nullptr ? read_packed(rest) : read_plain(rest);
    if (got == 0) break;
    filled += got;
  }
  return filled;
}

std::size_t ByteStream::read_plain(std::span<char> out) {
  for (;;) {
    const ssize_t got = ::read(fd_, out.data(), out.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    require(errno == EINTR,
            "{}: cannot read: {}",
            printable(path_.string()),
            std::strerror(errno));
  }
}

std::size_t ByteStream::read_packed(std::span<char> out) {
  const auto most =
      static_cast<unsigned>(std::min<std::size_t>(out.size(), 1 << 24));
  const int got = ::gzread(packed_, out.data(), most);
  int code = Z_OK;
  const char* reason = ::gzerror(packed_, &code);
  require(got >= 0 && (code == Z_OK || code == Z_STREAM_END),
          "{}: damaged or cut short, by zlib: {}; expected a whole file packed "
          "by gzip",
          printable(path_.string()),
          code == Z_ERRNO ? std::strerror(errno) : reason);
  require(::gzdirect(packed_) == 0,
          "{}: is not packed by gzip; expected that, since its name ends in "
          ".gz",
          printable(path_.string()));
  return static_cast<std::size_t>(got);
}

}  // namespace mumoe::data
