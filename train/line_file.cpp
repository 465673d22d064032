#include "train/line_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace mumoe::train {

LineFile::LineFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  require(fd_ >= 0,
          "{}: cannot open for writing: {}",
          path_.string(),
          std::strerror(errno));
  written_ = ::lseek(fd_, 0, SEEK_END);
}

LineFile::~LineFile() {
  flush();
  ::close(fd_);
}

void LineFile::append(std::string_view text) {
  waiting_ += text;
  flush();
}

void LineFile::replace_end(std::size_t size, std::string_view text) {
  MUMOE_CHECK(text.size() >= size);
  const std::size_t held = std::min(size, waiting_.size());
  waiting_.resize(waiting_.size() - held);
  // What is written is written over in one piece: the line is whole at any
  // moment.
  written_ -= static_cast<std::int64_t>(size - held);
  waiting_ += text;
  flush();
}

void LineFile::sync() {
  flush();
  ::fdatasync(fd_);
}

void LineFile::flush() {
  while (!waiting_.empty()) {
    const ssize_t wrote =
        ::pwrite(fd_, waiting_.data(), waiting_.size(), written_);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      problem_ = fmt::format("{}: cannot write: {}; {} bytes wait in memory",
                             path_.string(),
                             std::strerror(wrote < 0 ? errno : ENOSPC),
                             waiting_.size());
      return;
    }
    written_ += wrote;
    waiting_.erase(0, static_cast<std::size_t>(wrote));
  }
  problem_.clear();
}

}  // namespace mumoe::train
